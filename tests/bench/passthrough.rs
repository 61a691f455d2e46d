//! A file system that hands everything through: what the protocol itself costs, and so the yardstick for the drive.
//!
//! Same transports, same terms with the kernel, same number of threads as the drive; an `O_PATH` descriptor for each node.
//! It serves `scripts/bench.sh` alone and judges nothing: run it as the only user of its mount.
//!
//! `passthrough SOURCE MOUNTPOINT [classic|uring]` stays in the foreground until it is unmounted. Without a word it takes
//! the transport that the drive would.

use std::{
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
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, Gid, Mode, OFlags, SeekFrom, Stat, StatxFlags, Timespec, Timestamps,
    UTIME_NOW, UTIME_OMIT, Uid, XattrFlags,
};
use strongroom::{
    engine::{Attr, SetAttr},
    fuse::{
        Errno,
        protocol::{
            Agreement, Answer, Entry, Fill, Header, Lines, Offer, Opened, Operation, features, open_reply,
        },
        transport::{self, Device, Service, Serving},
    },
    store::{Kind, NodeKey, SetTime, Space, Timestamp},
};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(source), Some(mountpoint)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: passthrough SOURCE MOUNTPOINT [classic|uring]");
    };
    let rings = match arguments.next().as_deref().and_then(OsStr::to_str) {
        None => transport::available().is_ok(),
        Some("classic") => false,
        Some("uring") => transport::available().map(|()| true)?,
        Some(other) => anyhow::bail!("unknown transport `{other}`"),
    };
    allow_many_descriptors()?;
    make_room_for_descriptors()?;
    rustix::process::umask(Mode::empty());
    serve(Path::new(&source), Path::new(&mountpoint), rings)
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

fn serve(source: &Path, mountpoint: &Path, rings: bool) -> anyhow::Result<()> {
    let root = rustix::fs::open(source, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open `{}`", source.display()))?;
    let device = mount(mountpoint).context("cannot mount: run as root")?;
    raise_read_ahead(mountpoint)?;
    let serving = start(device, Passthrough::new(root), rings).inspect_err(|_| detach(mountpoint))?;
    eprintln!("passthrough: transport {}", serving.transport());
    Ok(serving.join()?)
}

fn start(device: OwnedFd, service: Passthrough, rings: bool) -> anyhow::Result<Serving> {
    let device = Device::open(device, |offer| agree(offer, rings))?;
    Ok(Serving::start(&device, &Arc::new(service), usual_threads())?)
}

/// What the drive agrees to.
fn agree(offer: &Offer, rings: bool) -> Agreement {
    let wanted = features::ASYNC_READ
        | features::ATOMIC_O_TRUNC
        | features::BIG_WRITES
        | features::MAX_PAGES
        | features::DONT_MASK
        | features::AUTO_INVAL_DATA
        | features::DO_READDIRPLUS
        | features::READDIRPLUS_AUTO
        | features::ASYNC_DIO
        | features::PARALLEL_DIROPS
        | features::CACHE_SYMLINKS
        | features::DIRECT_IO_ALLOW_MMAP
        | features::HANDLE_KILLPRIV_V2
        | if rings { features::OVER_IO_URING } else { 0 };
    Agreement {
        max_readahead: 4 << 20,
        features: offer.features & wanted,
        max_background: 64,
        max_write: 1 << 20,
    }
}

fn mount(mountpoint: &Path) -> io::Result<OwnedFd> {
    use rustix::mount::MountFlags;
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mode = fs::metadata(mountpoint)?.mode();
    let data = format!("fd={},rootmode={mode:o},user_id=0,group_id=0", device.as_raw_fd());
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
    let stat = rustix::fs::statx(CWD, mountpoint, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)?;
    fs::write(format!("/sys/class/bdi/{}:{}/read_ahead_kb", stat.stx_dev_major, stat.stx_dev_minor), "4096")
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

    fn attr(&self) -> io::Result<Attr> {
        Ok(attr(&rustix::fs::statat(&self.fd, "", AtFlags::EMPTY_PATH)?))
    }
}

/// A directory being listed.
struct Listing(Vec<Line>);

struct Line {
    ino: u64,
    kind: Kind,
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

    fn lookup(&self, parent: u64, name: &OsStr) -> io::Result<Attr> {
        let parent = self.nodes.get(parent)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&parent.fd, name, flags, Mode::empty())?;
        let stat = rustix::fs::statat(&fd, "", AtFlags::EMPTY_PATH)?;
        let mut shard = self.nodes.shard(stat.st_ino);
        let new = || Arc::new(Node { fd, lookups: AtomicU64::new(0) });
        shard.entry(stat.st_ino).or_insert_with(new).lookups.fetch_add(1, Ordering::Relaxed);
        Ok(attr(&stat))
    }

    fn forget(&self, id: u64, count: u64) {
        let mut shard = self.nodes.shard(id);
        let Some(node) = shard.get(&id).filter(|_| id != ROOT) else { return };
        if node.lookups.fetch_sub(count, Ordering::Relaxed) <= count {
            shard.remove(&id);
        }
    }

    fn keep(&self, file: impl Into<File>) -> u64 {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        self.files.shard(number).insert(number, Arc::new(file.into()));
        number
    }

    fn open(&self, id: u64, flags: i32) -> io::Result<u64> {
        let flags =
            OFlags::from_bits_retain(flags.cast_unsigned()) & (OFlags::RDWR | OFlags::WRONLY | OFlags::TRUNC);
        Ok(self.keep(self.nodes.get(id)?.open(flags)?))
    }

    fn create(&self, parent: u64, name: &OsStr, mode: u32) -> io::Result<(Attr, u64)> {
        let dir = self.nodes.get(parent)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir.fd, name, flags, Mode::from_raw_mode(mode))?;
        Ok((self.lookup(parent, name)?, self.keep(file)))
    }

    fn set_attr(&self, id: u64, set: &SetAttr, open: Option<u64>) -> io::Result<Attr> {
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
        if (set.atime, set.mtime) != (SetTime::Keep, SetTime::Keep) {
            let times =
                Timestamps { last_access: time_to_set(set.atime), last_modification: time_to_set(set.mtime) };
            rustix::fs::utimensat(&node.fd, "", &times, AtFlags::EMPTY_PATH)?;
        }
        node.attr()
    }

    fn list(&self, id: u64) -> io::Result<u64> {
        let fd = self.nodes.get(id)?.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        let lines = Dir::new(fd)?.map(|entry| {
            let entry = entry?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            Ok(Line { ino: entry.ino(), kind: kind(entry.file_type()), name })
        });
        let listing = Listing(lines.collect::<io::Result<_>>()?);
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        self.listings.shard(number).insert(number, Arc::new(listing));
        Ok(number)
    }
}

impl Passthrough {
    /// Operations on names in the directory `parent`.
    fn by_name(&self, parent: u64, operation: &Operation<'_>) -> Option<io::Result<Answer>> {
        Some(match *operation {
            Operation::Lookup { name } => self.found(parent, name),
            Operation::MakeDir { name, mode, umask } => self.nodes.get(parent).and_then(|dir| {
                rustix::fs::mkdirat(&dir.fd, name, Mode::from_raw_mode(mode & !umask))?;
                self.found(parent, name)
            }),
            Operation::Symlink { name, target } => self.nodes.get(parent).and_then(|dir| {
                rustix::fs::symlinkat(target, &dir.fd, name)?;
                self.found(parent, name)
            }),
            Operation::Link { node, name } => self.nodes.get(node).and_then(|node| {
                let dir = self.nodes.get(parent)?;
                rustix::fs::linkat(CWD, node.path(), &dir.fd, name, AtFlags::SYMLINK_FOLLOW)?;
                self.found(parent, name)
            }),
            Operation::Unlink { name } => self.remove(parent, name, AtFlags::empty()),
            Operation::RemoveDir { name } => self.remove(parent, name, AtFlags::REMOVEDIR),
            Operation::Rename { name, to_parent, to_name, flags } => {
                self.nodes.get(parent).and_then(|from| {
                    let to = self.nodes.get(to_parent)?;
                    let flags = rustix::fs::RenameFlags::from_bits_retain(flags);
                    rustix::fs::renameat_with(&from.fd, name, &to.fd, to_name, flags)?;
                    Ok(Answer::Done)
                })
            }
            Operation::Create { name, mode, umask, flags } => {
                let created = self.create(parent, name, mode & !umask & 0o7777);
                created.map(|(attr, handle)| Answer::Created(entry(attr), opened(handle, flags, true)))
            }
            _ => return None,
        })
    }

    /// Operations on a node.
    fn by_node(&self, id: u64, operation: &Operation<'_>) -> Option<io::Result<Answer>> {
        let node = || self.nodes.get(id);
        Some(match *operation {
            Operation::Attr { .. } => {
                node().and_then(|node| node.attr()).map(|attr| Answer::Attr(entry_of(id, attr)))
            }
            Operation::Access { mask } => node().and_then(|node| {
                let mask = rustix::fs::Access::from_bits_truncate(mask);
                rustix::fs::accessat(CWD, node.path(), mask, AtFlags::EACCESS)?;
                Ok(Answer::Done)
            }),
            Operation::SetAttr { handle, set } => {
                self.set_attr(id, &set, handle).map(|attr| Answer::Attr(entry_of(id, attr)))
            }
            Operation::ReadLink => node().and_then(|node| {
                let target = rustix::fs::readlinkat(&node.fd, "", Vec::new())?;
                Ok(Answer::Target(OsString::from_vec(target.into_bytes())))
            }),
            Operation::Open { flags } => {
                let anew = flags & libc::O_TRUNC != 0;
                self.open(id, flags).map(|handle| Answer::Opened(opened(handle, flags, anew)))
            }
            Operation::OpenDir => self.list(id).map(|handle| Answer::Opened(Opened { handle, flags: 0 })),
            Operation::Space => {
                node().and_then(|node| Ok(Answer::Space(space(&rustix::fs::fstatvfs(&node.fd)?))))
            }
            Operation::SetXattr { name, value, flags } => node().and_then(|node| {
                let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
                rustix::fs::setxattr(node.path(), name, value, flags)?;
                Ok(Answer::Done)
            }),
            Operation::Xattr { name, size } => node()
                .and_then(|node| sized(size, |value| Ok(rustix::fs::getxattr(node.path(), name, value)?))),
            Operation::Xattrs { size } => {
                node().and_then(|node| sized(size, |names| Ok(rustix::fs::listxattr(node.path(), names)?)))
            }
            Operation::RemoveXattr { name } => {
                node().and_then(|node| Ok(rustix::fs::removexattr(node.path(), name)?)).map(|()| Answer::Done)
            }
            Operation::SyncDir { .. } => node().and_then(|node| {
                rustix::fs::fsync(node.open(OFlags::RDONLY | OFlags::DIRECTORY)?)?;
                Ok(Answer::Done)
            }),
            _ => return None,
        })
    }

    /// Operations on what is open.
    fn by_handle(&self, operation: Operation<'_>) -> io::Result<Answer> {
        match operation {
            Operation::Write { handle, offset, data, .. } => {
                written(self.files.get(handle)?.write_at(data, offset)?)
            }
            Operation::Flush { .. } => Ok(Answer::Done),
            Operation::Release { handle } => {
                self.files.shard(handle).remove(&handle);
                Ok(Answer::Done)
            }
            Operation::ReleaseDir { handle } => {
                self.listings.shard(handle).remove(&handle);
                Ok(Answer::Done)
            }
            Operation::Sync { handle, data_only } => {
                let file = self.files.get(handle)?;
                if data_only { file.sync_data() } else { file.sync_all() }.map(|()| Answer::Done)
            }
            Operation::Allocate { handle, offset, len, mode } => {
                let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
                rustix::fs::fallocate(&*self.files.get(handle)?, mode, offset, len)?;
                Ok(Answer::Done)
            }
            Operation::Seek { handle, offset, whence } => {
                let from = offset.cast_unsigned();
                let from =
                    if whence == libc::SEEK_DATA { SeekFrom::Data(from) } else { SeekFrom::Hole(from) };
                let found = rustix::fs::seek(&*self.files.get(handle)?, from)?;
                Ok(Answer::Offset(found.cast_signed()))
            }
            Operation::CopyRange { from: (from, mut from_offset), to: (to, mut to_offset), len } => {
                let len = usize::try_from(len.min(16 << 20)).unwrap_or(0);
                let (from, to) = (self.files.get(from)?, self.files.get(to)?);
                let (at, onto) = (Some(&mut from_offset), Some(&mut to_offset));
                written(rustix::fs::copy_file_range(from.as_fd(), at, to.as_fd(), onto, len)?)
            }
            Operation::Ioctl => Err(rustix::io::Errno::NOTTY.into()),
            _ => Err(rustix::io::Errno::NOSYS.into()),
        }
    }

    fn found(&self, parent: u64, name: &OsStr) -> io::Result<Answer> {
        self.lookup(parent, name).map(|attr| Answer::Entry(entry(attr)))
    }

    fn remove(&self, parent: u64, name: &OsStr, flags: AtFlags) -> io::Result<Answer> {
        rustix::fs::unlinkat(&self.nodes.get(parent)?.fd, name, flags)?;
        Ok(Answer::Done)
    }

    fn names(&self, handle: u64, position: u64, lines: &mut Lines<'_>) -> io::Result<()> {
        let listing = self.listings.get(handle)?;
        for (next, line) in (1..).zip(&listing.0).skip(usize::try_from(position).unwrap_or(usize::MAX)) {
            if !lines.add(line.ino, next, line.kind, &line.name) {
                break;
            }
        }
        Ok(())
    }

    fn names_plus(&self, parent: u64, handle: u64, position: u64, lines: &mut Lines<'_>) -> io::Result<()> {
        let listing = self.listings.get(handle)?;
        for (next, line) in (1..).zip(&listing.0).skip(usize::try_from(position).unwrap_or(usize::MAX)) {
            let dot = matches!(line.name.as_bytes(), b"." | b"..");
            let found = if dot { None } else { self.lookup(parent, &line.name).ok().map(entry) };
            if !lines.add_found(found.as_ref(), line.ino, next, line.kind, &line.name) {
                if let Some(found) = found {
                    self.forget(found.id, 1);
                }
                break;
            }
        }
        Ok(())
    }

    fn fill_in(&self, node: u64, fill: Fill, out: &mut [u8]) -> io::Result<usize> {
        match fill {
            Fill::Read { handle, offset, .. } => read_full(&*self.files.get(handle)?, out, offset),
            Fill::List { handle, position, .. } => {
                let mut lines = Lines::new(out);
                self.names(handle, position, &mut lines)?;
                Ok(lines.used())
            }
            Fill::ListPlus { handle, position, .. } => {
                let mut lines = Lines::new(out);
                self.names_plus(node, handle, position, &mut lines)?;
                Ok(lines.used())
            }
        }
    }
}

impl Service for Passthrough {
    fn answer(&self, header: &Header, operation: Operation<'_>) -> Result<Answer, Errno> {
        let named = self.by_name(header.node, &operation).or_else(|| self.by_node(header.node, &operation));
        named.unwrap_or_else(|| self.by_handle(operation)).map_err(|error| errno(&error))
    }

    fn fill(&self, header: &Header, fill: Fill, out: &mut [u8]) -> Result<usize, Errno> {
        self.fill_in(header.node, fill, out).map_err(|error| errno(&error))
    }

    fn forget(&self, node: u64, count: u64) {
        self.forget(node, count);
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

fn entry(attr: Attr) -> Entry {
    entry_of(attr.key.ino, attr)
}

fn entry_of(id: u64, attr: Attr) -> Entry {
    Entry { id, attr, ttl: TTL }
}

/// As the drive answers: pages stay valid across opens, what is new and only written goes past them, and only what was
/// written to is flushed.
fn opened(handle: u64, flags: i32, anew: bool) -> Opened {
    let mode = flags & libc::O_ACCMODE;
    let direct = anew && mode == libc::O_WRONLY;
    let read_only = mode == libc::O_RDONLY && !anew;
    let pages = if direct { open_reply::DIRECT_IO } else { open_reply::KEEP_CACHE };
    Opened { handle, flags: pages | if read_only { open_reply::NOFLUSH } else { 0 } }
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

fn written(len: usize) -> io::Result<Answer> {
    u32::try_from(len).map(Answer::Written).map_err(io::Error::other)
}

fn sized(size: u32, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Answer> {
    let mut value = vec![0; usize::try_from(size).unwrap_or(0)];
    let len = read(&mut value)?;
    value.truncate(len);
    Ok(if size == 0 { Answer::Length(u32::try_from(len).unwrap_or(u32::MAX)) } else { Answer::Bytes(value) })
}

fn space(stat: &rustix::fs::StatVfs) -> Space {
    Space {
        fragment: stat.f_frsize,
        block_size: stat.f_bsize,
        blocks: stat.f_blocks,
        free: stat.f_bfree,
        available: stat.f_bavail,
        files: stat.f_files,
        files_free: stat.f_ffree,
        name_max: stat.f_namemax,
    }
}

fn attr(stat: &Stat) -> Attr {
    Attr {
        key: NodeKey { dev: stat.st_dev, ino: stat.st_ino },
        kind: kind(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        mode: stat.st_mode & 0o7777,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: 0,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

fn time(sec: i64, nanoseconds: u64) -> Timestamp {
    Timestamp { sec, nsec: u32::try_from(nanoseconds).unwrap_or(0) }
}

fn time_to_set(time: SetTime) -> Timespec {
    match time {
        SetTime::Keep => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        SetTime::Now => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        SetTime::At(time) => Timespec { tv_sec: time.sec, tv_nsec: time.nsec.into() },
    }
}

fn kind(kind: rustix::fs::FileType) -> Kind {
    match kind {
        rustix::fs::FileType::Directory => Kind::Directory,
        rustix::fs::FileType::Symlink => Kind::Symlink,
        rustix::fs::FileType::Fifo => Kind::Fifo,
        rustix::fs::FileType::Socket => Kind::Socket,
        rustix::fs::FileType::CharacterDevice => Kind::CharDevice,
        rustix::fs::FileType::BlockDevice => Kind::BlockDevice,
        _ => Kind::File,
    }
}

const ROOT: u64 = 1;
/// Descriptors that there is room for from the start.
const ROOM: u64 = 1 << 18;
const TTL: Duration = Duration::from_secs(1);
