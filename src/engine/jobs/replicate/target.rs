//! A bucket that replicas go to, while others may use it.
//!
//! A hidden attribute of a replica says which state of which object it was made from and which state of the replica that
//! is. So no other record is needed to go on after a crash, the attribute vanishes with the replica, and a replica that
//! somebody changed is made anew. What has the name of a replica is replaced as `reencrypt` replaces an object: not while
//! it is open or retained, and by one rename. What the source has no more stays.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{draft::Draft, report::Done, version::Version, walk::Found},
    linked::{Known, LinkedFiles},
    placing::parent,
    replica::{Answer, BATCH, Object, Replica, What},
};
use crate::{
    audit::Event,
    engine::{Bucket, Caller, Encryption, Engine, EngineError, Item, Result, live::Sync, replacing::Kept},
    name::{BucketName, FileName},
    policy::Action,
    store::{Kind, NodeKey, NodeRef, Stat, layout::BUCKET_DIR},
};

/// A bucket that replicas go to.
pub(super) struct Target<'a> {
    pub(super) engine: &'a Engine,
    pub(super) caller: Caller,
    pub(super) root: Item,
    /// The bucket of the source.
    source: BucketName,
    dry_run: bool,
    /// Complete, but for a flush and their names.
    queue: Vec<Queued<'a>>,
    pub(super) linked: LinkedFiles,
    /// Whether names were changed since the last flush.
    pub(super) unsynced: bool,
}

/// Something that is complete and waits for the flush.
pub(super) struct Queued<'a> {
    pub(super) replica: Replica,
    /// The content; a further name of a file has none.
    pub(super) draft: Option<Draft<'a>>,
    pub(super) event: Option<Box<Event>>,
}

impl<'a> Queued<'a> {
    /// An object that was written.
    pub(super) fn object(replica: Replica, draft: Draft<'a>, event: Option<Box<Event>>) -> Self {
        Self { replica, draft: Some(draft), event }
    }

    pub(super) fn path(&self) -> &Path {
        &self.replica.path
    }

    /// Plaintext bytes that were written.
    pub(super) fn bytes(&self) -> u64 {
        let size = self.replica.object().map_or(0, |object| object.size);
        if self.draft.is_some() { size } else { 0 }
    }
}

impl<'a> Target<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        caller: Caller,
        (root, source): (Item, BucketName),
        dry_run: bool,
    ) -> Self {
        let (queue, linked) = (Vec::new(), LinkedFiles::default());
        Self { engine, caller, root, source, dry_run, queue, linked, unsynced: false }
    }

    pub(super) fn root(&self) -> &Item {
        &self.root
    }

    pub(super) fn source(&self) -> &BucketName {
        &self.source
    }

    pub(super) fn bucket(&self) -> Result<&Arc<Bucket>> {
        self.root.bucket()
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Makes `replica` as far as its content is not needed for that.
    pub(super) fn offer(&mut self, replica: &Replica) -> Result<Answer> {
        check(&replica.path)?;
        match &replica.what {
            What::Object(object) => self.offer_object(replica, object),
            What::Directory => self.directory(replica).map(Answer::Done),
            What::Link(to) => self.special(replica, Kind::Symlink, 0, Some(to.as_os_str())),
            What::Special(kind, rdev) if is_special(*kind) => self.special(replica, *kind, *rdev, None),
            What::Special(..) => Err(EngineError::Invalid("the kind of a replica")),
        }
    }

    fn offer_object(&mut self, replica: &Replica, object: &Object) -> Result<Answer> {
        let present = Found::at(self.root.node(), &replica.path)?;
        if let Some(file) = &object.file {
            match self.linked.known(self.root.node(), file)? {
                Known::No => {}
                Known::At(first) if present.as_ref().is_some_and(|it| it.node.key() == first.node.key()) => {
                    self.linked.named(file);
                    return Ok(Answer::Done(Done::skipped(CURRENT)));
                }
                Known::At(_) if self.dry_run => return Ok(Answer::Done(Done::planned("would be linked"))),
                Known::At(_) | Known::Queued => {
                    self.admit_link(&replica.path, &object.encryption)?;
                    let link = Queued { replica: replica.clone(), draft: None, event: None };
                    return self.queue(link).map(|()| Answer::Queued);
                }
            }
        }
        let Some(old) = present else {
            return Ok(if self.dry_run { Answer::Done(Done::planned(MISSING)) } else { Answer::Wanted });
        };
        refuse_directory(&old.stat)?;
        if self.is_current(&old, &object.version)? {
            if let Some(file) = &object.file {
                self.linked.placed(file, &replica.path, old.node.key());
            }
            return self.freshen(replica, &old.node).map(Answer::Done);
        }
        // Asked again when it is replaced; here it saves the copy.
        let item = self.root.child(old.node.clone(), old.stat.kind);
        self.engine.require_free(&self.caller, &item, &|| replica.path.clone())?;
        if self.is_open(old.node.key())? {
            return Ok(Answer::Kept(Kept::Open));
        }
        Ok(if self.dry_run { Answer::Done(Done::planned(OUTDATED)) } else { Answer::Wanted })
    }

    fn is_open(&self, key: NodeKey) -> Result<bool> {
        Ok(self.engine.shared.objects.is_open(key) || self.bucket()?.plain_opens().count(key) > 0)
    }

    /// Whether the replica `old` was made from the `version` of its source, and is as it was made. Needs no key, and is
    /// no reading of it.
    fn is_current(&self, old: &Found, version: &str) -> Result<bool> {
        let Ok(value) = old.node.xattr(OsStr::new(ATTRIBUTE)) else { return Ok(false) };
        let text = String::from_utf8_lossy(&value);
        let Some((source, copy)) = text.split_once(' ') else { return Ok(false) };
        if source != version || old.stat.kind != Kind::File {
            return Ok(false);
        }
        if let Some(object) = self.engine.shared.objects.peek(old.node.key()) {
            // What is unsaved has no version yet.
            object.commit(Sync::Settled)?;
        }
        let now = Version::stored(&old.node)?;
        Ok(now.mark(now.stat.mtime) == copy)
    }

    /// Gives a current replica the attributes of its source.
    fn freshen(&mut self, replica: &Replica, node: &NodeRef) -> Result<Done> {
        let difference = replica.attributes.difference(node)?;
        if !difference.any() {
            return Ok(Done::skipped(CURRENT));
        }
        if self.dry_run {
            return Ok(Done::planned("its attributes would change"));
        }
        let item = self.root.child(node.clone(), node.stat()?.kind);
        let asked =
            [(difference.access, Action::PutObjectAcl), (difference.xattrs, Action::PutObjectTagging)];
        for (_, action) in asked.into_iter().filter(|(differs, _)| *differs) {
            self.engine.admit_about(&self.caller, &item, action)?;
        }
        self.give(replica, &item)?;
        Ok(Done::succeeded("attributes"))
    }

    /// Gives something that others may see the attributes of `replica`.
    fn give(&mut self, replica: &Replica, item: &Item) -> Result<()> {
        let change = self.engine.shared.replacing.change();
        replica.attributes.give(item.node())?;
        let (atime, mtime) = replica.attributes.times();
        self.engine.set_times(item, atime, mtime)?;
        if let Some(object) = self.engine.shared.objects.peek(item.key()) {
            object.note_attributes();
        }
        drop(change);
        self.unsynced = true;
        self.engine.shared.replacing.changed(item.key());
        Ok(())
    }

    /// A directory, after everything that goes into it: its time would else be that of the last.
    fn directory(&mut self, replica: &Replica) -> Result<Done> {
        if self.dry_run {
            return Ok(Done::planned(MISSING));
        }
        let dir = self.dir(&replica.path)?;
        let item = self.root.child(dir.clone(), Kind::Directory);
        if !replica.attributes.difference(&dir)?.any() && dir.stat()?.mtime == replica.attributes.mtime() {
            return Ok(Done::skipped(CURRENT));
        }
        self.give(replica, &item)?;
        Ok(Done::succeeded("directory"))
    }

    /// A symbolic link, fifo, socket or device.
    fn special(&mut self, replica: &Replica, kind: Kind, rdev: u64, link: Option<&OsStr>) -> Result<Answer> {
        let present = Found::at(self.root.node(), &replica.path)?;
        if let Some(old) = &present {
            if old.stat.kind == kind
                && old.stat.rdev == rdev
                && link.is_none_or(|link| old.node.read_link().is_ok_and(|target| target == link))
            {
                return self.freshen(replica, &old.node).map(Answer::Done);
            }
            refuse_directory(&old.stat)?;
        }
        if self.dry_run {
            return Ok(Answer::Done(Done::planned("would be made")));
        }
        // As through the mount, nobody is asked about a fifo; but about what it takes the place of.
        if link.is_some() || present.is_some() {
            let dir = self.dir(parent(&replica.path))?;
            let dir = self.root.child(dir, Kind::Directory);
            let _granted = self.engine.admit_named(&self.caller, &dir, &|| replica.path.clone())?;
        }
        let placed = self.place_special(replica, kind, rdev, link)?;
        Ok(placed.map_or_else(Answer::Kept, Answer::Done))
    }

    /// Asks whether a further name may be given to an object with this encryption.
    fn admit_link(&self, path: &Path, encryption: &Encryption) -> Result<()> {
        let admission = &self.engine.shared.admission;
        self.bucket()?.judge_put(admission, &self.caller, &|| path.to_owned(), encryption).map(drop)
    }

    /// Adds something to be placed after the next flush.
    pub(super) fn queue(&mut self, queued: Queued<'a>) -> Result<()> {
        if self.queue.len() >= MOST_QUEUED {
            return Err(EngineError::Invalid("too many replicas at once"));
        }
        if let (Some(_), Ok(Object { file: Some(file), .. })) = (&queued.draft, queued.replica.object()) {
            self.linked.queued(file);
        }
        self.queue.push(queued);
        Ok(())
    }

    /// Everything that is queued, after a flush.
    pub(super) fn flushed(&mut self) -> Result<Vec<Queued<'a>>> {
        if self.has_queued() {
            self.flush()?;
        }
        Ok(std::mem::take(&mut self.queue))
    }

    /// Makes durable what was written and named.
    pub(super) fn flush(&mut self) -> Result<()> {
        let bucket = self.root.bucket()?;
        if !self.has_queued() && !self.unsynced {
            return Ok(());
        }
        self.unsynced = false;
        bucket.private().sync_store().map_err(|error| bucket.flush_failed(&error))
    }
}

/// Refuses a path that leaves the bucket or is reserved in it.
pub(super) fn check(path: &Path) -> Result<()> {
    let senseless = || EngineError::Invalid("the path of a replica");
    if path.as_os_str().len() > MOST_PATH || path.iter().next().is_none() {
        return Err(senseless());
    }
    path.iter().try_for_each(FileName::check)?;
    if path.starts_with(BUCKET_DIR) {
        return Err(EngineError::Reserved(BUCKET_DIR.to_owned()));
    }
    // `a//b` and `a/.` are read as other paths than they are.
    let clean: PathBuf = path.iter().collect();
    if clean.as_os_str() == path.as_os_str() { Ok(()) } else { Err(senseless()) }
}

/// Says in the draft of a replica which `version` of its source it was made from, and what it is itself.
pub(super) fn mark(draft: &Draft<'_>, version: &str, copy: &str) -> Result<()> {
    draft.mark(OsStr::new(ATTRIBUTE), format!("{version} {copy}").as_bytes())
}

pub(super) fn refuse_directory(stat: &Stat) -> Result<()> {
    if stat.kind == Kind::Directory {
        return Err(EngineError::os(libc::EISDIR));
    }
    Ok(())
}

fn is_special(kind: Kind) -> bool {
    matches!(kind, Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice)
}

/// On a replica: what it was made from, and what it was then.
const ATTRIBUTE: &str = "user.strongroom.replica";
const CURRENT: &str = "its replica is current";
const MISSING: &str = "would be copied";
const OUTDATED: &str = "would take the place of what is there";
/// Longest path, in bytes: longer ones have no way into a call of the system.
const MOST_PATH: usize = 4096;
/// Most that waits for one flush; who sends more has lost count.
const MOST_QUEUED: usize = 2 * BATCH;
