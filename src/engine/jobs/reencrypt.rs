//! Re-encryption: S3's COPY of an object onto itself, with a new data key, object id and, unless told otherwise, time.
//!
//! The new object is written beside, made durable, and exchanged with the old one by a single rename, provided that the
//! old one is the same as when it was read, nobody has it open, and it still has that name. So every reader sees the
//! old object or the new one, and a crash leaves one of them.

use std::sync::Arc;

use super::{
    description::{Description, Sealing as Described},
    draft::{self, Draft},
    filter::Selection,
    objects::{Objects, Seen},
    pace::Pace,
    report::{Done, Log, Totals, Watch},
    version::Version,
    walk::Found,
};
use crate::{
    engine::{
        Bucket, Caller, Encryption, EncryptionType, Engine, EngineError, Item, OpenFile, OpenFlags, Result,
        clock, file::Content, item::damaged, live::Sync, plain::PlainClaim, sealing::Sealing, table::Claim,
    },
    envelope::EncryptionContext,
    keys::KeyId,
    object::SseMode,
    store::{Kind, NodeRef, RenameMode, Stat},
};

/// What to encrypt anew, and how.
#[derive(Debug, Clone, Default)]
pub struct Reencrypt {
    /// Where, and how fast.
    pub selection: Selection,
    /// The encryption that the new objects are put with.
    pub encryption: Encryption,
    /// Access and modification time are those of the old object.
    pub preserve: bool,
    /// Objects that are encrypted as asked already get a new data key, too.
    pub force: bool,
}

impl Engine {
    /// Encrypts anew what `job` selects.
    ///
    /// A failure of one object is noted and the job goes on; the error of this call is one that ended the job.
    pub fn reencrypt(&self, job: &Reencrypt, watch: &mut dyn Watch) -> Result<Totals> {
        self.require_writable()?;
        let _turn = self.job_turn()?;
        let mut log = Log::new(watch);
        let mut pace = Pace::new(job.selection.rate);
        for name in self.names_for(job.selection.bucket.as_ref())? {
            let (dir, bucket) = self.shared.buckets.find(&name)?;
            if !job.selection.dry_run {
                draft::clear_leftovers(&bucket)?;
            }
            let target = target(&job.encryption, &bucket)?;
            let root = Item::bucket_root(dir.clone(), bucket.clone());
            let begun = clock::now_nanos();
            Run { engine: self, job, bucket: &bucket, root, begun, target }.run(dir, &mut pace, &mut log)?;
        }
        Ok(log.totals)
    }

    /// Who asks on behalf of a job: the user that the program runs as.
    pub(super) fn job_caller() -> Caller {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Caller { uid, gid, pid: std::process::id(), umask: 0 }
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
}

impl Run<'_> {
    fn run(&self, dir: NodeRef, pace: &mut Pace, log: &mut Log<'_>) -> Result<()> {
        let filter = self.job.selection.filter.resolved(self.bucket.wraps().service());
        let mut unsynced: Option<NodeRef> = None;
        for seen in Objects::new(dir, self.bucket.private(), filter)? {
            if log.is_cancelled() {
                break;
            }
            let (found, description) = match seen {
                Ok(Seen::Object(_, description)) if self.is_ours(&description) => continue,
                Ok(Seen::Object(found, description)) => (found, description),
                Ok(Seen::Other(_)) => continue,
                Err(unseen) => {
                    log.note(self.bucket.name(), &unseen.path, Err(unseen.error.into()))?;
                    continue;
                }
            };
            // Renames are made durable directory by directory; before that a crash shows the old object.
            if let Some(last) = unsynced.take_if(|last| last.key() != found.dir.key()) {
                last.sync_dir()?;
            }
            pace.wait();
            let done = self.one(&found, &description);
            if let Ok(Some(bytes)) = &done {
                log.totals.bytes += bytes;
                unsynced = Some(found.dir.clone());
            }
            let done = match done {
                Ok(Some(_)) => Ok(Done::succeeded(self.target.name())),
                Ok(None) => Ok(Done::planned(self.target.name())),
                Err(Stop::Skip(why)) => Ok(Done::skipped(why)),
                Err(Stop::Error(error)) => Err(error),
            };
            log.note(self.bucket.name(), &found.path, done)?;
        }
        unsynced.map_or(Ok(()), |dir| Ok(dir.sync_dir()?))
    }

    /// Whether the object was made by this run, and is seen again under its old name.
    fn is_ours(&self, description: &Description) -> bool {
        matches!(description, Description::Encrypted(sealing) if sealing.header.identity.created >= self.begun)
    }

    /// Encrypts one object anew; its size, or nothing for a dry run.
    fn one(&self, found: &Found, description: &Description) -> std::result::Result<Option<u64>, Stop> {
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
        if self.job.selection.dry_run {
            return Ok(None);
        }
        let item = self.root.child(found.node.clone(), Kind::File);
        let path = || found.path.clone();
        let caller = Engine::job_caller();
        self.engine.require_free(&caller, &item, &path)?;
        let flags = OpenFlags { read: true, write: false, append: false, truncate: false };
        let customer = matches!(description, Description::Encrypted(it) if it.mode() == SseMode::Customer);
        let source = match self.engine.open(&caller, &item, flags) {
            Err(EngineError::Key(_)) if customer => {
                return Err(Stop::Skip("SSE-C: the customer key is not here".to_owned()));
            }
            opened => opened?,
        };
        let outcome = self.renew(found, &source, &caller, &path);
        self.engine.close(source);
        outcome.map(Some)
    }

    /// Whether a COPY with these settings would change nothing.
    fn is_the_same(&self, found: &Found, described: &Described) -> Result<bool> {
        let (identity, keys) = (&described.header.identity, &described.header.keys);
        let path = || found.path.clone();
        let decision = self.bucket.decide(&self.bucket.settings(), &path, &self.job.encryption)?;
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

    fn renew(
        &self,
        found: &Found,
        source: &OpenFile,
        caller: &Caller,
        path: &dyn Fn() -> std::path::PathBuf,
    ) -> std::result::Result<u64, Stop> {
        let before = Version::of(source)?;
        let creation =
            self.bucket.admit_put(&self.engine.shared.admission, caller, path, &self.job.encryption)?;
        let mut draft = Draft::new(self.engine, &self.root, creation)?;
        let bytes = draft.fill(source, before.size)?;
        draft.finish(&found.node, &before.stat)?;
        if self.job.preserve {
            draft.keep_times(&Stat { atime: found.stat.atime, ..before.stat })?;
        }
        let claims = self.claim(source, found)?;
        if !Version::of(source)?.is(&before) {
            return Err(Stop::Skip("it was changed meanwhile: run the job again".to_owned()));
        }
        exchange(found, &mut draft)?;
        claims.0.forget();
        Ok(bytes)
    }

    /// Keeps the old object from being opened while it is replaced.
    fn claim(
        &self,
        source: &OpenFile,
        found: &Found,
    ) -> std::result::Result<(Claim<'_>, PlainClaim<'_>), Stop> {
        let (encrypted, plain) = match source.content() {
            Content::Encrypted(object) => {
                object.commit(Sync::Settled)?;
                (1, 0)
            }
            Content::Plain(_) => (0, 1),
        };
        let key = found.node.key();
        let sealed = self.engine.shared.objects.claim(key, encrypted);
        let claims = sealed.zip(self.bucket.plain_opens().claim(key, plain));
        claims.ok_or_else(|| Stop::Skip("it is open: run the job again when it is not".to_owned()))
    }
}

/// Puts the draft in the place of what it was made from, and removes that.
fn exchange(found: &Found, draft: &mut Draft<'_>) -> std::result::Result<(), Stop> {
    let swap =
        |draft: &Draft<'_>| draft.tmp().rename(&draft.name, &found.dir, &found.name, RenameMode::Exchange);
    swap(draft)?;
    let (old, _) = draft.tmp().lookup(&draft.name)?;
    if old.key() != found.node.key() {
        swap(draft)?;
        return Err(Stop::Skip("another object has its name now: run the job again".to_owned()));
    }
    draft.placed(&found.dir, &found.name);
    Ok(draft.clear()?)
}

/// Why an object was not encrypted anew.
enum Stop {
    Skip(String),
    Error(EngineError),
}

impl<E: Into<EngineError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The encryption that objects put with `encryption` into `bucket` get.
fn target(encryption: &Encryption, bucket: &Bucket) -> Result<EncryptionType> {
    match encryption.kind(&bucket.settings().encryption.default) {
        EncryptionType::None => Err(EngineError::Bucket {
            bucket: bucket.name().to_string(),
            reason: "it has no default encryption: name one with `--sse`".to_owned(),
        }),
        kind => Ok(kind),
    }
}
