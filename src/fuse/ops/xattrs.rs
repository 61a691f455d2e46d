//! Operations on extended attributes.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use crate::{engine::Caller, store::XattrMode};

use super::{Errno, Ops, Result};

impl Ops {
    /// The value of `name`.
    pub(in crate::fuse) fn xattr(&self, caller: &Caller, id: u64, name: &OsStr) -> Result<Vec<u8>> {
        let inode = self.inode(id)?;
        // The kernel asks for this one before the first write to each file.
        if name == CAPABILITY && inode.is_bare() {
            return Err(Errno(libc::ENODATA));
        }
        Ok(self.engine.xattr(caller, inode.item(), name)?)
    }

    /// Sets `name`; `flags` are those of `setxattr(2)`.
    pub(in crate::fuse) fn set_xattr(
        &self,
        caller: &Caller,
        id: u64,
        name: &OsStr,
        value: &[u8],
        flags: i32,
    ) -> Result<()> {
        let mode = xattr_mode(flags)?;
        let inode = self.inode(id)?;
        inode.set_bare(false);
        Ok(self.engine.set_xattr(caller, inode.item(), name, value, mode)?)
    }

    /// The names, each ended by a NUL byte.
    pub(in crate::fuse) fn xattrs(&self, id: u64) -> Result<Vec<u8>> {
        Ok(joined(&self.engine.xattrs(self.inode(id)?.item())?))
    }

    /// Removes `name`.
    pub(in crate::fuse) fn remove_xattr(&self, caller: &Caller, id: u64, name: &OsStr) -> Result<()> {
        Ok(self.engine.remove_xattr(caller, self.inode(id)?.item(), name)?)
    }
}

fn xattr_mode(flags: i32) -> Result<XattrMode> {
    match flags {
        0 => Ok(XattrMode::Set),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(Errno(libc::EINVAL)),
    }
}

fn joined(names: &[OsString]) -> Vec<u8> {
    names.iter().flat_map(|name| name.as_bytes().iter().copied().chain([0])).collect()
}

/// File capabilities (`capabilities(7)`).
const CAPABILITY: &str = "security.capability";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ended_by_nul() {
        assert_eq!(joined(&["user.a".into(), "user.b".into()]), b"user.a\0user.b\0");
        assert_eq!(joined(&[]), b"");
    }

    #[test]
    fn creating_and_replacing_at_once_is_invalid() {
        assert_eq!(xattr_mode(libc::XATTR_CREATE), Ok(XattrMode::Create));
        assert_eq!(xattr_mode(3), Err(Errno(libc::EINVAL)));
    }
}
