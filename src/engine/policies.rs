//! Buckets and their policies as an administrator handles them.

use std::path::Path;

use super::{Bucket, Engine, EngineError, NewBucket, Result, StartError, buckets::file_name};
use crate::{
    name::BucketName,
    policy::{MAX_POLICY_BYTES, PolicyDocument, PolicyError},
    store::{
        Birth, LocalStore, NodeRef,
        layout::{self, BUCKET_DIR, POLICY_FILE, fixed},
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

    /// What [`Engine::create_bucket`] does.
    pub(super) fn add_bucket(&self, name: &BucketName, new: NewBucket, adopt: bool) -> Result<()> {
        self.require_writable()?;
        let owner = self.shared.root.stat()?;
        let birth = Birth { mode: 0o755, umask: 0o022, uid: owner.uid, gid: owner.gid };
        self.shared.buckets.create(name, new, &birth, adopt)?;
        self.shared.replacing.appeared(self.shared.root.key(), &file_name(name));
        Ok(())
    }

    /// What [`Engine::delete_bucket`] does.
    pub(super) fn drop_bucket(&self, name: &BucketName) -> Result<()> {
        self.require_writable()?;
        self.shared.buckets.delete(name)?;
        self.shared.replacing.appeared(self.shared.root.key(), &file_name(name));
        Ok(())
    }
}

/// The stored policy of a bucket. It is not secret and needs no key; whoever serves the bucket follows its changes.
pub struct PolicyFile {
    bucket: BucketName,
    private: NodeRef,
}

impl PolicyFile {
    /// That of `bucket` in the store at `path`; `ENOENT` where there is no such bucket.
    pub fn of(path: &Path, bucket: &BucketName) -> std::result::Result<Self, StartError> {
        let io = |source| StartError::Io { path: path.display().to_string(), source };
        let store = LocalStore::open(path).map_err(io)?;
        layout::open_store(&store.root())?;
        let found =
            store.root().lookup(&file_name(bucket)).and_then(|(dir, _)| dir.lookup(&fixed(BUCKET_DIR)));
        Ok(Self { bucket: bucket.clone(), private: found.map_err(io)?.0 })
    }

    /// Checks `text` and makes it the policy; the next operation is judged by it.
    pub fn put(&self, text: &str) -> std::result::Result<(), PutPolicyError> {
        PolicyDocument::parse(text, &self.bucket)?;
        let put = small::replace(&self.private, &fixed(POLICY_FILE), text.as_bytes(), 0o600);
        Ok(put.map_err(EngineError::from)?)
    }

    /// The text of the policy, if there is one.
    pub fn get(&self) -> Result<Option<String>> {
        match small::read(&self.private, &fixed(POLICY_FILE), MAX_POLICY_BYTES) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the policy; whether there was one.
    pub fn delete(&self) -> Result<bool> {
        match self.private.unlink(&fixed(POLICY_FILE)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.private.sync_dir()?;
        Ok(true)
    }
}
