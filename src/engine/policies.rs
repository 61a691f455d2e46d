//! Buckets and their policies as an administrator handles them.

use super::{Bucket, Engine, EngineError, NewBucket, Result};
use crate::{
    name::BucketName,
    policy::{MAX_POLICY_BYTES, PolicyDocument, PolicyError},
    store::{
        Birth,
        layout::{BUCKET_DIR, POLICY_FILE, fixed},
        small,
    },
};

/// Why a policy was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutPolicyError {
    /// The text is no valid policy of this bucket.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Storing it failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Engine {
    /// Names of the buckets, sorted.
    pub fn bucket_names(&self) -> Result<Vec<BucketName>> {
        self.shared.buckets.names()
    }

    /// The bucket called `name`; `ENOENT` where there is none.
    pub fn bucket(&self, name: &BucketName) -> Result<std::sync::Arc<Bucket>> {
        Ok(self.shared.buckets.find(name)?.1)
    }

    /// Makes a bucket. With `adopt`, an existing directory becomes a bucket and keeps its plain files.
    pub fn create_bucket(&self, name: &BucketName, new: NewBucket, adopt: bool) -> Result<()> {
        self.require_writable()?;
        let owner = self.shared.root.stat()?;
        let birth = Birth { mode: 0o755, umask: 0o022, uid: owner.uid, gid: owner.gid };
        self.shared.buckets.create(name, new, &birth, adopt)
    }

    /// Deletes an empty bucket.
    pub fn delete_bucket(&self, name: &BucketName) -> Result<()> {
        self.require_writable()?;
        self.shared.buckets.delete(name)
    }

    /// Checks `text` and makes it the bucket's policy; the next operation is judged by it.
    pub fn put_policy(&self, name: &BucketName, text: &str) -> std::result::Result<(), PutPolicyError> {
        self.require_writable()?;
        PolicyDocument::parse(text, name)?;
        let (dir, bucket) = self.shared.buckets.find(name)?;
        let (private, _) = dir.lookup(&fixed(BUCKET_DIR)).map_err(EngineError::from)?;
        small::replace(&private, &fixed(POLICY_FILE), text.as_bytes(), 0o600).map_err(EngineError::from)?;
        Ok(bucket.reload_policy()?)
    }

    /// The stored text of the bucket's policy, if it has one.
    pub fn policy(&self, name: &BucketName) -> Result<Option<String>> {
        let (dir, _) = self.shared.buckets.find(name)?;
        let (private, _) = dir.lookup(&fixed(BUCKET_DIR))?;
        match small::read(&private, &fixed(POLICY_FILE), MAX_POLICY_BYTES) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the bucket's policy; whether it had one.
    pub fn delete_policy(&self, name: &BucketName) -> Result<bool> {
        self.require_writable()?;
        let (dir, bucket) = self.shared.buckets.find(name)?;
        let (private, _) = dir.lookup(&fixed(BUCKET_DIR))?;
        let removed = match private.unlink(&fixed(POLICY_FILE)) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        private.sync_dir()?;
        bucket.reload_policy()?;
        Ok(removed)
    }
}
