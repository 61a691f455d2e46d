//! The numbers of the protocol, under their names in `include/uapi/linux/fuse.h`.

/// What a request wants (`enum fuse_opcode`).
#[allow(missing_docs, reason = "these are the names of the kernel")]
pub mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const SYMLINK: u32 = 6;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const LINK: u32 = 13;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const SETXATTR: u32 = 21;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const REMOVEXATTR: u32 = 24;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const FSYNCDIR: u32 = 30;
    pub const ACCESS: u32 = 34;
    pub const CREATE: u32 = 35;
    pub const DESTROY: u32 = 38;
    pub const IOCTL: u32 = 39;
    pub const BATCH_FORGET: u32 = 42;
    pub const FALLOCATE: u32 = 43;
    pub const READDIRPLUS: u32 = 44;
    pub const RENAME2: u32 = 45;
    pub const LSEEK: u32 = 46;
    pub const COPY_FILE_RANGE: u32 = 47;
}

/// What is agreed on in the handshake (`FUSE_INIT` flags, both words in one).
#[allow(missing_docs, reason = "these are the names of the kernel")]
pub mod features {
    pub const ASYNC_READ: u64 = 1;
    pub const POSIX_LOCKS: u64 = 1 << 1;
    pub const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub const EXPORT_SUPPORT: u64 = 1 << 4;
    pub const BIG_WRITES: u64 = 1 << 5;
    pub const DONT_MASK: u64 = 1 << 6;
    pub const FLOCK_LOCKS: u64 = 1 << 10;
    pub const AUTO_INVAL_DATA: u64 = 1 << 12;
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub const ASYNC_DIO: u64 = 1 << 15;
    pub const WRITEBACK_CACHE: u64 = 1 << 16;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const POSIX_ACL: u64 = 1 << 20;
    pub const MAX_PAGES: u64 = 1 << 22;
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    pub const SUBMOUNTS: u64 = 1 << 27;
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub const SETXATTR_EXT: u64 = 1 << 29;
    pub const INIT_EXT: u64 = 1 << 30;
    pub const SECURITY_CTX: u64 = 1 << 32;
    pub const CREATE_SUPP_GROUP: u64 = 1 << 34;
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
    pub const ALLOW_IDMAP: u64 = 1 << 40;
    pub const OVER_IO_URING: u64 = 1 << 41;
}

/// How an open file is treated (`FOPEN_*`).
#[allow(missing_docs, reason = "these are the names of the kernel")]
pub mod open_reply {
    pub const DIRECT_IO: u32 = 1 << 0;
    pub const KEEP_CACHE: u32 = 1 << 1;
    pub const CACHE_DIR: u32 = 1 << 3;
    pub const NOFLUSH: u32 = 1 << 5;
}

/// What a write brings along (`FUSE_WRITE_*`).
#[allow(missing_docs, reason = "these are the names of the kernel")]
pub mod write_flags {
    pub const KILL_SUIDGID: u32 = 1 << 2;
}

/// Which fields a change of attributes names (`FATTR_*`).
pub(super) mod change {
    pub(in crate::fuse::protocol) const MODE: u32 = 1;
    pub(in crate::fuse::protocol) const UID: u32 = 1 << 1;
    pub(in crate::fuse::protocol) const GID: u32 = 1 << 2;
    pub(in crate::fuse::protocol) const SIZE: u32 = 1 << 3;
    pub(in crate::fuse::protocol) const ATIME: u32 = 1 << 4;
    pub(in crate::fuse::protocol) const MTIME: u32 = 1 << 5;
    pub(in crate::fuse::protocol) const HANDLE: u32 = 1 << 6;
    pub(in crate::fuse::protocol) const ATIME_NOW: u32 = 1 << 7;
    pub(in crate::fuse::protocol) const MTIME_NOW: u32 = 1 << 8;
}

/// `FUSE_GETATTR_FH`: the request names an open file.
pub(super) const GETATTR_HANDLE: u32 = 1;
/// `FUSE_FSYNC_FDATASYNC`.
pub(super) const SYNC_DATA_ONLY: u32 = 1;
/// `FUSE_KERNEL_VERSION`.
pub(super) const MAJOR: u32 = 7;
/// `FUSE_KERNEL_MINOR_VERSION` of the layouts used here.
pub(super) const MINOR: u32 = 42;
