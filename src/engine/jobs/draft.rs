//! A new object on its way: made and filled in the bucket's private directory, then put where it belongs.
//!
//! Until it is placed nobody can see it; a crash leaves it in `tmp`, from where the next job removes it.

use std::{ffi::OsStr, sync::Arc};

use zeroize::Zeroizing;

use super::{attributes, report::Log};
use crate::{
    engine::{
        Bucket, Engine, EngineError, Item, OpenFile, OpenFlags, Result,
        bucket::Creation,
        file::Content,
        item::Form,
        live::{LiveObject, Sync},
        scratch,
    },
    envelope::Id,
    name::FileName,
    store::{
        Birth, Kind, NodeRef, RenameMode, Stat, XattrMode,
        layout::{TMP_DIR, fixed},
    },
};

/// An object in `tmp`. Removed when dropped, unless it was placed.
pub(super) struct Draft<'a> {
    engine: &'a Engine,
    tmp: NodeRef,
    name: FileName,
    pub(super) node: NodeRef,
    file: Option<OpenFile>,
    /// Whether `name` still stands in `tmp`.
    there: bool,
}

impl<'a> Draft<'a> {
    /// Begins an empty object of `root`'s bucket, for its owner alone.
    pub(super) fn new(engine: &'a Engine, root: &Item, creation: Creation) -> Result<Self> {
        let bucket = root.bucket()?.clone();
        let (tmp, owner) = bucket.private().lookup(&fixed(TMP_DIR))?;
        let name = FileName::parse(format!("{PREFIX}{}", Id::random()?).as_ref())?;
        let birth = Birth { mode: 0o600, umask: 0, uid: owner.uid, gid: owner.gid };
        let (node, stat, file) = tmp.create_file(&name, &birth)?;
        let item = root.child(node.clone(), stat.kind);
        let content = match creation {
            Creation::Plain => {
                item.remember_form(Form::Plain);
                Content::Plain(file)
            }
            Creation::Encrypted(new) => {
                item.remember_form(Form::Encrypted);
                let (shared, place) = (&engine.shared, node.clone());
                let (budget, peers) = (shared.budget.clone(), Arc::downgrade(&shared.objects));
                let live = || Ok(LiveObject::create(bucket, place, file, *new, budget, peers));
                let object = shared.objects.acquire(stat.key, live)?;
                // It is on the disk before anybody sees it.
                object.note_promised();
                Content::Encrypted(object)
            }
        };
        let flags = OpenFlags { read: true, write: true, append: false, truncate: false };
        Ok(Self { engine, tmp, name, node, file: Some(OpenFile::new(item, flags, content)), there: true })
    }

    pub(super) fn file(&self) -> &OpenFile {
        self.file.as_ref().expect("taken at the end only")
    }

    /// Copies the content of `from`, holes as holes; the plaintext bytes. `ECANCELED` once `log` tells to stop.
    pub(super) fn fill(&self, from: &OpenFile, size: u64, log: &mut Log<'_>) -> Result<u64> {
        let to = self.file();
        let mut at = from.seek(0, true)?.filter(|at| *at < size);
        while let Some(start) = at {
            let end = from.seek(start, false)?.map_or(size, |end| end.min(size));
            copy(from, to, start, end, log)?;
            at = from.seek(end, true)?.filter(|at| *at < size);
        }
        match to.content() {
            Content::Plain(file) => file.set_len(size)?,
            Content::Encrypted(object) => object.set_size(size)?,
        }
        Ok(size)
    }

    /// Stores everything in place and takes over owner, mode and extended attributes of `from`.
    pub(super) fn finish(&self, from: &NodeRef, stat: &Stat) -> Result<()> {
        if let Content::Encrypted(object) = self.file().content() {
            object.commit(Sync::Settled)?;
        }
        attributes::take_over(from, stat, &self.node).map(drop)
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file().sync(false)
    }

    /// Closes the file: what is left to do is to place it.
    pub(super) fn close(&mut self) {
        if let Some(file) = self.file.take() {
            self.engine.close(file);
        }
    }

    /// Takes over the times of `stat`.
    pub(super) fn take_times(&self, stat: &Stat) -> Result<()> {
        attributes::times(stat, &self.node)
    }

    /// Sets the hidden attribute `name`, and the times of `stat`, and makes both durable.
    pub(super) fn mark(&self, name: &OsStr, value: &[u8], stat: &Stat) -> Result<()> {
        self.node.set_xattr(name, value, XattrMode::Set)?;
        self.take_times(stat)?;
        if let Content::Encrypted(object) = self.file().content() {
            object.note_attributes();
        }
        self.sync()
    }

    /// Reads everything back and compares it with `from`.
    pub(super) fn require_same(&self, from: &OpenFile, size: u64) -> Result<()> {
        let to = self.file();
        let mut at = from.seek(0, true)?.filter(|at| *at < size);
        while let Some(start) = at {
            let end = from.seek(start, false)?.map_or(size, |end| end.min(size));
            compare(from, to, start, end)?;
            at = from.seek(end, true)?.filter(|at| *at < size);
        }
        Ok(())
    }

    /// Gives it the name `name` in `dir`.
    pub(super) fn place(&mut self, dir: &NodeRef, name: &FileName, mode: RenameMode) -> Result<()> {
        self.tmp.rename(&self.name, dir, name, mode)?;
        self.there = false;
        self.node.moved(dir, name);
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.close();
        if self.there
            && let Err(error) = self.tmp.unlink(&self.name)
        {
            log::warn!("`{}` stays until the next job: {error}", self.node.path().display());
        }
    }
}

/// Removes what an earlier job left in `tmp`.
pub(super) fn clear_leftovers(bucket: &Bucket) -> Result<()> {
    let (tmp, _) = bucket.private().lookup(&fixed(TMP_DIR))?;
    let mut entries = tmp.entries()?;
    while let Some(entry) = entries.next()? {
        let ours = entry.name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && entry.kind.is_none_or(|kind| kind == Kind::File) {
            tmp.unlink(&FileName::parse(&entry.name)?)?;
        }
    }
    Ok(())
}

fn copy(from: &OpenFile, to: &OpenFile, start: u64, end: u64, log: &mut Log<'_>) -> Result<()> {
    scratch::with_plain(STEP, |buffer| {
        let mut at = start;
        while at < end {
            if log.is_cancelled() {
                return Err(EngineError::from(std::io::Error::from_raw_os_error(libc::ECANCELED)));
            }
            let want = usize::try_from((end - at).min(STEP as u64)).expect("a step at most");
            let got = from.read_at(at, buffer.get_mut(..want).expect("a step at most"))?;
            if got == 0 {
                // It was cut meanwhile, which the caller notices.
                return Err(EngineError::from(std::io::Error::from_raw_os_error(libc::EBUSY)));
            }
            let mut rest = buffer.get(..got).expect("reads are within the buffer");
            while !rest.is_empty() {
                let done = to.write_at(at, rest)?;
                at += done as u64;
                rest = rest.get(done..).unwrap_or_default();
            }
        }
        Ok(())
    })
}

/// Fails where the two differ.
fn compare(one: &OpenFile, other: &OpenFile, start: u64, end: u64) -> Result<()> {
    let mut theirs = Zeroizing::new(vec![0; STEP]);
    scratch::with_plain(STEP, |ours| {
        let mut at = start;
        while at < end {
            let want = usize::try_from((end - at).min(STEP as u64)).expect("a step at most");
            let (ours, theirs) = (ours.split_at_mut(want).0, theirs.split_at_mut(want).0);
            if one.read_at(at, ours)? != want || other.read_at(at, theirs)? != want || ours != theirs {
                return Err(EngineError::from(std::io::Error::from_raw_os_error(libc::EIO)));
            }
            at += want as u64;
        }
        Ok(())
    })
}

/// How the names of drafts begin.
const PREFIX: &str = "job-";
/// Bytes copied at a time.
const STEP: usize = 1 << 20;
