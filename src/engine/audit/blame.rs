//! Why a request failed, in the codes of S3 and KMS, and whether that was a refusal.

use std::io::ErrorKind;

use crate::{
    audit::{Decision, Event, EventName, Failure},
    engine::{EngineError, PeerCause, PeerError, RetentionError},
    keys::{BucketKeyError, KeyError},
};

/// An error that an event can be blamed on.
pub(in crate::engine) trait Blame: ToString {
    /// Says in `event` why it failed.
    fn blame(&self, event: &mut Event);

    /// The error of the key service, if that is the reason.
    fn key(&self) -> Option<&KeyError>;
}

/// Says in `event` which state of the key is in the way, as KMS calls it.
pub(super) fn say_state(event: &mut Event, error: &KeyError) {
    let state = match error {
        KeyError::Disabled { .. } => "Disabled",
        KeyError::PendingDeletion { .. } => "PendingDeletion",
        KeyError::Expired { .. } => "PendingImport",
        _ => return,
    };
    event.details.more.insert("keyState", state.into());
}

impl Blame for EngineError {
    fn blame(&self, event: &mut Event) {
        event.decision = decision(self);
        let (code, message, errno) = (code(self, event.name), self.to_string(), errno(self));
        event.failure = Some(Failure { code, message, errno });
    }

    fn key(&self) -> Option<&KeyError> {
        match self {
            Self::Key(error) | Self::BucketKey(BucketKeyError::Key(error)) => Some(error),
            _ => None,
        }
    }
}

impl Blame for RetentionError {
    fn blame(&self, event: &mut Event) {
        let (code, decision) = match self {
            Self::Engine(error) => return error.blame(event),
            Self::Compliance | Self::Governance => ("AccessDenied", Decision::Deny { statement: None }),
            Self::NoRule => ("ObjectLockConfigurationNotFoundError", Decision::Allow),
        };
        event.decision = decision;
        event.failure = Some(Failure { code, message: self.to_string(), errno: None });
    }

    fn key(&self) -> Option<&KeyError> {
        if let Self::Engine(error) = self { error.key() } else { None }
    }
}

fn decision(error: &EngineError) -> Decision {
    match error {
        EngineError::Denied(denial) => Decision::Deny {
            statement: denial
                .statement
                .as_ref()
                .map(|by| by.sid.clone().unwrap_or_else(|| format!("Statement[{}]", by.index))),
        },
        EngineError::ReadOnly(_)
        | EngineError::IdentityPolicy { .. }
        | EngineError::KeyPolicy { .. }
        | EngineError::Retained { .. }
        | EngineError::Blocked { .. }
        | EngineError::Peer(PeerError { cause: PeerCause::Denied, .. })
        | EngineError::Key(KeyError::Denied { .. })
        | EngineError::BucketKey(BucketKeyError::Key(KeyError::Denied { .. })) => {
            Decision::Deny { statement: None }
        }
        _ => Decision::Allow,
    }
}

fn code(error: &EngineError, event: EventName) -> &'static str {
    let of_bucket = matches!(event, EventName::CreateBucket | EventName::DeleteBucket);
    match error {
        EngineError::Denied(_)
        | EngineError::IdentityPolicy { .. }
        | EngineError::KeyPolicy { .. }
        | EngineError::Blocked { .. }
        | EngineError::Retained { .. }
        | EngineError::ReadOnly(_)
        | EngineError::Reserved(_) => "AccessDenied",
        EngineError::Key(error) | EngineError::BucketKey(BucketKeyError::Key(error)) => key_code(error),
        EngineError::Store(error) => match error.kind() {
            ErrorKind::NotFound if of_bucket => "NoSuchBucket",
            ErrorKind::NotFound => "NoSuchKey",
            ErrorKind::AlreadyExists if of_bucket => "BucketAlreadyOwnedByYou",
            // What `If-None-Match: *` answers.
            ErrorKind::AlreadyExists => "PreconditionFailed",
            ErrorKind::DirectoryNotEmpty => "BucketNotEmpty",
            ErrorKind::PermissionDenied => "AccessDenied",
            ErrorKind::Unsupported => "NotImplemented",
            _ => "InternalError",
        },
        EngineError::Unsupported => "NotImplemented",
        EngineError::Name(_)
        | EngineError::Invalid(_)
        | EngineError::Request(_)
        | EngineError::CrossBucket
        | EngineError::RootHoldsBuckets => "InvalidRequest",
        EngineError::JobRuns { .. } => "OperationAborted",
        EngineError::Peer(error) => match error.cause {
            PeerCause::Denied => "AccessDenied",
            PeerCause::Busy | PeerCause::Stopped => "OperationAborted",
            PeerCause::Damaged | PeerCause::Other => "InternalError",
        },
        EngineError::TooLarge => "EntityTooLarge",
        EngineError::Integrity { .. }
        | EngineError::Configuration(_)
        | EngineError::BucketKey(_)
        | EngineError::Crypto(_)
        | EngineError::Bucket { .. }
        | EngineError::Audit(_) => "InternalError",
    }
}

/// What the program was told, as far as that does not hang on the mount.
fn errno(error: &EngineError) -> Option<i32> {
    match error {
        EngineError::Store(error) => error.raw_os_error(),
        EngineError::Denied(_)
        | EngineError::IdentityPolicy { .. }
        | EngineError::KeyPolicy { .. }
        | EngineError::Blocked { .. } => Some(libc::EACCES),
        EngineError::ReadOnly(_) => Some(libc::EROFS),
        EngineError::Retained { .. } => Some(libc::EPERM),
        _ => None,
    }
}

/// What S3 calls it when the key service refuses.
fn key_code(error: &KeyError) -> &'static str {
    match error {
        KeyError::Unknown { .. } | KeyError::Destroyed { .. } => "KMS.NotFoundException",
        KeyError::Disabled { .. } | KeyError::Retired { .. } => "KMS.DisabledException",
        KeyError::PendingDeletion { .. } | KeyError::Expired { .. } => "KMS.KMSInvalidStateException",
        KeyError::Rejected { .. } => "KMS.InvalidCiphertextException",
        KeyError::Invalid { .. } => "InvalidArgument",
        KeyError::Denied { .. } => "AccessDenied",
        KeyError::Unavailable { .. } => "KMS.KMSInternalException",
    }
}

/// The same as the key service itself calls it.
pub fn kms_code(error: &KeyError) -> &'static str {
    let code = key_code(error);
    code.strip_prefix("KMS.").unwrap_or(code)
}

/// The key that an error is about, as it names it.
pub(super) fn named(error: &KeyError) -> &str {
    match error {
        KeyError::Unknown { key }
        | KeyError::Destroyed { key }
        | KeyError::Disabled { key }
        | KeyError::Retired { key }
        | KeyError::PendingDeletion { key }
        | KeyError::Expired { key }
        | KeyError::Rejected { key }
        | KeyError::Invalid { key, .. }
        | KeyError::Denied { key, .. }
        | KeyError::Unavailable { key, .. } => key,
    }
}
