//! What can be asked: the system calls behind the requests.

use std::ffi::OsStr;

use crate::engine::SetAttr;

/// A request that is answered with a few fields. Names are raw bytes without NUL.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the fields are those of the system call that each variant names")]
pub enum Operation<'a> {
    /// Find a name.
    Lookup { name: &'a OsStr },
    /// `stat(2)`.
    Attr { handle: Option<u64> },
    /// `access(2)`.
    Access { mask: u32 },
    /// `chmod(2)`, `chown(2)`, `truncate(2)`, `utimensat(2)`.
    SetAttr { handle: Option<u64>, set: SetAttr },
    /// `readlink(2)`.
    ReadLink,
    /// `symlink(2)`.
    Symlink { name: &'a OsStr, target: &'a OsStr },
    /// `mknod(2)`; `mode` carries the type.
    MakeNode { name: &'a OsStr, mode: u32, rdev: u32, umask: u32 },
    /// `mkdir(2)`.
    MakeDir { name: &'a OsStr, mode: u32, umask: u32 },
    /// `unlink(2)`.
    Unlink { name: &'a OsStr },
    /// `rmdir(2)`.
    RemoveDir { name: &'a OsStr },
    /// `renameat2(2)`.
    Rename { name: &'a OsStr, to_parent: u64, to_name: &'a OsStr, flags: u32 },
    /// `link(2)` of `node` into the directory of the header.
    Link { node: u64, name: &'a OsStr },
    /// `open(2)`.
    Open { flags: i32 },
    /// `pwrite(2)`; `flags` are [`write_flags`](super::write_flags), `of_file` those of `open(2)`, with `O_DSYNC` and `O_SYNC`
    /// also where the caller asked for this write alone.
    Write { handle: u64, offset: u64, data: &'a [u8], flags: u32, of_file: i32 },
    /// `statfs(2)`.
    Space,
    /// The last use of an open file.
    Release { handle: u64 },
    /// `fsync(2)`.
    Sync { handle: u64, data_only: bool },
    /// `setxattr(2)`.
    SetXattr { name: &'a OsStr, value: &'a [u8], flags: i32 },
    /// `getxattr(2)`; a size of 0 asks for the length.
    Xattr { name: &'a OsStr, size: u32 },
    /// `listxattr(2)`; a size of 0 asks for the length.
    Xattrs { size: u32 },
    /// `removexattr(2)`.
    RemoveXattr { name: &'a OsStr },
    /// One of possibly many `close(2)` of an open file.
    Flush { handle: u64 },
    /// `opendir(3)`.
    OpenDir,
    /// The last use of an open directory.
    ReleaseDir { handle: u64 },
    /// `fsync(2)` of a directory.
    SyncDir { handle: u64 },
    /// `open(2)` of a name that the kernel believes absent.
    Create { name: &'a OsStr, mode: u32, umask: u32, flags: i32 },
    /// `ioctl(2)`.
    Ioctl,
    /// `fallocate(2)`.
    Allocate { handle: u64, offset: u64, len: u64, mode: i32 },
    /// `lseek(2)` with `SEEK_DATA` or `SEEK_HOLE`.
    Seek { handle: u64, offset: i64, whence: i32 },
    /// `copy_file_range(2)`; a place is a handle and an offset.
    CopyRange { from: (u64, u64), to: (u64, u64), len: u64 },
}

/// A request whose answer is as long as it turns out to be, at most `size` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the system call that each variant names")]
pub enum Fill {
    /// `pread(2)`.
    Read { handle: u64, offset: u64, size: u32 },
    /// `getdents(2)`: names from a position on.
    List { handle: u64, position: u64, size: u32 },
    /// The same, each with what a lookup would have answered.
    ListPlus { handle: u64, position: u64, size: u32 },
}

impl Fill {
    /// The most bytes that the answer may have.
    pub fn size(&self) -> u32 {
        match self {
            Self::Read { size, .. } | Self::List { size, .. } | Self::ListPlus { size, .. } => *size,
        }
    }
}
