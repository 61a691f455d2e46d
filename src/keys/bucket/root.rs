//! The bucket root secret: one 32-byte secret per bucket, source of the bucket's own keys (format 10.7).

use crate::{
    crypto::Secret,
    envelope::{EncryptionContext, Id, WrappedKey},
    keys::{Binding, KeyError, MasterKey, derive::hkdf},
};

/// An unwrapped bucket root secret.
#[derive(Debug)]
pub struct BucketRoot(Secret<32>);

impl BucketRoot {
    /// Makes the root secret of `bucket` and wraps it under `master_key`; the record goes into the bucket's settings.
    pub fn create(
        master: &dyn MasterKey,
        master_key: &str,
        bucket: Id,
        user: &EncryptionContext,
    ) -> Result<(Self, WrappedKey), KeyError> {
        let secret = Secret::random()
            .map_err(|e| KeyError::Unavailable { key: master_key.to_owned(), why: e.to_string() })?;
        let root = Self(secret);
        let wrapped = root.wrap(master, master_key, bucket, user)?;
        Ok((root, wrapped))
    }

    /// Unwraps the root secret of `bucket`.
    pub fn open(wrapped: &WrappedKey, bucket: Id, master: &dyn MasterKey) -> Result<Self, KeyError> {
        master.unwrap_key(wrapped, &Binding::bucket_root(bucket)).map(Self)
    }

    /// Wraps the same secret again, under the newest version of `master_key` (after a rotation).
    pub fn wrap(
        &self,
        master: &dyn MasterKey,
        master_key: &str,
        bucket: Id,
        user: &EncryptionContext,
    ) -> Result<WrappedKey, KeyError> {
        master.wrap_key(master_key, &self.0, user, &Binding::bucket_root(bucket))
    }

    /// The key that authenticates the bucket's settings: `HKDF(root, "EOB1/config")`.
    pub fn settings_mac_key(&self) -> Secret<32> {
        hkdf(self.0.expose(), &[], b"EOB1/config")
    }

    /// The key that authenticates the bucket's retention rule: `HKDF(root, "EOB1/retention")`.
    pub fn retention_mac_key(&self) -> Secret<32> {
        hkdf(self.0.expose(), &[], b"EOB1/retention")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fake::FakeMaster;

    #[test]
    fn a_root_secret_opens_for_its_bucket_only_and_gives_the_same_settings_key() {
        let master = FakeMaster::new();
        let (bucket, other) = (Id::random().unwrap(), Id::random().unwrap());
        let (root, wrapped) =
            BucketRoot::create(&master, "service", bucket, &EncryptionContext::default()).unwrap();
        let back = BucketRoot::open(&wrapped, bucket, &master).unwrap();
        assert_eq!(back.settings_mac_key().expose(), root.settings_mac_key().expose());
        assert!(matches!(BucketRoot::open(&wrapped, other, &master), Err(KeyError::Rejected { .. })));
    }

    #[test]
    fn a_wrapped_bucket_key_never_opens_as_a_root_secret() {
        let master = FakeMaster::new();
        let bucket = Id::random().unwrap();
        let key =
            crate::keys::BucketKey::create(&master, "service", bucket, &EncryptionContext::default(), 0)
                .unwrap();
        assert!(matches!(BucketRoot::open(&key.embedded(), bucket, &master), Err(KeyError::Rejected { .. })));
    }
}
