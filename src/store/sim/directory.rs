//! What can be done with the names of a simulated disk, with the refusals of Linux.

use std::{ffi::OsStr, io};

use libc::{EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EPERM};

use super::{
    disk::Disk,
    errno,
    inode::Inode,
    names::{Change, Place},
    versions::Stamp,
};
use crate::store::{Birth, Kind, RenameMode};

impl Disk {
    /// The child `name` of `dir`.
    pub(super) fn lookup(&self, dir: u64, name: &OsStr) -> io::Result<u64> {
        self.check_power()?;
        self.check_dir(dir)?;
        self.child(dir, name)
    }

    /// Gives a new node a name.
    pub(super) fn create(&mut self, dir: u64, name: &OsStr, kind: Kind, birth: &Birth) -> io::Result<u64> {
        let stamp = self.begin()?;
        self.check_free(dir, name)?;
        let inode = self.born(dir, kind, birth)?;
        let ino = self.add(inode);
        let change = Change { place: place(dir, name), old: None, new: Some(ino) };
        self.change_names(stamp, &[change], Some(ino));
        Ok(ino)
    }

    /// Gives `target` a further name.
    pub(super) fn link(&mut self, dir: u64, name: &OsStr, target: u64) -> io::Result<()> {
        let stamp = self.begin()?;
        self.check_free(dir, name)?;
        let inode = self.inode(target)?;
        match (inode.kind, inode.nlink) {
            (Kind::Directory, _) => return Err(errno(EPERM)),
            (_, 0) => return Err(errno(ENOENT)),
            _ => {}
        }
        let change = Change { place: place(dir, name), old: None, new: Some(target) };
        self.change_names(stamp, &[change], None);
        Ok(())
    }

    /// Removes a name, of a directory (`true`) or of anything else.
    pub(super) fn remove(&mut self, dir: u64, name: &OsStr, directory: bool) -> io::Result<()> {
        let stamp = self.begin()?;
        self.check_dir(dir)?;
        let ino = self.child(dir, name)?;
        match (self.is_dir(ino), directory) {
            (true, false) => return Err(errno(EISDIR)),
            (false, true) => return Err(errno(ENOTDIR)),
            (true, true) if !self.names.is_empty(ino) => return Err(errno(ENOTEMPTY)),
            _ => {}
        }
        let change = Change { place: place(dir, name), old: Some(ino), new: None };
        self.change_names(stamp, &[change], None);
        Ok(())
    }

    /// Moves a name.
    pub(super) fn rename(&mut self, from: Place, to: Place, mode: RenameMode) -> io::Result<()> {
        let stamp = self.begin()?;
        self.check_dir(from.0)?;
        self.check_living_dir(to.0)?;
        let moved = self.child(from.0, &from.1)?;
        let target = self.names.get(to.0, &to.1);
        self.check_rename(moved, to.0, target, mode)?;
        if target == Some(moved) {
            return Ok(());
        }
        let swapped = target.filter(|_| mode == RenameMode::Exchange);
        if swapped.is_some() && self.stands_in(from.0, swapped) {
            return Err(errno(EINVAL));
        }
        let leaves = Change { place: from, old: Some(moved), new: swapped };
        let arrives = Change { place: to, old: target, new: Some(moved) };
        self.change_names(stamp, &[leaves, arrives], None);
        Ok(())
    }

    /// Makes the names in `dir` durable.
    pub(super) fn sync_dir(&mut self, dir: u64) -> io::Result<()> {
        self.begin()?;
        self.check_dir(dir)?;
        self.names.sync_dir(dir);
        self.inode_mut(dir)?.settle_attributes();
        Ok(())
    }

    /// Counts a name of `ino`.
    pub(super) fn count_link(&mut self, place: &Place, ino: u64) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        inode.nlink += 1;
        inode.place = Some(place.clone());
        if inode.kind == Kind::Directory {
            inode.nlink += 1;
            self.inodes.entry(place.0).and_modify(|parent| parent.nlink += 1);
        }
    }

    /// `ENOTDIR` for anything else.
    pub(super) fn check_dir(&self, dir: u64) -> io::Result<()> {
        if self.inode(dir)?.kind == Kind::Directory { Ok(()) } else { Err(errno(ENOTDIR)) }
    }

    fn uncount_link(&mut self, place: &Place, ino: u64) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        inode.nlink -= 1;
        if inode.kind == Kind::Directory {
            inode.nlink -= 1;
            self.inodes.entry(place.0).and_modify(|parent| parent.nlink -= 1);
        } else if inode.nlink > 0 && inode.place.as_ref() == Some(place) {
            inode.place = self.names.place_of(ino);
        }
    }

    fn change_names(&mut self, stamp: Stamp, changes: &[Change], born: Option<u64>) {
        let now = self.now();
        self.names.change(stamp, changes.to_vec(), born);
        for Change { place, old, new } in changes {
            if let Some(ino) = old {
                self.uncount_link(place, *ino);
            }
            if let Some(ino) = new {
                self.count_link(place, *ino);
            }
            self.inodes.entry(place.0).and_modify(|dir| dir.touch(stamp, now));
        }
        for ino in changes.iter().filter_map(|change| change.old) {
            let gone = self.inodes.get(&ino).filter(|inode| inode.nlink == 0);
            self.release(gone.map_or(0, |inode| inode.content.allocated()));
        }
    }

    /// As `create` in the local store: mode under the umask, group of a set-group-id directory, set-id bits for the
    /// rightful owner only.
    fn born(&self, dir: u64, kind: Kind, birth: &Birth) -> io::Result<Inode> {
        let parent = self.stat(dir)?;
        let inherits = parent.mode & SET_GID != 0;
        let gid = if inherits { parent.gid } else { birth.gid };
        let set_ids = match kind {
            Kind::Directory if inherits => SET_GID,
            Kind::Directory | Kind::Symlink => 0,
            _ if gid == birth.gid => birth.mode & (SET_UID | SET_GID),
            _ => birth.mode & SET_UID,
        };
        let mode = if kind == Kind::Symlink { 0o777 } else { birth.mode & 0o1777 & !birth.umask | set_ids };
        Ok(Inode::new(kind, mode, (birth.uid, gid), self.now()))
    }

    fn check_rename(&self, moved: u64, to: u64, target: Option<u64>, mode: RenameMode) -> io::Result<()> {
        let moves_dir = self.is_dir(moved);
        let refusal = match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => EEXIST,
            (RenameMode::Exchange, None) => ENOENT,
            _ if self.stands_in(to, Some(moved)) => EINVAL,
            (RenameMode::Replace, Some(target)) if target != moved => {
                match (moves_dir, self.is_dir(target)) {
                    (true, false) => ENOTDIR,
                    (false, true) => EISDIR,
                    (true, true) if !self.names.is_empty(target) => ENOTEMPTY,
                    _ => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        Err(errno(refusal))
    }

    fn child(&self, dir: u64, name: &OsStr) -> io::Result<u64> {
        self.names.get(dir, name).ok_or_else(|| errno(ENOENT))
    }

    fn check_free(&self, dir: u64, name: &OsStr) -> io::Result<()> {
        self.check_living_dir(dir)?;
        if self.names.get(dir, name).is_some() { Err(errno(EEXIST)) } else { Ok(()) }
    }

    fn check_living_dir(&self, dir: u64) -> io::Result<()> {
        self.check_dir(dir)?;
        if self.inode(dir)?.nlink == 0 { Err(errno(ENOENT)) } else { Ok(()) }
    }

    fn is_dir(&self, ino: u64) -> bool {
        self.check_dir(ino).is_ok()
    }

    /// Whether `dir` is `other` or stands somewhere in it.
    fn stands_in(&self, dir: u64, other: Option<u64>) -> bool {
        let parent = |ino: &u64| self.inodes.get(ino)?.place.as_ref().map(|(dir, _)| *dir);
        std::iter::successors(Some(dir), parent).any(|at| Some(at) == other)
    }
}

fn place(dir: u64, name: &OsStr) -> Place {
    (dir, name.to_owned())
}

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
