//! One bucket: its settings, its policy, and the keys of its objects.

use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Caller, EngineError, Result,
    admission::{Admission, Ask, SeenEncryption},
    bucket_policy::BucketPolicy,
    changes::{Changes, Followed, Moment},
    crash_mark::{self, Crashes},
    ctime::KeptTimes,
    encryption::{Encryption, EncryptionType},
    item::Form,
    plain::PlainOpens,
    retention::{BucketRetention, Retention},
    sealing::{Decision, Place, Sealing},
    settings::{JournalMode, MAX_SETTINGS, Settings},
    wraps::{Asker, KeySources, NewObject, Whom, Wraps},
};
use crate::{
    envelope::Id,
    keys::BucketRoot,
    name::BucketName,
    object::Geometry,
    policy::{Action, Grant},
    store::{
        NodeRef, Timestamp,
        journal::Journal,
        layout::{BUCKET_FILE, fixed},
        small,
    },
};

/// A bucket that is in use.
pub struct Bucket {
    name: BucketName,
    id: Id,
    geometry: Geometry,
    settings: Followed<Arc<Settings>>,
    changes: Arc<Changes>,
    /// When the keys were looked at.
    keys_seen: RwLock<Option<Moment>>,
    /// The reserved directory.
    private: NodeRef,
    policy: BucketPolicy,
    retention: Option<BucketRetention>,
    wraps: Wraps,
    journal: Option<Journal>,
    /// Whether commits go through the journal.
    journaled: AtomicBool,
    /// The last crashes, which may have left files unfinished.
    crashes: Crashes,
    /// Set when the disk did not take what it was told to: no writes until the store is opened again.
    failed: AtomicBool,
    /// Set when something was stored that no flush of the bucket's covers.
    unsynced: AtomicBool,
    /// Set when the disk was full: from then on, deleting empties the journal, which keeps deleted files alive.
    short: AtomicBool,
    plain_opens: PlainOpens,
    kept_times: KeptTimes,
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
        (journal, crashes): (Option<Journal>, Crashes),
        (sources, changes): (KeySources, Arc<Changes>),
    ) -> Result<Self> {
        let (id, geometry) = (settings.id, settings.geometry);
        let policy = BucketPolicy::open(name.clone(), private.clone(), changes.clone())?;
        let kept_times = KeptTimes::open(private.clone())?;
        Ok(Self {
            name,
            id,
            geometry,
            journaled: AtomicBool::new(settings.journal == JournalMode::On),
            settings: Followed::new(private.clone(), BUCKET_FILE, Arc::new(settings), &changes),
            changes,
            keys_seen: RwLock::default(),
            wraps: Wraps::new(sources, id, geometry, private.clone()),
            private,
            policy,
            retention: None,
            journal,
            crashes,
            failed: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
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
        self.id
    }

    /// The layout of its objects.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Its settings, as last read.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.last()
    }

    /// The keys of its objects.
    pub(super) fn wraps(&self) -> &Wraps {
        &self.wraps
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

    /// The journal, where the bucket uses one.
    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref().filter(|_| self.journaled.load(Ordering::Acquire))
    }

    /// Uses a journal from now on until the bucket is closed, whatever its settings say.
    pub(super) fn begin_journal(&self) {
        self.journaled.store(true, Ordering::Release);
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
        EngineError::os(libc::EIO)
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
        self.crashes.cover(changed)
    }

    /// The crashes that may have left files unfinished.
    pub(super) fn crashes(&self) -> &Crashes {
        &self.crashes
    }

    /// Notes that something was stored without a flush.
    pub(super) fn note_unsynced(&self) {
        self.unsynced.store(true, Ordering::Release);
    }

    /// The bucket is complete as it stands: empties the journal, and notes that it was closed.
    pub(super) fn close(&self) -> Result<()> {
        if let Some(journal) = self.journal() {
            journal.checkpoint()?;
        }
        self.require_sound()?;
        if self.unsynced.load(Ordering::Acquire) {
            // From then on the bucket does not count as crashed, so that nothing may be missing.
            self.private.sync_store()?;
        }
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

    /// The same bucket with its retention, which one that is being made or salvaged has not.
    pub(super) fn with_retention(self, retention: BucketRetention) -> Self {
        Self { retention: Some(retention), ..self }
    }

    /// The rule that keeps its objects, if there is one.
    pub(super) fn retention(&self) -> Result<Option<Arc<Retention>>> {
        self.retention.as_ref().map_or(Ok(None), BucketRetention::rule)
    }

    /// Stores another rule, or none.
    pub(super) fn put_retention(&self, rule: Option<&Retention>) -> Result<()> {
        self.retention.as_ref().map_or(Err(EngineError::Unsupported), |retention| retention.store(rule))
    }

    /// The settings, read again if they are others than before.
    fn follow_settings(&self, now: Moment) -> Result<Arc<Settings>> {
        self.settings.get(now, || Ok(Arc::new(self.read_settings()?)))
    }

    /// The settings as they are now.
    pub(super) fn present_settings(&self) -> Result<Arc<Settings>> {
        self.follow_settings(self.changes.now())
    }

    /// Takes notice of changes to keys; the generation of the keys from now on.
    pub(super) fn key_generation(&self) -> u64 {
        self.follow_keys(self.changes.now());
        self.wraps.generation()
    }

    fn follow_keys(&self, now: Moment) {
        if *self.keys_seen.read().unwrap_or_else(PoisonError::into_inner) == Some(now) {
            self.wraps.age();
        } else if self.wraps.refresh() {
            *self.keys_seen.write().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
    }

    fn read_settings(&self) -> Result<Settings> {
        let refused = |reason: String| EngineError::Bucket { bucket: self.name.to_string(), reason };
        let bytes = small::read(&self.private, &fixed(BUCKET_FILE), MAX_SETTINGS)?;
        let service = &**self.wraps.service();
        let decoded = Settings::decode(&bytes, |wrapped, id| BucketRoot::open(wrapped, id, service));
        let (fresh, ..) = decoded.map_err(|error| refused(error.to_string()))?;
        let known = self.settings();
        if (fresh.id, fresh.geometry, fresh.journal) != (known.id, known.geometry, known.journal) {
            return Err(refused("its settings are those of another bucket: put its own back".to_owned()));
        }
        Ok(fresh)
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
        requested: &Encryption,
    ) -> Result<Creation> {
        let (grant, sealing) = self.judge_put(admission, caller, path, requested)?;
        let place = (self.name.as_str(), path);
        let sealing = self.wraps.admit_sealing(admission, caller, place, sealing)?;
        self.creation(grant, &sealing, caller, path)
    }

    /// Decides whether `caller` may put something at `path` with the `requested` encryption: the grant, and what an object
    /// there would get.
    pub(super) fn judge_put(
        &self,
        admission: &Admission,
        caller: &Caller,
        path: &dyn Fn() -> PathBuf,
        requested: &Encryption,
    ) -> Result<(Grant, Sealing)> {
        let now = self.changes.now();
        self.follow_keys(now);
        let settings = self.follow_settings(now)?;
        let (service, decision) = (self.wraps.service(), self.decide(&settings, path, requested)?);
        let seen = || {
            Ok(SeenEncryption {
                header: decision.header,
                kms_key: decision.sealing.kms_key().map(|key| service.arn(key)),
                customer: decision.sealing == Sealing::Customer,
            })
        };
        let ask = Ask { caller, action: Action::PutObject, path, encryption: &seen };
        let grant = self.admit(admission, &ask)?;
        self.require_unblocked(&settings, decision.sealing.kind())?;
        Ok((grant, decision.sealing))
    }

    /// What the object at `path` gets when this is requested.
    pub(super) fn decide(
        &self,
        settings: &Settings,
        path: &dyn Fn() -> PathBuf,
        requested: &Encryption,
    ) -> Result<Decision> {
        let place = Place {
            bucket: &self.name,
            geometry: &self.geometry,
            encryption: &settings.encryption,
            path: &|| path().to_string_lossy().into_owned(),
        };
        requested.decide(&place, &|name| self.wraps.service().resolve(name))
    }

    /// Refuses writing to a stored object of a kind that the bucket does not take (any more).
    pub(super) fn require_writable_kind(&self, kind: EncryptionType) -> Result<()> {
        self.require_unblocked(&*self.present_settings()?, kind)
    }

    fn require_unblocked(&self, settings: &Settings, kind: EncryptionType) -> Result<()> {
        if !settings.encryption.blocked.contains(&kind) {
            return Ok(());
        }
        Err(EngineError::Blocked { bucket: self.name.to_string(), kind })
    }

    /// What an allowed PUT creates.
    #[allow(clippy::needless_pass_by_value, reason = "a grant is used up by what it allows")]
    fn creation(
        &self,
        grant: Grant,
        sealing: &Sealing,
        caller: &Caller,
        path: &dyn Fn() -> PathBuf,
    ) -> Result<Creation> {
        if !grant.covers(Action::PutObject, &self.name) {
            return Err(EngineError::Invalid("a grant for something else"));
        }
        if *sealing == Sealing::Plain {
            return Ok(Creation::Plain);
        }
        let asker = self.asker(path, Whom::User(caller.uid));
        Ok(Creation::Encrypted(Box::new(self.wraps.new_object(sealing, &asker)?)))
    }

    /// Keys and identity of an object that the bucket's own service key protects, unless the bucket takes no such ones.
    pub(super) fn new_object(&self) -> Result<NewObject> {
        self.require_writable_kind(EncryptionType::Aes256)?;
        self.wraps.new_object(&Sealing::Service, &self.asker(&PathBuf::new, Whom::Administrator))
    }

    /// Keys and identity of an empty object that nobody asks for: encrypted, by the bucket's default.
    pub(super) fn default_object(&self) -> Result<NewObject> {
        let settings = self.present_settings()?;
        let place = Place {
            bucket: &self.name,
            geometry: &self.geometry,
            encryption: &settings.encryption,
            path: &String::new,
        };
        let service = self.wraps.service();
        let decision = Encryption::Unnamed.decide(&place, &|name| service.resolve(name))?;
        self.wraps.new_object(&decision.sealing, &self.asker(&PathBuf::new, Whom::Administrator))
    }

    /// Who asks for a key, and what for.
    pub(super) fn asker<'a>(&'a self, path: &'a dyn Fn() -> PathBuf, whom: Whom<'a>) -> Asker<'a> {
        Asker { bucket: self.name.as_str(), path, whom }
    }

    /// How a stored file that has not been opened yet is to be read.
    pub(super) fn form_of(&self, start: &[u8]) -> Form {
        if self.settings().plaintext_allowed && !crate::object::is_object(start) {
            Form::Plain
        } else {
            Form::Encrypted
        }
    }
}
