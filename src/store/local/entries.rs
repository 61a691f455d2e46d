//! A directory listing in large gulps.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};

use rustix::fs::{RawDir, RawDirEntry, SeekFrom};

use super::stat::kind_of;
use crate::store::{DirEntry, Entries};

/// A listing; positions are the file system's own (`d_off`), so they survive changes of the directory.
pub(super) struct LocalEntries {
    fd: OwnedFd,
    buf: Vec<u8>,
    ready: VecDeque<DirEntry>,
    /// Position after the entry that was given out last.
    at: i64,
}

impl LocalEntries {
    /// Lists the directory open as `fd` from its beginning.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, buf: Vec::with_capacity(GULP), ready: VecDeque::new(), at: 0 }
    }

    /// One system call; `false` at the end.
    fn refill(&mut self) -> io::Result<bool> {
        let mut raw = RawDir::new(&self.fd, self.buf.spare_capacity_mut());
        let mut any = false;
        while let Some(entry) = raw.next() {
            any = true;
            self.ready.extend(visible(&entry?));
            if raw.is_buffer_empty() {
                break;
            }
        }
        Ok(any)
    }
}

impl Entries for LocalEntries {
    fn next(&mut self) -> io::Result<Option<DirEntry>> {
        // A gulp may hold nothing but "." and "..".
        while self.ready.is_empty() {
            if !self.refill()? {
                return Ok(None);
            }
        }
        let entry = self.ready.pop_front();
        self.at = entry.as_ref().map_or(self.at, |entry| entry.next);
        Ok(entry)
    }

    fn seek(&mut self, position: i64) -> io::Result<()> {
        if position == self.at && position != 0 {
            return Ok(());
        }
        rustix::fs::seek(&self.fd, SeekFrom::Start(position.cast_unsigned()))?;
        self.ready.clear();
        self.at = position;
        Ok(())
    }
}

fn visible(entry: &RawDirEntry<'_>) -> Option<DirEntry> {
    let name = entry.file_name().to_bytes();
    (name != b"." && name != b"..").then(|| DirEntry {
        name: OsStr::from_bytes(name).to_owned(),
        ino: entry.ino(),
        kind: kind_of(entry.file_type()),
        next: entry.next_entry_cookie().cast_signed(),
    })
}

/// Bytes of one system call: some hundred names.
const GULP: usize = 32 * 1024;
