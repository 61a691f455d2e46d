//! The wrapped data keys of one bucket's objects: made for new ones, opened for stored ones.
//!
//! Bucket keys are kept for a while ([`BucketKeys`]), so that the key service is asked rarely; whatever is kept is good
//! for one generation of the key service, so that a disabled key is refused at once. No lock is held while the key
//! service is asked.

use std::{
    io::ErrorKind,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Caller, Result, admission::Admission, clock, encryption::RequestError, sealing::Sealing,
    wrapping_keys::service_key,
};
use crate::{
    crypto::Secret,
    envelope::{DataKey, DataKeys, EncryptionContext, Id, RecordType, WrappedKey},
    keys::{
        Binding, BucketKey, BucketKeyError, BucketKeys, Clock, CustomerKeys, CustomerRequest, KeyError,
        KeyId, KeyService, MAX_BUCKET_KEY_RECORD, MasterKey, SealedBucketKey,
    },
    name::FileName,
    object::{Geometry, Identity, KeySection, ObjectKeys, SseMode},
    store::{
        NodeRef,
        layout::{KEK_DIR, fixed},
        small,
    },
};

/// What keys are wrapped and unwrapped with: the same for all buckets of a store.
#[derive(Clone)]
pub(super) struct KeySources {
    /// The keys of the store.
    pub(super) service: Arc<KeyService>,
    /// The keys that customers have brought.
    pub(super) customers: Arc<CustomerKeys>,
    /// What kept keys age by.
    pub(super) clock: Arc<dyn Clock>,
}

/// Wraps and unwraps the data keys of the objects of one bucket.
pub(super) struct Wraps {
    sources: KeySources,
    pub(super) bucket: Id,
    geometry: Geometry,
    /// The reserved directory of the bucket.
    pub(super) private: NodeRef,
    /// Bucket keys by their id.
    pub(super) keys: BucketKeys,
    /// By master key: the bucket key that wraps new data keys.
    pub(super) wrapping: BucketKeys<KeyId>,
    /// The generation of the key service that the kept keys are of.
    generation: AtomicU64,
}

/// What a new encrypted object starts with.
pub(super) struct NewObject {
    pub(super) identity: Identity,
    pub(super) key_section: KeySection,
    pub(super) keys: ObjectKeys,
    /// The generation of the key service when its keys were wrapped.
    pub(super) generation: u64,
}

/// For whom a key is used.
#[derive(Clone, Copy)]
pub(super) enum Whom<'a> {
    /// The administrator: every customer key serves him.
    Administrator,
    /// The user with this number, who does not get to see what is decrypted.
    User(u32),
    /// One who gets to see what is decrypted, as far as the policies of keys let him.
    Reader(&'a Admission, &'a Caller),
}

impl Whom<'_> {
    /// The user, whose customer keys serve him; `None` for the administrator.
    fn uid(self) -> Option<u32> {
        match self {
            Self::Administrator => None,
            Self::User(uid) => Some(uid),
            Self::Reader(_, caller) => Some(caller.uid),
        }
    }
}

/// Who asks for a key, and for which object.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// Name of the bucket.
    pub(super) bucket: &'a str,
    /// The object's path in it.
    pub(super) path: &'a dyn Fn() -> PathBuf,
    pub(super) whom: Whom<'a>,
}

impl Asker<'_> {
    fn with_request<T>(&self, work: impl FnOnce(&CustomerRequest<'_>) -> T) -> T {
        let path = (self.path)();
        work(&CustomerRequest { bucket: self.bucket, path: &path.to_string_lossy(), uid: self.whom.uid() })
    }
}

impl Wraps {
    pub(super) fn new(sources: KeySources, bucket: Id, geometry: Geometry, private: NodeRef) -> Self {
        let (keys, wrapping) =
            (BucketKeys::new(sources.clock.clone()), BucketKeys::new(sources.clock.clone()));
        let generation = AtomicU64::new(sources.service.generation());
        Self { sources, bucket, geometry, private, keys, wrapping, generation }
    }

    /// The keys of the store.
    pub(super) fn service(&self) -> &Arc<KeyService> {
        &self.sources.service
    }

    /// Of which generation the keys are that are kept here.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes notice of changes to keys: what is kept of before is forgotten. Whether the keyring could be looked at.
    pub(super) fn refresh(&self) -> bool {
        let refreshed = self.sources.service.refresh();
        if let Err(error) = &refreshed {
            log::warn!("keys stay as they were: {error}");
        }
        self.forget_former_keys();
        refreshed.is_ok()
    }

    /// Takes notice of what time alone changes, where the keyring is known to be the same.
    pub(super) fn age(&self) {
        self.sources.service.age();
        self.forget_former_keys();
    }

    fn forget_former_keys(&self) {
        let now = self.sources.service.generation();
        if self.generation.swap(now, Ordering::AcqRel) != now {
            self.keys.purge();
            self.wrapping.purge();
        }
    }

    /// Fresh keys and identity for an object that `asker` creates. [`Sealing::Plain`] has none of it.
    pub(super) fn new_object(&self, sealing: &Sealing, asker: &Asker<'_>) -> Result<NewObject> {
        let generation = self.generation();
        let (mode, bucket_key) = match sealing {
            Sealing::Plain | Sealing::Service => (SseMode::S3, true),
            Sealing::Kms { bucket_key, .. } => (SseMode::Kms, *bucket_key),
            Sealing::DualKms { .. } => (SseMode::DualKms, false),
            Sealing::Customer => (SseMode::Customer, false),
        };
        let fresh = Identity::fresh(self.geometry, mode, self.bucket, clock::now_nanos())?;
        let mut identity = Identity { bucket_key, ..fresh };
        let second = if identity.is_dual() { Some(Secret::random()?) } else { None };
        let data_keys = DataKeys { first: Secret::random()?, second };
        let records = self.wrap(sealing, identity.object, &data_keys, asker)?;
        let key_section = KeySection { rewraps: 0, records };
        if !key_section.fits() {
            return Err(RequestError::ContextTooLong.into());
        }
        let keys = ObjectKeys::create(&data_keys, &mut identity);
        Ok(NewObject { identity, key_section, keys, generation })
    }

    /// The records of an object's header (format section 5.4).
    pub(super) fn wrap(
        &self,
        sealing: &Sealing,
        object: Id,
        data_keys: &DataKeys,
        asker: &Asker<'_>,
    ) -> Result<Vec<WrappedKey>> {
        let (first, none) = (&data_keys.first, EncryptionContext::default());
        let binding = Binding::data_key(self.bucket, object);
        match sealing {
            Sealing::Plain | Sealing::Service => {
                self.wrap_by_bucket_key(&service_key(), object, first, &none)
            }
            Sealing::Kms { key, bucket_key: true, context } => {
                self.wrap_by_bucket_key(key, object, first, context)
            }
            Sealing::Kms { key, bucket_key: false, context } => {
                Ok(vec![self.service().wrap_key(key.as_str(), first, context, &binding)?])
            }
            Sealing::DualKms { key, context } => {
                let inner = self.service().wrap_key(key.as_str(), first, context, &binding)?;
                let outer = data_keys.second.as_ref().expect("two layers have two data keys");
                let bucket_key = self.wrapping_key(&service_key())?;
                let outer = bucket_key.wrap_outer_data_key(object, outer, clock::now_secs())?;
                Ok(vec![inner, outer, bucket_key.embedded()])
            }
            Sealing::Customer => {
                let key = asker.with_request(|request| self.sources.customers.current(request))?;
                Ok(key.wrap_data_key(&binding, first, &none)?.into())
            }
        }
    }

    fn wrap_by_bucket_key(
        &self,
        master: &KeyId,
        object: Id,
        data_key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<Vec<WrappedKey>> {
        let bucket_key = self.wrapping_key(master)?;
        let wrapped = bucket_key.wrap_data_key(object, data_key, context, clock::now_secs())?;
        Ok(vec![wrapped, bucket_key.embedded()])
    }

    /// Unwraps the data keys of a stored object; whether they are the right ones, its commitments tell.
    pub(super) fn data_keys(
        &self,
        identity: &Identity,
        section: &KeySection,
        asker: &Asker<'_>,
    ) -> Result<DataKeys> {
        self.require_decrypt(identity, section, asker)?;
        let first = self.inner_data_key(identity, section, asker)?;
        let second = match section.find(RecordType::DataKey2).filter(|_| identity.is_dual()) {
            Some(record) => {
                let key = self.bucket_key_of(record, section)?;
                Some(key.unwrap_outer_data_key(record, identity.object)?)
            }
            None if identity.is_dual() => return Err(no_record().into()),
            None => None,
        };
        Ok(DataKeys { first, second })
    }

    fn inner_data_key(
        &self,
        identity: &Identity,
        section: &KeySection,
        asker: &Asker<'_>,
    ) -> Result<DataKey> {
        let record = section.find(RecordType::DataKey1).ok_or_else(no_record)?;
        let binding = Binding::data_key(self.bucket, identity.object);
        Ok(match identity.mode {
            SseMode::Customer => {
                let verifier = section.find(RecordType::CustomerVerifier).ok_or_else(no_record)?;
                let customers = &self.sources.customers;
                asker.with_request(|request| {
                    customers.unwrap_data_key(request, (record, verifier), &binding)
                })?
            }
            _ if BucketKey::named_by(record).is_some() => {
                let key = self.bucket_key_of(record, section)?;
                key.unwrap_data_key(record, identity.object)?
            }
            _ => self.service().unwrap_key(record, &binding)?,
        })
    }

    /// The master key that an object depends on, as far as its records tell: nothing of it is proven. None for SSE-C.
    pub(super) fn master_of(&self, section: &KeySection) -> std::result::Result<Option<KeyId>, KeyError> {
        let record = section.find(RecordType::DataKey1).ok_or_else(no_record)?;
        if section.find(RecordType::CustomerVerifier).is_some() {
            return Ok(None);
        }
        let wrapped = match BucketKey::named_by(record) {
            Some(_) => section.find(RecordType::EmbeddedBucketKey).ok_or_else(no_record)?,
            None => record,
        };
        self.service().key_of(wrapped).map(Some)
    }

    /// The bucket key that wrapped `record`.
    pub(super) fn bucket_key_of(&self, record: &WrappedKey, section: &KeySection) -> Result<Arc<BucketKey>> {
        let id = BucketKey::named_by(record).ok_or_else(no_record)?;
        Ok(self.keys.get(id, || self.load_key(id, record.key_version, section))?)
    }

    /// Whether the bucket key called `id` is in memory.
    pub(super) fn has_bucket_key(&self, id: Id) -> bool {
        self.keys.has(&id)
    }

    /// The master key that the bucket key called `id` is under, as its file says or else the copy in an object.
    pub(super) fn claimed_master_of(&self, id: Id, section: &KeySection) -> Option<KeyId> {
        let of_file = self.read_key_file(id).ok().flatten();
        let wrapped = of_file.as_ref().map(|sealed| &sealed.claims().wrapped);
        self.service().key_of(wrapped.or_else(|| section.find(RecordType::EmbeddedBucketKey))?).ok()
    }

    /// Reads a bucket key from its file, or from the copy that an object's header carries.
    pub(super) fn load_key(
        &self,
        id: Id,
        version: u32,
        section: &KeySection,
    ) -> std::result::Result<BucketKey, BucketKeyError> {
        let (service, bucket) = (&**self.service(), self.bucket);
        match (self.read_key_file(id), section.find(RecordType::EmbeddedBucketKey)) {
            (Ok(Some(sealed)), _) => sealed.open(id, bucket, service),
            (Err(error), None) => Err(error),
            (file, Some(embedded)) => {
                let why = file.err().map_or("missing".to_owned(), |e| e.to_string());
                log::warn!("key file {id} of bucket {bucket}: {why}; using the copy in an object");
                Ok(BucketKey::from_embedded(embedded, (id, version), bucket, service)?)
            }
            (Ok(None), None) => {
                Err(BucketKeyError::Damaged { why: format!("the file of key {id} is missing") })
            }
        }
    }

    pub(super) fn read_key_file(
        &self,
        id: Id,
    ) -> std::result::Result<Option<SealedBucketKey>, BucketKeyError> {
        let name = FileName::parse(id.to_string().as_ref()).expect("hex digits are a file name");
        let read = self
            .private
            .lookup(&fixed(KEK_DIR))
            .and_then(|(dir, _)| small::read(&dir, &name, MAX_BUCKET_KEY_RECORD));
        match read {
            Ok(bytes) => SealedBucketKey::decode(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&error)),
        }
    }
}

pub(super) fn no_record() -> KeyError {
    KeyError::Unknown { key: "(no data-key record in the header)".into() }
}

pub(super) fn unusable(error: &std::io::Error) -> BucketKeyError {
    BucketKeyError::Store { errno: error.raw_os_error().unwrap_or(libc::EIO) }
}
