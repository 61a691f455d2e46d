//! A disk that remembers: a FUSE file system with the one file `disk.img`, for a loop device. Every write and every flush
//! that reaches it is kept in order, so that the disk can be rebuilt as a power cut would have left it.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr},
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, Session, SessionACL,
    WriteFlags,
};
use rustix::{
    fs::{Mode, OFlags},
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

use crate::fixture::{command, ok};

/// What reached the disk.
pub(crate) enum Event {
    Write { at: u64, data: Vec<u8> },
    Flush,
}

/// Shared between the disk and whoever looks at it.
#[derive(Default)]
pub(crate) struct Tape {
    pub(crate) events: Mutex<Vec<Event>>,
    /// Number of flushes that succeeded.
    pub(crate) flushes: AtomicU64,
    /// Every flush fails while this is set.
    pub(crate) failing: AtomicBool,
    image: Mutex<Image>,
    size: u64,
}

/// Content of a disk: its pages that are not all zeros.
#[derive(Clone, Default)]
pub(crate) struct Image(BTreeMap<u64, Arc<[u8; PAGE]>>);

impl Image {
    pub(crate) fn write(&mut self, mut at: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let skip = usize::try_from(at % PAGE as u64).expect("less than a page");
            let (piece, rest) = data.split_at(data.len().min(PAGE - skip));
            let page = self.0.entry(at / PAGE as u64).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[skip..skip + piece.len()].copy_from_slice(piece);
            at += piece.len() as u64;
            data = rest;
        }
    }

    fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let here = at + bytes.len() as u64;
            let skip = usize::try_from(here % PAGE as u64).expect("less than a page");
            let more = (len - bytes.len()).min(PAGE - skip);
            match self.0.get(&(here / PAGE as u64)) {
                Some(page) => bytes.extend(&page[skip..skip + more]),
                None => bytes.resize(bytes.len() + more, 0),
            }
        }
        bytes
    }

    /// Makes a sparse file of it.
    pub(crate) fn save(&self, path: &Path, size: u64) {
        let file = File::create(path).unwrap();
        file.set_len(size).unwrap();
        for (number, page) in self.0.iter().filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
            file.write_all_at(&page[..], number * PAGE as u64).unwrap();
        }
    }
}

/// The disk, attached; it goes away with the value. Whoever mounted it unmounts it before.
pub(crate) struct Recorder {
    pub(crate) tape: Arc<Tape>,
    dir: tempfile::TempDir,
    served: Option<JoinHandle<()>>,
}

impl Recorder {
    pub(crate) fn new(size: u64) -> Self {
        let dir = tempfile::Builder::new().prefix("strongroom-recorder-").tempdir().unwrap();
        let tape = Arc::new(Tape { size, ..Tape::default() });
        let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let terms = format!("fd={},rootmode=40755,user_id=0,group_id=0", device.as_raw_fd());
        let terms = CString::new(terms).unwrap();
        mount("recorder", dir.path(), "fuse.recorder", MountFlags::NODEV, terms.as_c_str()).unwrap();
        let session =
            Session::from_fd(Disk(tape.clone()), device, SessionACL::Owner, fuser::Config::default())
                .unwrap();
        let served = std::thread::spawn(move || drop(session.run()));
        Self { tape, dir, served: Some(served) }
    }

    /// The file to attach.
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = unmount(self.dir.path(), UnmountFlags::DETACH);
        if let Some(served) = self.served.take()
            && !std::thread::panicking()
        {
            let _ = served.join();
        }
    }
}

/// A loop device with a file system, mounted; both go away with the value.
pub(crate) struct Mounted {
    device: String,
    dir: tempfile::TempDir,
}

impl Mounted {
    /// Mounts the file system in `image`, made by the command `make` where one is given.
    pub(crate) fn new(image: &Path, make: Option<&[&str]>) -> Self {
        let dir = tempfile::Builder::new().prefix("strongroom-disk-").tempdir().unwrap();
        let attached = ok(command(20, "losetup").args(["--find", "--show", "--direct-io=off"]).arg(image));
        let mounted = Self { device: attached.trim().to_owned(), dir };
        if let Some([program, flags @ ..]) = make {
            ok(command(30, program).args(flags).arg(&mounted.device));
        }
        ok(command(30, "mount").arg(&mounted.device).arg(mounted.path()));
        mounted
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..100 {
            match unmount(self.path(), UnmountFlags::empty()) {
                Err(rustix::io::Errno::BUSY) => std::thread::sleep(Duration::from_millis(20)),
                _ => break,
            }
        }
        let _ = unmount(self.path(), UnmountFlags::DETACH);
        let _ = command(20, "losetup").arg("--detach").arg(&self.device).status();
    }
}

struct Disk(Arc<Tape>);

impl Disk {
    fn attr(&self, ino: INodeNo) -> FileAttr {
        let root = ino == INodeNo::ROOT;
        let zero = SystemTime::UNIX_EPOCH;
        FileAttr {
            ino,
            size: if root { 0 } else { self.0.size },
            blocks: 0,
            atime: zero,
            mtime: zero,
            ctime: zero,
            crtime: zero,
            kind: if root { FileType::Directory } else { FileType::RegularFile },
            perm: if root { 0o755 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&TTL, &self.attr(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attr(ino));
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Nothing is kept by the kernel in between: a write arrives when the loop device makes it.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = u64::from(size).min(self.0.size.saturating_sub(offset));
        reply.data(&self.0.image.lock().unwrap().read(offset, usize::try_from(len).unwrap()));
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.0.image.lock().unwrap().write(offset, data);
        self.0.events.lock().unwrap().push(Event::Write { at: offset, data: data.to_vec() });
        reply.written(u32::try_from(data.len()).expect("the kernel counts so"));
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        if self.0.failing.load(Ordering::SeqCst) {
            return reply.error(Errno::EIO);
        }
        let mut events = self.0.events.lock().unwrap();
        events.push(Event::Flush);
        self.0.flushes.fetch_add(1, Ordering::SeqCst);
        drop(events);
        reply.ok();
    }
}

const NAME: &str = "disk.img";
const FILE: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_hours(1);
/// Bytes.
const PAGE: usize = 4096;
