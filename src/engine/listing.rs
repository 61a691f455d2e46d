//! Directory listings: reserved names are left out, and the root of the mount shows buckets only.

use super::{Caller, Engine, Item, ListEntry, Result};
use crate::{
    name::{BucketName, FileName},
    policy::Action,
    store::{DirEntry, Entries, Kind, NodeRef, layout::BUCKET_DIR},
};

/// A listing in progress.
pub struct OpenDir {
    dir: Item,
    node: NodeRef,
    entries: Box<dyn Entries>,
    buckets: Option<std::sync::Arc<super::Shared>>,
}

impl OpenDir {
    /// The next entry, or `None` at the end. "." and ".." are not in the listing.
    #[allow(clippy::should_implement_trait, reason = "a step may fail, and the listing can be moved")]
    pub fn next(&mut self) -> Result<Option<ListEntry>> {
        while let Some(entry) = self.entries.next()? {
            let hidden = match &self.buckets {
                Some(shared) => !entry
                    .name
                    .to_str()
                    .and_then(|name| BucketName::parse(name).ok())
                    .is_some_and(|name| shared.buckets.is_bucket(&name)),
                None => self.dir.is_bucket_root() && entry.name == BUCKET_DIR,
            };
            if !hidden {
                let Some(kind) = self.kind_of(&entry)? else { continue };
                return Ok(Some(ListEntry { name: entry.name, ino: entry.ino, kind, next: entry.next }));
            }
        }
        Ok(None)
    }

    /// The entry's type, looked up where the file system does not tell; `None` when it is gone meanwhile.
    fn kind_of(&self, entry: &DirEntry) -> Result<Option<Kind>> {
        if entry.kind.is_some() {
            return Ok(entry.kind);
        }
        match self.node.lookup(&FileName::parse(&entry.name)?) {
            Ok((_, stat)) => Ok(Some(stat.kind)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Continues after the entry whose `next` was `position`; 0 is the beginning.
    pub fn seek(&mut self, position: i64) -> Result<()> {
        Ok(self.entries.seek(position)?)
    }

    /// Makes the names in the directory durable.
    pub fn sync(&self) -> Result<()> {
        Ok(self.node.sync_dir()?)
    }
}

impl Engine {
    /// What [`Engine::open_dir`] does.
    pub(super) fn list_for(&self, caller: &Caller, dir: &Item) -> Result<OpenDir> {
        if !dir.is_root() {
            let _granted = self.admit(caller, dir.bucket()?, Action::ListBucket, None, &|| dir.path())?;
        }
        self.list(dir)
    }

    /// Starts a listing of `dir` for the engine's own use.
    pub(super) fn list(&self, dir: &Item) -> Result<OpenDir> {
        Ok(OpenDir {
            dir: dir.clone(),
            node: dir.node().clone(),
            entries: dir.node().entries()?,
            buckets: dir.is_root().then(|| self.shared.clone()),
        })
    }
}
