//! The contract, operation by operation, on a [`LocalNode`].

use std::{
    any::Any,
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags, linkat, openat, renameat_with, statat, unlinkat},
    io::Errno,
};

use super::{
    attributes, create, entries::LocalEntries, file::LocalFile, node::LocalNode, proc, stat::stat_of,
};
use crate::{
    name::FileName,
    store::{
        Access, Birth, Entries, File, FileRef, Kind, Node, NodeKey, NodeRef, RenameMode, Rights, SetTime,
        Space, Stat, Watcher, XattrMode,
    },
};

impl Node for LocalNode {
    fn key(&self) -> NodeKey {
        self.key
    }

    fn path(&self) -> PathBuf {
        self.place_names()
    }

    fn place(&self) -> Option<(NodeKey, FileName)> {
        self.last_place()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.stat_now()
    }

    fn pin(&self) -> io::Result<()> {
        self.pin_open()
    }

    fn moved(&self, dir: &NodeRef, name: &FileName) {
        if let Ok(dir) = local(dir) {
            self.settle_at(dir, name);
        }
    }

    fn permits(&self, rights: Rights) -> io::Result<()> {
        // Root may read and write whatever the bits say.
        if create::is_root() && !rights.execute {
            return Ok(());
        }
        attributes::permits(&*self.fd()?, rights)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        // Old kernels would change the mode of a symbolic link through its handle.
        if self.kind == Kind::Symlink {
            return Err(Errno::OPNOTSUPP.into());
        }
        attributes::set_mode(&*self.fd()?, mode)
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        attributes::set_owner(&*self.fd()?, uid, gid)
    }

    fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        attributes::set_times(&*self.fd()?, atime, mtime)
    }

    fn xattr(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        attributes::xattr(&*self.fd()?, name)
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8], mode: XattrMode) -> io::Result<()> {
        attributes::set_xattr(&*self.fd()?, name, value, mode)
    }

    fn xattrs(&self) -> io::Result<Vec<OsString>> {
        attributes::xattrs(&*self.fd()?)
    }

    fn remove_xattr(&self, name: &OsStr) -> io::Result<()> {
        attributes::remove_xattr(&*self.fd()?, name)
    }

    fn read_link(&self) -> io::Result<OsString> {
        if self.kind != Kind::Symlink {
            return Err(Errno::INVAL.into());
        }
        let target = rustix::fs::readlinkat(&*self.fd()?, "", Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    fn open_and_stat(&self, access: Access) -> io::Result<(FileRef, Stat)> {
        match self.kind {
            Kind::File => self.open_file(access),
            Kind::Directory => Err(Errno::ISDIR.into()),
            Kind::Symlink => Err(Errno::LOOP.into()),
            Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => Err(Errno::INVAL.into()),
        }
    }

    fn watch(&self, watcher: &Watcher) -> io::Result<()> {
        let fd = self.fd()?;
        watcher.add(&proc::path_of(&*fd), &rustix::fs::fstatfs(&*fd)?)
    }

    fn space(&self) -> io::Result<Space> {
        attributes::space(&*self.fd()?)
    }

    fn lookup(&self, name: &FileName) -> io::Result<(NodeRef, Stat)> {
        let raw = statat(&*self.fd()?, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        let stat = stat_of(&raw);
        Ok((self.child(name, &stat), stat))
    }

    fn create_file(&self, name: &FileName, birth: &Birth) -> io::Result<(NodeRef, Stat, FileRef)> {
        let dir = self.fd()?;
        let (fd, stat) = self.handles.with_room(|| create::file(&*dir, name, birth))?;
        Ok((self.child(name, &stat), stat, Arc::new(LocalFile::of(fd))))
    }

    fn create_dir(&self, name: &FileName, birth: &Birth) -> io::Result<(NodeRef, Stat)> {
        let dir = self.fd()?;
        let (fd, stat) = self.handles.with_room(|| create::dir(&*dir, name, birth))?;
        Ok((self.open_child(name, &stat, fd), stat))
    }

    fn create_symlink(&self, name: &FileName, target: &OsStr, birth: &Birth) -> io::Result<(NodeRef, Stat)> {
        let dir = self.fd()?;
        let (fd, stat) = self.handles.with_room(|| create::symlink(&*dir, name, target, birth))?;
        Ok((self.open_child(name, &stat, fd), stat))
    }

    fn create_special(
        &self,
        name: &FileName,
        kind: Kind,
        rdev: u64,
        birth: &Birth,
    ) -> io::Result<(NodeRef, Stat)> {
        let dir = self.fd()?;
        let (fd, stat) = self.handles.with_room(|| create::special(&*dir, name, kind, rdev, birth))?;
        Ok((self.open_child(name, &stat, fd), stat))
    }

    fn link(&self, target: &NodeRef, name: &FileName) -> io::Result<Stat> {
        let (dir, target) = (self.fd()?, local(target)?);
        let inode = target.fd()?;
        // `AT_EMPTY_PATH` would need CAP_DAC_READ_SEARCH; the name in `/proc` does not.
        linkat(rustix::fs::CWD, proc::path_of(&*inode), &*dir, name.as_os_str(), AtFlags::SYMLINK_FOLLOW)?;
        Ok(stat_of(&rustix::fs::fstat(&*inode)?))
    }

    fn unlink(&self, name: &FileName) -> io::Result<()> {
        Ok(unlinkat(&*self.fd()?, name.as_os_str(), AtFlags::empty())?)
    }

    fn remove_dir(&self, name: &FileName) -> io::Result<()> {
        Ok(unlinkat(&*self.fd()?, name.as_os_str(), AtFlags::REMOVEDIR)?)
    }

    fn rename(&self, name: &FileName, to: &NodeRef, to_name: &FileName, mode: RenameMode) -> io::Result<()> {
        let (from_dir, to_dir) = (self.fd()?, local(to)?.fd()?);
        let flags = match mode {
            RenameMode::Replace => RenameFlags::empty(),
            RenameMode::NoReplace => RenameFlags::NOREPLACE,
            RenameMode::Exchange => RenameFlags::EXCHANGE,
        };
        Ok(renameat_with(&*from_dir, name.as_os_str(), &*to_dir, to_name.as_os_str(), flags)?)
    }

    fn entries(&self) -> io::Result<Box<dyn Entries>> {
        Ok(Box::new(LocalEntries::new(self.open_dir()?)))
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.open_dir()?)?)
    }

    fn sync_store(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.open_dir()?)?)
    }
}

impl LocalNode {
    fn open_file(&self, access: Access) -> io::Result<(FileRef, Stat)> {
        if let Some((file, stat)) = self.open_by_name(access)? {
            return Ok((Arc::new(file), stat));
        }
        let inode = self.fd()?;
        let file = self.handles.with_room(|| LocalFile::open(&*inode, access))?;
        let stat = file.stat()?;
        Ok((Arc::new(file), stat))
    }

    fn open_dir(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inode = self.fd()?;
        self.handles.with_room(|| Ok(openat(&*inode, ".", flags, Mode::empty())?))
    }
}

/// The node behind a handle of the contract; one of another backend is on another device, so to speak.
fn local(node: &NodeRef) -> io::Result<Arc<LocalNode>> {
    let any: Arc<dyn Any + Send + Sync> = node.clone();
    any.downcast().map_err(|_| Errno::XDEV.into())
}
