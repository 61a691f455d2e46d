//! A file system that hands everything through: what the protocol itself costs, and so the yardstick for the drive.
//!
//! Same library, same terms with the kernel, same number of threads as the drive; an `O_PATH` descriptor for each node.
//! It serves `scripts/bench.sh` alone and judges nothing: run it as the only user of its mount.
//!
//! `passthrough SOURCE MOUNTPOINT [THREADS]` stays in the foreground until it is unmounted.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{CString, OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{FileExt, MetadataExt},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use fuser::{
    AccessFlags, BsdFileFlags, Config, CopyFileRangeFlags, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};
use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, Gid, Mode, OFlags, SeekFrom, Stat, StatxFlags, Timespec, Timestamps,
    UTIME_NOW, UTIME_OMIT, Uid, XattrFlags,
};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(source), Some(mountpoint)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: passthrough SOURCE MOUNTPOINT [THREADS]");
    };
    let threads = match arguments.next() {
        Some(text) => text.to_str().and_then(|text| text.parse().ok()).context("THREADS is no number")?,
        None => usual_threads(),
    };
    allow_many_descriptors()?;
    make_room_for_descriptors()?;
    rustix::process::umask(Mode::empty());
    serve(Path::new(&source), &PathBuf::from(mountpoint), threads)
}

/// As many as the drive starts by default.
fn usual_threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from).clamp(2, 16)
}

fn allow_many_descriptors() -> io::Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?)
}

/// Growing the table of descriptors stops every thread of a process for milliseconds, but not while there is only one.
fn make_room_for_descriptors() -> io::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(ROOM);
    let last = i32::try_from(limit.min(ROOM)).unwrap_or(1024) - 1;
    Ok(rustix::io::fcntl_dupfd_cloexec(io::stdin(), last).map(drop)?)
}

fn serve(source: &Path, mountpoint: &Path, threads: usize) -> anyhow::Result<()> {
    let root = rustix::fs::open(source, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open `{}`", source.display()))?;
    let mut config = Config::default();
    config.n_threads = Some(threads);
    config.clone_fd = threads >= 4;
    let device = mount(mountpoint).context("cannot mount: run as root")?;
    let session = Session::from_fd(Passthrough::new(root), device, SessionACL::Owner, config)
        .inspect_err(|_| detach(mountpoint))?;
    let served = thread::spawn(move || session.run());
    raise_read_ahead(mountpoint)?;
    served.join().map_err(|_| anyhow::anyhow!("the loop panicked"))??;
    Ok(())
}

fn mount(mountpoint: &Path) -> io::Result<OwnedFd> {
    use rustix::mount::MountFlags;
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mode = fs::metadata(mountpoint)?.mode();
    let data =
        format!("fd={},rootmode={mode:o},user_id=0,group_id=0,default_permissions", device.as_raw_fd());
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount(
        "passthrough",
        mountpoint,
        "fuse.passthrough",
        flags,
        CString::new(data)?.as_c_str(),
    )?;
    Ok(device)
}

fn detach(mountpoint: &Path) {
    if let Err(error) = rustix::mount::unmount(mountpoint, rustix::mount::UnmountFlags::DETACH) {
        eprintln!("`{}` stays mounted: {error}", mountpoint.display());
    }
}

fn raise_read_ahead(mountpoint: &Path) -> io::Result<()> {
    let stat = rustix::fs::statx(CWD, mountpoint, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS)?;
    fs::write(format!("/sys/class/bdi/{}:{}/read_ahead_kb", stat.stx_dev_major, stat.stx_dev_minor), "1024")
}

/// A node that the kernel knows.
struct Node {
    fd: OwnedFd,
    lookups: AtomicU64,
}

impl Node {
    /// A path that reopens the node itself.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(self.path(), flags | OFlags::CLOEXEC, Mode::empty())?)
    }

    fn attr(&self, id: u64) -> io::Result<FileAttr> {
        Ok(attr(id, &rustix::fs::statat(&self.fd, "", AtFlags::EMPTY_PATH)?))
    }
}

/// A directory being listed.
struct Listing(Vec<Line>);

struct Line {
    ino: u64,
    kind: FileType,
    name: OsString,
}

/// Things by number, in shards so that threads seldom meet.
struct Table<T>(Vec<Mutex<HashMap<u64, Arc<T>>>>);

impl<T> Table<T> {
    fn new() -> Self {
        Self((0..32).map(|_| Mutex::default()).collect())
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        let index = usize::try_from(number % 32).unwrap_or(0);
        let shard = self.0.get(index).expect("there are as many shards as remainders");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, number: u64) -> io::Result<Arc<T>> {
        self.shard(number).get(&number).cloned().ok_or_else(|| rustix::io::Errno::BADF.into())
    }
}

struct Passthrough {
    nodes: Table<Node>,
    files: Table<File>,
    listings: Table<Listing>,
    issued: AtomicU64,
}

impl Passthrough {
    fn new(root: OwnedFd) -> Self {
        let new = Self {
            nodes: Table::new(),
            files: Table::new(),
            listings: Table::new(),
            issued: AtomicU64::new(1),
        };
        new.nodes.shard(ROOT).insert(ROOT, Arc::new(Node { fd: root, lookups: AtomicU64::new(1) }));
        new
    }

    fn lookup(&self, parent: u64, name: &OsStr) -> io::Result<FileAttr> {
        let parent = self.nodes.get(parent)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::empty())?;
        let stat = rustix::fs::statat(&fd, "", AtFlags::EMPTY_PATH)?;
        let mut shard = self.nodes.shard(stat.st_ino);
        let new = || Arc::new(Node { fd, lookups: AtomicU64::new(0) });
        shard.entry(stat.st_ino).or_insert_with(new).lookups.fetch_add(1, Ordering::Relaxed);
        Ok(attr(stat.st_ino, &stat))
    }

    fn forget(&self, id: u64, count: u64) {
        let mut shard = self.nodes.shard(id);
        let Some(node) = shard.get(&id).filter(|_| id != ROOT) else { return };
        if node.lookups.fetch_sub(count, Ordering::Relaxed) <= count {
            shard.remove(&id);
        }
    }

    fn keep(&self, file: impl Into<File>) -> FileHandle {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        self.files.shard(number).insert(number, Arc::new(file.into()));
        FileHandle(number)
    }

    fn open(&self, id: u64, flags: i32) -> io::Result<FileHandle> {
        let flags =
            OFlags::from_bits_retain(flags.cast_unsigned()) & (OFlags::RDWR | OFlags::WRONLY | OFlags::TRUNC);
        Ok(self.keep(self.nodes.get(id)?.open(flags)?))
    }

    fn create(&self, parent: u64, name: &OsStr, mode: u32) -> io::Result<(FileAttr, FileHandle)> {
        let dir = self.nodes.get(parent)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir.fd, name, flags, Mode::from_raw_mode(mode))?;
        Ok((self.lookup(parent, name)?, self.keep(file)))
    }

    fn set_attr(&self, id: u64, set: &Change, open: Option<u64>) -> io::Result<FileAttr> {
        let node = self.nodes.get(id)?;
        if let Some(mode) = set.mode {
            rustix::fs::chmodat(CWD, node.path(), Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        if set.uid.is_some() || set.gid.is_some() {
            let (uid, gid) = (set.uid.map(Uid::from_raw), set.gid.map(Gid::from_raw));
            rustix::fs::chownat(&node.fd, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if let Some(size) = set.size {
            match open {
                Some(handle) => rustix::fs::ftruncate(&*self.files.get(handle)?, size)?,
                None => rustix::fs::ftruncate(node.open(OFlags::WRONLY)?, size)?,
            }
        }
        if set.times.last_access.tv_nsec != UTIME_OMIT || set.times.last_modification.tv_nsec != UTIME_OMIT {
            rustix::fs::utimensat(&node.fd, "", &set.times, AtFlags::EMPTY_PATH)?;
        }
        node.attr(id)
    }

    fn list(&self, id: u64) -> io::Result<FileHandle> {
        let fd = self.nodes.get(id)?.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        let lines = Dir::new(fd)?.map(|entry| {
            let entry = entry?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            Ok(Line { ino: entry.ino(), kind: kind(entry.file_type()), name })
        });
        let listing = Listing(lines.collect::<io::Result<_>>()?);
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        self.listings.shard(number).insert(number, Arc::new(listing));
        Ok(FileHandle(number))
    }

    fn plus(&self, parent: u64, line: &Line) -> io::Result<FileAttr> {
        match line.name.as_bytes() {
            b"." | b".." => self.nodes.get(parent)?.attr(parent),
            _ => self.lookup(parent, &line.name),
        }
    }
}

/// What `setattr` asks for.
struct Change {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    size: Option<u64>,
    times: Timestamps,
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; (1 << 20) + PAGE]);
}

impl Filesystem for Passthrough {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = InitFlags::FUSE_ASYNC_READ
            | InitFlags::FUSE_ATOMIC_O_TRUNC
            | InitFlags::FUSE_BIG_WRITES
            | InitFlags::FUSE_MAX_PAGES
            | InitFlags::FUSE_DONT_MASK
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_ASYNC_DIO
            | InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            | InitFlags::FUSE_POSIX_ACL;
        let offered = config.capabilities() & wanted;
        let refused = |what: &str| io::Error::other(format!("the kernel refuses {what}"));
        config.add_capabilities(offered).map_err(|_| refused("capabilities"))?;
        config.set_max_write(1 << 20).map_err(|_| refused("the write size"))?;
        config.set_max_background(64).map_err(|_| refused("the queue length"))?;
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        reply_entry(self.lookup(parent.0, name), reply);
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply_attr(self.nodes.get(ino.0).and_then(|node| node.attr(ino.0)), reply);
    }

    fn setattr(
        &self,
        _req: &Request,
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
        let times = Timestamps { last_access: time_to_set(atime), last_modification: time_to_set(mtime) };
        let change = Change { mode: mode.map(|mode| mode & 0o7777), uid, gid, size, times };
        reply_attr(self.set_attr(ino.0, &change, fh.map(|fh| fh.0)), reply);
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        let target =
            self.nodes.get(ino.0).and_then(|node| Ok(rustix::fs::readlinkat(&node.fd, "", Vec::new())?));
        match target {
            Ok(target) => reply.data(target.to_bytes()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn mkdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let outcome = self.nodes.get(parent.0).and_then(|dir| {
            rustix::fs::mkdirat(&dir.fd, name, Mode::from_raw_mode(mode & !umask))?;
            self.lookup(parent.0, name)
        });
        reply_entry(outcome, reply);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.nodes.get(parent.0);
        reply_empty(done.and_then(|dir| Ok(rustix::fs::unlinkat(&dir.fd, name, AtFlags::empty())?)), reply);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.nodes.get(parent.0);
        reply_empty(done.and_then(|dir| Ok(rustix::fs::unlinkat(&dir.fd, name, AtFlags::REMOVEDIR)?)), reply);
    }

    fn symlink(&self, _req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let made = self.nodes.get(parent.0).and_then(|dir| {
            rustix::fs::symlinkat(target, &dir.fd, link_name)?;
            self.lookup(parent.0, link_name)
        });
        reply_entry(made, reply);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        let done = self.nodes.get(parent.0).and_then(|from| {
            let to = self.nodes.get(newparent.0)?;
            Ok(rustix::fs::renameat_with(&from.fd, name, &to.fd, newname, flags)?)
        });
        reply_empty(done, reply);
    }

    fn link(&self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let made = self.nodes.get(ino.0).and_then(|node| {
            let dir = self.nodes.get(newparent.0)?;
            rustix::fs::linkat(CWD, node.path(), &dir.fd, newname, AtFlags::SYMLINK_FOLLOW)?;
            self.lookup(newparent.0, newname)
        });
        reply_entry(made, reply);
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.open(ino.0, flags.0) {
            Ok(handle) => reply.opened(handle, open_reply(flags.0)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn create(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        match self.create(parent.0, name, mode & !umask & 0o7777) {
            Ok((attr, handle)) => reply.created(&TTL, &attr, GENERATION, handle, open_reply(flags)),
            Err(error) => reply.error(error.into()),
        }
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
        BUFFER.with_borrow_mut(|bytes| {
            // The kernel takes an aligned reply page by page without splitting.
            let start = bytes.as_ptr().align_offset(PAGE);
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let outcome = match bytes.get_mut(start..start.saturating_add(size)) {
                Some(buffer) => self.files.get(fh.0).and_then(|file| read_full(&file, buffer, offset)),
                None => Err(rustix::io::Errno::INVAL.into()),
            };
            match outcome {
                Ok(len) => reply.data(bytes.get(start..start + len).unwrap_or_default()),
                Err(error) => reply.error(error.into()),
            }
        });
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.files.get(fh.0).and_then(|file| file.write_at(data, offset));
        reply_written(written, reply);
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
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
        self.files.shard(fh.0).remove(&fh.0);
        reply.ok();
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        let done = self.files.get(fh.0);
        reply_empty(done.and_then(|file| if datasync { file.sync_data() } else { file.sync_all() }), reply);
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.list(ino.0) {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn readdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listing = match self.listings.get(fh.0) {
            Ok(listing) => listing,
            Err(error) => return reply.error(error.into()),
        };
        for (next, line) in (1..).zip(&listing.0).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(INodeNo(line.ino), next, line.kind, &line.name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listing = match self.listings.get(fh.0) {
            Ok(listing) => listing,
            Err(error) => return reply.error(error.into()),
        };
        for (next, line) in (1..).zip(&listing.0).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            let Ok(attr) = self.plus(ino.0, line) else { continue };
            if reply.add(attr.ino, next, &line.name, &TTL, &attr, GENERATION) {
                if !matches!(line.name.as_bytes(), b"." | b"..") {
                    self.forget(attr.ino.0, 1);
                }
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.listings.shard(fh.0).remove(&fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let dir = self.nodes.get(ino.0).and_then(|node| node.open(OFlags::RDONLY | OFlags::DIRECTORY));
        reply_empty(dir.and_then(|dir| Ok(rustix::fs::fsync(dir)?)), reply);
    }

    fn statfs(&self, _req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        match self.nodes.get(ino.0).and_then(|node| Ok(rustix::fs::fstatvfs(&node.fd)?)) {
            Ok(s) => reply.statfs(
                s.f_blocks,
                s.f_bfree,
                s.f_bavail,
                s.f_files,
                s.f_ffree,
                small(s.f_bsize),
                small(s.f_namemax),
                small(s.f_frsize),
            ),
            Err(error) => reply.error(error.into()),
        }
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
        let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
        let node = self.nodes.get(ino.0);
        reply_empty(node.and_then(|node| Ok(rustix::fs::setxattr(node.path(), name, value, flags)?)), reply);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let read = |value: &mut Vec<u8>| -> io::Result<usize> {
            let node = self.nodes.get(ino.0)?;
            Ok(rustix::fs::getxattr(node.path(), name, value.as_mut_slice())?)
        };
        reply_xattr(read, size, reply);
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let read = |value: &mut Vec<u8>| -> io::Result<usize> {
            let node = self.nodes.get(ino.0)?;
            Ok(rustix::fs::listxattr(node.path(), value.as_mut_slice())?)
        };
        reply_xattr(read, size, reply);
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let node = self.nodes.get(ino.0);
        reply_empty(node.and_then(|node| Ok(rustix::fs::removexattr(node.path(), name)?)), reply);
    }

    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let file = self.files.get(fh.0);
        reply_empty(file.and_then(|file| Ok(rustix::fs::fallocate(&*file, mode, offset, length)?)), reply);
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
        let from = offset.cast_unsigned();
        let from = if whence == libc::SEEK_DATA { SeekFrom::Data(from) } else { SeekFrom::Hole(from) };
        match self.files.get(fh.0).and_then(|file| Ok(rustix::fs::seek(&*file, from)?)) {
            Ok(found) => reply.offset(found.cast_signed()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        _ino_in: INodeNo,
        fh_in: FileHandle,
        mut offset_in: u64,
        _ino_out: INodeNo,
        fh_out: FileHandle,
        mut offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let len = usize::try_from(len.min(16 << 20)).unwrap_or(0);
        let copied = self.files.get(fh_in.0).and_then(|from| {
            let to = self.files.get(fh_out.0)?;
            let offsets = (Some(&mut offset_in), Some(&mut offset_out));
            Ok(rustix::fs::copy_file_range(from.as_fd(), offsets.0, to.as_fd(), offsets.1, len)?)
        });
        reply_written(copied, reply);
    }
}

/// As the drive answers: pages stay valid across opens, and only what was written to is flushed.
fn open_reply(flags: i32) -> FopenFlags {
    let read_only = flags & libc::O_ACCMODE == libc::O_RDONLY && flags & libc::O_TRUNC == 0;
    let flush = if read_only { FopenFlags::FOPEN_NOFLUSH } else { FopenFlags::empty() };
    FopenFlags::FOPEN_KEEP_CACHE | flush
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64)? {
            0 => break,
            got => done += got,
        }
    }
    Ok(done)
}

fn reply_entry(outcome: io::Result<FileAttr>, reply: ReplyEntry) {
    match outcome {
        Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
        Err(error) => reply.error(error.into()),
    }
}

fn reply_attr(outcome: io::Result<FileAttr>, reply: ReplyAttr) {
    match outcome {
        Ok(attr) => reply.attr(&TTL, &attr),
        Err(error) => reply.error(error.into()),
    }
}

fn reply_empty(outcome: io::Result<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error.into()),
    }
}

fn reply_written(outcome: io::Result<usize>, reply: ReplyWrite) {
    match outcome.map(u32::try_from) {
        Ok(Ok(len)) => reply.written(len),
        Ok(Err(_)) => reply.error(fuser::Errno::EINVAL),
        Err(error) => reply.error(error.into()),
    }
}

fn reply_xattr(read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>, size: u32, reply: ReplyXattr) {
    let mut value = vec![0; usize::try_from(size).unwrap_or(0)];
    match read(&mut value) {
        Ok(len) if size == 0 => reply.size(u32::try_from(len).unwrap_or(u32::MAX)),
        Ok(len) => reply.data(value.get(..len).unwrap_or_default()),
        Err(error) => reply.error(error.into()),
    }
}

fn attr(id: u64, stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(id),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        perm: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let since = Duration::new(seconds.unsigned_abs(), u32::try_from(nanoseconds).unwrap_or(0));
    if seconds < 0 { UNIX_EPOCH } else { UNIX_EPOCH + since }
}

fn time_to_set(time: Option<TimeOrNow>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            Timespec { tv_sec: seconds, tv_nsec: since.subsec_nanos().into() }
        }
    }
}

fn kind(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

const ROOT: u64 = 1;
/// Descriptors that there is room for from the start.
const ROOM: u64 = 1 << 18;
const PAGE: usize = 4096;
const TTL: Duration = Duration::from_secs(1);
const GENERATION: Generation = Generation(0);
