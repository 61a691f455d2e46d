//! Why an engine call failed, in terms that a face can map to its own errors.

use std::io;

use super::{
    default_encryption::ConfigurationError,
    encryption::{EncryptionType, RequestError},
};
use crate::{
    audit::AuditError,
    crypto::CryptoError,
    keys::{BucketKeyError, KeyError, KeyId},
    name::NameError,
    object::FormatError,
    policy::Denial,
};

/// Result of an engine call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Why an engine call failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store's own answer; its errno passes through.
    #[error(transparent)]
    Store(#[from] io::Error),
    /// A bucket policy denies the request.
    #[error("{0}")]
    Denied(Box<Denial>),
    /// The policy of a user or group cannot be used, so nothing is allowed to them.
    #[error("identity policy `{file}`: {reason}")]
    IdentityPolicy {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The policy of a key cannot be used, so nobody may use the key.
    #[error("key `{key}` has a broken policy ({reason}): put a valid one with `strongroom key policy put`")]
    KeyPolicy {
        /// The key.
        key: KeyId,
        /// What is wrong with it.
        reason: String,
    },
    /// The object is retained: it can be read and not changed. Logged where it was found.
    #[error("`{object}` is retained until {until}")]
    Retained {
        /// Bucket and path of the object.
        object: String,
        /// When that ends.
        until: String,
    },
    /// Stored bytes failed authentication or are not an object of this bucket. Logged where it was found.
    #[error("object `{object}`: {reason}")]
    Integrity {
        /// Path of the object in the store.
        object: String,
        /// What is wrong with it.
        reason: FormatError,
    },
    /// A key could not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What the request asks for makes no sense.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An encryption configuration that makes no sense.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// An encryption that the bucket does not take.
    #[error("bucket `{bucket}` does not take `{kind}`: ask for another encryption, or unblock it")]
    Blocked {
        /// The bucket.
        bucket: String,
        /// The encryption.
        kind: EncryptionType,
    },
    /// Another job works on the bucket.
    #[error("another job works on bucket `{bucket}`: run this one when it has ended")]
    JobRuns {
        /// The bucket.
        bucket: String,
    },
    /// A bucket-key file is damaged or missing.
    #[error(transparent)]
    BucketKey(#[from] BucketKeyError),
    /// A primitive failed; in practice no randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Settings, policy or marker of a bucket cannot be used.
    #[error("bucket `{bucket}`: {reason}")]
    Bucket {
        /// The bucket.
        bucket: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A name that belongs to the product.
    #[error("`{0}` is a reserved name")]
    Reserved(String),
    /// A name that cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The mount or the bucket is read-only.
    #[error("read-only: {0}")]
    ReadOnly(String),
    /// A rename or link from one bucket to another.
    #[error("buckets are separate: copy and delete instead")]
    CrossBucket,
    /// Something other than a bucket at the root of the mount.
    #[error("the root of the mount holds buckets only: make a directory (a bucket) and work inside it")]
    RootHoldsBuckets,
    /// No such operation on this kind of object.
    #[error("not supported here")]
    Unsupported,
    /// A wrong argument.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// The request may not go on without being recorded, and cannot be.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// What the process at the other end of a job said.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A size past what the format can hold.
    #[error("the object would grow past the largest size of its format")]
    TooLarge,
}

impl EngineError {
    /// What the system calls by this number.
    pub(super) fn os(errno: i32) -> Self {
        io::Error::from_raw_os_error(errno).into()
    }
}

/// What the process at the other end of a job said, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PeerError {
    /// The reason as far as it makes a difference here.
    pub cause: PeerCause,
    /// One line.
    pub message: String,
    /// The errno that it has for this.
    pub errno: i32,
}

/// Why the process at the other end did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerCause {
    /// Another job works there.
    Busy,
    /// A policy, or a rule in force, forbids it.
    Denied,
    /// Stored data is damaged.
    Damaged,
    /// It was told to stop, and did.
    Stopped,
    /// Anything else; it may be gone.
    Other,
}
