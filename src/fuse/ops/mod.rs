//! What each file system operation does, in numbers and byte buffers: the face of the engine towards any transport.
//!
//! A transport decodes a request, calls one method here and encodes the result. Each method finds the items and open
//! files that the numbers stand for, makes one engine call and keeps the tables in step. No protocol types, no waiting,
//! no decisions about access: those are the engine's and, for permission bits, the kernel's.

mod attributes;
mod files;
mod listing;
mod names;
mod xattrs;

use std::{
    ffi::OsStr,
    hash::{BuildHasher, RandomState},
    sync::{Arc, mpsc::Receiver},
};

use crate::{
    engine::{Attr, Engine, Item},
    store::{NodeKey, Space},
};

use super::{errno::Errno, handles::Handles, inode::Inode, inodes::Inodes, options::MountOptions};

pub(super) use files::Opened;

use files::OpenObject;
use listing::OpenListing;
use names::Renames;

/// The outcome of an operation.
pub(super) type Result<T> = std::result::Result<T, Errno>;

/// A name that was found or made: the kernel now holds one more reference to `id`.
pub(super) struct Entry {
    /// Node number, which is also `st_ino`.
    pub(super) id: u64,
    /// Attributes.
    pub(super) attr: Attr,
}

/// The operations of one mount.
pub(super) struct Ops {
    engine: Arc<Engine>,
    inodes: Arc<Inodes<Item>>,
    files: Handles<OpenObject>,
    listings: Handles<OpenListing>,
    renames: Renames,
    places: RandomState,
    /// The kernel gathers writes: files opened for writing only must be readable, and append is the kernel's business.
    writeback: bool,
}

impl Ops {
    /// The operations on what `engine` shows, and what hears when the kernel remembers too many nodes.
    pub(super) fn new(engine: Arc<Engine>, options: &MountOptions) -> (Self, Receiver<()>) {
        let root = engine.root();
        let (inodes, many) = Inodes::new(root.key(), root, options.inode_cache);
        let ops = Self {
            engine,
            inodes: Arc::new(inodes),
            files: Handles::new(),
            listings: Handles::new(),
            renames: Renames::default(),
            places: RandomState::new(),
            writeback: options.writeback,
        };
        (ops, many)
    }

    /// Whether files or directories are open, or a job runs.
    pub(super) fn is_busy(&self) -> bool {
        self.files.len() + self.listings.len() > 0 || self.engine.has_jobs()
    }

    /// The numbers of all nodes that the kernel knows, the root left out.
    pub(super) fn node_ids(&self) -> Vec<u64> {
        self.inodes.ids()
    }

    /// The nodes that the kernel knows.
    pub(super) fn inodes(&self) -> &Arc<Inodes<Item>> {
        &self.inodes
    }

    /// The item of a stored file that the kernel knows.
    pub(super) fn item(&self, key: NodeKey) -> Option<Item> {
        Some(self.inodes.find(key)?.item().clone())
    }

    /// The number of a stored file or directory that the kernel knows.
    pub(super) fn node_id(&self, key: NodeKey) -> Option<u64> {
        Some(self.inodes.find(key)?.id())
    }

    /// Counts of the file system below `id`.
    pub(super) fn space(&self, id: u64) -> Result<Space> {
        Ok(self.engine.space(self.inode(id)?.item())?)
    }

    fn inode(&self, id: u64) -> Result<Arc<Inode<Item>>> {
        let inode = self.inodes.get(id).ok_or(Errno(libc::ESTALE))?;
        inode.item().require_current()?;
        Ok(inode)
    }

    fn object(&self, handle: u64) -> Result<Arc<OpenObject>> {
        self.files.get(handle).ok_or(Errno(libc::EBADF))
    }

    /// Takes a reference for something just created as `name` in `dir`.
    fn entry(&self, dir: &Inode<Item>, name: &OsStr, item: Item, attr: Attr) -> Entry {
        let (inode, _) = self.inodes.reference(attr.key, item, self.place(dir, name));
        Entry { id: inode.id(), attr }
    }

    fn place(&self, dir: &Inode<Item>, name: &OsStr) -> u64 {
        self.places.hash_one((dir.key(), name))
    }
}

/// An offset or length as the kernel counts: a signed number that must not be negative.
fn unsigned(value: u64) -> Result<u64> {
    i64::try_from(value).map(|_| value).map_err(|_| Errno(libc::EINVAL))
}

/// A range whose end must still be a file offset.
fn range(offset: u64, len: u64) -> Result<()> {
    let end = unsigned(offset)?.checked_add(unsigned(len)?).ok_or(Errno(libc::EFBIG))?;
    unsigned(end).map(drop).map_err(|_| Errno(libc::EFBIG))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: u64 = i64::MAX as u64;

    #[test]
    fn a_negative_offset_is_invalid() {
        assert_eq!(unsigned(LAST), Ok(LAST));
        assert_eq!(unsigned(LAST + 1), Err(Errno(libc::EINVAL)));
        assert_eq!(range(u64::MAX, 1), Err(Errno(libc::EINVAL)));
    }

    #[test]
    fn a_range_past_the_last_offset_is_too_large() {
        assert_eq!(range(LAST - 4096, 4096), Ok(()));
        assert_eq!(range(LAST - 4096, 4097), Err(Errno(libc::EFBIG)));
    }
}
