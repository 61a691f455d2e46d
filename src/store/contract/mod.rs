//! The contract of [`Node`](super::Node) and [`File`](super::File) as tests that every backend must pass.
//!
//! `core` is for all backends; `posix` for those with owners, extended attributes and special files. A backend
//! runs a suite by `core_suite!(fresh)` in a test module, where `fresh()` gives the empty root of a new store.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt};

use super::{Birth, DirEntry, FileRef, NodeRef, Stat};
use crate::name::FileName;

pub(super) mod core;
pub(super) mod posix;

/// Makes one `#[test]` of each named contract.
macro_rules! contracts {
    ($suite:ident, $fresh:expr, $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $crate::store::contract::$suite::$name(&$fresh);
        })*
    };
}
pub(super) use contracts;

/// A checked name.
pub(super) fn name(text: impl AsRef<OsStr>) -> FileName {
    FileName::parse(text.as_ref()).unwrap()
}

/// A name of raw bytes.
pub(super) fn raw_name(bytes: &[u8]) -> FileName {
    name(OsStr::from_bytes(bytes))
}

/// Born with `mode`, no umask, as the owner of `dir`.
pub(super) fn birth(dir: &NodeRef, mode: u32) -> Birth {
    let stat = dir.stat().unwrap();
    Birth { mode, umask: 0, uid: stat.uid, gid: stat.gid }
}

/// The error number that `outcome` failed with.
#[track_caller]
pub(super) fn errno<T>(outcome: io::Result<T>) -> i32 {
    let error = outcome.err().expect("must fail");
    error.raw_os_error().unwrap_or_else(|| panic!("has no errno: {error}"))
}

/// A new file with `content`.
#[track_caller]
pub(super) fn put(dir: &NodeRef, text: &str, content: &[u8]) -> (NodeRef, FileRef) {
    let (node, _, file) = dir.create_file(&name(text), &birth(dir, 0o644)).unwrap();
    file.write_at(&[io::IoSlice::new(content)], 0).unwrap();
    (node, file)
}

/// A new directory.
#[track_caller]
pub(super) fn make_dir(dir: &NodeRef, text: &str) -> NodeRef {
    dir.create_dir(&name(text), &birth(dir, 0o755)).unwrap().0
}

/// The child `text`.
#[track_caller]
pub(super) fn find(dir: &NodeRef, text: &str) -> (NodeRef, Stat) {
    dir.lookup(&name(text)).unwrap()
}

/// The first bytes of a file.
#[track_caller]
pub(super) fn content(file: &FileRef) -> Vec<u8> {
    let mut buf = vec![0; 4096];
    let len = file.read_at(&mut buf, 0).unwrap();
    buf.truncate(len);
    buf
}

/// All entries from the beginning.
#[track_caller]
pub(super) fn list(dir: &NodeRef) -> Vec<DirEntry> {
    let mut entries = dir.entries().unwrap();
    std::iter::from_fn(|| entries.next().unwrap()).collect()
}

/// Names in order.
#[track_caller]
pub(super) fn names(dir: &NodeRef) -> Vec<String> {
    let mut names: Vec<_> = list(dir).into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
    names.sort();
    names
}
