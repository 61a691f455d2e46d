//! A new object on its way: made and filled in the bucket's private directory, then put where it belongs.
//!
//! Until it is placed nobody can see it; a crash leaves it in `tmp`, from where the next job removes it.

use std::{ffi::OsStr, sync::Arc};

use super::{
    attributes::Attributes,
    content::{ContentDigest, pieces},
    report::Log,
};
use crate::{
    engine::{
        Bucket, Engine, EngineError, Item, OpenFile, OpenFlags, Result,
        bucket::Creation,
        file::Content,
        item::Form,
        live::{LiveObject, Sync},
    },
    envelope::Id,
    name::FileName,
    store::{
        Birth, Kind, NodeRef, RenameMode, XattrMode,
        layout::{TMP_DIR, fixed},
    },
};

/// An object in `tmp`. Removed when dropped, unless it was placed.
pub(super) struct Draft<'a> {
    engine: &'a Engine,
    pub(super) node: NodeRef,
    staged: Staged,
    file: Option<OpenFile>,
}

/// A name in `tmp` for something that is made there. Removed when dropped, unless it was placed.
pub(super) struct Staged {
    tmp: NodeRef,
    name: FileName,
    /// Whether it has its place.
    placed: bool,
}

impl Staged {
    /// A new one in `bucket`.
    pub(super) fn new(bucket: &Bucket) -> Result<Self> {
        let (tmp, _) = bucket.private().lookup(&fixed(TMP_DIR))?;
        let name = FileName::parse(format!("{PREFIX}{}", Id::random()?).as_ref())?;
        Ok(Self { tmp, name, placed: false })
    }

    /// The directory.
    pub(super) fn dir(&self) -> &NodeRef {
        &self.tmp
    }

    /// The name there.
    pub(super) fn name(&self) -> &FileName {
        &self.name
    }

    /// Gives it the name `name` in `dir`.
    pub(super) fn place(&mut self, dir: &NodeRef, name: &FileName, mode: RenameMode) -> Result<()> {
        self.tmp.rename(&self.name, dir, name, mode)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        match self.tmp.unlink(&self.name) {
            // Nothing was made.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = self.tmp.path().join(self.name.as_os_str());
                log::warn!("`{}` stays until the next job: {error}", path.display());
            }
            Ok(()) => {}
        }
    }
}

impl<'a> Draft<'a> {
    /// Begins an empty object of `root`'s bucket, for its owner alone.
    pub(super) fn new(engine: &'a Engine, root: &Item, creation: Creation) -> Result<Self> {
        let bucket = root.bucket()?.clone();
        let staged = Staged::new(&bucket)?;
        let owner = staged.tmp.stat()?;
        let birth = Birth { mode: 0o600, umask: 0, uid: owner.uid, gid: owner.gid };
        let (node, stat, file) = staged.tmp.create_file(&staged.name, &birth)?;
        // Its number may have been that of another file.
        engine.shared.explicit.forget(stat.key);
        engine.shared.uploads.finish(stat.key);
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
        Ok(Self { engine, node, staged, file: Some(OpenFile::new(item, flags, content)) })
    }

    pub(super) fn file(&self) -> &OpenFile {
        self.file.as_ref().expect("taken at the end only")
    }

    /// Copies the content of `from`, holes as holes; the plaintext bytes. `ECANCELED` once `log` tells to stop.
    pub(super) fn fill(&self, from: &OpenFile, size: u64, log: &mut Log<'_>) -> Result<u64> {
        pieces(from, size, &mut |at, bytes| {
            if log.is_cancelled() {
                return Err(EngineError::os(libc::ECANCELED));
            }
            self.write(at, bytes)
        })?;
        self.set_size(size)?;
        Ok(size)
    }

    /// Writes all of `bytes` at `at`.
    pub(super) fn write(&self, mut at: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let done = self.file().write_at(at, bytes)?;
            at += done as u64;
            bytes = bytes.get(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// Gives it this length, with a hole where nothing was written.
    pub(super) fn set_size(&self, size: u64) -> Result<()> {
        match self.file().content() {
            Content::Plain(file) => Ok(file.set_len(size)?),
            Content::Encrypted(object) => object.set_size(size),
        }
    }

    /// Stores everything in place and gives it these attributes.
    pub(super) fn finish(&self, attributes: &Attributes) -> Result<()> {
        if let Content::Encrypted(object) = self.file().content() {
            object.commit(Sync::Settled)?;
        }
        attributes.give(&self.node).map(drop)
    }

    /// Reads everything back; the digest of it.
    pub(super) fn digest(&self, size: u64) -> Result<[u8; 32]> {
        let mut digest = ContentDigest::new();
        pieces(self.file(), size, &mut |at, bytes| {
            digest.update(at, bytes);
            Ok(())
        })?;
        Ok(digest.finish(size))
    }

    /// Closes the file: what is left to do is to place it.
    pub(super) fn close(&mut self) {
        if let Some(file) = self.file.take() {
            self.engine.close(file);
        }
    }

    /// Sets the hidden attribute `name`.
    pub(super) fn mark(&self, name: &OsStr, value: &[u8]) -> Result<()> {
        Ok(self.node.set_xattr(name, value, XattrMode::Set)?)
    }

    /// Gives it the name `name` in `dir`.
    pub(super) fn place(&mut self, dir: &NodeRef, name: &FileName, mode: RenameMode) -> Result<()> {
        self.staged.place(dir, name, mode)?;
        self.node.moved(dir, name);
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Removes what an earlier job left in `tmp`.
pub(super) fn clear_leftovers(bucket: &Bucket) -> Result<()> {
    let (tmp, _) = bucket.private().lookup(&fixed(TMP_DIR))?;
    let mut entries = tmp.entries()?;
    while let Some(entry) = entries.next()? {
        let ours = entry.name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && entry.kind.is_none_or(|kind| kind != Kind::Directory) {
            tmp.unlink(&FileName::parse(&entry.name)?)?;
        }
    }
    Ok(())
}

/// How the names of drafts begin.
const PREFIX: &str = "job-";
