//! An open file of a simulated disk.

use std::io::{self, IoSlice};

use libc::{EBADF, EFBIG, EINVAL};

use super::{SimDisk, disk::or_full, errno};
use crate::store::{Access, File, SetTime, Stat, Timestamp};

pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) ino: u64,
    pub(super) access: Access,
}

impl SimFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.access == Access::ReadWrite { Ok(()) } else { Err(errno(EBADF)) }
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.lock();
        disk.check_power()?;
        Ok(disk.inode(self.ino)?.content.read(buf, offset))
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let bytes = parts.iter().map(|part| &**part).collect::<Vec<_>>().concat();
        end_of(offset, bytes.len() as u64)?;
        let mut disk = self.disk.lock();
        let interrupted = disk.interrupted(offset, bytes.len());
        if let Some(part) = interrupted {
            disk.cut_power_at(2, 0);
            disk.change_content(self.ino, |content, stamp, _| content.write(stamp, &bytes[..part], offset))?;
        }
        let complete = disk.change_content(self.ino, |content, stamp, free| {
            let room = content.room(offset, bytes.len(), free);
            content.write(stamp, &bytes[..room], offset);
            room == bytes.len()
        })?;
        or_full(complete)
    }

    fn stat(&self) -> io::Result<Stat> {
        let disk = self.disk.lock();
        disk.check_power()?;
        disk.stat(self.ino)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        end_of(len, 0)?;
        self.disk.lock().change_content(self.ino, |content, stamp, _| content.set_len(stamp, len))
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let end = end_of_range(offset, len)?;
        self.disk.lock().change_content(self.ino, |content, stamp, _| content.clear(stamp, offset, end))
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let end = end_of_range(offset, len)?;
        let reserve = self
            .disk
            .lock()
            .change_content(self.ino, |content, stamp, free| content.reserve(stamp, offset, end, free))?;
        or_full(reserve)
    }

    fn set_mtime(&self, mtime: Timestamp) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let (stamp, now) = (disk.begin()?, disk.now());
        disk.inode_mut(self.ino)?.set_times(stamp, SetTime::Keep, SetTime::At(mtime), now);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.lock().sync_file(self.ino, false)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.lock().sync_file(self.ino, true)
    }

    fn seek(&self, offset: u64, data: bool) -> io::Result<Option<u64>> {
        let disk = self.disk.lock();
        disk.check_power()?;
        Ok(disk.inode(self.ino)?.content.seek(offset, data))
    }
}

fn end_of_range(offset: u64, len: u64) -> io::Result<u64> {
    if len == 0 { Err(errno(EINVAL)) } else { end_of(offset, len) }
}

/// `EFBIG` beyond what a Linux file can hold.
fn end_of(offset: u64, len: u64) -> io::Result<u64> {
    let end = offset.checked_add(len).filter(|end| i64::try_from(*end).is_ok());
    end.ok_or_else(|| errno(EFBIG))
}
