//! Re-encryption: S3's COPY of an object onto itself, with a new data key, object id and, unless told otherwise, time.
//!
//! The new object is written beside, made durable, and put in the place of the old one by a single rename, provided that
//! the old one is the same as when it was read, nobody has it open, and it still has that name. So every reader sees the
//! old object or the new one, and a crash leaves one of them. A batch of objects shares one flush. What is open when its
//! turn comes is tried once more at the end.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    attributes::Attributes,
    description::{Description, Sealing as Described},
    draft::{self, Draft},
    filter::Selection,
    objects::{Objects, Seen},
    pace::Pace,
    recorded::About,
    report::{Done, Log, Totals, Watch},
    version::Version,
    walk::Found,
};
use crate::{
    audit::{Event, EventName},
    engine::{
        Bucket, Caller, Encryption, EncryptionType, Engine, EngineError, Item, OpenFile, OpenFlags, Result,
        audit::{BYPASS_HEADER, say_object},
        clock,
        file::Content,
        item::damaged,
        replacing::{Kept, Place},
        sealing::Sealing,
    },
    envelope::EncryptionContext,
    keys::KeyId,
    name::BucketName,
    object::SseMode,
    store::{Kind, NodeRef, RenameMode, Stat},
};

/// What to encrypt anew, and how.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reencrypt {
    /// Where, and how fast.
    pub selection: Selection,
    /// The encryption that the new objects are put with.
    pub encryption: Encryption,
    /// Access and modification time are those of the old object.
    pub preserve: bool,
    /// Objects that are encrypted as asked already get a new data key, too.
    pub force: bool,
    /// So do objects under governance retention, if no policy denies `s3:BypassGovernanceRetention`. Those under compliance
    /// retention never do.
    pub bypass_governance: bool,
}

impl Engine {
    /// Encrypts anew what `job` selects.
    ///
    /// A failure of one object is noted and the job goes on; the error of this call is one that ended the job.
    pub fn reencrypt(&self, job: &Reencrypt, watch: &mut dyn Watch) -> Result<Totals> {
        self.require_writable()?;
        let names = self.names_for(job.selection.bucket.as_ref())?;
        let _turn = self.job_turn(&names)?;
        let caller = watch.caller();
        let run = || self.reencrypt_buckets(job, &names, watch);
        let about = About { bypass: job.bypass_governance, ..job.selection.about() };
        self.recorded_job("reencrypt", about, &caller, run)
    }

    fn reencrypt_buckets(
        &self,
        job: &Reencrypt,
        names: &[BucketName],
        watch: &mut dyn Watch,
    ) -> Result<Totals> {
        let mut log = Log::new(watch);
        let mut pace = Pace::new(job.selection.rate);
        for name in names {
            let (dir, bucket) = self.shared.buckets.find(name)?;
            if !job.selection.dry_run {
                draft::clear_leftovers(&bucket)?;
            }
            Run {
                engine: self,
                job,
                bucket: &bucket,
                root: Item::bucket_root(dir.clone(), bucket.clone()),
                begun: clock::now_nanos(),
                target: target(&job.encryption, &bucket)?,
                caller: log.caller(),
                batch: Vec::new(),
                bytes: 0,
                busy: Vec::new(),
                unsynced: false,
            }
            .run(dir, &mut pace, &mut log)?;
        }
        Ok(log.totals)
    }
}

/// The objects of one bucket.
struct Run<'a> {
    engine: &'a Engine,
    job: &'a Reencrypt,
    bucket: &'a Arc<Bucket>,
    root: Item,
    /// Objects made after this, in Unix nanoseconds, are results of this run.
    begun: u64,
    /// The encryption that the objects get.
    target: EncryptionType,
    caller: Caller,
    /// New objects that wait for the flush.
    batch: Vec<Ready<'a>>,
    /// Plaintext bytes of these.
    bytes: u64,
    /// Paths of objects that were open.
    busy: Vec<PathBuf>,
    /// Whether names were changed since the last flush.
    unsynced: bool,
}

/// A new object that is complete, and what it is to replace.
struct Ready<'a> {
    found: Found,
    /// As the old object was when it was copied.
    before: Version,
    draft: Draft<'a>,
    event: Option<Box<Event>>,
}

impl<'a> Run<'a> {
    fn run(mut self, dir: NodeRef, pace: &mut Pace, log: &mut Log<'_>) -> Result<()> {
        let filter = self.job.selection.filter.resolved(self.bucket.wraps().service());
        let mut objects = Objects::new(dir, self.bucket.private(), filter)?;
        for seen in &mut objects {
            if log.is_cancelled() {
                break;
            }
            match seen {
                Ok(Seen::Object(_, description)) if self.is_ours(&description) => {}
                Ok(Seen::Object(found, description)) => {
                    self.take(*found, &description, Again::Later, pace, log)?;
                }
                Ok(Seen::Other(_)) => {}
                Err(unseen) => log.note(self.bucket.name(), &unseen.path, Err(unseen.error.into()))?,
            }
        }
        self.settle(log, Again::Later)?;
        for path in std::mem::take(&mut self.busy) {
            let seen = objects.at(self.root.node(), &path);
            if let (Ok(Some((found, description))), false) = (seen, log.is_cancelled()) {
                self.take(found, &description, Again::Never, pace, log)?;
            } else {
                self.note(&path, Err(Stop::Kept(Kept::Open)), None, log)?;
            }
        }
        self.settle(log, Again::Never)?;
        if self.unsynced { self.flush() } else { Ok(()) }
    }

    /// Prepares the new object for `found`.
    fn take(
        &mut self,
        found: Found,
        description: &Description,
        again: Again,
        pace: &mut Pace,
        log: &mut Log<'_>,
    ) -> Result<()> {
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES || pace.is_early() {
            self.settle(log, again)?;
        }
        pace.wait();
        let mut event =
            self.engine.job_event(EventName::CopyObject, &self.caller, self.bucket.name(), &found.path);
        match self.prepared(&found, description, &mut event, log) {
            Ok(Some((before, draft))) => {
                self.bytes += before.size;
                self.batch.push(Ready { found, before, draft, event });
                Ok(())
            }
            Ok(None) => {
                Ok(log.note(self.bucket.name(), &found.path, Ok(Done::planned(self.target.name())))?)
            }
            // Told to stop in the middle of it: it is as it was.
            Err(_) if log.totals.cancelled => Ok(()),
            Err(Stop::Kept(Kept::Open)) if again == Again::Later && self.busy.len() < MOST_BUSY => {
                self.busy.push(found.path);
                Ok(())
            }
            Err(stop) => self.note(&found.path, Err(stop), event, log),
        }
    }

    /// Makes the prepared objects durable, with one flush for all, and puts them in place. The names are made durable by
    /// the next flush; before that a crash shows the old objects.
    fn settle(&mut self, log: &mut Log<'_>, again: Again) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        self.flush()?;
        for Ready { found, before, mut draft, event } in batch {
            if log.is_cancelled() {
                break;
            }
            let placed = self.place(&found, &before, &mut draft);
            drop(draft);
            match placed {
                Err(Stop::Kept(Kept::Open)) if again == Again::Later && self.busy.len() < MOST_BUSY => {
                    self.busy.push(found.path);
                }
                Ok(()) => {
                    self.unsynced = true;
                    log.totals.bytes += before.size;
                    self.note(&found.path, Ok(()), event, log)?;
                }
                Err(stop) => self.note(&found.path, Err(stop), event, log)?,
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.unsynced = false;
        self.bucket.private().sync_store().map_err(|error| self.bucket.flush_failed(&error))
    }

    /// Notes and records what became of an object; `event` is the one for its change.
    fn note(
        &self,
        path: &Path,
        done: std::result::Result<(), Stop>,
        event: Option<Box<Event>>,
        log: &mut Log<'_>,
    ) -> Result<()> {
        match &done {
            Ok(()) => self.engine.record_object(event, None)?,
            Err(Stop::Error(error)) => self.engine.record_object(event, Some(error))?,
            Err(Stop::Skip(_) | Stop::Kept(_)) => {}
        }
        let done = match done {
            Ok(()) => Ok(Done::succeeded(self.target.name())),
            Err(Stop::Skip(why)) => Ok(Done::skipped(why)),
            Err(Stop::Kept(kept)) => Ok(Done::skipped(kept.why())),
            Err(Stop::Error(error)) => Err(error),
        };
        Ok(log.note(self.bucket.name(), path, done)?)
    }

    /// Whether the object was made by this run, and is seen again under its old name.
    fn is_ours(&self, description: &Description) -> bool {
        matches!(description, Description::Encrypted(sealing) if sealing.header.identity.created >= self.begun)
    }

    /// The new object for `found`, complete but for the flush; nothing for a dry run.
    fn prepared(
        &self,
        found: &Found,
        description: &Description,
        event: &mut Option<Box<Event>>,
        log: &mut Log<'_>,
    ) -> std::result::Result<Option<(Version, Draft<'a>)>, Stop> {
        match description {
            Description::Damaged(reason) => return Err(damaged(&found.node, reason.clone()).into()),
            Description::Encrypted(described) if !self.job.force && self.is_the_same(found, described)? => {
                return Err(Stop::Skip("encrypted so already (--force makes a new data key)".to_owned()));
            }
            _ => {}
        }
        if found.stat.nlink > 1 {
            let why = format!("it has {} hard links, which would part", found.stat.nlink);
            return Err(Stop::Skip(why));
        }
        let item = self.root.child(found.node.clone(), Kind::File);
        let bypassed = match self.require_free(&item, &found.path) {
            Err(error @ EngineError::Retained { .. }) if self.job.selection.dry_run => {
                return Err(Stop::Skip(error.to_string()));
            }
            free => free?,
        };
        if self.job.selection.dry_run {
            return Ok(None);
        }
        if let Some(event) = event.as_mut().filter(|_| bypassed) {
            event.request.more.insert(BYPASS_HEADER, true.into());
        }
        let (key, engine) = (found.node.key(), self.engine);
        // Asked again when it is replaced; here it saves the copy.
        if engine.shared.objects.is_open(key) || self.bucket.plain_opens().count(key) > 0 {
            return Err(Stop::Kept(Kept::Open));
        }
        let flags = OpenFlags { read: true, write: false, append: false, truncate: false };
        let customer = matches!(description, Description::Encrypted(it) if it.mode() == SseMode::Customer);
        let source = match self.engine.open_file(&self.caller, &item, flags, &OnceCell::new()) {
            Err(EngineError::Key(_)) if customer => {
                return Err(Stop::Skip("SSE-C: the customer key is not here".to_owned()));
            }
            opened => opened?,
        };
        let copied = self.copied(found, &source, event, log);
        self.engine.close(source);
        copied.map(Some)
    }

    /// Refuses what is retained; whether that had to be bypassed.
    fn require_free(&self, item: &Item, path: &Path) -> Result<bool> {
        let path = || path.to_owned();
        if self.job.bypass_governance {
            return self.engine.require_free_or_bypass(&self.caller, item, &path);
        }
        self.engine.require_free(&self.caller, item, &path).map(|()| false)
    }

    fn copied(
        &self,
        found: &Found,
        source: &OpenFile,
        event: &mut Option<Box<Event>>,
        log: &mut Log<'_>,
    ) -> std::result::Result<(Version, Draft<'a>), Stop> {
        let before = Version::settled(source)?.ok_or(Stop::Kept(Kept::Changed))?;
        let (admission, path) = (&self.engine.shared.admission, || found.path.clone());
        let creation = self.bucket.admit_put(admission, &self.caller, &path, &self.job.encryption)?;
        let mut draft = Draft::new(self.engine, &self.root, creation)?;
        draft.fill(source, before.size, log)?;
        let attributes = Attributes::of(&found.node, &Stat { atime: found.stat.atime, ..before.stat })?;
        draft.finish(&attributes)?;
        if self.job.preserve {
            attributes.give_times(&draft.node)?;
        }
        if let (Some(event), Content::Encrypted(object)) = (event, draft.file().content()) {
            say_object(event, object, Some(self.job.encryption != Encryption::Unnamed));
        }
        draft.close();
        Ok((before, draft))
    }

    /// Puts the new object in the place of what it was made from.
    fn place(&self, found: &Found, before: &Version, draft: &mut Draft<'_>) -> std::result::Result<(), Stop> {
        let place = Place { dir: &found.dir, name: &found.name, node: &found.node };
        let item = self.root.child(found.node.clone(), Kind::File);
        let unchanged = || {
            // The rule may be another one than when it was copied.
            self.require_free(&item, &found.path)?;
            Ok(Version::stored(&found.node)?.is(before))
        };
        let put = || draft.place(&found.dir, &found.name, RenameMode::Replace);
        self.engine.replace(self.bucket, &place, unchanged, put)?.map_err(Stop::Kept)
    }

    /// Whether a COPY with these settings would change nothing.
    fn is_the_same(&self, found: &Found, described: &Described) -> Result<bool> {
        let (identity, keys) = (&described.header.identity, &described.header.keys);
        let path = || found.path.clone();
        let settings = self.bucket.present_settings()?;
        let decision = self.bucket.decide(&settings, &path, &self.job.encryption)?;
        let same_key = |key: &KeyId, context: &EncryptionContext| -> Result<bool> {
            let master = self.bucket.wraps().master_of(keys)?;
            Ok(master.as_ref() == Some(key) && described.context() == Some(context))
        };
        Ok(match (&decision.sealing, identity.mode) {
            (Sealing::Service, SseMode::S3) => true,
            (Sealing::Kms { key, bucket_key, context }, SseMode::Kms) => {
                identity.bucket_key == *bucket_key && same_key(key, context)?
            }
            (Sealing::DualKms { key, context }, SseMode::DualKms) => same_key(key, context)?,
            // Which customer key it is cannot be told from here, so that a new one is the sure way.
            _ => false,
        })
    }
}

/// Why an object was not encrypted anew.
enum Stop {
    Skip(String),
    Kept(Kept),
    Error(EngineError),
}

/// Whether what is open now is tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Later,
    Never,
}

impl<E: Into<EngineError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The encryption that objects put with `encryption` into `bucket` get.
fn target(encryption: &Encryption, bucket: &Bucket) -> Result<EncryptionType> {
    match encryption.kind(&bucket.present_settings()?.encryption.default) {
        EncryptionType::None => Err(EngineError::Bucket {
            bucket: bucket.name().to_string(),
            reason: "it has no default encryption: name one with `--sse`".to_owned(),
        }),
        kind => Ok(kind),
    }
}

/// Objects that share one flush.
const BATCH: usize = 256;
/// Plaintext bytes from which on a batch is full.
const BATCH_BYTES: u64 = 64 << 20;
/// Most paths that are kept to be tried again.
const MOST_BUSY: usize = 4096;
