//! What is asked and answered, as JSON.

use std::{collections::BTreeSet, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::job::JobLine;
use crate::{
    crypto::Zeroizing,
    engine::{
        DefaultEncryption, EncryptionChange, EncryptionType, Engine, JournalMode, NewBucket, Reencrypt,
        Replicate, Result, Retention, Rewrap,
    },
    envelope::Id,
    keys::{CustomerKey, CustomerScope, KeyId, KeyringError, Passphrase, Tpm2Device, Tpm2Unlock, Unlock},
    name::BucketName,
};

/// A request. Answers are named in brackets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Whether the daemon answers [[`Status`]].
    Status,
    /// Store everything that is unsaved and wait for the disk; `null`.
    Flush,
    /// The buckets [list of [`BucketInfo`]].
    ListBuckets,
    /// Make a bucket; `null`.
    CreateBucket {
        /// Its name.
        name: String,
        /// What it is made with.
        new: NewBucket,
        /// Make it of an existing directory.
        adopt: bool,
    },
    /// Delete an empty bucket; `null`.
    DeleteBucket {
        /// Its name.
        name: String,
    },
    /// The encryption configuration of a bucket [[`crate::engine::BucketEncryption`]].
    GetEncryption {
        /// The bucket.
        bucket: String,
    },
    /// Change it [the [`crate::engine::BucketEncryption`] that it then is].
    ChangeEncryption {
        /// The bucket.
        bucket: String,
        /// What to change.
        change: EncryptionChange,
    },
    /// The retention of a bucket [[`Retention`], or `null`].
    GetRetention {
        /// The bucket.
        bucket: String,
    },
    /// Set it, or end it; `null`.
    PutRetention {
        /// The bucket.
        bucket: String,
        /// The new rule; none to end retention.
        rule: Option<Retention>,
        /// Weaken one in governance mode.
        bypass: bool,
    },
    /// Take notice of what another process did to the keyring; `null`.
    RefreshKeys,
    /// Cut off the open files of a key that was disabled [number of them].
    RevokeKey {
        /// The key.
        key: KeyId,
    },
    /// Hold customer keys (SSE-C) in memory; `null`.
    AddCustomerKeys {
        /// Which requests they serve.
        scope: Scope,
        /// The current key first, then older ones for reading.
        keys: Vec<SecretText>,
        /// Seconds after which they are forgotten; kept until they are removed without it.
        ttl: Option<u64>,
    },
    /// Forget the customer keys of a scope [number of them].
    RemoveCustomerKeys {
        /// The scope that they were added with.
        scope: Scope,
    },
    /// The scopes that have customer keys [list of [`Scope`]].
    ListCustomerKeys,
    /// Run a job [[`Totals`](crate::engine::Totals)], telling of each object. Closing the connection for writing stops it.
    Job(Job),
}

/// What runs through all objects.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "snake_case", deny_unknown_fields)]
pub enum Job {
    /// New wraps.
    Rewrap(Rewrap),
    /// New data keys.
    Reencrypt(Reencrypt),
    /// Copies in another store.
    Replicate {
        /// What to replicate.
        job: Replicate,
        /// The other store, an absolute path.
        target: PathBuf,
        /// How the daemon unlocks that.
        unlock: Unlocking,
    },
}

/// How to unlock a store, on its way. Files are read by the daemon, with its rights.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unlocking {
    /// A passphrase, its bytes as hex.
    Passphrase(SecretText),
    /// A key file, an absolute path.
    KeyFile(PathBuf),
    /// A credential of a service, an absolute path.
    Credential(PathBuf),
    /// A key of the kernel.
    KernelKey(String),
    /// A TPM.
    Tpm2 {
        /// Which one.
        device: Tpm2Device,
        /// Its PIN, the bytes as hex.
        pin: Option<SecretText>,
    },
}

impl From<&Unlock> for Unlocking {
    fn from(unlock: &Unlock) -> Self {
        match unlock {
            Unlock::Passphrase(passphrase) => Self::Passphrase(SecretText(passphrase.to_hex())),
            Unlock::KeyFile(path) => Self::KeyFile(path.clone()),
            Unlock::Credential(path) => Self::Credential(path.clone()),
            Unlock::KernelKey(name) => Self::KernelKey(name.clone()),
            Unlock::Tpm2(Tpm2Unlock { device, pin }) => {
                let pin = pin.as_ref().map(|pin| SecretText(pin.to_hex()));
                Self::Tpm2 { device: device.clone(), pin }
            }
        }
    }
}

impl Unlocking {
    pub(super) fn unlock(&self) -> std::result::Result<Unlock, KeyringError> {
        Ok(match self {
            Self::Passphrase(text) => Unlock::Passphrase(Passphrase::from_hex(&text.0)?),
            Self::KeyFile(path) => Unlock::KeyFile(path.clone()),
            Self::Credential(path) => Unlock::Credential(path.clone()),
            Self::KernelKey(name) => Unlock::KernelKey(name.clone()),
            Self::Tpm2 { device, pin } => {
                let pin = pin.as_ref().map(|text| Passphrase::from_hex(&text.0)).transpose()?;
                Unlock::Tpm2(Tpm2Unlock { device: device.clone(), pin })
            }
        })
    }
}

/// Which requests a customer key serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Name of the only bucket; all of them without one.
    pub bucket: Option<String>,
    /// Beginning of the object's path in the bucket.
    pub prefix: String,
    /// The only user; everybody without one.
    pub uid: Option<u32>,
}

impl From<Scope> for CustomerScope {
    fn from(Scope { bucket, prefix, uid }: Scope) -> Self {
        Self { bucket, prefix, uid }
    }
}

impl From<CustomerScope> for Scope {
    fn from(CustomerScope { bucket, prefix, uid }: CustomerScope) -> Self {
        Self { bucket, prefix, uid }
    }
}

/// A customer key as text, wiped when dropped and never shown.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text of `key`.
    pub fn of(key: &CustomerKey) -> Self {
        Self(key.to_hex())
    }

    /// The key, if the text is one.
    pub(super) fn key(&self) -> Option<CustomerKey> {
        CustomerKey::parse(self.0.as_bytes())
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// What a daemon says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process number.
    pub pid: u32,
    /// Whether every change is refused.
    pub read_only: bool,
}

/// A bucket as an administrator sees it; sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: Id,
    /// Encryption of objects whose creation names none, as S3 calls it.
    pub default_encryption: String,
    /// The KMS key of that default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Whether that default uses bucket keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_key: Option<bool>,
    /// What no object may be written with.
    pub blocked_encryption: BTreeSet<EncryptionType>,
    /// Whether its objects have room for two layers.
    pub dual_layer: bool,
    /// Whether plain files may be in it.
    pub plaintext_allowed: bool,
    /// Block size.
    pub block_size: u64,
    /// Whether it has a journal.
    pub journal: JournalMode,
    /// Whether it has a policy.
    pub policy: bool,
}

impl BucketInfo {
    /// The bucket called `name`; `ENOENT` where there is none.
    pub fn of(engine: &Engine, name: &BucketName) -> Result<Self> {
        let bucket = engine.bucket(name)?;
        let settings = bucket.settings();
        let default = &settings.encryption.default;
        let bucket_key =
            if let DefaultEncryption::Kms { bucket_key, .. } = default { Some(*bucket_key) } else { None };
        Ok(Self {
            name: name.to_string(),
            id: settings.id,
            default_encryption: default.header().unwrap_or("none").to_owned(),
            kms_key: default.key().map(ToString::to_string),
            bucket_key,
            blocked_encryption: settings.encryption.blocked.clone(),
            dual_layer: settings.geometry.wide(),
            plaintext_allowed: settings.plaintext_allowed,
            block_size: settings.geometry.block_size(),
            journal: settings.journal,
            policy: bucket.has_policy()?,
        })
    }

    /// Every bucket, by name.
    pub fn all(engine: &Engine) -> Result<Vec<Self>> {
        engine.bucket_names()?.iter().map(|name| Self::of(engine, name)).collect()
    }
}

/// Why a request was refused, where the reason makes a difference to who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// What was named is not there.
    NotFound,
    /// What was to be made is there.
    Exists,
    /// What was to be deleted holds something.
    NotEmpty,
    /// Stored data is damaged.
    Damaged,
    /// A policy, or a rule in force, forbids it.
    Denied,
    /// What was asked for is not there to be changed.
    NoRule,
    /// Another store, which the request is also about, was not unlocked.
    Locked,
    /// The request makes no sense to this daemon.
    BadRequest,
    /// The daemon has too much to do, or is about to end.
    Busy,
    /// Anything else; the message says it.
    Other,
}

/// A request on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) version: u32,
    pub(super) request: Request,
}

/// An answer on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// Of a job: more follows.
    Object(JobLine),
    Done(serde_json::Value),
    Refused(Refused),
}

/// A refusal: its reason and what to tell the user, one line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refused {
    pub(super) failure: Failure,
    pub(super) message: String,
}

impl Refused {
    /// A refusal for this reason.
    pub fn new(failure: Failure, message: impl std::fmt::Display) -> Self {
        Self { failure, message: message.to_string() }
    }
}

/// Version of requests and answers; another one is refused.
pub(super) const VERSION: u32 = 1;
