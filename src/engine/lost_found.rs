//! Where repair puts what it takes out of a bucket: `.strongroom/lost+found/BUCKET/RUN/` in the store.
//!
//! Nothing is ever deleted or replaced here; each run has a directory of its own, made when it is first needed.

use std::{
    ffi::OsStr,
    io::{self, IoSlice},
    ops::Range,
    path::{Path, PathBuf},
};

use super::Result;
use crate::{
    name::FileName,
    store::{
        Birth, FileRef, NodeRef, RenameMode,
        layout::{STORE_DIR, fixed},
    },
};

/// The place for what one run takes out of one bucket.
pub(super) struct LostFound {
    /// The root of the store.
    root: NodeRef,
    /// The bucket's name, or another that no bucket can have.
    owner: FileName,
    run: Option<NodeRef>,
}

/// How a thing got here; a directory each.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// A whole file or directory.
    File,
    /// Bytes from behind the end of an object that stays.
    Tail,
}

impl LostFound {
    pub(super) fn new(root: NodeRef, owner: FileName) -> Self {
        Self { root, owner, run: None }
    }

    /// Moves `name` out of `dir`; `path` is where that stands in the bucket. The path in the store where it stands now.
    pub(super) fn take(&mut self, dir: &NodeRef, name: &FileName, path: &Path) -> Result<PathBuf> {
        let to = self.directory(Part::File, path)?;
        dir.rename(name, &to, name, RenameMode::NoReplace)?;
        to.sync_dir()?;
        dir.sync_dir()?;
        Ok(to.path().join(name.as_os_str()))
    }

    /// Copies the stored bytes `range` of the object at `path`, durably. The path in the store of the copy.
    pub(super) fn copy(&mut self, file: &FileRef, range: Range<u64>, path: &Path) -> Result<PathBuf> {
        let to = self.directory(Part::Tail, path)?;
        let name = FileName::parse(path.file_name().unwrap_or_default())?;
        let (node, _, copy) = to.create_file(&name, &private(&self.root, 0o600)?)?;
        let mut buffer = vec![0; PIECE];
        let mut at = range.start;
        while at < range.end {
            let len = usize::try_from(range.end - at).unwrap_or(PIECE).min(PIECE);
            let got = file.read_at(buffer.split_at_mut(len).0, at)?;
            if got == 0 {
                break;
            }
            copy.write_at(&[IoSlice::new(buffer.split_at(got).0)], at - range.start)?;
            at += got as u64;
        }
        copy.sync_all()?;
        to.sync_dir()?;
        Ok(node.path())
    }

    /// The directory for the thing at `path` of the bucket.
    fn directory(&mut self, part: Part, path: &Path) -> Result<NodeRef> {
        let mut at = self.run()?;
        let part = OsStr::new(match part {
            Part::File => "files",
            Part::Tail => "tails",
        });
        let parents = path.parent().unwrap_or(Path::new(""));
        for name in std::iter::once(part).chain(parents) {
            at = self.enter(&at, &FileName::parse(name)?)?;
        }
        Ok(at)
    }

    fn run(&mut self) -> Result<NodeRef> {
        if let Some(run) = &self.run {
            return Ok(run.clone());
        }
        let (store, _) = self.root.lookup(&fixed(STORE_DIR))?;
        let owner = self.enter(&self.enter(&store, &fixed(LOST_FOUND))?, &self.owner)?;
        let mut number = 1_u64;
        let run = loop {
            let name = FileName::parse(number.to_string().as_ref())?;
            match owner.create_dir(&name, &private(&self.root, 0o700)?) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                made => break made?.0,
            }
        };
        owner.sync_dir()?;
        self.run = Some(run.clone());
        Ok(run)
    }

    /// The directory `name` in `dir`, made where it is missing.
    fn enter(&self, dir: &NodeRef, name: &FileName) -> Result<NodeRef> {
        match dir.create_dir(name, &private(&self.root, 0o700)?) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(dir.lookup(name)?.0),
            made => {
                let (node, _) = made?;
                dir.sync_dir()?;
                Ok(node)
            }
        }
    }
}

fn private(root: &NodeRef, mode: u32) -> io::Result<Birth> {
    let owner = root.stat()?;
    Ok(Birth { mode, umask: 0, uid: owner.uid, gid: owner.gid })
}

/// In the store's reserved directory: what repair took out of buckets.
const LOST_FOUND: &str = "lost+found";
/// Bytes copied at a time.
const PIECE: usize = 1 << 20;
