//! The encryption configuration of a bucket as an administrator handles it: a part of the settings file.
//!
//! Whoever serves the bucket follows its changes; they touch new objects only.

use std::path::Path;

use super::{
    BucketEncryption, DefaultEncryption, EngineError, Result, StartError,
    buckets::file_name,
    settings::{MAX_SETTINGS, Settings},
};
use crate::{
    envelope::WrappedKey,
    keys::{BucketRoot, KeyService},
    name::BucketName,
    store::{
        LocalStore, NodeRef,
        layout::{self, BUCKET_DIR, BUCKET_FILE, fixed},
        small,
    },
};

/// The stored encryption configuration of a bucket.
pub struct EncryptionFile<'a> {
    bucket: BucketName,
    private: NodeRef,
    keys: &'a KeyService,
}

impl<'a> EncryptionFile<'a> {
    /// That of `bucket` in the store at `path`, whose keys are `keys`; `ENOENT` where there is no such bucket.
    pub fn of(
        path: &Path,
        bucket: &BucketName,
        keys: &'a KeyService,
    ) -> std::result::Result<Self, StartError> {
        let io = |source| StartError::Io { path: path.display().to_string(), source };
        let store = LocalStore::open(path).map_err(io)?;
        layout::open_store(&store.root())?;
        let found =
            store.root().lookup(&file_name(bucket)).and_then(|(dir, _)| dir.lookup(&fixed(BUCKET_DIR)));
        Ok(Self { bucket: bucket.clone(), private: found.map_err(io)?.0, keys })
    }

    /// The configuration.
    pub fn get(&self) -> Result<BucketEncryption> {
        Ok(self.read()?.0.encryption)
    }

    /// Applies `change` and stores the result durably, if it makes sense and its key exists; what it then is.
    pub fn change(&self, change: impl FnOnce(&mut BucketEncryption)) -> Result<BucketEncryption> {
        let (mut settings, root, wrapped_root) = self.read()?;
        change(&mut settings.encryption);
        settings.encryption.check(&settings.geometry)?;
        if let Some(key) = settings.encryption.default.key() {
            self.keys.resolve(key)?;
        }
        settings.plaintext_allowed |= settings.encryption.default == DefaultEncryption::None;
        let content = settings.encode(&root, &wrapped_root);
        small::replace(&self.private, &fixed(BUCKET_FILE), &content, 0o600)?;
        Ok(settings.encryption)
    }

    fn read(&self) -> Result<(Settings, BucketRoot, WrappedKey)> {
        let refused = |reason: String| EngineError::Bucket { bucket: self.bucket.to_string(), reason };
        let bytes = small::read(&self.private, &fixed(BUCKET_FILE), MAX_SETTINGS)?;
        Settings::decode(&bytes, |wrapped, id| BucketRoot::open(wrapped, id, self.keys))
            .map_err(|error| refused(error.to_string()))
    }
}
