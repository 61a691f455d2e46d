//! Rewrapping: new wraps of the same keys, content untouched (S3's `UpdateObjectEncryption` in spirit).
//!
//! After a master key was rotated, the records of each bucket are few and are all that is under it. `deep` goes on to
//! the header of each object: its data key is wrapped again by the newest bucket key, whose wrapped form it carries.
//! Of the file, only the header page changes, by a commit that survives a power cut as every other.
//! An old copy of a header still opens with the old keys: only re-encryption helps against who has one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    description::{Description, Sealing as Described},
    filter::Selection,
    objects::{Objects, Seen},
    pace::Pace,
    records,
    report::{Done, Log, Totals, Watch},
    walk::Found,
};
use crate::{
    audit::{Event, EventName},
    crypto,
    engine::{
        Bucket, Caller, Engine, EngineError, Item, Result,
        admission::{Ask, SeenEncryption},
        audit::say_object,
        ctime,
        item::damaged,
        live::{LiveObject, Sync},
        sealing::Sealing,
        wraps::Whom,
    },
    envelope::{RecordType, WrappedKey},
    keys::{BucketKey, KeyError, KeyId, KeyName, KeyNameError, KeyService},
    name::BucketName,
    object::{Header, Identity, KeySection, SseMode},
    policy::Action,
    store::{Access, Kind, NodeRef, Stat},
};

/// What to rewrap.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrap {
    /// Where, and how fast.
    pub selection: Selection,
    /// The headers of the objects, too.
    pub deep: bool,
    /// Each bucket gets a new bucket key first, so that `deep` wraps every data key by another key than before.
    pub new_bucket_key: bool,
    /// Move the objects to this master key: SSE-S3 and SSE-KMS objects become SSE-KMS objects under it.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UpdateObjectEncryption.html>
    pub to_key: Option<KeyName>,
    /// Let a bucket key wrap the data keys of SSE-KMS objects, or let none.
    pub to_bucket_key: Option<bool>,
}

/// What changes besides the versions of keys.
#[derive(Clone)]
struct To {
    key: Option<KeyId>,
    bucket_key: Option<bool>,
}

/// An object whose new header is logged and not yet in place.
struct Logged {
    path: PathBuf,
    item: Item,
    object: Arc<LiveObject>,
    what: String,
    /// What the object showed before, and its commit number after, where nobody else had changed anything.
    before: Option<(Stat, u64)>,
}

impl Engine {
    /// Rewraps what `job` selects, under the newest version of each key.
    ///
    /// A failure of one object is noted and the job goes on; the error of this call is one that ended the job.
    pub fn rewrap(&self, job: &Rewrap, watch: &mut dyn Watch) -> Result<Totals> {
        self.require_writable()?;
        let names = self.names_for(job.selection.bucket.as_ref())?;
        let _turn = self.job_turn(&names)?;
        let caller = watch.caller();
        self.recorded_job("rewrap", job.selection.about(), &caller, || {
            self.rewrap_buckets(job, &names, watch)
        })
    }

    fn rewrap_buckets(&self, job: &Rewrap, names: &[BucketName], watch: &mut dyn Watch) -> Result<Totals> {
        let service = &self.shared.buckets.sources().service;
        let key = job.to_key.as_ref().map(|name| service.resolve(name)).transpose()?;
        let only = job.selection.filter.key.as_deref().map(|text| find(service, text)).transpose()?;
        let to = To { key, bucket_key: job.to_bucket_key };
        let mut log = Log::new(watch);
        let mut pace = Pace::new(job.selection.rate);
        let caller = log.caller();
        for name in names {
            let (dir, bucket) = self.shared.buckets.find(name)?;
            for (path, done) in records::rewrap(&bucket, only.as_ref(), job.selection.dry_run)? {
                log.note(name, &path, done)?;
            }
            if job.new_bucket_key && !job.selection.dry_run {
                bucket.wraps().renew_keys()?;
            }
            if job.deep && !log.is_cancelled() {
                Deep {
                    engine: self,
                    job,
                    bucket: &bucket,
                    to: to.clone(),
                    caller,
                    root: Item::bucket_root(dir.clone(), bucket.clone()),
                }
                .run(dir, &mut pace, &mut log)?;
            }
        }
        Ok(log.totals)
    }
}

/// The objects of one bucket.
struct Deep<'a> {
    engine: &'a Engine,
    job: &'a Rewrap,
    to: To,
    caller: Caller,
    bucket: &'a Arc<Bucket>,
    root: Item,
}

impl Deep<'_> {
    fn run(&self, dir: NodeRef, pace: &mut Pace, log: &mut Log<'_>) -> Result<()> {
        let filter = self.job.selection.filter.resolved(self.bucket.wraps().service());
        let mut batch = Vec::new();
        if !self.job.selection.dry_run {
            self.bucket.kept_times().begin()?;
            // A power cut must not tear a header, also where one may tear what programs write.
            self.bucket.begin_journal();
        }
        for seen in Objects::new(dir, self.bucket.private(), filter)? {
            if log.is_cancelled() {
                break;
            }
            let (found, description) = match seen {
                Ok(Seen::Object(found, description)) => (found, description),
                Ok(Seen::Other(_)) => continue,
                Err(unseen) => {
                    log.note(self.bucket.name(), &unseen.path, Err(unseen.error.into()))?;
                    continue;
                }
            };
            if batch.len() >= BATCH || pace.is_early() {
                self.settle(&mut batch, log)?;
            }
            pace.wait();
            let path = found.path.clone();
            match self.one(*found, description) {
                Ok(Step::Logged(logged)) => batch.push(*logged),
                Ok(Step::Done(done)) => log.note(self.bucket.name(), &path, Ok(done))?,
                Err(error) => {
                    self.engine.record_object(self.event(&path), Some(&error))?;
                    log.note(self.bucket.name(), &path, Err(error))?;
                }
            }
        }
        self.settle(&mut batch, log)?;
        if self.job.selection.dry_run { Ok(()) } else { self.bucket.kept_times().end() }
    }

    /// Makes the logged headers durable, with one flush for all, and stores them in place.
    fn settle(&self, batch: &mut Vec<Logged>, log: &mut Log<'_>) -> Result<()> {
        for Logged { path, item, object, what, before } in batch.drain(..) {
            let settled = object.commit(Sync::Settled);
            let kept = before.is_some_and(|(stat, commit)| keep_ctime(&item, &object, &stat, commit));
            let mut event = self.event(&path);
            if let Some(event) = &mut event {
                say_object(event, &object, Some(true));
            }
            drop(object);
            self.engine.release(&item);
            self.engine.record_object(event, settled.as_ref().err())?;
            let what = if kept { what } else { format!("{what}; its ctime is another now") };
            log.note(self.bucket.name(), &path, settled.map(|()| Done::succeeded(what)))?;
        }
        Ok(())
    }

    fn event(&self, path: &Path) -> Option<Box<Event>> {
        self.engine.job_event(EventName::UpdateObjectEncryption, &self.caller, self.bucket.name(), path)
    }

    fn one(&self, found: Found, description: Description) -> Result<Step> {
        let sealing = match description {
            Description::Encrypted(sealing) => sealing,
            Description::Plain => {
                return Ok(Step::skip("not encrypted: `strongroom reencrypt` encrypts it"));
            }
            Description::Damaged(reason) => return Err(damaged(&found.node, reason)),
        };
        if let Some(reason) = refusal(&sealing) {
            return Ok(Step::skip(reason));
        }
        // The header as stored tells without opening the object; that of an open object is asked below.
        let wanted = self.bucket.sealing_of(&sealing.header, &self.to)?;
        if self.bucket.is_wrapped_so(&sealing.header, &wanted)? {
            return Ok(Step::skip(CURRENT));
        }
        if sealing.mode() == SseMode::S3 && self.to.key.is_none() && self.to.bucket_key.is_some() {
            return Ok(Step::skip("SSE-S3 always has a bucket key: name a KMS key, too"));
        }
        self.admit(&found, &wanted)?;
        if self.job.selection.dry_run {
            return Ok(Step::Done(Done::planned("its data key would be wrapped again")));
        }
        let item = self.root.child(found.node, Kind::File);
        let object = self.engine.acquire(&item, Access::ReadWrite, Whom::Administrator)?;
        match self.renew(&object) {
            Ok(Some((what, before))) => {
                Ok(Step::Logged(Box::new(Logged { path: found.path, item, object, what, before })))
            }
            Ok(None) => {
                self.engine.release(&item);
                Ok(Step::skip(CURRENT))
            }
            Err(error) => {
                self.engine.release(&item);
                Err(error)
            }
        }
    }

    /// Asks the policies about a change of key or of its use; that a wrap gets newer is nobody's business.
    fn admit(&self, found: &Found, wanted: &Sealing) -> Result<()> {
        if self.to.key.is_none() && self.to.bucket_key.is_none() {
            return Ok(());
        }
        let seen = || {
            let kms_key = wanted.kms_key().map(|key| self.bucket.wraps().service().arn(key));
            Ok(SeenEncryption { header: wanted.kind().header(), kms_key, customer: false })
        };
        let (caller, path) = (&self.caller, || found.path.clone());
        let action = Action::UpdateObjectEncryption;
        let ask = Ask { caller, action, path: &path, encryption: &seen };
        let item = self.root.child(found.node.clone(), Kind::File);
        self.engine.require_free(caller, &item, &path)?;
        self.bucket.admit(&self.engine.shared.admission, &ask).map(drop)
    }

    /// Gives the object new wraps and logs its header; nothing where they are the newest already.
    fn renew(&self, object: &LiveObject) -> Result<Option<(String, Option<Shown>)>> {
        object.enter_journal()?;
        for _ in 0..ATTEMPTS {
            let before = self.shown(object)?;
            let header = object.header();
            let Some(new) = self.bucket.rewrapped(&header, &self.to)? else { return Ok(None) };
            let rewraps = new.keys.rewraps;
            if object.replace_keys(&header.keys, new.keys, (new.mode, new.bucket_key))? {
                object.commit(Sync::Store)?;
                let before = before.map(|stat| (stat, header.state.generation + 1));
                return Ok(Some((format!("rewrap {rewraps}"), before)));
            }
        }
        Err(EngineError::os(libc::EBUSY))
    }
}

impl Deep<'_> {
    /// What an object shows that has nothing unsaved.
    fn shown(&self, object: &LiveObject) -> Result<Option<Stat>> {
        let stat = object.stat()?;
        let ctime = self.bucket.kept_times().shown(object.node(), &stat);
        Ok(object.settled_generation().map(|_| Stat { ctime, ..stat }))
    }
}

enum Step {
    Logged(Box<Logged>),
    Done(Done),
}

impl Step {
    fn skip(why: &str) -> Self {
        Self::Done(Done::skipped(why))
    }
}

/// The key that a filter names.
fn find(service: &KeyService, text: &str) -> Result<KeyId> {
    let invalid = |error: KeyNameError| KeyError::Invalid { key: text.to_owned(), why: error.to_string() };
    Ok(service.find(&text.parse().map_err(invalid)?)?)
}

/// Lets the object show the change time that it had; not where somebody changed something meanwhile.
fn keep_ctime(item: &Item, object: &LiveObject, before: &Stat, commit: u64) -> bool {
    let facts = |it: &Stat| (it.mode, it.uid, it.gid, it.nlink, it.mtime);
    object.settled_generation() == Some(commit)
        && item.node().stat().is_ok_and(|now| facts(&now) == facts(before))
        && ctime::keep(item.node(), before.ctime)
}

/// Why an object of this mode is not rewrapped.
fn refusal(sealing: &Described) -> Option<&'static str> {
    match sealing.mode() {
        SseMode::S3 | SseMode::Kms => None,
        SseMode::Customer => Some("SSE-C: no key of the store wraps it; use `strongroom reencrypt`"),
        SseMode::DualKms => Some("DSSE-KMS is not rewrapped; use `strongroom reencrypt`"),
    }
}

/// An object as it was before its header changed, and the commit that changes it.
type Shown = (Stat, u64);

/// New wraps, and what the identity then says.
struct Renewed {
    keys: KeySection,
    mode: SseMode,
    bucket_key: bool,
}

impl Bucket {
    /// How the object is to be wrapped: as it is, but for what `to` says.
    fn sealing_of(&self, header: &Header, to: &To) -> Result<Sealing> {
        let unknown = || KeyError::Unknown { key: "(no master key in the header)".into() };
        let Identity { mode, bucket_key, .. } = header.identity;
        if mode == SseMode::S3 && to.key.is_none() {
            return Ok(Sealing::Service);
        }
        let key = match &to.key {
            Some(key) => key.clone(),
            None => self.wraps().master_of(&header.keys)?.ok_or_else(unknown)?,
        };
        let record = header.keys.find(RecordType::DataKey1).ok_or_else(unknown)?;
        let bucket_key = to.bucket_key.unwrap_or(bucket_key);
        Ok(Sealing::Kms { key, bucket_key, context: record.context.clone() })
    }

    /// Whether the data key is wrapped so already: by the newest bucket key, in whose newest form the header carries it.
    /// Unknown (`false`) without a bucket key, before a new wrap shows the newest version of the master key.
    fn is_wrapped_so(&self, header: &Header, sealing: &Sealing) -> Result<bool> {
        let (keys, Identity { mode, bucket_key, .. }) = (&header.keys, &header.identity);
        let newest = match sealing {
            Sealing::Service if *mode == SseMode::S3 => self.wraps().service_wrapping_key()?,
            Sealing::Kms { key, bucket_key: true, .. } if *mode == SseMode::Kms && *bucket_key => {
                self.wraps().wrapping_key(key)?
            }
            _ => return Ok(false),
        };
        let by_newest =
            keys.find(RecordType::DataKey1).and_then(BucketKey::named_by).is_some_and(|id| id == newest.id());
        Ok(by_newest && keys.find(RecordType::EmbeddedBucketKey) == Some(&newest.embedded()))
    }

    /// The key section with new wraps of the data key, proven to unwrap; `None` if the old ones are as new.
    fn rewrapped(&self, header: &Header, to: &To) -> Result<Option<Renewed>> {
        let sealing = self.sealing_of(header, to)?;
        if self.is_wrapped_so(header, &sealing)? {
            return Ok(None);
        }
        let (identity, old) = (&header.identity, &header.keys);
        let asker = self.asker(&PathBuf::new, Whom::Administrator);
        let data_keys = self.wraps().data_keys(identity, old, &asker)?;
        let wraps = self.wraps().wrap(&sealing, identity.object, &data_keys, &asker)?;
        let named = |keys: &[WrappedKey]| {
            let first = keys.iter().find(|record| record.kind == RecordType::DataKey1);
            first.map(|record| (record.key_id.clone(), record.key_version))
        };
        let (mode, bucket_key) = match &sealing {
            Sealing::Kms { bucket_key, .. } => (SseMode::Kms, *bucket_key),
            _ => (SseMode::S3, true),
        };
        if (mode, bucket_key) == (identity.mode, identity.bucket_key)
            && !bucket_key
            && named(&wraps) == named(&old.records)
        {
            return Ok(None);
        }
        let replaced = [RecordType::DataKey1, RecordType::EmbeddedBucketKey];
        let others = old.records.iter().filter(|record| !replaced.contains(&record.kind)).cloned();
        let records = wraps.into_iter().chain(others).collect();
        let keys = KeySection { rewraps: old.rewraps.saturating_add(1), records };
        let back =
            self.wraps().data_keys(&Identity { mode, bucket_key, ..identity.clone() }, &keys, &asker)?;
        if !crypto::equal(back.first.expose(), data_keys.first.expose()) {
            return Err(KeyError::Rejected { key: "(the new wrap)".to_owned() }.into());
        }
        Ok(Some(Renewed { keys, mode, bucket_key }))
    }
}

/// Headers that share one flush.
const BATCH: usize = 256;
/// How often a header that somebody else is writing is tried.
const ATTEMPTS: usize = 8;
const CURRENT: &str = "already wrapped by the newest key";
