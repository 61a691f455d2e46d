//! One bucket: its settings, its policy, and the keys of its objects.

use std::{
    io::ErrorKind,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Caller, EngineError, Result,
    admission::{Admission, Ask, Headers},
    bucket_policy::BucketPolicy,
    clock,
    crash_mark::{self, Crash},
    ctime::KeptTimes,
    item::Form,
    plain::PlainOpens,
    request::Encryption,
    settings::{DefaultEncryption, Settings},
};
use crate::{
    crypto::Secret,
    envelope::{DataKey, EncryptionContext, Id, RecordType},
    keys::{
        BucketKey, BucketKeyError, BucketKeys, MAX_BUCKET_KEY_RECORD, MasterKey, SERVICE_KEY, SealedBucketKey,
    },
    name::{BucketName, FileName},
    object::{Geometry, Header, Identity, KeySection, ObjectKeys, SseMode},
    policy::{Action, Grant},
    store::{
        NodeRef, Timestamp,
        journal::Journal,
        layout::{KEK_DIR, fixed},
        small,
    },
};

/// A bucket that is in use.
pub struct Bucket {
    name: BucketName,
    settings: Settings,
    /// The reserved directory.
    private: NodeRef,
    policy: BucketPolicy,
    master: Arc<dyn MasterKey>,
    keys: BucketKeys,
    /// The bucket key that wraps new data keys; the lock is held to pick or publish one, never across a key call.
    wrapping: Mutex<Option<Arc<BucketKey>>>,
    journal: Option<Journal>,
    /// The last crash, which may have left files unfinished.
    crashed: Option<Crash>,
    /// Set when the disk did not take what it was told to: no writes until the store is opened again.
    failed: AtomicBool,
    /// Set when the disk was full: from then on, deleting empties the journal, which keeps deleted files alive.
    short: AtomicBool,
    plain_opens: PlainOpens,
    kept_times: KeptTimes,
}

/// What a new encrypted object starts with.
pub(super) struct NewObject {
    pub(super) identity: Identity,
    pub(super) key_section: KeySection,
    pub(super) keys: ObjectKeys,
}

/// How an allowed creation is to be stored. Consumes the [`Grant`] that allowed it.
pub(super) enum Creation {
    Plain,
    Encrypted(Box<NewObject>),
}

impl Bucket {
    pub(super) fn open(
        name: BucketName,
        settings: Settings,
        private: NodeRef,
        (journal, crashed): (Option<Journal>, Option<Crash>),
        master: Arc<dyn MasterKey>,
        clock: Arc<dyn crate::keys::Clock>,
    ) -> Result<Self> {
        let policy = BucketPolicy::open(name.clone(), private.clone())?;
        let kept_times = KeptTimes::open(private.clone())?;
        Ok(Self {
            name,
            settings,
            private,
            policy,
            master,
            keys: BucketKeys::new(clock),
            wrapping: Mutex::new(None),
            journal,
            crashed,
            failed: AtomicBool::new(false),
            short: AtomicBool::new(false),
            plain_opens: PlainOpens::default(),
            kept_times,
        })
    }

    /// Its name.
    pub fn name(&self) -> &BucketName {
        &self.name
    }

    /// Its identity.
    pub fn id(&self) -> Id {
        self.settings.id
    }

    /// The layout of its objects.
    pub fn geometry(&self) -> Geometry {
        self.settings.geometry
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its reserved directory.
    pub(super) fn private(&self) -> &NodeRef {
        &self.private
    }

    /// Its plain files that are open.
    pub(super) fn plain_opens(&self) -> &PlainOpens {
        &self.plain_opens
    }

    /// The change times that its objects show instead of what a rewrap stamped.
    pub(super) fn kept_times(&self) -> &KeptTimes {
        &self.kept_times
    }

    /// The key that wraps its keys.
    pub(super) fn master(&self) -> &dyn MasterKey {
        &*self.master
    }

    /// Uses `key`, a stored bucket key wrapped anew, in place of its old form.
    pub(super) fn renewed_key(&self, key: BucketKey) {
        let key = self.keys.insert(key);
        let mut wrapping = self.wrapping.lock().unwrap_or_else(PoisonError::into_inner);
        if wrapping.as_ref().is_some_and(|current| current.id() == key.id()) {
            *wrapping = Some(key);
        }
    }

    /// Wraps new data keys with `key` from now on.
    pub(super) fn wrap_with(&self, key: Arc<BucketKey>) {
        *self.wrapping.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// The journal, where the bucket has one.
    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// A flush failed: what the disk holds is not what it should. The bucket takes no further writes.
    pub(super) fn flush_failed(&self, error: &std::io::Error) -> EngineError {
        if !self.failed.swap(true, Ordering::AcqRel) {
            log::error!(
                "bucket `{}` is read-only from now on: the disk failed to flush ({error}); mount the store again to \
                 recover what was acknowledged",
                self.name
            );
        }
        if let Some(journal) = &self.journal {
            journal.fail();
        }
        std::io::Error::from_raw_os_error(libc::EIO).into()
    }

    /// Notes that the disk is full, if that is the error.
    pub(super) fn note_shortage(&self, error: &EngineError) {
        if let EngineError::Store(error) = error
            && matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
        {
            self.short.store(true, Ordering::Release);
        }
    }

    /// After a name was removed: where the disk was full, lets go of files that only the journal still holds.
    pub(super) fn give_space_back(&self) {
        if self.short.load(Ordering::Acquire)
            && let Some(Err(error)) = self.journal().map(Journal::checkpoint)
        {
            log::warn!("bucket `{}`: the journal keeps deleted files for now: {error}", self.name);
        }
    }

    /// Whether a file last changed at `changed` may be as a crash left it, unfinished.
    pub(super) fn may_be_unfinished(&self, changed: Timestamp) -> bool {
        self.crashed.is_some_and(|crash| crash.covers(changed))
    }

    /// The bucket is complete as it stands: empties the journal, and notes that it was closed.
    pub(super) fn close(&self) -> Result<()> {
        if let Some(journal) = &self.journal {
            journal.checkpoint()?;
        }
        self.require_sound()?;
        crash_mark::close(&self.private)
    }

    /// Refuses writes after a failed flush.
    pub(super) fn require_sound(&self) -> Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(EngineError::ReadOnly(format!("a flush of bucket `{}` failed", self.name)));
        }
        Ok(())
    }

    /// Whether a policy, valid or broken, has a say.
    pub fn has_policy(&self) -> Result<bool> {
        self.policy.exists()
    }

    /// The bucket's policy.
    pub(super) fn policy(&self) -> &BucketPolicy {
        &self.policy
    }

    /// Decides whether `ask` may be done; the grant for it, or a denial that was logged.
    pub(super) fn admit(&self, admission: &Admission, ask: &Ask<'_>) -> Result<Grant> {
        if ask.action == Action::PutObject {
            self.require_sound()?;
        }
        admission.admit(&self.policy, ask)
    }

    /// Decides whether `caller` may put the object at `path` with the `requested` encryption, and makes the keys of
    /// what is then created.
    pub(super) fn admit_put(
        &self,
        admission: &Admission,
        caller: &Caller,
        path: &dyn Fn() -> PathBuf,
        requested: Encryption,
    ) -> Result<Creation> {
        let encryption = requested.header(self.settings.default_encryption);
        let headers = Headers { encryption };
        let grant = self.admit(admission, &Ask { caller, action: Action::PutObject, path, headers })?;
        self.creation(grant, encryption)
    }

    /// What an allowed PUT creates: the requested encryption, else the bucket's default.
    #[allow(clippy::needless_pass_by_value, reason = "a grant is used up by what it allows")]
    fn creation(&self, grant: Grant, header: Option<&str>) -> Result<Creation> {
        if !grant.covers(Action::PutObject, &self.name) {
            return Err(EngineError::Invalid("a grant for something else"));
        }
        match (header, self.settings.default_encryption) {
            (None, DefaultEncryption::None) => Ok(Creation::Plain),
            _ => Ok(Creation::Encrypted(Box::new(self.new_object()?))),
        }
    }

    /// Fresh keys and identity for an object of this bucket.
    pub(super) fn new_object(&self) -> Result<NewObject> {
        let bucket_key = self.wrapping_key()?;
        let data_key: DataKey = Secret::random()?;
        let mut identity =
            Identity::fresh(self.settings.geometry, SseMode::S3, self.settings.id, clock::now_nanos())?;
        let user = EncryptionContext::default();
        let wrapped = bucket_key.wrap_data_key(identity.object, &data_key, &user, clock::now_secs())?;
        let key_section = KeySection { rewraps: 0, records: vec![wrapped, bucket_key.embedded()] };
        let keys = ObjectKeys::create(&data_key, &mut identity);
        Ok(NewObject { identity, key_section, keys })
    }

    /// Unwraps the data key of a stored object; whether it is the right one, its commitment tells.
    pub(super) fn data_key(&self, header: &Header) -> Result<DataKey> {
        let unknown = || crate::keys::KeyError::Unknown { key: "(no data-key record in the header)".into() };
        let record = header.keys.find(RecordType::DataKey1).ok_or_else(unknown)?;
        let id = BucketKey::named_by(record).ok_or_else(unknown)?;
        let key = self.keys.get(id, || self.load_key(id, record.key_version, &header.keys))?;
        Ok(key.unwrap_data_key(record, header.identity.object)?)
    }

    /// Reads a bucket key from its file, or from the copy that an object's header carries.
    fn load_key(
        &self,
        id: Id,
        version: u32,
        section: &KeySection,
    ) -> std::result::Result<BucketKey, BucketKeyError> {
        let from_file = self.read_key_file(id);
        match (from_file, section.find(RecordType::EmbeddedBucketKey)) {
            (Ok(Some(sealed)), _) => sealed.open(id, self.settings.id, &*self.master),
            (Err(error), None) => Err(error),
            (file, Some(embedded)) => {
                let why = file.err().map_or("missing".to_owned(), |e| e.to_string());
                log::warn!("bucket `{}`: key file {id}: {why}; using the copy in an object", self.name);
                Ok(BucketKey::from_embedded(embedded, (id, version), self.settings.id, &*self.master)?)
            }
            (Ok(None), None) => {
                Err(BucketKeyError::Damaged { why: format!("the file of key {id} is missing") })
            }
        }
    }

    fn read_key_file(&self, id: Id) -> std::result::Result<Option<SealedBucketKey>, BucketKeyError> {
        let name = FileName::parse(id.to_string().as_ref()).expect("hex digits are a file name");
        let read = self
            .private
            .lookup(&fixed(KEK_DIR))
            .and_then(|(dir, _)| small::read(&dir, &name, MAX_BUCKET_KEY_RECORD));
        match read {
            Ok(bytes) => SealedBucketKey::decode(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BucketKeyError::Damaged { why: error.to_string() }),
        }
    }

    /// The bucket key that wraps new data keys: the one in use, else the newest stored one, else a new one.
    pub(super) fn wrapping_key(&self) -> Result<Arc<BucketKey>> {
        let now = clock::now_secs();
        let current = self.wrapping.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(key) = current.filter(|key| key.wraps_at(now)) {
            return Ok(key);
        }
        let key = match self.newest_key(now)? {
            Some(key) => key,
            None => self.make_key(now)?,
        };
        *self.wrapping.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        Ok(key)
    }

    fn newest_key(&self, now: u64) -> Result<Option<Arc<BucketKey>>> {
        let (dir, _) = self.private.lookup(&fixed(KEK_DIR))?;
        let mut found: Vec<(u64, Id)> = Vec::new();
        let mut entries = dir.entries()?;
        while let Some(entry) = entries.next()? {
            let Some(id) = entry.name.to_str().and_then(Id::from_hex) else { continue };
            if let Ok(Some(sealed)) = self.read_key_file(id) {
                found.push((sealed.claims().created, id));
            }
        }
        found.sort_unstable();
        while let Some((_, id)) = found.pop() {
            let key = self.keys.get(id, || self.load_key(id, 1, &KeySection::default()));
            match key {
                Ok(key) if key.wraps_at(now) => return Ok(Some(key)),
                Ok(_) => {}
                Err(error) => log::warn!("bucket `{}`: key {id} is not used: {error}", self.name),
            }
        }
        Ok(None)
    }

    /// Makes a bucket key and stores its record durably before anything is wrapped with it.
    pub(super) fn make_key(&self, now: u64) -> Result<Arc<BucketKey>> {
        let user = EncryptionContext::default();
        let key = BucketKey::create(&*self.master, SERVICE_KEY, self.settings.id, &user, now)?;
        let (dir, _) = self.private.lookup(&fixed(KEK_DIR))?;
        let name = FileName::parse(key.id().to_string().as_ref()).expect("hex digits are a file name");
        small::replace(&dir, &name, &key.encode_record(), 0o600)?;
        Ok(self.keys.insert(key))
    }

    /// How a stored file that has not been opened yet is to be read.
    pub(super) fn form_of(&self, start: &[u8]) -> Form {
        if self.settings.plaintext_allowed && !crate::object::is_object(start) {
            Form::Plain
        } else {
            Form::Encrypted
        }
    }
}
