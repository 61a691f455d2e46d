//! Replication of a bucket into another store, by the rules of S3 Replication.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>
//!
//! A replica is a new object with keys of its own: an object without encryption takes the target's default, one with SSE-S3
//! keeps its mode, and one with a KMS key keeps mode, context and use of bucket keys under the replica key, which must be
//! named. SSE-C objects stay where they are. It is written beside, read back and compared, and only then takes its name. A hidden attribute
//! of the replica says which state of which object it was made from and which state of the replica that is; so no other
//! record is needed to go on after a crash, the attribute vanishes with the replica, and a replica that somebody changed
//! is made anew. What the source has no more stays in the target.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{
    attributes,
    description::{Description, Sealing},
    draft::{self, Draft},
    filter::Selection,
    objects::{Objects, Seen},
    pace::Pace,
    report::{Done, Log, Outcome, Totals, Watch},
    version::Version,
    walk::{Found, Walk},
};
use crate::{
    audit::{Event, EventName},
    crypto::{self, Secret},
    engine::{
        Caller, Encryption, EncryptionHeaders, Engine, EngineError, Item, OpenFile, OpenFlags, Result,
        audit::say_object, file::Content, item::damaged,
    },
    envelope::{EncryptionContext, Id},
    keys::{Binding, KeyError, KeyName, MasterKey},
    name::{BucketName, FileName},
    object::SseMode,
    store::{Birth, Kind, NodeKey, NodeRef, RenameMode, Stat},
};

/// What to replicate.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicate {
    /// What of the source; without a bucket, all of them.
    pub selection: Selection,
    /// The bucket of the target, where it is not called as that of the source is.
    pub target: Option<BucketName>,
    /// The key of the target for replicas of KMS objects, which are left out without one.
    pub replica_key: Option<KeyName>,
}

impl Engine {
    /// Makes replicas in `target` of what `job` selects here. Buckets that `target` lacks are made as it makes new ones.
    ///
    /// A failure of one object is noted and the job goes on; the error of this call is one that ended the job.
    pub fn replicate(&self, target: &Self, job: &Replicate, watch: &mut dyn Watch) -> Result<Totals> {
        target.require_writable()?;
        let names = self.names_for(job.selection.bucket.as_ref())?;
        let targets: Vec<BucketName> = match &job.target {
            Some(target) => vec![target.clone()],
            None => names.clone(),
        };
        let (_mine, _theirs) = (self.job_turn(&names)?, target.job_turn(&targets)?);
        let caller = watch.caller();
        let run = || self.replicate_buckets(target, job, &names, watch);
        let recorded = || target.recorded_job("replicate", &job.selection, &caller, run);
        self.recorded_job("replicate", &job.selection, &caller, recorded)
    }

    fn replicate_buckets(
        &self,
        target: &Self,
        job: &Replicate,
        names: &[BucketName],
        watch: &mut dyn Watch,
    ) -> Result<Totals> {
        if let Some(key) = &job.replica_key {
            target.prove_key(key)?;
        }
        let mut log = Log::new(watch);
        let mut pace = Pace::new(job.selection.rate);
        let caller = log.caller();
        for name in names {
            let to = job.target.as_ref().unwrap_or(name);
            let (dir, bucket) = self.shared.buckets.find(name)?;
            let source = Item::bucket_root(dir, bucket);
            let dry_run = job.selection.dry_run;
            let Some(root) = target.replica_bucket(to, dry_run)? else {
                log.note(to, Path::new(""), Ok(Done::planned("the bucket would be made")))?;
                continue;
            };
            if !dry_run {
                draft::clear_leftovers(root.bucket()?)?;
            }
            let mut run = Run {
                from: self,
                to: target,
                job,
                caller,
                source,
                root,
                last_dir: None,
                linked: HashMap::new(),
            };
            run.objects(&mut pace, &mut log)?;
            run.directories(&mut log)?;
        }
        Ok(log.totals)
    }

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
    fn replica_bucket(&self, name: &BucketName, dry_run: bool) -> Result<Option<Item>> {
        let found = match self.shared.buckets.find(name) {
            Err(EngineError::Store(error)) if error.kind() == ErrorKind::NotFound => {
                if dry_run {
                    return Ok(None);
                }
                self.create_bucket(name, self.shared.buckets.defaults(), false)?;
                self.shared.buckets.find(name)
            }
            found => found,
        };
        found.map(|(dir, bucket)| Some(Item::bucket_root(dir, bucket)))
    }
}

/// One bucket on its way.
struct Run<'a> {
    from: &'a Engine,
    to: &'a Engine,
    job: &'a Replicate,
    caller: Caller,
    source: Item,
    root: Item,
    /// The directory of the target that was written last.
    last_dir: Option<(PathBuf, NodeRef)>,
    /// Where the first name of each file with several stands in the target.
    linked: HashMap<NodeKey, (PathBuf, FileName)>,
}

impl Run<'_> {
    fn objects(&mut self, pace: &mut Pace, log: &mut Log<'_>) -> Result<()> {
        let bucket = self.source.bucket()?.clone();
        let filter = self.job.selection.filter.resolved(bucket.wraps().service());
        for seen in Objects::new(self.source.node().clone(), bucket.private(), filter)? {
            if log.is_cancelled() {
                break;
            }
            let (found, done) = match seen {
                Ok(Seen::Object(found, description)) => {
                    pace.wait();
                    let done = self.recorded_object(&found, &description, log)?;
                    (found, done)
                }
                Ok(Seen::Other(found)) if found.stat.kind == Kind::Directory => continue,
                Ok(Seen::Other(found)) => {
                    let done = self.special(&found);
                    (found, done)
                }
                Err(unseen) => {
                    log.note(bucket.name(), &unseen.path, Err(unseen.error.into()))?;
                    continue;
                }
            };
            // Told to stop in the middle of it: there is nothing to be seen of it.
            if done.is_err() && log.totals.cancelled {
                break;
            }
            log.note(bucket.name(), &found.path, done)?;
        }
        self.last_dir.take().map_or(Ok(()), |(_, dir)| Ok(dir.sync_dir()?))
    }

    /// Gives the directories what a directory has, after all is in them: their times would else be those of now.
    fn directories(&mut self, log: &mut Log<'_>) -> Result<()> {
        if self.job.selection.dry_run {
            return Ok(());
        }
        let bucket = self.source.bucket()?.clone();
        for found in Walk::new(self.source.node().clone(), &self.job.selection.filter.prefix)? {
            let found = match found {
                Ok(found) if found.stat.kind == Kind::Directory => found,
                // What could not be seen was noted.
                Ok(_) | Err(_) => continue,
            };
            let given = self.target_dir(&found.path).and_then(|dir| {
                attributes::take_over(&found.node, &found.stat, &dir)?;
                attributes::times(&found.stat, &dir)
            });
            if let Err(error) = given {
                log.note(bucket.name(), &found.path, Err(error))?;
            }
        }
        Ok(())
    }

    /// What became of the replica of `found`; an error of this call is one of the audit log.
    fn recorded_object(
        &mut self,
        found: &Found,
        is: &Description,
        log: &mut Log<'_>,
    ) -> Result<Result<Done>> {
        let bucket = self.root.bucket()?.name().clone();
        let mut event = self.to.job_event(EventName::CopyObject, &self.caller, &bucket, &found.path);
        if let Some(event) = &mut event {
            let source = self.source.bucket()?.name();
            event.request.source = Some(format!("{source}/{}", found.path.to_string_lossy()));
        }
        let done = self.object(found, is, &mut event, log);
        if done.as_ref().map_or(true, |done| done.0 == Outcome::Succeeded) {
            self.to.record_object(event, done.as_ref().err())?;
        }
        Ok(done)
    }

    fn object(
        &mut self,
        found: &Found,
        is: &Description,
        event: &mut Option<Box<Event>>,
        log: &mut Log<'_>,
    ) -> Result<Done> {
        let encryption = match is {
            Description::Damaged(reason) => return Err(damaged(&found.node, reason.clone())),
            Description::Plain => Encryption::Unnamed,
            Description::Encrypted(sealing) => match self.replica_of(sealing)? {
                Ok(encryption) => encryption,
                Err(why) => return Ok(Done::skipped(why)),
            },
        };
        let first = self.linked.get(&found.node.key()).cloned();
        if let Some((dir, name)) = first {
            return self.link(found, &dir, &name);
        }
        let item = self.source.child(found.node.clone(), Kind::File);
        let flags = OpenFlags { read: true, write: false, append: false, truncate: false };
        let source = self.from.open(&self.caller, &item, flags)?;
        let done = self.copy(found, &source, &encryption, event, log);
        self.from.close(source);
        if found.stat.nlink > 1 && done.is_ok() && !self.job.selection.dry_run {
            let dir = parent(&found.path);
            self.linked.insert(found.node.key(), (dir, found.name.clone()));
        }
        done
    }

    /// The encryption of the replica of an encrypted object, or why it gets none.
    fn replica_of(&self, sealing: &Sealing) -> Result<std::result::Result<Encryption, &'static str>> {
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

    fn copy(
        &mut self,
        found: &Found,
        source: &OpenFile,
        encryption: &Encryption,
        event: &mut Option<Box<Event>>,
        log: &mut Log<'_>,
    ) -> Result<Done> {
        let busy = || EngineError::from(std::io::Error::from_raw_os_error(libc::EBUSY));
        let before = Version::settled(source)?.ok_or_else(busy)?;
        // What the walk saw may be older than what was unsaved then.
        let stat = Stat { atime: found.stat.atime, ..before.stat };
        let made_from = before.mark(&stat);
        if self.job.selection.dry_run {
            return Ok(Done::planned("would be copied, unless its replica is current"));
        }
        let dir = self.target_dir(&parent(&found.path))?;
        let old = present(&dir, &found.name)?;
        if let Some((old, old_stat)) = &old
            && self.is_current(old, old_stat, &made_from)?
        {
            let changed = attributes::take_over(&found.node, &stat, old)?;
            attributes::times(&stat, old)?;
            return Ok(if changed { Done::succeeded("attributes") } else { Done::skipped(CURRENT) });
        }
        let bucket = self.root.bucket()?.clone();
        let path = || found.path.clone();
        let creation = bucket.admit_put(&self.to.shared.admission, &self.caller, &path, encryption)?;
        let mut draft = Draft::new(self.to, &self.root, creation)?;
        draft.fill(source, before.size, log)?;
        draft.finish(&found.node, &before.stat)?;
        draft.sync()?;
        draft.require_same(source, before.size)?;
        if !Version::of(source)?.is(&before) {
            return Err(busy());
        }
        if let (Some(event), Content::Encrypted(object)) = (event, draft.file().content()) {
            say_object(event, object, Some(*encryption != Encryption::Unnamed));
        }
        let copy = Version::of(draft.file())?.mark(&before.stat);
        draft.mark(OsStr::new(ATTRIBUTE), format!("{made_from} {copy}").as_bytes(), &stat)?;
        self.place(&mut draft, &dir, &found.name, old)?;
        log.totals.bytes += before.size;
        Ok(Done::succeeded(encryption.kind(&bucket.settings().encryption.default).name()))
    }

    /// Whether the replica `old` was made from that state of its source, and is as it was made.
    fn is_current(&self, old: &NodeRef, stat: &Stat, made_from: &str) -> Result<bool> {
        let Ok(value) = old.xattr(OsStr::new(ATTRIBUTE)) else { return Ok(false) };
        let text = String::from_utf8_lossy(&value);
        let Some((source, copy)) = text.split_once(' ') else { return Ok(false) };
        if source != made_from || stat.kind != Kind::File {
            return Ok(false);
        }
        let item = self.root.child(old.clone(), Kind::File);
        let flags = OpenFlags { read: true, write: false, append: false, truncate: false };
        let file = self.to.open(&self.caller, &item, flags)?;
        let same = Version::of(&file).map(|now| now.mark(stat) == copy);
        self.to.close(file);
        same
    }

    /// Puts the draft where it belongs, in place of what was there, if nobody has that open.
    fn place(
        &self,
        draft: &mut Draft<'_>,
        dir: &NodeRef,
        name: &FileName,
        old: Option<(NodeRef, Stat)>,
    ) -> Result<()> {
        let busy = || EngineError::from(std::io::Error::from_raw_os_error(libc::EBUSY));
        let Some((old, _)) = old else { return draft.place(dir, name, RenameMode::NoReplace) };
        let item = self.root.child(old.clone(), Kind::File);
        self.to.require_free(&self.caller, &item, &|| item.path())?;
        let _plain = self.root.bucket()?.plain_opens().claim(old.key(), 0).ok_or_else(busy)?;
        let claim = self.to.shared.objects.claim(old.key(), 0).ok_or_else(busy)?;
        draft.place(dir, name, RenameMode::Replace)?;
        claim.forget();
        Ok(())
    }

    /// A further name of a file that has one in the target.
    fn link(&mut self, found: &Found, first_dir: &Path, first: &FileName) -> Result<Done> {
        let (first, first_stat) = self.target_dir(first_dir)?.lookup(first)?;
        let dir = self.target_dir(&parent(&found.path))?;
        if let Some((old, stat)) = present(&dir, &found.name)? {
            if old.key() == first_stat.key {
                return Ok(Done::skipped(CURRENT));
            }
            refuse_directory(&stat)?;
            dir.unlink(&found.name)?;
        }
        dir.link(&first, &found.name)?;
        Ok(Done::succeeded("linked"))
    }

    /// A symbolic link, fifo, socket or device.
    fn special(&mut self, found: &Found) -> Result<Done> {
        if self.job.selection.dry_run {
            return Ok(Done::planned("would be made, unless it is there"));
        }
        let dir = self.target_dir(&parent(&found.path))?;
        let link = (found.stat.kind == Kind::Symlink).then(|| found.node.read_link()).transpose()?;
        let mut made = false;
        let node = match present(&dir, &found.name)? {
            Some((old, stat)) if is_alike(&old, &stat, found, link.as_deref()) => old,
            old => {
                if let Some((_, stat)) = old {
                    refuse_directory(&stat)?;
                    dir.unlink(&found.name)?;
                }
                made = true;
                make(&dir, found, link)?
            }
        };
        made |= attributes::take_over(&found.node, &found.stat, &node)?;
        attributes::times(&found.stat, &node)?;
        Ok(if made { Done::succeeded("made") } else { Done::skipped(CURRENT) })
    }

    /// The directory of the target at `path`, made where it is missing, for its owner alone until the end.
    fn target_dir(&mut self, path: &Path) -> Result<NodeRef> {
        if let Some((last, dir)) = &self.last_dir {
            if last == path {
                return Ok(dir.clone());
            }
            dir.sync_dir()?;
        }
        let mut dir = self.root.node().clone();
        let owner = dir.stat()?;
        let birth = Birth { mode: 0o700, umask: 0, uid: owner.uid, gid: owner.gid };
        for part in path {
            let name = FileName::parse(part)?;
            dir = match dir.lookup(&name) {
                Err(error) if error.kind() == ErrorKind::NotFound => dir.create_dir(&name, &birth)?.0,
                found => found?.0,
            };
        }
        self.last_dir = Some((path.to_owned(), dir.clone()));
        Ok(dir)
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn present(dir: &NodeRef, name: &FileName) -> Result<Option<(NodeRef, Stat)>> {
    match dir.lookup(name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn refuse_directory(stat: &Stat) -> Result<()> {
    if stat.kind == Kind::Directory {
        return Err(std::io::Error::from_raw_os_error(libc::EISDIR).into());
    }
    Ok(())
}

fn is_alike(old: &NodeRef, stat: &Stat, found: &Found, link: Option<&OsStr>) -> bool {
    let alike = stat.kind == found.stat.kind && stat.rdev == found.stat.rdev;
    alike && link.is_none_or(|link| old.read_link().is_ok_and(|target| target == link))
}

fn make(dir: &NodeRef, found: &Found, link: Option<OsString>) -> Result<NodeRef> {
    let Stat { uid, gid, mode, kind, rdev, .. } = found.stat;
    let birth = Birth { mode, umask: 0, uid, gid };
    Ok(match link {
        Some(target) => dir.create_symlink(&found.name, &target, &birth)?.0,
        None => dir.create_special(&found.name, kind, rdev, &birth)?.0,
    })
}

/// On a replica: what it was made from, and what it was then.
const ATTRIBUTE: &str = "user.strongroom.replica";
const CURRENT: &str = "its replica is current";
