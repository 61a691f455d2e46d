//! Rewrapping: new wraps of the same keys, content untouched (S3's `UpdateObjectEncryption` in spirit).
//!
//! After a master key was rotated, the records of each bucket are few and are all that is under it. `deep` goes on to
//! the header of each object: its data key is wrapped again by the newest bucket key, whose wrapped form it carries.
//! Of the file, only the header page changes, by a commit that survives a power cut as every other.
//! An old copy of a header still opens with the old keys: only re-encryption helps against who has one.

use std::{path::PathBuf, sync::Arc};

use super::{
    description::{Description, KeyFiles, Sealing},
    filter::Selection,
    pace::Pace,
    records,
    report::{Done, Log, Totals, Watch},
    walk::{Found, Walk},
};
use crate::{
    crypto,
    engine::{
        Bucket, Engine, EngineError, Item, Result, clock, ctime,
        item::damaged,
        live::{LiveObject, Sync},
    },
    envelope::RecordType,
    keys::KeyError,
    object::{Header, KeySection, ObjectKeys, SseMode},
    store::{Access, Kind, NodeRef, Stat},
};

/// What to rewrap.
#[derive(Debug, Clone, Default)]
pub struct Rewrap {
    /// Where, and how fast.
    pub selection: Selection,
    /// The headers of the objects, too.
    pub deep: bool,
    /// Each bucket gets a new bucket key first, so that `deep` wraps every data key by another key than before.
    pub new_bucket_key: bool,
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
        let _turn = self.job_turn()?;
        let mut log = Log::new(watch);
        let mut pace = Pace::new(job.selection.rate);
        for name in self.names_for(job.selection.bucket.as_ref())? {
            let (dir, bucket) = self.shared.buckets.find(&name)?;
            for (path, done) in
                records::rewrap(&bucket, job.selection.filter.key.as_deref(), job.selection.dry_run)?
            {
                log.note(&name, &path, done)?;
            }
            if job.new_bucket_key && !job.selection.dry_run {
                bucket.wrap_with(bucket.make_key(clock::now_secs())?);
            }
            if job.deep && !log.is_cancelled() {
                Deep {
                    engine: self,
                    job,
                    bucket: &bucket,
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
    bucket: &'a Arc<Bucket>,
    root: Item,
}

impl Deep<'_> {
    fn run(&self, dir: NodeRef, pace: &mut Pace, log: &mut Log<'_>) -> Result<()> {
        let (filter, now) = (&self.job.selection.filter, clock::now_secs());
        let mut keys = KeyFiles::new(self.bucket.private())?;
        let mut batch = Vec::new();
        if !self.job.selection.dry_run {
            self.bucket.kept_times().begin()?;
        }
        for found in Walk::new(dir, &filter.prefix)? {
            if log.is_cancelled() {
                break;
            }
            let found = match found {
                Ok(found) if found.stat.kind == Kind::File => found,
                Ok(_) => continue,
                Err(unseen) => {
                    log.note(self.bucket.name(), &unseen.path, Err(unseen.error.into()))?;
                    continue;
                }
            };
            let description = match keys.describe(&found.node) {
                Ok(description) => description,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                Err(error) => {
                    log.note(self.bucket.name(), &found.path, Err(error.into()))?;
                    continue;
                }
            };
            if !filter.takes(&description, now) {
                continue;
            }
            if batch.len() >= BATCH || pace.is_early() {
                self.settle(&mut batch, log)?;
            }
            pace.wait();
            let path = found.path.clone();
            match self.one(found, description) {
                Ok(Step::Logged(logged)) => batch.push(*logged),
                Ok(Step::Done(done)) => log.note(self.bucket.name(), &path, Ok(done))?,
                Err(error) => log.note(self.bucket.name(), &path, Err(error))?,
            }
        }
        self.settle(&mut batch, log)?;
        if self.job.selection.dry_run { Ok(()) } else { self.bucket.kept_times().end() }
    }

    /// Makes the logged headers durable, with one flush for all, and stores them in place.
    fn settle(&self, batch: &mut Vec<Logged>, log: &mut Log<'_>) -> Result<()> {
        for Logged { path, item, object, what, before } in batch.drain(..) {
            let settled = object.commit(Sync::Settled);
            let kept = before.is_some_and(|(stat, commit)| self.keep_ctime(&item, &object, &stat, commit));
            drop(object);
            self.engine.release(&item);
            let what = if kept { what } else { format!("{what}; its ctime is another now") };
            log.note(self.bucket.name(), &path, settled.map(|()| Done::succeeded(what)))?;
        }
        Ok(())
    }

    /// Lets the object show the change time that it had; not where somebody changed something meanwhile.
    fn keep_ctime(&self, item: &Item, object: &LiveObject, before: &Stat, commit: u64) -> bool {
        let facts = |it: &Stat| (it.mode, it.uid, it.gid, it.nlink, it.mtime);
        object.settled_generation() == Some(commit)
            && item.node().stat().is_ok_and(|now| facts(&now) == facts(before))
            && ctime::keep(item.node(), before.ctime)
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
        if self.bucket.is_wrapped_newest(&sealing.header.keys)? {
            return Ok(Step::skip(CURRENT));
        }
        if self.job.selection.dry_run {
            return Ok(Step::Done(Done::planned("its data key would be wrapped by the newest bucket key")));
        }
        let item = self.root.child(found.node, Kind::File);
        let object = self.engine.open_object(&item, Access::ReadWrite)?;
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

    /// Gives the object new wraps and logs its header; nothing where they are the newest already.
    fn renew(&self, object: &LiveObject) -> Result<Option<(String, Option<(Stat, u64)>)>> {
        for _ in 0..ATTEMPTS {
            let before = self.shown(object)?;
            let header = object.header();
            let Some(keys) = self.bucket.rewrapped(&header)? else { return Ok(None) };
            let rewraps = keys.rewraps;
            if object.replace_keys(&header.keys, keys)? {
                object.commit(Sync::Store)?;
                let before = before.map(|stat| (stat, header.state.generation + 1));
                return Ok(Some((format!("rewrap {rewraps}"), before)));
            }
        }
        Err(std::io::Error::from_raw_os_error(libc::EBUSY).into())
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

/// Why an object of this mode is not rewrapped.
fn refusal(sealing: &Sealing) -> Option<&'static str> {
    match sealing.mode() {
        SseMode::S3 | SseMode::Kms => None,
        SseMode::Customer => Some("SSE-C: no key of the store wraps it; use `strongroom reencrypt`"),
        SseMode::DualKms => Some("DSSE-KMS is not rewrapped; use `strongroom reencrypt`"),
    }
}

impl Bucket {
    /// Whether the data key is wrapped by the newest bucket key, and the header carries the newest form of that.
    fn is_wrapped_newest(&self, keys: &KeySection) -> Result<bool> {
        let newest = self.wrapping_key()?;
        let by_newest = keys
            .find(RecordType::DataKey1)
            .and_then(crate::keys::BucketKey::named_by)
            .is_some_and(|id| id == newest.id());
        Ok(by_newest && keys.find(RecordType::EmbeddedBucketKey) == Some(&newest.embedded()))
    }

    /// The key section with the data key wrapped by the newest bucket key, proven to unwrap; `None` if it is so already.
    fn rewrapped(&self, header: &Header) -> Result<Option<KeySection>> {
        if self.is_wrapped_newest(&header.keys)? {
            return Ok(None);
        }
        let (newest, object) = (self.wrapping_key()?, header.identity.object);
        let data_key = self.data_key(header)?;
        let context =
            header.keys.find(RecordType::DataKey1).map(|record| record.context.clone()).unwrap_or_default();
        let wrapped = newest.wrap_data_key(object, &data_key, &context, clock::now_secs())?;
        let back = newest.unwrap_data_key(&wrapped, object)?;
        let rejected = || EngineError::from(KeyError::Rejected { key: newest.id().to_string() });
        if !crypto::equal(back.expose(), data_key.expose()) {
            return Err(rejected());
        }
        ObjectKeys::open(&back, &header.identity).map_err(|_| rejected())?;
        let replaced = [RecordType::DataKey1, RecordType::EmbeddedBucketKey];
        let others = header.keys.records.iter().filter(|record| !replaced.contains(&record.kind)).cloned();
        let records = [wrapped, newest.embedded()].into_iter().chain(others).collect();
        Ok(Some(KeySection { rewraps: header.keys.rewraps.saturating_add(1), records }))
    }
}

/// Headers that share one flush.
const BATCH: usize = 256;
/// How often a header that somebody else is writing is tried.
const ATTEMPTS: usize = 8;
const CURRENT: &str = "already wrapped by the newest bucket key";
