//! The source's side of a replication: looks at each object, offers it, and sends what the target wants.
//!
//! What is offered is what the header of an object says, so that for what the target has already no key is used. It is
//! opened, as by whoever reads it, when the target wants it.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use super::{
    super::{
        attributes::Attributes,
        description::{Description, Sealing},
        objects::{Objects, Seen},
        pace::Pace,
        report::{Done, Log, Totals, Watch},
        walk::{Found, Walk},
    },
    Replicate,
    replica::{Answer, BATCH, BATCH_BYTES, Beginning, Replica, Replicas, Settled, What},
    sending::{Fault, told},
};
use crate::{
    engine::{
        Caller, Encryption, EncryptionHeaders, Engine, EngineError, Item, PeerCause, Result, item::damaged,
        replacing::Kept,
    },
    envelope::EncryptionContext,
    name::BucketName,
    object::SseMode,
    store::Kind,
};

impl Engine {
    /// Has `to` make replicas of what `job` selects here.
    ///
    /// A failure of one object is noted and the job goes on; the error of this call is one that ended the job.
    pub fn send_replicas(
        &self,
        to: &mut dyn Replicas,
        job: &Replicate,
        watch: &mut dyn Watch,
    ) -> Result<Totals> {
        let names = self.names_for(job.selection.bucket.as_ref())?;
        let _turn = self.job_turn(&names)?;
        let caller = watch.caller();
        self.recorded_job("replicate", job.selection.about(), &caller, || {
            self.send_buckets(to, job, &names, watch)
        })
    }

    fn send_buckets(
        &self,
        to: &mut dyn Replicas,
        job: &Replicate,
        names: &[BucketName],
        watch: &mut dyn Watch,
    ) -> Result<Totals> {
        let buckets = match &job.target {
            Some(target) => vec![target.clone()],
            None => names.to_vec(),
        };
        let (replica_key, dry_run) = (job.replica_key.clone(), job.selection.dry_run);
        let mut log = Log::new(watch);
        let outcome = to
            .begin(&Beginning { buckets, replica_key, dry_run })
            .and_then(|()| self.send_each(to, job, names, &mut log))
            .and_then(|()| to.finish(log.totals.cancelled));
        match outcome {
            Err(EngineError::Peer(error)) if error.cause == PeerCause::Stopped => log.totals.cancelled = true,
            outcome => outcome?,
        }
        Ok(log.totals)
    }

    fn send_each(
        &self,
        to: &mut dyn Replicas,
        job: &Replicate,
        names: &[BucketName],
        log: &mut Log<'_>,
    ) -> Result<()> {
        let mut pace = Pace::new(job.selection.rate);
        for name in names {
            if log.is_cancelled() {
                break;
            }
            let (dir, bucket) = self.shared.buckets.find(name)?;
            let target = job.target.as_ref().unwrap_or(name);
            if !to.bucket(target, name)? {
                log.note(target, Path::new(""), Ok(Done::planned("the bucket would be made")))?;
                continue;
            }
            let (caller, source) = (log.caller(), Item::bucket_root(dir, bucket));
            let (waiting, busy) = (VecDeque::new(), Vec::new());
            Run { engine: self, to, job, caller, source, waiting, bytes: 0, busy }.bucket(&mut pace, log)?;
        }
        Ok(())
    }
}

/// One bucket on its way.
pub(super) struct Run<'a> {
    pub(super) engine: &'a Engine,
    pub(super) to: &'a mut dyn Replicas,
    job: &'a Replicate,
    pub(super) caller: Caller,
    pub(super) source: Item,
    /// What the target has queued, in its order, and plaintext bytes of what was sent of it.
    pub(super) waiting: VecDeque<(PathBuf, u64)>,
    /// Plaintext bytes of all of these.
    pub(super) bytes: u64,
    /// Paths of what could not be replaced when it was its turn.
    busy: Vec<PathBuf>,
}

impl Run<'_> {
    fn bucket(&mut self, pace: &mut Pace, log: &mut Log<'_>) -> Result<()> {
        let outcome = self.objects(pace, log).and_then(|()| self.directories(log));
        if matches!(&outcome, Err(EngineError::Peer(error)) if error.cause == PeerCause::Stopped) {
            self.note_settled(log, Again::Never)?;
        }
        outcome
    }

    fn objects(&mut self, pace: &mut Pace, log: &mut Log<'_>) -> Result<()> {
        let bucket = self.source.bucket()?.clone();
        let filter = self.job.selection.filter.resolved(bucket.wraps().service());
        let mut objects = Objects::new(self.source.node().clone(), bucket.private(), filter)?;
        for seen in &mut objects {
            if log.is_cancelled() {
                break;
            }
            match seen {
                Ok(Seen::Object(found, description)) => {
                    if pace.is_early() {
                        self.settle(log, Again::Later)?;
                    }
                    pace.wait();
                    self.object(&found, &description, Again::Later, log)?;
                }
                Ok(Seen::Other(found)) if found.stat.kind == Kind::Directory => {}
                Ok(Seen::Other(found)) => self.special(&found, log)?,
                Err(unseen) => log.note(bucket.name(), &unseen.path, Err(unseen.error.into()))?,
            }
        }
        self.settle(log, Again::Later)?;
        for path in std::mem::take(&mut self.busy) {
            let seen = objects.at(self.source.node(), &path);
            if let (Ok(Some((found, description))), false) = (seen, log.is_cancelled()) {
                pace.wait();
                self.object(&found, &description, Again::Never, log)?;
            } else {
                self.kept(path, Kept::Open, Again::Never, log)?;
            }
        }
        self.settle(log, Again::Never)
    }

    /// Gives the directories what a directory has, after all is in them: their times would else be those of now.
    fn directories(&mut self, log: &mut Log<'_>) -> Result<()> {
        if self.job.selection.dry_run || log.totals.cancelled {
            return Ok(());
        }
        let bucket = self.source.bucket()?.clone();
        for found in Walk::directories(self.source.node().clone(), &self.job.selection.filter.prefix)? {
            if log.is_cancelled() {
                break;
            }
            // What could not be seen was noted.
            let Ok(found) = found else { continue };
            let replica = Attributes::of(&found.node, &found.stat).map(|attributes| Replica {
                path: found.path.clone(),
                attributes,
                what: What::Directory,
            });
            let given = match replica {
                Ok(replica) => self.to.offer(&replica)?.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = given {
                log.note(bucket.name(), &found.path, Err(error))?;
            }
        }
        Ok(())
    }

    /// A symbolic link, fifo, socket or device.
    fn special(&mut self, found: &Found, log: &mut Log<'_>) -> Result<()> {
        let replica = || -> Result<Replica> {
            let what = match found.stat.kind {
                Kind::Symlink => What::Link(found.node.read_link()?.into()),
                kind => What::Special(kind, found.stat.rdev),
            };
            let attributes = Attributes::of(&found.node, &found.stat)?;
            Ok(Replica { path: found.path.clone(), attributes, what })
        };
        let answer = match replica() {
            Ok(replica) => told(self.to.offer(&replica)),
            Err(error) => Err(error.into()),
        };
        self.answered(&found.path, answer, Again::Never, log)
    }

    /// A regular file.
    fn object(&mut self, found: &Found, is: &Description, again: Again, log: &mut Log<'_>) -> Result<()> {
        let encryption = match is {
            Description::Damaged(reason) => Err(damaged(&found.node, reason.clone())),
            Description::Plain => Ok(Ok(Encryption::Unnamed)),
            Description::Encrypted(sealing) => self.encryption(sealing),
        };
        let answer = match encryption {
            Ok(Ok(encryption)) => self.sent(found, is, &encryption, log),
            Ok(Err(why)) => Ok(Answer::Done(Done::skipped(why))),
            Err(error) => Err(error.into()),
        };
        self.answered(&found.path, answer, again, log)
    }

    /// The encryption of the replica of an encrypted object, or why it gets none.
    fn encryption(&self, sealing: &Sealing) -> Result<std::result::Result<Encryption, &'static str>> {
        let mode = sealing.mode();
        let kms = mode.is_kms();
        let key = match (&self.job.replica_key, kms) {
            (None, true) => return Ok(Err("kms opt-in: name a replica key")),
            _ if mode == SseMode::Customer => return Ok(Err("SSE-C objects are not replicated")),
            (key, _) => key.as_ref().filter(|_| kms),
        };
        let pairs = sealing.context().filter(|_| kms).into_iter().flat_map(EncryptionContext::pairs);
        let headers = EncryptionHeaders {
            encryption: Some(mode.name().to_owned()),
            kms_key: key.map(ToString::to_string),
            context: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            bucket_key: (mode == SseMode::Kms).then_some(sealing.header.identity.bucket_key),
            customer: false,
        };
        Ok(Ok(headers.check()?))
    }

    /// Goes on after an answer about the object at `path`.
    fn answered(
        &mut self,
        path: &Path,
        answer: std::result::Result<Answer, Fault>,
        again: Again,
        log: &mut Log<'_>,
    ) -> Result<()> {
        let done = match answer {
            Ok(Answer::Queued) if self.waiting.len() < BATCH && self.bytes < BATCH_BYTES => return Ok(()),
            Ok(Answer::Queued) => return self.settle(log, again),
            Ok(Answer::Kept(kept)) => return self.kept(path.to_owned(), kept, again, log),
            Ok(Answer::Done(done)) => Ok(done),
            Ok(Answer::Wanted) => Err(EngineError::Invalid("an answer to what was not asked")),
            // Told to stop in the middle of it: there is nothing to be seen of it.
            Err(Fault::Object(_)) if log.totals.cancelled => return Ok(()),
            Err(Fault::Object(error)) => Err(error),
            Err(Fault::Job(error)) => return Err(error),
        };
        Ok(log.note(self.source.bucket()?.name(), path, done)?)
    }

    /// What has the name of a replica cannot be replaced now.
    fn kept(&mut self, path: PathBuf, kept: Kept, again: Again, log: &mut Log<'_>) -> Result<()> {
        if again == Again::Later && self.busy.len() < MOST_BUSY {
            self.busy.push(path);
            return Ok(());
        }
        Ok(log.note(self.source.bucket()?.name(), &path, Ok(Done::skipped(kept.why())))?)
    }

    /// Has the target put in place what it has queued.
    fn settle(&mut self, log: &mut Log<'_>, again: Again) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.note_settled(log, again)?;
        if self.waiting.is_empty() { Ok(()) } else { Err(EngineError::Invalid("the target lost count")) }
    }

    fn note_settled(&mut self, log: &mut Log<'_>, again: Again) -> Result<()> {
        self.bytes = 0;
        let bucket = self.source.bucket()?.clone();
        for settled in self.to.settle()? {
            let (path, bytes) =
                self.waiting.pop_front().ok_or(EngineError::Invalid("the target lost count"))?;
            let done = match settled {
                Settled::Done(done) => {
                    log.totals.bytes += bytes;
                    Ok(done)
                }
                Settled::Failed(error) => Err(error),
                Settled::Kept(kept) => {
                    self.kept(path, kept, again, log)?;
                    continue;
                }
            };
            log.note(bucket.name(), &path, done)?;
        }
        Ok(())
    }
}

/// Whether what cannot be replaced now is tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Later,
    Never,
}

/// Most paths that are kept to be tried again.
const MOST_BUSY: usize = 4096;
