//! The errno table: what a failed engine call looks like to a program using the mount.
//!
//! This is the only place where an [`EngineError`] becomes a number. The match names every variant, so that a new
//! cause of failure does not compile until somebody decides what programs see.

use crate::engine::EngineError;

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

fn errno_of(error: &EngineError) -> Errno {
    Errno(match error {
        EngineError::Store(e) => e.raw_os_error().filter(|raw| *raw > 0).unwrap_or(libc::EIO),
        EngineError::Denied(..)
        | EngineError::IdentityPolicy { .. }
        | EngineError::Key(..)
        | EngineError::BucketKey(..) => libc::EACCES,
        EngineError::Integrity { .. }
        | EngineError::Bucket { .. }
        | EngineError::Crypto(..)
        | EngineError::Audit(..) => libc::EIO,
        EngineError::Reserved(..) | EngineError::RootHoldsBuckets => libc::EPERM,
        EngineError::Name(..) | EngineError::Invalid(..) => libc::EINVAL,
        EngineError::ReadOnly(..) => libc::EROFS,
        EngineError::CrossBucket => libc::EXDEV,
        EngineError::Unsupported => libc::EOPNOTSUPP,
        EngineError::TooLarge => libc::EFBIG,
    })
}

/// Failures whose number alone does not tell an administrator what happened. Integrity failures were logged, louder,
/// where they were found.
fn unexpected(error: &EngineError, errno: Errno) -> bool {
    match error {
        EngineError::Store(_) => errno.0 == libc::EIO,
        EngineError::IdentityPolicy { .. }
        | EngineError::Key(..)
        | EngineError::BucketKey(..)
        | EngineError::Bucket { .. }
        | EngineError::Crypto(..)
        | EngineError::Audit(..)
        | EngineError::Invalid(..) => true,
        EngineError::Integrity { .. }
        | EngineError::Denied(..)
        | EngineError::Reserved(..)
        | EngineError::Name(..)
        | EngineError::ReadOnly(..)
        | EngineError::CrossBucket
        | EngineError::RootHoldsBuckets
        | EngineError::Unsupported
        | EngineError::TooLarge => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{keys::KeyError, name::BucketName, object::FormatError};

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
            (EngineError::Key(KeyError::Unknown { key: "k".into() }), libc::EACCES),
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
