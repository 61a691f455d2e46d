//! A bucket key: one 32-byte key that wraps the data keys of many objects, so that the master key is asked rarely.

use std::fmt;

use super::BucketKeyRecord;
use crate::{
    crypto::{CryptoError, Secret},
    envelope::{self, DataKey, EncryptionContext, Id, Provider, WrapAlg, WrappedKey},
    keys::{Binding, KeyError, KeyState, MasterKey},
};

/// An unwrapped bucket key with the record it came from.
///
/// Data keys are wrapped with wrap algorithm 2 (format 10.4) under a single-use key, so the number of wraps is not
/// bounded by nonces; the time limit bounds what one leaked bucket key can open.
pub struct BucketKey {
    record: BucketKeyRecord,
    secret: Secret<32>,
}

impl BucketKey {
    /// Makes a new bucket key for `bucket`, wrapped under the newest version of `master_key`.
    ///
    /// `user` are the context pairs of the wrap; `now` is in seconds since 1970. It wraps for 30 days.
    pub fn create(
        master: &dyn MasterKey,
        master_key: &str,
        bucket: Id,
        user: &EncryptionContext,
        now: u64,
    ) -> Result<Self, KeyError> {
        let no_randomness = |e: CryptoError| unavailable(master_key, e);
        let secret = Secret::random().map_err(no_randomness)?;
        let wrapped = master.wrap_key(master_key, &secret, user, &Binding::bucket_key(bucket))?;
        let record = BucketKeyRecord {
            id: Id::random().map_err(no_randomness)?,
            bucket,
            version: 1,
            created: now,
            not_after: now.saturating_add(WRAP_SECONDS),
            state: KeyState::Enabled,
            wrapped,
        };
        Ok(Self { record, secret })
    }

    /// A key whose record has been proven with `secret`.
    pub(super) fn from_parts(record: BucketKeyRecord, secret: Secret<32>) -> Self {
        Self { record, secret }
    }

    /// Opens the copy that an object's header embeds ([`BucketKey::embedded`]): it unwraps, but never wraps.
    ///
    /// `id` and `version` are those of the data-key record beside it. The copy carries no record, so nothing is
    /// proven about them until a data key unwraps.
    pub fn from_embedded(
        embedded: &WrappedKey,
        (id, version): (Id, u32),
        bucket: Id,
        master: &dyn MasterKey,
    ) -> Result<Self, KeyError> {
        let secret = master.unwrap_key(embedded, &Binding::bucket_key(bucket))?;
        let record = BucketKeyRecord {
            id,
            bucket,
            version,
            created: 0,
            not_after: 0,
            state: KeyState::Retired,
            wrapped: embedded.clone(),
        };
        Ok(Self { record, secret })
    }

    /// The same key wrapped again under the newest version of `master_key` (after a rotation), proven to unwrap.
    pub fn rewrapped(&self, master: &dyn MasterKey, master_key: &str) -> Result<Self, KeyError> {
        let binding = Binding::bucket_key(self.record.bucket);
        let wrapped = master.wrap_key(master_key, &self.secret, &self.record.wrapped.context, &binding)?;
        let back = master.unwrap_key(&wrapped, &binding)?;
        if !crate::crypto::equal(back.expose(), self.secret.expose()) {
            return Err(KeyError::Rejected { key: master_key.to_owned() });
        }
        Ok(Self { record: BucketKeyRecord { wrapped, ..self.record.clone() }, secret: back })
    }

    /// The same key in another state (retired by a newer key, or disabled).
    #[must_use]
    pub fn with_state(&self, state: KeyState) -> Self {
        Self { record: BucketKeyRecord { state, ..self.record.clone() }, secret: self.secret.duplicate() }
    }

    /// The key's id, which is also the name of its file.
    pub fn id(&self) -> Id {
        self.record.id
    }

    /// The record, to be kept by [`BucketKey::encode_record`].
    pub fn record(&self) -> &BucketKeyRecord {
        &self.record
    }

    /// The content of the key's file.
    pub fn encode_record(&self) -> Vec<u8> {
        self.record.encode(&self.secret)
    }

    /// The wrapped key as object headers carry it, so that one object and the master key are enough to read.
    pub fn embedded(&self) -> WrappedKey {
        self.record.wrapped.clone()
    }

    /// Whether new data keys may be wrapped at `now` (seconds since 1970).
    pub fn wraps_at(&self, now: u64) -> bool {
        self.record.state == KeyState::Enabled && now < self.record.not_after
    }

    /// Wraps the data key of `object`, bound to the `user` pairs too. Fails with [`KeyError::Retired`] when this key is past its 30 days.
    pub fn wrap_data_key(
        &self,
        object: Id,
        data_key: &DataKey,
        user: &EncryptionContext,
        now: u64,
    ) -> Result<WrappedKey, KeyError> {
        self.wrap(&Binding::data_key(self.record.bucket, object), data_key, user, now)
    }

    /// Wraps the data key of the outer layer of `object`; otherwise as [`BucketKey::wrap_data_key`].
    pub fn wrap_outer_data_key(
        &self,
        object: Id,
        data_key: &DataKey,
        now: u64,
    ) -> Result<WrappedKey, KeyError> {
        let binding = Binding::outer_data_key(self.record.bucket, object);
        self.wrap(&binding, data_key, &EncryptionContext::default(), now)
    }

    fn wrap(
        &self,
        binding: &Binding,
        data_key: &DataKey,
        user: &EncryptionContext,
        now: u64,
    ) -> Result<WrappedKey, KeyError> {
        let name = self.id().to_string();
        self.record.state.check_wrap(&name)?;
        if !self.wraps_at(now) {
            return Err(KeyError::Retired { key: name });
        }
        let wrapping = (Provider::BucketKey, self.record.id.as_bytes().as_slice(), self.record.version);
        let bound = binding.context(user);
        envelope::wrap_local(binding.record_type(), wrapping, &self.secret, data_key, user, &bound)
            .map_err(|e| unavailable(&name, e))
    }

    /// Unwraps the data key of `object`.
    pub fn unwrap_data_key(&self, wrapped: &WrappedKey, object: Id) -> Result<DataKey, KeyError> {
        self.unwrap(wrapped, &Binding::data_key(self.record.bucket, object))
    }

    /// Unwraps the data key of the outer layer of `object`.
    pub fn unwrap_outer_data_key(&self, wrapped: &WrappedKey, object: Id) -> Result<DataKey, KeyError> {
        self.unwrap(wrapped, &Binding::outer_data_key(self.record.bucket, object))
    }

    fn unwrap(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<DataKey, KeyError> {
        let name = self.id().to_string();
        if wrapped.provider != Provider::BucketKey || wrapped.key_id != self.record.id.as_bytes() {
            return Err(KeyError::Unknown { key: Self::named_by(wrapped).map_or(name, |id| id.to_string()) });
        }
        self.record.state.check_unwrap(&name)?;
        let fits = wrapped.kind == binding.record_type()
            && wrapped.key_version == self.record.version
            && wrapped.alg == WrapAlg::HkdfAesGcm;
        let rejected = KeyError::Rejected { key: name };
        if !fits {
            return Err(rejected);
        }
        envelope::unwrap_local(wrapped, &self.secret, &binding.context(&wrapped.context))
            .map_err(|_| rejected)
    }

    /// The bucket key that a data-key record names, or `None` when another provider wrapped it.
    pub fn named_by(wrapped: &WrappedKey) -> Option<Id> {
        let id = wrapped.key_id.as_slice().try_into().ok().map(Id::from_bytes)?;
        (wrapped.provider == Provider::BucketKey && !id.is_zero()).then_some(id)
    }
}

impl fmt::Debug for BucketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketKey")
            .field("id", &self.record.id)
            .field("state", &self.record.state)
            .finish_non_exhaustive()
    }
}

/// How long a bucket key wraps new data keys: 30 days, in seconds.
pub(super) const WRAP_SECONDS: u64 = 30 * 24 * 60 * 60;

fn unavailable(key: &str, error: CryptoError) -> KeyError {
    KeyError::Unavailable { key: key.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fake::FakeMaster;

    fn key(master: &FakeMaster) -> BucketKey {
        BucketKey::create(master, "service", Id::random().unwrap(), &EncryptionContext::default(), 1000)
            .unwrap()
    }

    fn wrap(key: &BucketKey, object: Id, data_key: &DataKey) -> WrappedKey {
        key.wrap_data_key(object, data_key, &EncryptionContext::default(), 1000).unwrap()
    }

    #[test]
    fn a_data_key_unwraps_for_its_object_and_no_other() {
        let master = FakeMaster::new();
        let (key, data_key) = (key(&master), Secret::random().unwrap());
        let (object, other) = (Id::random().unwrap(), Id::random().unwrap());
        let wrapped = wrap(&key, object, &data_key);
        assert_eq!(BucketKey::named_by(&wrapped), Some(key.id()));
        assert_eq!(key.unwrap_data_key(&wrapped, object).unwrap().expose(), data_key.expose());
        assert!(matches!(key.unwrap_data_key(&wrapped, other), Err(KeyError::Rejected { .. })));
    }

    #[test]
    fn the_keys_of_the_two_layers_cannot_stand_in_for_each_other() {
        let master = FakeMaster::new();
        let (key, data_key, object) = (key(&master), Secret::random().unwrap(), Id::random().unwrap());
        let (inner, outer) =
            (wrap(&key, object, &data_key), key.wrap_outer_data_key(object, &data_key, 1000).unwrap());
        assert!(key.unwrap_outer_data_key(&outer, object).is_ok());
        for swapped in [&outer, &WrappedKey { kind: inner.kind, ..outer.clone() }] {
            assert!(matches!(key.unwrap_data_key(swapped, object), Err(KeyError::Rejected { .. })));
        }
        assert!(key.unwrap_outer_data_key(&inner, object).is_err());
    }

    #[test]
    fn an_object_with_its_embedded_bucket_key_needs_the_master_key_only() {
        let master = FakeMaster::new();
        let (key, data_key, object) = (key(&master), Secret::random().unwrap(), Id::random().unwrap());
        let (wrapped, embedded) = (wrap(&key, object, &data_key), key.embedded());
        assert_eq!(embedded.kind, crate::envelope::RecordType::EmbeddedBucketKey);
        let id = BucketKey::named_by(&wrapped).unwrap();
        let bucket = key.record().bucket;
        let alone = BucketKey::from_embedded(&embedded, (id, wrapped.key_version), bucket, &master).unwrap();
        assert_eq!(alone.unwrap_data_key(&wrapped, object).unwrap().expose(), data_key.expose());
        let refused = alone.wrap_data_key(object, &data_key, &EncryptionContext::default(), 0);
        assert!(matches!(refused, Err(KeyError::Retired { .. })));
    }

    #[test]
    fn a_bucket_key_wraps_for_thirty_days_and_unwraps_afterwards() {
        let master = FakeMaster::new();
        let (key, data_key, object) = (key(&master), Secret::random().unwrap(), Id::random().unwrap());
        let wrapped = wrap(&key, object, &data_key);
        let late = 1000 + WRAP_SECONDS;
        assert!(key.wrap_data_key(object, &data_key, &EncryptionContext::default(), late - 1).is_ok());
        let refused = key.wrap_data_key(object, &data_key, &EncryptionContext::default(), late);
        assert!(matches!(refused, Err(KeyError::Retired { .. })));
        assert!(key.unwrap_data_key(&wrapped, object).is_ok());
    }

    #[test]
    fn a_disabled_bucket_key_does_neither_and_says_so() {
        let master = FakeMaster::new();
        let (key, data_key, object) = (key(&master), Secret::random().unwrap(), Id::random().unwrap());
        let wrapped = wrap(&key, object, &data_key);
        let key = key.with_state(KeyState::Disabled);
        assert!(matches!(key.unwrap_data_key(&wrapped, object), Err(KeyError::Disabled { .. })));
        let refused = key.wrap_data_key(object, &data_key, &EncryptionContext::default(), 1000);
        assert!(matches!(refused, Err(KeyError::Disabled { .. })));
    }

    #[test]
    fn a_record_of_another_bucket_key_or_provider_is_unknown() {
        let master = FakeMaster::new();
        let (one, two) = (key(&master), key(&master));
        let (data_key, object) = (Secret::random().unwrap(), Id::random().unwrap());
        let wrapped = wrap(&one, object, &data_key);
        assert!(matches!(two.unwrap_data_key(&wrapped, object), Err(KeyError::Unknown { .. })));
        let foreign = WrappedKey { provider: Provider::AwsKms, ..wrapped };
        assert!(matches!(one.unwrap_data_key(&foreign, object), Err(KeyError::Unknown { .. })));
    }
}
