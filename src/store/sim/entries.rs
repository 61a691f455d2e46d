//! A listing of a simulated directory: always of what is there when it is asked.

use std::io;

use super::SimDisk;
use crate::store::{DirEntry, Entries};

pub(super) struct SimEntries {
    disk: SimDisk,
    dir: u64,
    position: i64,
}

impl SimEntries {
    pub(super) fn new(disk: SimDisk, dir: u64) -> Self {
        Self { disk, dir, position: 0 }
    }
}

impl Entries for SimEntries {
    fn next(&mut self) -> io::Result<Option<DirEntry>> {
        let disk = self.disk.lock();
        disk.check_power()?;
        let Some((next, name, ino)) = disk.names.after_position(self.dir, self.position) else {
            return Ok(None);
        };
        self.position = next;
        let kind = disk.inode(ino).ok().map(|inode| inode.kind);
        Ok(Some(DirEntry { name: name.to_owned(), ino, kind, next }))
    }

    fn seek(&mut self, position: i64) -> io::Result<()> {
        self.position = position;
        Ok(())
    }
}
