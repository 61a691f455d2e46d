//! Listings, written straight into the reply.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use crate::store::Kind;

use super::{
    fields::Writer,
    reply::{Entry, TooSmall, entry, type_bits},
};

/// A listing being written.
pub struct Lines<'a>(Writer<'a>);

impl<'a> Lines<'a> {
    /// An empty listing at the beginning of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self(Writer::new(out))
    }

    /// Its length in bytes.
    pub fn used(&self) -> usize {
        self.0.used()
    }

    /// Adds a name (`struct fuse_dirent`); `next` is the position just after it. Whether there was room; if not,
    /// nothing was added.
    pub fn add(&mut self, ino: u64, next: u64, kind: Kind, name: &OsStr) -> bool {
        self.has_room(line_len(name)) && self.line(ino, next, kind, name).is_ok()
    }

    /// Adds a name with what a lookup of it would have answered (`struct fuse_direntplus`); a node number of 0 leaves
    /// the looking up to the kernel.
    pub fn add_found(
        &mut self,
        found: Option<&Entry>,
        ino: u64,
        next: u64,
        kind: Kind,
        name: &OsStr,
    ) -> bool {
        if !self.has_room(ENTRY + line_len(name)) {
            return false;
        }
        let found = match found {
            Some(found) => entry(&mut self.0, found),
            None => self.0.zeros(ENTRY),
        };
        found.and_then(|()| self.line(ino, next, kind, name)).is_ok()
    }

    fn has_room(&self, len: usize) -> bool {
        self.0.left() >= len
    }

    fn line(&mut self, ino: u64, next: u64, kind: Kind, name: &OsStr) -> Result<(), TooSmall> {
        self.0.u64(ino)?;
        self.0.u64(next)?;
        self.0.u32(u32::try_from(name.len()).map_err(|_| TooSmall)?)?;
        // As in `d_type`: the mode without the twelve bits of permissions.
        self.0.u32(type_bits(kind) >> 12)?;
        self.0.bytes(name.as_bytes())?;
        self.0.zeros(line_len(name) - LINE - name.len())
    }
}

/// Lines begin at multiples of eight bytes.
fn line_len(name: &OsStr) -> usize {
    (LINE + name.len()).next_multiple_of(8)
}

/// Length of `struct fuse_dirent` without its name.
const LINE: usize = 24;
/// Length of `struct fuse_entry_out`.
const ENTRY: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_does_not_fit_leaves_no_trace() {
        let mut out = [0xAA; 40];
        let mut lines = Lines::new(&mut out);
        assert!(lines.add(7, 1, Kind::File, "abc".as_ref()));
        assert_eq!(lines.used(), 32);
        assert!(!lines.add(8, 2, Kind::File, "d".as_ref()));
        assert!(!lines.add_found(None, 8, 2, Kind::File, "d".as_ref()));
        assert_eq!(lines.used(), 32);
        assert_eq!(out[32..], [0xAA; 8]);
        assert_eq!(out[24..32], *b"abc\0\0\0\0\0");
    }

    #[test]
    fn types_are_told_as_in_d_type() {
        let mut out = [0; 32];
        assert!(Lines::new(&mut out).add(7, 1, Kind::Directory, "d".as_ref()));
        assert_eq!(out[20..24], u32::from(libc::DT_DIR).to_ne_bytes());
    }
}
