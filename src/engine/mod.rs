//! SKELETON of the engine for building the fuse room against. The real one replaces this file.
#![allow(missing_docs, unused_variables, clippy::all, clippy::pedantic, reason = "skeleton")]

use std::{ffi::{OsStr, OsString}, path::Path, sync::Arc};
use crate::store::{Kind, NodeKey, NodeRef, RenameMode, SetTime, Space, Timestamp, XattrMode};

/// Who asks: taken from each request.
#[derive(Debug, Clone, Copy)]
pub struct Caller { pub uid: u32, pub gid: u32, pub pid: u32, pub umask: u32 }

/// Why an engine call failed. The fuse room maps each variant to an errno in its one table (exhaustive match).
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)] Store(#[from] std::io::Error),            // raw_os_error() passes through
    #[error("access denied by bucket policy: {0}")] Denied(String),   // EACCES
    #[error("object `{object}`: {reason}")] Integrity { object: String, reason: String }, // EIO (already logged)
    #[error("key: {0}")] Key(String),                                  // EACCES for now, one place
    #[error("`{0}` is reserved")] Reserved(String),                   // EPERM
    #[error("not a bucket name")] BucketName(String),                 // EINVAL
    #[error("read-only")] ReadOnly,                                    // EROFS
    #[error("cross-bucket")] CrossBucket,                              // EXDEV
    #[error("only buckets at the root")] RootHoldsBuckets,             // EPERM
    #[error("unsupported")] Unsupported,                               // EOPNOTSUPP
    #[error("invalid argument: {0}")] Invalid(&'static str),          // EINVAL
    #[error("file too large")] TooLarge,                               // EFBIG
}
pub type Result<T> = std::result::Result<T, EngineError>;

/// A file, directory or special file as the mount shows it: a store node and the bucket it lies in.
#[derive(Clone)]
pub struct Item { _p: () }
impl Item {
    /// Identity for deduplication in the inode table.
    pub fn key(&self) -> NodeKey { unimplemented!() }
    /// Keeps it usable after its last name is gone (call before unlink when the table knows the item).
    pub fn pin(&self) -> Result<()> { unimplemented!() }
    /// Tells it where it stands now (after a lookup found it under another name, or a rename).
    pub fn moved(&self, dir: &Item, name: &OsStr) { unimplemented!() }
}

/// Attributes as users see them: `size` is the plaintext length.
#[derive(Debug, Clone, Copy)]
pub struct Attr { pub key: NodeKey, pub kind: Kind, pub mode: u32, pub nlink: u32, pub uid: u32, pub gid: u32, pub rdev: u64,
    pub size: u64, pub blocks: u64, pub atime: Timestamp, pub mtime: Timestamp, pub ctime: Timestamp }

/// Attributes to change; `None` and `Keep` leave as is.
#[derive(Debug, Clone, Copy)]
pub struct SetAttr { pub mode: Option<u32>, pub uid: Option<u32>, pub gid: Option<u32>, pub size: Option<u64>, pub atime: SetTime, pub mtime: SetTime }

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFlags { pub read: bool, pub write: bool, pub append: bool, pub truncate: bool }

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocate { Reserve { keep_size: bool }, Punch, Zero { keep_size: bool } }

/// An open file. Dropping it without `close` loses nothing but its errors.
pub struct OpenFile { _p: () }
impl OpenFile {
    pub fn item(&self) -> &Item { unimplemented!() }
    /// Decrypts into `buf`; the number of bytes (short only at the end of the file).
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> { unimplemented!() }
    /// Writes all of `data`; with append access the offset is ignored in favour of the current end.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> { unimplemented!() }
    /// Hands everything written so far to the backing file system (no flush to the disk). Called on every close(2).
    pub fn flush(&self) -> Result<()> { unimplemented!() }
    /// fsync / fdatasync.
    pub fn sync(&self, data_only: bool) -> Result<()> { unimplemented!() }
    pub fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Result<()> { unimplemented!() }
    /// SEEK_DATA (true) / SEEK_HOLE (false); None maps to ENXIO.
    pub fn seek(&self, offset: u64, data: bool) -> Result<Option<u64>> { unimplemented!() }
}

/// A directory listing in progress (reserved names are left out; at the mount root only buckets).
pub struct OpenDir { _p: () }
pub struct ListEntry { pub name: OsString, pub ino: u64, pub kind: Kind, pub next: i64 }
impl OpenDir {
    pub fn next(&mut self) -> Result<Option<ListEntry>> { unimplemented!() }
    /// Position 0 is the beginning; other positions are `next` values. "." and ".." are NOT in the listing (the adapter adds them).
    pub fn seek(&mut self, position: i64) -> Result<()> { unimplemented!() }
    pub fn sync(&self) -> Result<()> { unimplemented!() }
}

/// The engine: all methods take `&self`, are thread-safe, and never call back into fuse.
pub struct Engine { _p: () }
impl Engine {
    pub fn root(&self) -> Item { unimplemented!() }
    pub fn read_only(&self) -> bool { unimplemented!() }
    pub fn lookup(&self, dir: &Item, name: &OsStr) -> Result<(Item, Attr)> { unimplemented!() }
    pub fn attr(&self, item: &Item) -> Result<Attr> { unimplemented!() }
    /// Same, through an open file (works after unlink).
    pub fn attr_open(&self, file: &OpenFile) -> Result<Attr> { unimplemented!() }
    pub fn set_attr(&self, caller: &Caller, item: &Item, open: Option<&OpenFile>, set: &SetAttr) -> Result<Attr> { unimplemented!() }
    pub fn read_link(&self, item: &Item) -> Result<OsString> { unimplemented!() }
    pub fn open(&self, caller: &Caller, item: &Item, flags: OpenFlags) -> Result<OpenFile> { unimplemented!() }
    /// Creates and opens; EEXIST when there.
    pub fn create(&self, caller: &Caller, dir: &Item, name: &OsStr, mode: u32, flags: OpenFlags) -> Result<(Item, Attr, OpenFile)> { unimplemented!() }
    /// Last use of a handle: commits what is left; the errors were reported by flush already, so they are only logged.
    pub fn close(&self, file: OpenFile) { unimplemented!() }
    pub fn make_dir(&self, caller: &Caller, dir: &Item, name: &OsStr, mode: u32) -> Result<(Item, Attr)> { unimplemented!() }
    pub fn make_special(&self, caller: &Caller, dir: &Item, name: &OsStr, kind: Kind, mode: u32, rdev: u64) -> Result<(Item, Attr)> { unimplemented!() }
    pub fn make_symlink(&self, caller: &Caller, dir: &Item, name: &OsStr, target: &OsStr) -> Result<(Item, Attr)> { unimplemented!() }
    pub fn link(&self, caller: &Caller, item: &Item, dir: &Item, name: &OsStr) -> Result<(Item, Attr)> { unimplemented!() }
    /// Identity of what `name` is now, without building an item (one stat): the adapter uses it before unlink/rename to pin or move the inode it knows.
    pub fn peek(&self, dir: &Item, name: &OsStr) -> Result<NodeKey> { unimplemented!() }
    pub fn unlink(&self, caller: &Caller, dir: &Item, name: &OsStr) -> Result<()> { unimplemented!() }
    pub fn remove_dir(&self, caller: &Caller, dir: &Item, name: &OsStr) -> Result<()> { unimplemented!() }
    pub fn rename(&self, caller: &Caller, dir: &Item, name: &OsStr, to: &Item, to_name: &OsStr, mode: RenameMode) -> Result<()> { unimplemented!() }
    pub fn open_dir(&self, caller: &Caller, item: &Item) -> Result<OpenDir> { unimplemented!() }
    pub fn space(&self, item: &Item) -> Result<Space> { unimplemented!() }
    pub fn xattr(&self, item: &Item, name: &OsStr) -> Result<Vec<u8>> { unimplemented!() }
    pub fn set_xattr(&self, caller: &Caller, item: &Item, name: &OsStr, value: &[u8], mode: XattrMode) -> Result<()> { unimplemented!() }
    pub fn xattrs(&self, item: &Item) -> Result<Vec<OsString>> { unimplemented!() }
    pub fn remove_xattr(&self, caller: &Caller, item: &Item, name: &OsStr) -> Result<()> { unimplemented!() }
    /// Copies within or between open files of the mount; may copy less than asked.
    pub fn copy_range(&self, from: &OpenFile, from_offset: u64, to: &OpenFile, to_offset: u64, len: u64) -> Result<u64> { unimplemented!() }
    /// syncfs / unmount: commits every open object and flushes.
    pub fn sync_all(&self) -> Result<()> { unimplemented!() }
}
pub use std::convert::identity as _unused;
