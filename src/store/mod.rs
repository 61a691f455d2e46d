//! Where ciphertext and names are kept. The store never sees plaintext or a key.
//!
//! [`Node`] and [`File`] are the contract that every backend keeps; one suite of contract tests runs against each.
//! All input and output of the product goes through them, so that a simulated disk can stand in for the kernel.
//!
//! Rules of the contract:
//! - names are single components ([`FileName`]); no operation follows a symbolic link or leaves the store;
//! - a node keeps meaning the same file or directory whatever it is called now (identity is [`NodeKey`]);
//! - errors are `io::Error`s with the errno of the underlying system, unchanged;
//! - nothing is durable before `sync_*` returns.

#[cfg(test)]
mod contract;
mod error;
#[cfg(test)]
pub(crate) mod faulty;
pub mod journal;
pub mod layout;
mod local;
mod lock;
#[cfg(test)]
pub(crate) mod sim;
pub mod small;

use std::{any::Any, ffi::OsStr, ffi::OsString, io, path::PathBuf, sync::Arc};

use crate::name::FileName;

pub use error::StoreError;
pub use local::{LocalStore, Watcher, raise_fd_limit};
pub use lock::{Holder, StoreLock, holder};

/// A shared handle to a [`Node`].
pub type NodeRef = Arc<dyn Node>;
/// A shared handle to an open [`File`].
pub type FileRef = Arc<dyn File>;

/// Identity of a file or directory in the store: device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeKey {
    /// Device number of the backing file system.
    pub dev: u64,
    /// Inode number there.
    pub ino: u64,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file: an object.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// Seconds and nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds; negative before 1970.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: u32,
}

/// Attributes as stored: `size` is the length of the ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Identity.
    pub key: NodeKey,
    /// Type of node.
    pub kind: Kind,
    /// Permission bits including set-id and sticky (`0o7777`).
    pub mode: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Stored length in bytes.
    pub size: u64,
    /// Allocated 512-byte units.
    pub blocks: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
}

/// With what mode and owner a name is born.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Permission bits before the umask (`0o7777`).
    pub mode: u32,
    /// The creator's umask; ignored where the directory has a default ACL (POSIX.1e).
    pub umask: u32,
    /// Owner; set when it differs from the daemon's and the daemon may.
    pub uid: u32,
    /// Group; a set-group-id directory gives its own instead.
    pub gid: u32,
}

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// Leave as it is.
    Keep,
    /// The current time.
    Now,
    /// This time.
    At(Timestamp),
}

/// How a rename treats an existing target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace it.
    Replace,
    /// Fail with `EEXIST`.
    NoReplace,
    /// Swap the two names.
    Exchange,
}

/// What [`Node::open`] and creation give access to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// What this process may be asked to do with a node, all of it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Read it.
    pub read: bool,
    /// Write to it.
    pub write: bool,
    /// Execute it, or search it.
    pub execute: bool,
}

impl From<Access> for Rights {
    fn from(access: Access) -> Self {
        Self { read: true, write: access == Access::ReadWrite, execute: false }
    }
}

/// A name in a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: OsString,
    /// Inode number.
    pub ino: u64,
    /// Type, where the backend knows it without looking.
    pub kind: Option<Kind>,
    /// Opaque position just after this entry, for [`Entries::seek`].
    pub next: i64,
}

/// Space and inode counts of the backing file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Unit of the three block counts, in bytes.
    pub fragment: u64,
    /// Preferred transfer size, in bytes.
    pub block_size: u64,
    /// Total blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for ordinary users.
    pub available: u64,
    /// Total inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Longest file name, in bytes.
    pub name_max: u64,
}

/// Flags of [`Node::set_xattr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrMode {
    /// Create or replace.
    Set,
    /// Fail with `EEXIST` when present.
    Create,
    /// Fail with `ENODATA` when absent.
    Replace,
}

/// A file, directory or special node of the store.
pub trait Node: Any + Send + Sync {
    /// Identity, known since lookup.
    fn key(&self) -> NodeKey;
    /// Where it stands, from the root of the store; for policies and messages, not for access.
    fn path(&self) -> PathBuf;
    /// The directory and name that end this path; `None` for the root.
    fn place(&self) -> Option<(NodeKey, FileName)>;
    /// Current attributes.
    fn stat(&self) -> io::Result<Stat>;
    /// Keeps the node usable when its name is taken away or moved, until it is dropped or [`Self::moved`].
    /// To be called before the unlink or rename of a known node.
    fn pin(&self) -> io::Result<()>;
    /// Tells the node that it now stands in `dir` as `name` (after a rename); ends a [`Self::pin`].
    /// Of several renames of one node, the last must be told last.
    fn moved(&self, dir: &NodeRef, name: &FileName);

    /// Whether this process may do so (`access(2)`): else `EACCES`. A backend without permissions allows everything.
    fn permits(&self, _rights: Rights) -> io::Result<()> {
        Ok(())
    }
    /// Sets permission bits (`0o7777`).
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Sets owner, group or both.
    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()>;
    /// Sets access and modification time.
    fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()>;

    /// The value of an extended attribute.
    fn xattr(&self, name: &OsStr) -> io::Result<Vec<u8>>;
    /// Sets an extended attribute.
    fn set_xattr(&self, name: &OsStr, value: &[u8], mode: XattrMode) -> io::Result<()>;
    /// Names of the extended attributes.
    fn xattrs(&self) -> io::Result<Vec<OsString>>;
    /// Removes an extended attribute.
    fn remove_xattr(&self, name: &OsStr) -> io::Result<()>;

    /// Target of a symbolic link.
    fn read_link(&self) -> io::Result<OsString>;
    /// Opens a regular file.
    fn open(&self, access: Access) -> io::Result<FileRef> {
        Ok(self.open_and_stat(access)?.0)
    }
    /// The same, with its attributes as they were then.
    fn open_and_stat(&self, access: Access) -> io::Result<(FileRef, Stat)>;
    /// Counts of the file system below.
    fn space(&self) -> io::Result<Space>;

    /// The child called `name`, with its attributes.
    fn lookup(&self, name: &FileName) -> io::Result<(NodeRef, Stat)>;
    /// Creates a regular file that must not exist (`EEXIST`), open for reading and writing.
    fn create_file(&self, name: &FileName, birth: &Birth) -> io::Result<(NodeRef, Stat, FileRef)>;
    /// Creates a directory.
    fn create_dir(&self, name: &FileName, birth: &Birth) -> io::Result<(NodeRef, Stat)>;
    /// Creates a symbolic link; `birth` gives the owner only.
    fn create_symlink(&self, name: &FileName, target: &OsStr, birth: &Birth) -> io::Result<(NodeRef, Stat)>;
    /// Creates a fifo, socket or device.
    fn create_special(
        &self,
        name: &FileName,
        kind: Kind,
        rdev: u64,
        birth: &Birth,
    ) -> io::Result<(NodeRef, Stat)>;
    /// Gives `target` (of the same store) the further name `name` here.
    fn link(&self, target: &NodeRef, name: &FileName) -> io::Result<Stat>;
    /// Removes a name that is not a directory.
    fn unlink(&self, name: &FileName) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, name: &FileName) -> io::Result<()>;
    /// Moves `name` to `to_name` in `to`.
    fn rename(&self, name: &FileName, to: &NodeRef, to_name: &FileName, mode: RenameMode) -> io::Result<()>;
    /// Starts a listing; "." and ".." are not in it.
    fn entries(&self) -> io::Result<Box<dyn Entries>>;
    /// Makes the names in this directory durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Makes everything on the file system below durable, all files and names of it (`syncfs`).
    fn sync_store(&self) -> io::Result<()>;
    /// Makes `watcher` tell when a name or a file in this directory changes; `ENOTSUP` where nobody can tell.
    fn watch(&self, _watcher: &Watcher) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOTSUP))
    }
}

/// A listing in progress.
pub trait Entries: Send {
    /// The next entry, or `None` at the end.
    fn next(&mut self) -> io::Result<Option<DirEntry>>;
    /// Continues after the entry whose `next` was `position`; 0 is the beginning.
    fn seek(&mut self, position: i64) -> io::Result<()>;
}

/// An open regular file of ciphertext.
pub trait File: Send + Sync {
    /// Reads until `buf` is full or the file ends; the number of bytes read.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes the concatenation of `parts` at `offset`, all of it.
    fn write_at(&self, parts: &[io::IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Current attributes.
    fn stat(&self) -> io::Result<Stat>;
    /// Cuts or extends with a hole.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Turns a range into a hole without changing the length.
    /// A `len` of zero is `EINVAL`, here and for [`Self::reserve`].
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Reserves space without changing the length.
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Sets the modification time.
    fn set_mtime(&self, mtime: Timestamp) -> io::Result<()>;
    /// Makes the content durable, and the length (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and attributes durable (`fsync`).
    fn sync_all(&self) -> io::Result<()>;
    /// Next data (`true`) or hole (`false`) at or after `offset`; `None` past the end.
    fn seek(&self, offset: u64, data: bool) -> io::Result<Option<u64>>;
}
