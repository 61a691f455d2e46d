//! The face towards the protocol library: each method decodes, makes one call of [`Ops`] and encodes.
//!
//! Nothing is decided here. A handler that panics must not take its loop thread along, which would end silently and
//! leave the mount with one thread less: the request fails with `EIO` (the library answers for a reply that is dropped)
//! and the panic is logged.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};

use crate::engine::{Caller, SetAttr};

use super::{
    activity::Activity,
    buffer::with_buffer,
    errno::Errno,
    ops::{Entry, Opened, Ops, Result},
    terms::Terms,
    wire::{bare_attr, file_attr, file_type, set_time},
};

/// The file system as the protocol library sees it.
pub(super) struct Adapter {
    ops: Arc<Ops>,
    activity: Arc<Activity>,
    terms: Terms,
}

impl Adapter {
    /// Serves `ops` on `terms`.
    pub(super) fn new(ops: Arc<Ops>, activity: Arc<Activity>, terms: Terms) -> Self {
        Self { ops, activity, terms }
    }

    /// Runs one handler. What it was given to reply with is dropped, and thereby answered, when it panics.
    fn serve(&self, operation: &'static str, handler: impl FnOnce()) {
        self.activity.note();
        if panic::catch_unwind(AssertUnwindSafe(handler)).is_err() {
            log::error!("{operation}: the handler panicked; the request failed with an input/output error");
        }
    }

    fn reply_entry(&self, outcome: Result<Entry>, reply: ReplyEntry) {
        match outcome {
            Ok(entry) => reply.entry(&self.terms.ttl, &file_attr(entry.id, &entry.attr), GENERATION),
            Err(errno) => reply.error(errno.into()),
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.terms.negotiate(config)
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.serve("lookup", || self.reply_entry(self.ops.lookup(parent.0, name), reply));
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        // Not a sign of life: the kernel forgets on its own account.
        if panic::catch_unwind(AssertUnwindSafe(|| self.ops.forget(ino.0, nlookup))).is_err() {
            log::error!("forget: the handler panicked");
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        self.serve("getattr", || match self.ops.attr(ino.0, fh.map(u64::from)) {
            Ok(attr) => reply.attr(&self.terms.ttl, &file_attr(ino.0, &attr)),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mode = mode.map(|mode| mode & 0o7777);
        let set = SetAttr { mode, uid, gid, size, atime: set_time(atime), mtime: set_time(mtime) };
        self.serve("setattr", || match self.ops.set_attr(&caller(req), ino.0, fh.map(u64::from), set) {
            Ok(attr) => reply.attr(&self.terms.ttl, &file_attr(ino.0, &attr)),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        self.serve("readlink", || match self.ops.read_link(ino.0) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let caller = creator(req, umask);
        self.serve("mknod", || {
            self.reply_entry(self.ops.make_node(&caller, parent.0, name, mode, rdev.into()), reply);
        });
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let caller = creator(req, umask);
        self.serve("mkdir", || self.reply_entry(self.ops.make_dir(&caller, parent.0, name, mode), reply));
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve("unlink", || reply_empty(self.ops.unlink(&caller(req), parent.0, name), reply));
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve("rmdir", || reply_empty(self.ops.remove_dir(&caller(req), parent.0, name), reply));
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.serve("symlink", || {
            let made = self.ops.make_symlink(&caller(req), parent.0, link_name, target.as_os_str());
            self.reply_entry(made, reply);
        });
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.serve("rename", || {
            let (from, to) = ((parent.0, name), (newparent.0, newname));
            reply_empty(self.ops.rename(&caller(req), from, to, flags.bits()), reply);
        });
    }

    fn link(&self, req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.serve("link", || {
            self.reply_entry(self.ops.link(&caller(req), ino.0, newparent.0, newname), reply);
        });
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.serve("open", || match self.ops.open(&caller(req), ino.0, flags.0) {
            Ok(opened) => reply.opened(FileHandle(opened.handle), open_reply(&opened)),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.serve("read", || {
            let Some(size) = usize::try_from(size).ok().filter(|size| *size <= MAX_READ) else {
                return reply.error(fuser::Errno::EINVAL);
            };
            with_buffer(size, |buf| match self.ops.read(fh.0, offset, buf) {
                Ok(len) => reply.data(buf.get(..len).unwrap_or(buf)),
                Err(errno) => reply.error(errno.into()),
            });
        });
    }

    fn write(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.serve("write", || {
            let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
            match self.ops.write(&caller(req), fh.0, offset, data, kill).map(u32::try_from) {
                Ok(Ok(len)) => reply.written(len),
                Ok(Err(_)) => reply.error(fuser::Errno::EINVAL),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        self.serve("flush", || reply_empty(self.ops.flush(fh.0), reply));
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.serve("release", || {
            self.ops.release(fh.0);
            reply.ok();
        });
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.serve("fsync", || reply_empty(self.ops.sync(fh.0, datasync), reply));
    }

    fn opendir(&self, req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.serve("opendir", || match self.ops.open_dir(&caller(req), ino.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn readdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.serve("readdir", || {
            let filled = self.ops.read_dir(fh.0, offset, |line| {
                reply.add(INodeNo(shown(line.ino)), line.next, file_type(line.kind), &line.name)
            });
            match filled {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn readdirplus(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.serve("readdirplus", || {
            let filled = self.ops.read_dir_plus(fh.0, offset, |plus| {
                let (attr, ttl) = match &plus.found {
                    Some((id, attr)) => (file_attr(*id, attr), self.terms.ttl),
                    None => (bare_attr(plus.line.kind), Duration::ZERO),
                };
                reply.add(attr.ino, plus.line.next, &plus.line.name, &ttl, &attr, GENERATION)
            });
            match filled {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.serve("releasedir", || {
            self.ops.release_dir(fh.0);
            reply.ok();
        });
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.serve("fsyncdir", || reply_empty(self.ops.sync_dir(fh.0), reply));
    }

    fn statfs(&self, _req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.serve("statfs", || match self.ops.space(ino.0) {
            Ok(space) => reply.statfs(
                space.blocks,
                space.free,
                space.available,
                space.files,
                space.files_free,
                saturated(space.block_size),
                saturated(space.name_max),
                saturated(space.fragment),
            ),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.serve("setxattr", || {
            reply_empty(self.ops.set_xattr(ino.0, name, value, flags), reply);
        });
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.serve("getxattr", || reply_xattr(self.ops.xattr(ino.0, name), size, reply));
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.serve("listxattr", || reply_xattr(self.ops.xattrs(ino.0), size, reply));
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve("removexattr", || {
            reply_empty(self.ops.remove_xattr(ino.0, name), reply);
        });
    }

    /// Not served: the kernel stops asking and lets its own check decide, or none on a mount of one user.
    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let caller = creator(req, umask);
        self.serve("create", || match self.ops.create(&caller, parent.0, name, mode, flags) {
            Ok(created) => reply.created(
                &self.terms.ttl,
                &file_attr(created.entry.id, &created.entry.attr),
                GENERATION,
                FileHandle(created.opened.handle),
                open_reply(&created.opened),
            ),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    /// Not served: the kernel stops asking and reports files as always ready, as local file systems do.
    fn poll(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _ph: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.serve("fallocate", || {
            reply_empty(self.ops.allocate(&caller(req), fh.0, offset, length, mode), reply);
        });
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        self.serve("lseek", || match self.ops.seek(fh.0, offset, whence) {
            Ok(found) => reply.offset(found),
            Err(errno) => reply.error(errno.into()),
        });
    }

    fn copy_file_range(
        &self,
        req: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.serve("copy_file_range", || {
            let (from, to) = ((fh_in.0, offset_in), (fh_out.0, offset_out));
            match self.ops.copy_range(&caller(req), from, to, len) {
                Ok(copied) => reply.written(copied),
                Err(errno) => reply.error(errno.into()),
            }
        });
    }
}

fn caller(req: &Request) -> Caller {
    creator(req, 0)
}

fn creator(req: &Request, umask: u32) -> Caller {
    Caller { uid: req.uid(), gid: req.gid(), pid: req.pid(), umask }
}

/// Pages stay valid across opens: attribute revalidation drops them when the file changed behind the mount.
fn open_reply(opened: &Opened) -> FopenFlags {
    let flush = if opened.writable { FopenFlags::empty() } else { FopenFlags::FOPEN_NOFLUSH };
    FopenFlags::FOPEN_KEEP_CACHE | flush
}

fn reply_empty(outcome: Result<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno.into()),
    }
}

fn reply_xattr(outcome: Result<Vec<u8>>, size: u32, reply: ReplyXattr) {
    let value = match outcome {
        Ok(value) => value,
        Err(errno) => return reply.error(errno.into()),
    };
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(&value),
        _ => reply.error(Errno(libc::ERANGE).into()),
    }
}

/// Programs skip names whose inode number is 0.
fn shown(ino: u64) -> u64 {
    if ino == 0 { UNKNOWN_INO } else { ino }
}

fn saturated(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Node numbers are not used for another item while the kernel holds them, so one generation is enough.
const GENERATION: Generation = Generation(0);
const MAX_READ: usize = 16 << 20;
const UNKNOWN_INO: u64 = 0xffff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_can_be_written_to_is_flushed_on_close() {
        let reply = |writable| open_reply(&Opened { handle: 1, writable });
        assert!(reply(false).contains(FopenFlags::FOPEN_NOFLUSH));
        assert_eq!(reply(true), FopenFlags::FOPEN_KEEP_CACHE);
    }

    #[test]
    fn a_name_without_an_inode_number_is_still_shown() {
        assert_eq!(shown(0), UNKNOWN_INO);
        assert_eq!(shown(7), 7);
    }
}
