//! The target's side of a replication: takes what is sent, and judges, makes and records it on behalf of who asks.
//!
//! Content goes into drafts that nobody sees; a batch of them shares one flush, after which each takes its name. Nothing
//! that is sent is trusted: paths and names are checked, what is reserved is refused, lengths are bounded.

use std::path::Path;

use super::{
    super::{
        Turn, draft,
        draft::Draft,
        recorded::About,
        report::{Done, Outcome, Totals},
        version::Version,
    },
    replica::{Answer, BATCH, Beginning, Replica, Replicas, Settled, What},
    target::{Queued, Target, check, mark},
};
use crate::{
    audit::{Event, EventName},
    crypto::{self, Secret},
    engine::{Caller, Encryption, Engine, EngineError, Item, Result, audit::say_object, file::Content},
    envelope::{EncryptionContext, Id},
    keys::{Binding, KeyError, KeyName, MasterKey},
    name::BucketName,
};

/// Makes replicas in the store of an engine, for one job.
pub struct Receiver<'a> {
    engine: &'a Engine,
    caller: Caller,
    job: Option<Job<'a>>,
    target: Option<Target<'a>>,
    under_way: Option<UnderWay<'a>>,
    totals: Totals,
}

/// A job that has begun.
struct Job<'a> {
    /// The bucket, where it is about one alone.
    bucket: Option<BucketName>,
    dry_run: bool,
    turn: Turn<'a>,
}

/// An object whose content comes in.
struct UnderWay<'a> {
    replica: Replica,
    draft: Draft<'a>,
    /// What went wrong since it began.
    failed: Option<EngineError>,
}

impl<'a> Receiver<'a> {
    /// One for a job of `caller`.
    pub fn new(engine: &'a Engine, caller: Caller) -> Self {
        Self { engine, caller, job: None, target: None, under_way: None, totals: Totals::default() }
    }

    /// Ends the job because the source is gone, or with `cancelled` because it is not to be waited for: what is complete
    /// takes its place. What became of that.
    pub fn abandon(mut self, cancelled: bool) -> Result<Vec<Settled>> {
        self.under_way = None;
        let settled = self.settle()?;
        if cancelled {
            self.finish(true)?;
        }
        Ok(settled)
    }

    fn about(&self) -> About<'_> {
        let (bucket, dry_run) =
            self.job.as_ref().map_or((None, false), |job| (job.bucket.as_ref(), job.dry_run));
        About { bucket, dry_run, bypass: false }
    }

    fn target(&mut self) -> Result<&mut Target<'a>> {
        self.target.as_mut().ok_or_else(out_of_order)
    }

    /// The event for the replica at `path`.
    fn event(&self, path: &Path) -> Result<Option<Box<Event>>> {
        let target = self.target.as_ref().ok_or_else(out_of_order)?;
        let mut event =
            self.engine.job_event(EventName::CopyObject, &self.caller, target.bucket()?.name(), path);
        if let Some(event) = &mut event {
            event.request.source = Some(format!("{}/{}", target.source(), path.to_string_lossy()));
        }
        Ok(event)
    }

    /// Records and counts what became of the replica at `path`; `event` is the one for its change, where there is one
    /// already. An error is one of the audit log.
    fn note(
        &mut self,
        path: &Path,
        done: std::result::Result<&Done, &EngineError>,
        event: Option<Box<Event>>,
    ) -> Result<()> {
        let (outcome, error) = match done {
            Ok(Done(outcome, _)) => (*outcome, None),
            Err(error) => (Outcome::Failed, Some(error)),
        };
        self.totals.count(outcome);
        if !matches!(outcome, Outcome::Succeeded | Outcome::Failed) {
            return Ok(());
        }
        let event = if event.is_some() { event } else { self.event(path)? };
        self.engine.record_object(event, error)
    }

    fn started(&mut self, replica: &Replica) -> Result<UnderWay<'a>> {
        let object = replica.object()?;
        let target = self.target.as_ref().ok_or_else(out_of_order)?;
        check(&replica.path)?;
        let (bucket, path) = (target.bucket()?.clone(), || replica.path.clone());
        let admission = &self.engine.shared.admission;
        let creation = bucket.admit_put(admission, &self.caller, &path, &object.encryption)?;
        let draft = Draft::new(self.engine, target.root(), creation)?;
        Ok(UnderWay { replica: replica.clone(), draft, failed: None })
    }

    /// Puts what came in into the queue, complete but for the flush.
    fn complete(&mut self, it: UnderWay<'a>, digest: [u8; 32]) -> Result<()> {
        let UnderWay { replica, mut draft, failed } = it;
        if let Some(error) = failed {
            return Err(error);
        }
        let object = replica.object()?;
        draft.set_size(object.size)?;
        draft.finish(&replica.attributes)?;
        if draft.digest(object.size)? != digest {
            return Err(EngineError::os(libc::EIO));
        }
        let mut event = self.event(&replica.path)?;
        if let (Some(event), Content::Encrypted(live)) = (&mut event, draft.file().content()) {
            say_object(event, live, Some(object.encryption != Encryption::Unnamed));
        }
        let copy = Version::of(draft.file())?.mark(replica.attributes.mtime());
        mark(&draft, &object.version, &copy)?;
        replica.attributes.give_times(&draft.node)?;
        draft.close();
        self.target()?.queue(Queued::object(replica, draft, event))
    }

    /// The error of this call is one of the audit log.
    fn refused<T>(&mut self, path: &Path, outcome: Result<T>) -> Result<Result<T>> {
        if let Err(error) = &outcome {
            self.note(path, Err(error), None)?;
        }
        Ok(outcome)
    }
}

impl Replicas for Receiver<'_> {
    fn begin(&mut self, job: &Beginning) -> Result<()> {
        if self.job.is_some() {
            return Err(out_of_order());
        }
        self.engine.require_writable()?;
        let turn = self.engine.job_turn(&job.buckets)?;
        let bucket = <[BucketName; 1]>::try_from(job.buckets.clone()).ok().map(|[bucket]| bucket);
        self.job = Some(Job { bucket, dry_run: job.dry_run, turn });
        self.engine.job_began("replicate", self.about(), &self.caller)?;
        job.replica_key.as_ref().map_or(Ok(()), |key| self.engine.prove_key(key))
    }

    fn bucket(&mut self, name: &BucketName, source: &BucketName) -> Result<bool> {
        let job = self.job.as_ref().ok_or_else(out_of_order)?;
        if self.under_way.is_some() || self.target.as_ref().is_some_and(Target::has_queued) {
            return Err(out_of_order());
        }
        if !job.turn.covers(name) {
            return Err(EngineError::Invalid("a bucket that the job is not about"));
        }
        let Some(root) = self.engine.replica_bucket(&self.caller, name, job.dry_run)? else {
            self.target = None;
            return Ok(false);
        };
        if !job.dry_run {
            draft::clear_leftovers(root.bucket()?)?;
        }
        self.target = Some(Target::new(self.engine, self.caller, (root, source.clone()), job.dry_run));
        Ok(true)
    }

    fn offer(&mut self, replica: &Replica) -> Result<Result<Answer>> {
        let outcome = self.target()?.offer(replica);
        match &outcome {
            // Directories are no objects.
            Ok(Answer::Done(done)) if !matches!(replica.what, What::Directory) => {
                self.note(&replica.path, Ok(done), None)?;
            }
            Err(error) => self.note(&replica.path, Err(error), None)?,
            _ => {}
        }
        Ok(outcome)
    }

    fn start(&mut self, replica: &Replica) -> Result<Result<()>> {
        if self.under_way.is_some() {
            return Err(out_of_order());
        }
        let started = self.started(replica).map(|it| self.under_way = Some(it));
        self.refused(&replica.path, started)
    }

    fn data(&mut self, at: u64, bytes: &[u8]) -> Result<bool> {
        let it = self.under_way.as_mut().ok_or_else(out_of_order)?;
        let end = at.checked_add(bytes.len() as u64);
        if it.failed.is_none() {
            let fits = end.is_some_and(|end| it.replica.object().is_ok_and(|object| end <= object.size));
            it.failed = if fits { it.draft.write(at, bytes).err() } else { Some(EngineError::TooLarge) };
        }
        Ok(it.failed.is_none())
    }

    fn end(&mut self, digest: Option<[u8; 32]>) -> Result<Result<()>> {
        let it = self.under_way.take().ok_or_else(out_of_order)?;
        let Some(digest) = digest else { return Ok(Ok(())) };
        let path = it.replica.path.clone();
        let completed = self.complete(it, digest);
        self.refused(&path, completed)
    }

    fn settle(&mut self) -> Result<Vec<Settled>> {
        let Some(target) = &mut self.target else { return Ok(Vec::new()) };
        let mut all = Vec::with_capacity(BATCH);
        for queued in target.flushed()? {
            let (path, bytes) = (queued.path().to_owned(), queued.bytes());
            let (settled, event) = self.target()?.place(queued);
            match &settled {
                Settled::Done(done) => {
                    self.totals.bytes += if done.0 == Outcome::Succeeded { bytes } else { 0 };
                    self.note(&path, Ok(done), event)?;
                }
                Settled::Failed(error) => self.note(&path, Err(error), event)?,
                Settled::Kept(_) => {}
            }
            all.push(settled);
        }
        Ok(all)
    }

    fn finish(&mut self, cancelled: bool) -> Result<()> {
        if self.target.as_ref().is_some_and(Target::has_queued) {
            return Err(out_of_order());
        }
        let flushed = self.target.take().map_or(Ok(()), |mut target| target.flush());
        if self.job.is_none() {
            return Err(out_of_order());
        }
        self.totals.cancelled = cancelled;
        let outcome = flushed.map(|()| self.totals);
        let recorded = self.engine.job_ended("replicate", self.about(), &self.caller, Some(&outcome));
        self.job = None;
        outcome.and(recorded)
    }
}

impl Drop for Receiver<'_> {
    /// A job that was not finished has failed.
    fn drop(&mut self) {
        if self.job.is_some()
            && let Err(error) = self.engine.job_ended("replicate", self.about(), &self.caller, None)
        {
            log::error!("the end of a replication is not in the audit log: {error}");
        }
    }
}

impl Engine {
    /// Wraps and unwraps something with `key`, so that a key that cannot be used is known before anything is done.
    fn prove_key(&self, key: &KeyName) -> Result<()> {
        let service = &self.shared.buckets.sources().service;
        let id = service.resolve(key)?;
        let (secret, binding) = (Secret::random()?, Binding::bucket_key(Id::random()?));
        let wrapped = service.wrap_key(id.as_str(), &secret, &EncryptionContext::default(), &binding)?;
        if !crypto::equal(service.unwrap_key(&wrapped, &binding)?.expose(), secret.expose()) {
            return Err(KeyError::Rejected { key: key.to_string() }.into());
        }
        Ok(())
    }

    /// The root of the bucket called `name`, which is made where it is missing; nothing in a dry run then.
    fn replica_bucket(&self, caller: &Caller, name: &BucketName, dry_run: bool) -> Result<Option<Item>> {
        let found = match self.shared.buckets.find(name) {
            Err(EngineError::Store(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                if dry_run {
                    return Ok(None);
                }
                self.create_bucket_for(caller, name, self.shared.buckets.defaults(), false)?;
                self.shared.buckets.find(name)
            }
            found => found,
        };
        found.map(|(dir, bucket)| Some(Item::bucket_root(dir, bucket)))
    }
}

fn out_of_order() -> EngineError {
    EngineError::Invalid("a replication that goes on as it cannot")
}
