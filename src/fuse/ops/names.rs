//! Operations on names: finding, making, removing and moving them.

use std::{
    ffi::{OsStr, OsString},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    engine::{Caller, Item, OpenFlags},
    store::{Kind, RenameMode},
};

use super::{Entry, Errno, Inode, Ops, Result};

impl Ops {
    /// Finds `name` in the directory `parent`.
    pub(in crate::fuse) fn lookup(&self, parent: u64, name: &OsStr) -> Result<Entry> {
        let dir = self.inode(parent)?;
        self.lookup_in(&dir, name)
    }

    pub(super) fn lookup_in(&self, dir: &Inode<Item>, name: &OsStr) -> Result<Entry> {
        loop {
            let replaced = self.engine.replacements();
            let entry = self.seen_in(dir, name)?;
            // A file that was replaced before it was in the table is not known to be stale.
            if self.engine.replacements() == replaced
                || self.engine.peek(dir.item(), name).is_ok_and(|key| key == entry.attr.key)
            {
                return Ok(entry);
            }
            self.inodes.forget(entry.id, 1);
        }
    }

    fn seen_in(&self, dir: &Inode<Item>, name: &OsStr) -> Result<Entry> {
        let before = self.renames.mark();
        let (item, attr) = self.engine.lookup(dir.item(), name)?;
        let place = self.place(dir, name);
        let (inode, known) = self.inodes.reference(attr.key, item, place);
        if known && inode.place() != place {
            self.renames.unless_since(before, || {
                inode.item().moved(dir.item(), name);
                inode.set_place(place);
            });
        }
        Ok(Entry { id: inode.id(), attr })
    }

    /// Takes back `count` references to `id`.
    pub(in crate::fuse) fn forget(&self, id: u64, count: u64) {
        self.inodes.forget(id, count);
    }

    /// Target of the symbolic link `id`.
    pub(in crate::fuse) fn read_link(&self, id: u64) -> Result<OsString> {
        Ok(self.engine.read_link(self.inode(id)?.item())?)
    }

    /// Makes a regular or special file; `mode` carries the type (`S_IFMT`).
    pub(in crate::fuse) fn make_node(
        &self,
        caller: &Caller,
        parent: u64,
        name: &OsStr,
        mode: u32,
        rdev: u64,
    ) -> Result<Entry> {
        let dir = self.inode(parent)?;
        let (kind, bits) = (kind_of(mode)?, mode & PERMISSIONS);
        if kind != Kind::File {
            let (item, attr) = self.engine.make_special(caller, dir.item(), name, kind, bits, rdev)?;
            return Ok(self.entry(&dir, name, item, attr));
        }
        let flags = OpenFlags { read: true, write: true, append: false, truncate: false };
        let (item, attr, file) = self.engine.create(caller, dir.item(), name, bits, flags)?;
        self.engine.close(file);
        Ok(self.entry(&dir, name, item, attr))
    }

    /// Makes a directory.
    pub(in crate::fuse) fn make_dir(
        &self,
        caller: &Caller,
        parent: u64,
        name: &OsStr,
        mode: u32,
    ) -> Result<Entry> {
        let dir = self.inode(parent)?;
        let (item, attr) = self.engine.make_dir(caller, dir.item(), name, mode & PERMISSIONS)?;
        Ok(self.entry(&dir, name, item, attr))
    }

    /// Makes a symbolic link to `target`.
    pub(in crate::fuse) fn make_symlink(
        &self,
        caller: &Caller,
        parent: u64,
        name: &OsStr,
        target: &OsStr,
    ) -> Result<Entry> {
        let dir = self.inode(parent)?;
        let (item, attr) = self.engine.make_symlink(caller, dir.item(), name, target)?;
        Ok(self.entry(&dir, name, item, attr))
    }

    /// Gives `id` the further name `name` in `parent`.
    pub(in crate::fuse) fn link(&self, caller: &Caller, id: u64, parent: u64, name: &OsStr) -> Result<Entry> {
        let (inode, dir) = (self.inode(id)?, self.inode(parent)?);
        let attr = self.engine.link(caller, inode.item(), dir.item(), name)?;
        Ok(self.entry(&dir, name, inode.item().clone(), attr))
    }

    /// Removes a name that is not a directory.
    pub(in crate::fuse) fn unlink(&self, caller: &Caller, parent: u64, name: &OsStr) -> Result<()> {
        let dir = self.inode(parent)?;
        let key = self.engine.peek(dir.item(), name).ok();
        pin(key.and_then(|key| self.inodes.find(key)).as_deref());
        self.engine.unlink(caller, dir.item(), name)?;
        if let Some(key) = key {
            self.engine.lost_name(key);
        }
        Ok(())
    }

    /// Removes an empty directory.
    pub(in crate::fuse) fn remove_dir(&self, caller: &Caller, parent: u64, name: &OsStr) -> Result<()> {
        let dir = self.inode(parent)?;
        pin(self.known(&dir, name).as_deref());
        Ok(self.engine.remove_dir(caller, dir.item(), name)?)
    }

    /// Moves `name` in `parent` to `to_name` in `to_parent`; `flags` are those of `renameat2(2)`.
    pub(in crate::fuse) fn rename(
        &self,
        caller: &Caller,
        (parent, name): (u64, &OsStr),
        (to_parent, to_name): (u64, &OsStr),
        flags: u32,
    ) -> Result<()> {
        let mode = rename_mode(flags)?;
        let (dir, to) = (self.inode(parent)?, self.inode(to_parent)?);
        let key = self.engine.peek(dir.item(), name).ok();
        let moving = key.and_then(|key| self.inodes.find(key));
        let over =
            if mode == RenameMode::NoReplace { None } else { self.engine.peek(to.item(), to_name).ok() };
        let target = over.and_then(|key| self.inodes.find(key));
        if mode == RenameMode::Replace {
            pin(target.as_deref());
        }
        self.renames.run(
            || self.engine.rename(caller, (dir.item(), name), (to.item(), to_name), mode),
            || {
                self.relocate(moving.as_deref(), &to, to_name);
                if mode == RenameMode::Exchange {
                    self.relocate(target.as_deref(), &dir, name);
                }
            },
        )?;
        if let Some(key) = key {
            self.engine.got_name(key);
        }
        if let Some(key) = over {
            self.engine.lost_name(key);
        }
        Ok(())
    }

    /// What the table knows of `name`. A failure to look is left to the operation that follows, which will meet it too.
    fn known(&self, dir: &Inode<Item>, name: &OsStr) -> Option<Arc<Inode<Item>>> {
        self.inodes.find(self.engine.peek(dir.item(), name).ok()?)
    }

    fn relocate(&self, inode: Option<&Inode<Item>>, dir: &Inode<Item>, name: &OsStr) {
        if let Some(inode) = inode {
            inode.item().moved(dir.item(), name);
            inode.set_place(self.place(dir, name));
        }
    }
}

/// Keeps an item that is about to lose a name. Failing to do so must not make the name undeletable.
fn pin(inode: Option<&Inode<Item>>) {
    if let Some(inode) = inode
        && let Err(error) = inode.item().pin()
    {
        log::debug!("node {} may become unreachable once its name is gone: {error}", inode.id());
    }
}

/// Orders renames against lookups that learn where an item stands. The kernel revalidates names without holding the
/// lock of the directory, so a lookup may return the old place after a rename has recorded the new one.
#[derive(Default)]
pub(super) struct Renames {
    begun: AtomicU64,
    done: AtomicU64,
    recording: Mutex<()>,
}

impl Renames {
    fn mark(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// Runs `record` unless a rename was or is under way since the mark was taken.
    fn unless_since(&self, mark: u64, record: impl FnOnce()) {
        let _guard = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if self.begun.load(Ordering::SeqCst) == mark {
            record();
        }
    }

    fn run<E>(
        &self,
        rename: impl FnOnce() -> std::result::Result<(), E>,
        record: impl FnOnce(),
    ) -> std::result::Result<(), E> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let done = Done(self);
        rename()?;
        let _guard = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        record();
        drop(done);
        Ok(())
    }
}

/// Ends a rename on every way out of it.
struct Done<'a>(&'a Renames);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done.fetch_add(1, Ordering::SeqCst);
    }
}

fn kind_of(mode: u32) -> Result<Kind> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Ok(Kind::File),
        libc::S_IFIFO => Ok(Kind::Fifo),
        libc::S_IFSOCK => Ok(Kind::Socket),
        libc::S_IFCHR => Ok(Kind::CharDevice),
        libc::S_IFBLK => Ok(Kind::BlockDevice),
        _ => Err(Errno(libc::EINVAL)),
    }
}

fn rename_mode(flags: u32) -> Result<RenameMode> {
    match flags {
        0 => Ok(RenameMode::Replace),
        libc::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        libc::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        _ => Err(Errno(libc::EINVAL)),
    }
}

pub(super) const PERMISSIONS: u32 = 0o7777;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_rename_flags_are_served() {
        assert_eq!(rename_mode(0), Ok(RenameMode::Replace));
        assert_eq!(rename_mode(libc::RENAME_NOREPLACE), Ok(RenameMode::NoReplace));
        assert_eq!(rename_mode(libc::RENAME_EXCHANGE), Ok(RenameMode::Exchange));
        for odd in [libc::RENAME_WHITEOUT, libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE, 1 << 7] {
            assert_eq!(rename_mode(odd), Err(Errno(libc::EINVAL)));
        }
    }

    #[test]
    fn a_node_without_a_type_is_a_regular_file_and_a_directory_is_none() {
        assert_eq!(kind_of(0o644), Ok(Kind::File));
        assert_eq!(kind_of(libc::S_IFIFO | 0o600), Ok(Kind::Fifo));
        assert_eq!(kind_of(libc::S_IFDIR | 0o755), Err(Errno(libc::EINVAL)));
    }

    #[test]
    fn a_place_learnt_before_a_rename_is_not_recorded_after_it() {
        let renames = Renames::default();
        let before = renames.mark();
        renames.run(|| Ok::<(), ()>(()), || ()).unwrap();
        renames.unless_since(before, || panic!("the rename knows better"));
        let mut recorded = false;
        renames.unless_since(renames.mark(), || recorded = true);
        assert!(recorded, "a later lookup records again");
    }

    #[test]
    fn a_place_learnt_during_a_rename_is_not_recorded() {
        let renames = Renames::default();
        let rename = || {
            renames.unless_since(renames.mark(), || panic!("a rename is under way"));
            Ok::<(), ()>(())
        };
        renames.run(rename, || ()).unwrap();
    }

    #[test]
    fn a_failed_rename_does_not_stop_recording_for_good() {
        let renames = Renames::default();
        assert!(renames.run(|| Err("no"), || panic!("nothing moved")).is_err());
        let mut recorded = false;
        renames.unless_since(renames.mark(), || recorded = true);
        assert!(recorded);
    }
}
