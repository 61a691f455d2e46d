//! The errno table: what a failed engine call looks like to a program using the mount.
//!
//! This is the only place where an [`EngineError`] becomes a number. The match names every variant, so that a new
//! cause of failure does not compile until somebody decides what programs see.

use crate::{
    engine::EngineError,
    keys::{BucketKeyError, KeyError},
};

/// A positive `errno` value of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl From<EngineError> for Errno {
    fn from(error: EngineError) -> Self {
        let errno = errno_of(&error);
        if unexpected(&error, errno) {
            log::warn!("errno {}: {error}", errno.0);
        }
        errno
    }
}

/// The number that programs on the mount see for `error`.
pub fn number_of(error: &EngineError) -> i32 {
    errno_of(error).0
}

impl Errno {
    /// `EACCES` instead of the numbers that only keys have, for programs that do not know these.
    pub(super) fn plain(self) -> Self {
        if (libc::ENOKEY..=libc::EKEYREJECTED).contains(&self.0) { Self(libc::EACCES) } else { self }
    }
}

fn errno_of(error: &EngineError) -> Errno {
    Errno(match error {
        EngineError::Store(e) => e.raw_os_error().filter(|raw| *raw > 0).unwrap_or(libc::EIO),
        EngineError::Denied(..)
        | EngineError::IdentityPolicy { .. }
        | EngineError::KeyPolicy { .. }
        | EngineError::Blocked { .. } => libc::EACCES,
        EngineError::Key(error) | EngineError::BucketKey(BucketKeyError::Key(error)) => of_key(error),
        EngineError::BucketKey(BucketKeyError::Store { errno }) => *errno,
        EngineError::BucketKey(BucketKeyError::Damaged { .. } | BucketKeyError::Misplaced { .. }) => {
            libc::EIO
        }
        EngineError::Integrity { .. }
        | EngineError::Bucket { .. }
        | EngineError::Crypto(..)
        | EngineError::Audit(..) => libc::EIO,
        EngineError::Reserved(..) | EngineError::RootHoldsBuckets | EngineError::Retained { .. } => {
            libc::EPERM
        }
        EngineError::Name(..)
        | EngineError::Invalid(..)
        | EngineError::Request(..)
        | EngineError::Configuration(..) => libc::EINVAL,
        EngineError::JobRuns { .. } => libc::EBUSY,
        EngineError::ReadOnly(..) => libc::EROFS,
        EngineError::CrossBucket => libc::EXDEV,
        EngineError::Unsupported => libc::EOPNOTSUPP,
        EngineError::TooLarge => libc::EFBIG,
        EngineError::Peer(error) => error.errno,
    })
}

/// What the kernel's own key service answers in these cases, see `keyctl(2)`.
fn of_key(error: &KeyError) -> i32 {
    match error {
        KeyError::Unknown { .. } | KeyError::Destroyed { .. } => libc::ENOKEY,
        KeyError::PendingDeletion { .. } | KeyError::Expired { .. } | KeyError::Retired { .. } => {
            libc::EKEYEXPIRED
        }
        KeyError::Disabled { .. } => libc::EKEYREVOKED,
        KeyError::Rejected { .. } => libc::EKEYREJECTED,
        KeyError::Unavailable { .. } => libc::ETIMEDOUT,
        KeyError::Denied { .. } => libc::EACCES,
        KeyError::Invalid { .. } => libc::EINVAL,
    }
}

/// Failures whose number alone does not tell an administrator what happened. Integrity failures were logged, louder,
/// where they were found.
fn unexpected(error: &EngineError, errno: Errno) -> bool {
    match error {
        EngineError::Store(_) => errno.0 == libc::EIO,
        EngineError::IdentityPolicy { .. }
        | EngineError::KeyPolicy { .. }
        | EngineError::Key(..)
        | EngineError::BucketKey(..)
        | EngineError::Request(..)
        | EngineError::Configuration(..)
        | EngineError::Blocked { .. }
        | EngineError::Bucket { .. }
        | EngineError::Crypto(..)
        | EngineError::Audit(..)
        | EngineError::Invalid(..) => true,
        EngineError::Integrity { .. }
        | EngineError::Denied(..)
        | EngineError::Retained { .. }
        | EngineError::Reserved(..)
        | EngineError::Name(..)
        | EngineError::ReadOnly(..)
        | EngineError::JobRuns { .. }
        | EngineError::CrossBucket
        | EngineError::RootHoldsBuckets
        | EngineError::Unsupported
        | EngineError::Peer(..)
        | EngineError::TooLarge => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{
        engine::{EncryptionType, RequestError},
        name::BucketName,
        object::FormatError,
    };

    #[test]
    fn each_state_of_a_key_has_the_number_that_keyctl_gives_it() {
        let (key, why) = (|| "k".to_owned(), || "w".to_owned());
        for (error, raw) in [
            (KeyError::Unknown { key: key() }, 126),
            (KeyError::Destroyed { key: key() }, 126),
            (KeyError::PendingDeletion { key: key() }, 127),
            (KeyError::Expired { key: key() }, 127),
            (KeyError::Retired { key: key() }, 127),
            (KeyError::Disabled { key: key() }, 128),
            (KeyError::Rejected { key: key() }, 129),
            (KeyError::Unavailable { key: key(), why: why() }, libc::ETIMEDOUT),
            (KeyError::Invalid { key: key(), why: why() }, libc::EINVAL),
        ] {
            assert_eq!(errno_of(&EngineError::Key(error.clone())), Errno(raw), "{error}");
            let wrapped = EngineError::BucketKey(BucketKeyError::Key(error));
            assert_eq!(errno_of(&wrapped), Errno(raw));
        }
    }

    #[test]
    fn plain_numbers_replace_those_of_keys_and_no_others() {
        for raw in 126..=129 {
            assert_eq!(Errno(raw).plain(), Errno(libc::EACCES));
        }
        for raw in [125, 130, libc::ENOENT, libc::ETIMEDOUT] {
            assert_eq!(Errno(raw).plain(), Errno(raw));
        }
    }

    #[test]
    fn errors_of_the_backing_system_keep_their_number() {
        for raw in [libc::ENOENT, libc::ENOSPC, libc::EDQUOT, libc::ENAMETOOLONG, libc::ESTALE] {
            assert_eq!(Errno::from(EngineError::Store(io::Error::from_raw_os_error(raw))), Errno(raw));
        }
    }

    #[test]
    fn errors_without_a_number_are_input_output_errors() {
        let error = io::Error::new(io::ErrorKind::NotFound, "no number");
        assert_eq!(Errno::from(EngineError::Store(error)), Errno(libc::EIO));
        assert_eq!(Errno::from(EngineError::Store(io::Error::from_raw_os_error(0))), Errno(libc::EIO));
    }

    #[test]
    fn each_cause_has_its_number() {
        let integrity = EngineError::Integrity { object: "a".into(), reason: FormatError::Block(1) };
        let table = [
            (EngineError::BucketKey(BucketKeyError::Damaged { why: "w".into() }), libc::EIO),
            (EngineError::BucketKey(BucketKeyError::Store { errno: libc::ENOSPC }), libc::ENOSPC),
            (EngineError::Request(RequestError::ContextTooLong), libc::EINVAL),
            (EngineError::Blocked { bucket: "b".into(), kind: EncryptionType::Customer }, libc::EACCES),
            (integrity, libc::EIO),
            (EngineError::Reserved(".strongroom".into()), libc::EPERM),
            (EngineError::RootHoldsBuckets, libc::EPERM),
            (EngineError::Name(BucketName::parse("A").unwrap_err()), libc::EINVAL),
            (EngineError::Invalid("offset"), libc::EINVAL),
            (EngineError::ReadOnly("x".into()), libc::EROFS),
            (EngineError::CrossBucket, libc::EXDEV),
            (EngineError::Unsupported, libc::EOPNOTSUPP),
            (EngineError::TooLarge, libc::EFBIG),
        ];
        for (error, raw) in table {
            let text = error.to_string();
            assert_eq!(Errno::from(error), Errno(raw), "{text}");
        }
    }
}
