//! A node of a simulated disk. It needs no pinning: it means the same inode for ever.

use std::{
    any::Any,
    ffi::{OsStr, OsString},
    io,
    path::PathBuf,
    sync::Arc,
};

use libc::{EINVAL, EISDIR, ELOOP, EOPNOTSUPP, EXDEV};

use super::{
    SimDisk,
    disk::{Disk, ROOT, key},
    entries::SimEntries,
    errno,
    file::SimFile,
};
use crate::{
    name::FileName,
    store::{
        Access, Birth, Entries, FileRef, Kind, Node, NodeKey, NodeRef, RenameMode, SetTime, Space, Stat,
        XattrMode,
    },
};

pub(super) struct SimNode {
    disk: SimDisk,
    ino: u64,
}

impl SimNode {
    pub(super) fn root(disk: SimDisk) -> Self {
        Self { disk, ino: ROOT }
    }

    /// A function of the disk, while there is power.
    fn look<T>(&self, look: impl FnOnce(&Disk) -> io::Result<T>) -> io::Result<T> {
        let disk = self.disk.lock();
        disk.check_power()?;
        look(&disk)
    }

    fn found(&self, ino: u64) -> io::Result<(NodeRef, Stat)> {
        let stat = self.look(|disk| disk.stat(ino))?;
        Ok((Arc::new(Self { disk: self.disk.clone(), ino }), stat))
    }

    fn create(&self, name: &FileName, kind: Kind, birth: &Birth) -> io::Result<(NodeRef, Stat)> {
        let ino = self.disk.lock().create(self.ino, name.as_os_str(), kind, birth)?;
        self.found(ino)
    }

    fn file(&self, ino: u64, access: Access) -> FileRef {
        Arc::new(SimFile { disk: self.disk.clone(), ino, access })
    }

    /// The inode number of a node of this disk.
    fn same_disk(&self, node: &NodeRef) -> io::Result<u64> {
        let any: &dyn Any = &**node;
        let node = any.downcast_ref::<Self>().filter(|node| Arc::ptr_eq(&node.disk.0, &self.disk.0));
        node.map(|node| node.ino).ok_or_else(|| errno(EXDEV))
    }
}

impl Node for SimNode {
    fn key(&self) -> NodeKey {
        key(self.ino)
    }

    fn path(&self) -> PathBuf {
        let disk = self.disk.lock();
        let place = |ino: u64| disk.inode(ino).ok()?.place.clone();
        let up = std::iter::successors(place(self.ino), |(dir, _)| place(*dir));
        let names: Vec<_> = up.map(|(_, name)| name).collect();
        names.iter().rev().collect()
    }

    fn place(&self) -> Option<(NodeKey, FileName)> {
        let (dir, name) = self.disk.lock().inode(self.ino).ok()?.place.clone()?;
        Some((key(dir), FileName::parse(&name).ok()?))
    }

    fn stat(&self) -> io::Result<Stat> {
        self.look(|disk| disk.stat(self.ino))
    }

    fn pin(&self) -> io::Result<()> {
        self.look(|_| Ok(()))
    }

    fn moved(&self, _: &NodeRef, _: &FileName) {}

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let stamp = disk.begin()?;
        let inode = disk.inode_mut(self.ino)?;
        if inode.kind == Kind::Symlink {
            return Err(errno(EOPNOTSUPP));
        }
        inode.set_mode(stamp, mode & 0o7777);
        Ok(())
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        if [uid, gid].contains(&Some(u32::MAX)) {
            return Err(errno(EINVAL));
        }
        let mut disk = self.disk.lock();
        let stamp = disk.begin()?;
        disk.inode_mut(self.ino)?.set_owner(stamp, uid, gid);
        Ok(())
    }

    fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let (stamp, now) = (disk.begin()?, disk.now());
        disk.inode_mut(self.ino)?.set_times(stamp, atime, mtime, now);
        Ok(())
    }

    fn xattr(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        self.look(|disk| disk.inode(self.ino)?.xattr(name))
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8], mode: XattrMode) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let stamp = disk.begin()?;
        disk.inode_mut(self.ino)?.set_xattr(stamp, name, value, mode)
    }

    fn xattrs(&self) -> io::Result<Vec<OsString>> {
        self.look(|disk| Ok(disk.inode(self.ino)?.xattr_names()))
    }

    fn remove_xattr(&self, name: &OsStr) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let stamp = disk.begin()?;
        disk.inode_mut(self.ino)?.remove_xattr(stamp, name)
    }

    fn read_link(&self) -> io::Result<OsString> {
        self.look(|disk| {
            let inode = disk.inode(self.ino)?;
            if inode.kind == Kind::Symlink { Ok(inode.target.clone()) } else { Err(errno(EINVAL)) }
        })
    }

    fn open_and_stat(&self, access: Access) -> io::Result<(FileRef, Stat)> {
        let stat = self.stat()?;
        match stat.kind {
            Kind::File => Ok((self.file(self.ino, access), stat)),
            Kind::Directory => Err(errno(EISDIR)),
            Kind::Symlink => Err(errno(ELOOP)),
            Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => Err(errno(EINVAL)),
        }
    }

    fn space(&self) -> io::Result<Space> {
        self.look(|disk| {
            let free = disk.free_sectors().unwrap_or(BOUNDLESS);
            let files = disk.inodes.len() as u64;
            Ok(Space {
                fragment: 512,
                block_size: 4096,
                blocks: disk.inodes.values().map(|inode| inode.content.allocated()).sum::<u64>() + free,
                free,
                available: free,
                files: files + BOUNDLESS,
                files_free: BOUNDLESS,
                name_max: 255,
            })
        })
    }

    fn lookup(&self, name: &FileName) -> io::Result<(NodeRef, Stat)> {
        let ino = self.disk.lock().lookup(self.ino, name.as_os_str())?;
        self.found(ino)
    }

    fn create_file(&self, name: &FileName, birth: &Birth) -> io::Result<(NodeRef, Stat, FileRef)> {
        let (node, stat) = self.create(name, Kind::File, birth)?;
        Ok((node, stat, self.file(stat.key.ino, Access::ReadWrite)))
    }

    fn create_dir(&self, name: &FileName, birth: &Birth) -> io::Result<(NodeRef, Stat)> {
        self.create(name, Kind::Directory, birth)
    }

    fn create_symlink(&self, name: &FileName, target: &OsStr, birth: &Birth) -> io::Result<(NodeRef, Stat)> {
        let (_, stat) = self.create(name, Kind::Symlink, birth)?;
        target.clone_into(&mut self.disk.lock().inode_mut(stat.key.ino)?.target);
        self.found(stat.key.ino)
    }

    fn create_special(
        &self,
        name: &FileName,
        kind: Kind,
        rdev: u64,
        birth: &Birth,
    ) -> io::Result<(NodeRef, Stat)> {
        if matches!(kind, Kind::File | Kind::Directory | Kind::Symlink) {
            return Err(errno(EINVAL));
        }
        let (_, stat) = self.create(name, kind, birth)?;
        self.disk.lock().inode_mut(stat.key.ino)?.rdev = rdev;
        self.found(stat.key.ino)
    }

    fn link(&self, target: &NodeRef, name: &FileName) -> io::Result<Stat> {
        let target = self.same_disk(target)?;
        let mut disk = self.disk.lock();
        disk.link(self.ino, name.as_os_str(), target)?;
        disk.stat(target)
    }

    fn unlink(&self, name: &FileName) -> io::Result<()> {
        self.disk.lock().remove(self.ino, name.as_os_str(), false)
    }

    fn remove_dir(&self, name: &FileName) -> io::Result<()> {
        self.disk.lock().remove(self.ino, name.as_os_str(), true)
    }

    fn rename(&self, name: &FileName, to: &NodeRef, to_name: &FileName, mode: RenameMode) -> io::Result<()> {
        let to = (self.same_disk(to)?, to_name.as_os_str().to_owned());
        self.disk.lock().rename((self.ino, name.as_os_str().to_owned()), to, mode)
    }

    fn entries(&self) -> io::Result<Box<dyn Entries>> {
        self.look(|disk| disk.check_dir(self.ino))?;
        Ok(Box::new(SimEntries::new(self.disk.clone(), self.ino)))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.lock().sync_dir(self.ino)
    }

    fn sync_store(&self) -> io::Result<()> {
        self.disk.lock().sync_all()
    }
}

/// Sectors and inodes of a disk without limits.
const BOUNDLESS: u64 = 1 << 40;
