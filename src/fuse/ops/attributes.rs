//! Operations on attributes, and the clearing of set-user-id and set-group-id that the kernel leaves to us.
//!
//! With `HANDLE_KILLPRIV_V2` the kernel saves one request a write and expects that the bits go when a file changes:
//! on write where it says so, on truncation by anybody but root, and on every change of owner (`chown(2)`).
//! The kernel's hint on truncation is not needed: the rule itself is applied here. Before the first write by
//! somebody but root the kernel asks for a change of nothing: it wants the bits gone and the new mode in the answer.

use crate::{
    engine::{Attr, Caller, Item, OpenFile, SetAttr},
    store::{Kind, Rights, SetTime},
};

use super::{Inode, Ops, Result, unsigned};

impl Ops {
    /// Attributes of `id`, through the open file where there is one (it may have no name any more).
    pub(in crate::fuse) fn attr(&self, id: u64, handle: Option<u64>) -> Result<Attr> {
        match handle.and_then(|handle| self.files.get(handle)) {
            Some(object) => Ok(self.engine.attr_open(object.file())?),
            None => Ok(self.engine.attr(self.inode(id)?.item())?),
        }
    }

    /// `access(2)`, where the kernel leaves that to us; `mask` is its argument.
    pub(in crate::fuse) fn access(&self, id: u64, mask: u32) -> Result<()> {
        let [execute, write, read] = [1, 2, 4].map(|bit| mask & bit != 0);
        Ok(self.engine.access(self.inode(id)?.item(), Rights { read, write, execute })?)
    }

    /// Changes attributes of `id`.
    pub(in crate::fuse) fn set_attr(
        &self,
        caller: &Caller,
        id: u64,
        handle: Option<u64>,
        mut set: SetAttr,
    ) -> Result<Attr> {
        set.size.map(unsigned).transpose()?;
        let inode = self.inode(id)?;
        let object = handle.and_then(|handle| self.files.get(handle));
        let open = object.as_deref().map(super::OpenObject::file);
        if set.mode.is_none() && takes_set_id(caller, &set) {
            set.mode = self.mode_without_set_id(&inode, open)?;
            set.drops_set_id = true;
        }
        let attr = self.engine.set_attr(caller, inode.item(), open, &set);
        if set.mode.is_some() {
            inode.set_plain(false);
        }
        Ok(attr?)
    }

    /// Clears the set-id bits of a file whose content was changed.
    pub(super) fn clear_set_id(&self, caller: &Caller, inode: &Inode<Item>, open: &OpenFile) -> Result<()> {
        let mode = self.mode_without_set_id(inode, Some(open))?;
        if mode.is_some() {
            let set = SetAttr { mode, drops_set_id: true, ..SetAttr::NOTHING };
            self.engine.set_attr(caller, inode.item(), Some(open), &set)?;
        }
        Ok(())
    }

    fn mode_without_set_id(&self, inode: &Inode<Item>, open: Option<&OpenFile>) -> Result<Option<u32>> {
        if inode.is_plain() {
            return Ok(None);
        }
        inode.set_plain(true);
        let attr = match open {
            Some(file) => self.engine.attr_open(file),
            None => self.engine.attr(inode.item()),
        };
        let mode = attr.map(|attr| without_set_id(attr.kind, attr.mode));
        if !matches!(mode, Ok(None)) {
            inode.set_plain(false);
        }
        Ok(mode?)
    }
}

fn takes_set_id(caller: &Caller, set: &SetAttr) -> bool {
    let owner = set.uid.is_some() || set.gid.is_some();
    let nothing = !owner && set.size.is_none() && (set.atime, set.mtime) == (SetTime::Keep, SetTime::Keep);
    owner || ((set.size.is_some() || nothing) && caller.uid != 0)
}

/// The mode to set, if anything must go. Set-group-id without group execution means mandatory locking and stays.
fn without_set_id(kind: Kind, mode: u32) -> Option<u32> {
    let group = if mode & libc::S_IXGRP == 0 { 0 } else { libc::S_ISGID };
    let left = mode & !(libc::S_ISUID | group);
    (kind != Kind::Directory && left != mode).then_some(left & super::names::PERMISSIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_id_bits_go_from_files_as_linux_does_it() {
        assert_eq!(without_set_id(Kind::File, 0o4755), Some(0o755));
        assert_eq!(without_set_id(Kind::File, 0o6755), Some(0o755));
        assert_eq!(without_set_id(Kind::File, 0o2745), None);
        assert_eq!(without_set_id(Kind::File, 0o6745), Some(0o2745));
        assert_eq!(without_set_id(Kind::File, 0o644), None);
    }

    #[test]
    fn a_directory_keeps_them() {
        assert_eq!(without_set_id(Kind::Directory, 0o6775), None);
    }

    #[test]
    fn a_change_of_nothing_asks_for_the_bits_to_go() {
        let caller = |uid| Caller { uid, gid: 0, pid: 1, umask: 0 };
        assert!(takes_set_id(&caller(1000), &SetAttr::NOTHING));
        assert!(!takes_set_id(&caller(0), &SetAttr::NOTHING));
    }

    #[test]
    fn truncation_by_root_keeps_them_and_a_change_of_owner_never_does() {
        let caller = |uid| Caller { uid, gid: 0, pid: 1, umask: 0 };
        let shrink = SetAttr { size: Some(0), ..SetAttr::NOTHING };
        assert!(!takes_set_id(&caller(0), &shrink));
        assert!(takes_set_id(&caller(1000), &shrink));
        assert!(takes_set_id(&caller(0), &SetAttr { gid: Some(4), ..SetAttr::NOTHING }));
        assert!(!takes_set_id(&caller(1000), &SetAttr { mtime: SetTime::Now, ..SetAttr::NOTHING }));
    }
}
