//! The encryption configuration of a bucket as an administrator handles it: a part of the settings file.
//!
//! Whoever serves the bucket follows its changes; they touch new objects only.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{
    BucketEncryption, Caller, DefaultEncryption, Encryption, EncryptionType, Engine, EngineError, Result,
    StartError,
    buckets::file_name,
    sealing::{Place, Sealing},
    settings::{MAX_SETTINGS, Settings},
};
use crate::{
    keys::{BucketRoot, KeyId, KeyName, KeyService},
    name::BucketName,
    policy::Action,
    store::{
        LocalStore, NodeRef,
        layout::{self, BUCKET_DIR, BUCKET_FILE, fixed},
        small,
    },
};

/// A change of a bucket's encryption configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncryptionChange {
    /// Another default.
    Default(DefaultEncryption),
    /// Back to the default of S3, `AES256`.
    Reset,
    /// Refuse writes with these, besides those that are refused already.
    Block(BTreeSet<EncryptionType>),
    /// Take writes with these again.
    Unblock(BTreeSet<EncryptionType>),
}

impl EncryptionChange {
    pub(super) fn apply(&self, encryption: &mut BucketEncryption) {
        match self {
            Self::Default(default) => encryption.default = default.clone(),
            Self::Reset => encryption.default = DefaultEncryption::Aes256,
            Self::Block(kinds) => encryption.blocked.extend(kinds),
            Self::Unblock(kinds) => encryption.blocked.retain(|kind| !kinds.contains(kind)),
        }
    }
}

impl Engine {
    /// The encryption configuration of a bucket.
    pub fn encryption(&self, caller: &Caller, name: &BucketName) -> Result<BucketEncryption> {
        let (_, bucket) = self.shared.buckets.find(name)?;
        let action = Action::GetEncryptionConfiguration;
        let _granted = self.shared.admission.admit_on_bucket(caller, action, name, Some(bucket.policy()))?;
        Ok(bucket.present_settings()?.encryption.clone())
    }

    /// What [`Engine::change_encryption`] does.
    pub(super) fn put_encryption(
        &self,
        caller: &Caller,
        name: &BucketName,
        change: &EncryptionChange,
    ) -> Result<BucketEncryption> {
        self.require_writable()?;
        let (_, bucket) = self.shared.buckets.find(name)?;
        let action = Action::PutEncryptionConfiguration;
        let _granted = self.shared.admission.admit_on_bucket(caller, action, name, Some(bucket.policy()))?;
        let file = EncryptionFile { bucket: name.clone(), private: bucket.private().clone() };
        file.change(self.keys(), &self.shared.administration, |encryption| change.apply(encryption))
    }
}

/// What policies see of the encryption of a PUT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShownEncryption {
    /// `x-amz-server-side-encryption`; none where the bucket's default decides.
    pub header: Option<&'static str>,
    /// Whether the object gets a customer key.
    pub customer: bool,
    /// The effective KMS key as it is named, which may be by an alias.
    pub kms_key: Option<KeyName>,
}

/// The stored encryption configuration of a bucket.
pub struct EncryptionFile {
    bucket: BucketName,
    private: NodeRef,
}

impl EncryptionFile {
    /// That of `bucket` in the store at `path`; `ENOENT` where there is no such bucket.
    pub fn of(path: &Path, bucket: &BucketName) -> std::result::Result<Self, StartError> {
        let io = |source| StartError::Io { path: path.display().to_string(), source };
        let store = LocalStore::open(path).map_err(io)?;
        layout::open_store(&store.root())?;
        let found =
            store.root().lookup(&file_name(bucket)).and_then(|(dir, _)| dir.lookup(&fixed(BUCKET_DIR)));
        Ok(Self { bucket: bucket.clone(), private: found.map_err(io)?.0 })
    }

    /// What policies see of a PUT that requests this, as the file says. No key is needed, so the file is not proven.
    pub fn shown(&self, requested: &Encryption) -> Result<ShownEncryption> {
        let settings = Settings::claimed(&self.read()?).map_err(|error| self.refused(&error))?;
        let place = Place {
            bucket: &self.bucket,
            geometry: &settings.geometry,
            encryption: &settings.encryption,
            path: &String::new,
        };
        let kms_key = RefCell::new(None);
        let decided = requested.decide(&place, &|name| {
            *kms_key.borrow_mut() = Some(name.clone());
            Ok("any".parse::<KeyId>().expect("well-formed"))
        })?;
        let customer = decided.sealing == Sealing::Customer;
        Ok(ShownEncryption { header: decided.header, customer, kms_key: kms_key.into_inner() })
    }

    /// Applies `change` and stores the result durably, if it makes sense and its key exists; what it then is. Of those who
    /// share `turn`, none undoes what another did at the same time.
    pub(super) fn change(
        &self,
        keys: &KeyService,
        turn: &Mutex<()>,
        change: impl Fn(&mut BucketEncryption),
    ) -> Result<BucketEncryption> {
        loop {
            let before = self.read()?;
            let (changed, content) = self.changed(&before, keys, &change)?;
            // Taken now: no lock is held while the key service is asked.
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            if self.read()? == before {
                small::replace(&self.private, &fixed(BUCKET_FILE), &content, 0o600)?;
                return Ok(changed);
            }
        }
    }

    /// What `change` makes of the content `before`, and the new content.
    fn changed(
        &self,
        before: &[u8],
        keys: &KeyService,
        change: &impl Fn(&mut BucketEncryption),
    ) -> Result<(BucketEncryption, Vec<u8>)> {
        let opened = Settings::decode(before, |wrapped, id| BucketRoot::open(wrapped, id, keys));
        let (before, root, wrapped_root) = opened.map_err(|error| self.refused(&error))?;
        let mut wanted = before.encryption;
        change(&mut wanted);
        wanted.check(&before.geometry)?;
        if let Some(key) = wanted.default.key() {
            keys.resolve(key)?;
        }
        let settings = Settings {
            plaintext_allowed: before.plaintext_allowed || wanted.default == DefaultEncryption::None,
            encryption: wanted.clone(),
            ..before
        };
        Ok((wanted, settings.encode(&root, &wrapped_root)))
    }

    fn read(&self) -> Result<Vec<u8>> {
        Ok(small::read(&self.private, &fixed(BUCKET_FILE), MAX_SETTINGS)?)
    }

    fn refused(&self, error: &impl std::fmt::Display) -> EngineError {
        EngineError::Bucket { bucket: self.bucket.to_string(), reason: error.to_string() }
    }
}
