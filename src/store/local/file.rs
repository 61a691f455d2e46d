//! An open regular file of the local store.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{FallocateFlags, Mode, OFlags, SeekFrom, Timestamps, fallocate, fstat, openat},
    io::{Errno, pread, pwritev, retry_on_intr},
};

use super::{attributes::timespec, proc, stat::stat_of};
use crate::{
    name::FileName,
    store::{Access, File, SetTime, Stat, Timestamp},
};

/// Positioned input and output only; the descriptor's own offset means nothing.
pub(super) struct LocalFile {
    fd: OwnedFd,
}

impl LocalFile {
    /// Opens the regular file behind an `O_PATH` handle: whatever its name leads to by now.
    pub(super) fn open(inode: impl AsFd, access: Access) -> io::Result<Self> {
        let flags = rights(access) | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = retry_on_intr(|| rustix::fs::open(proc::path_of(&inode), flags, Mode::empty()))?;
        Ok(Self { fd })
    }

    /// Opens what is called `name` in `dir`, which may be something else by now: check its identity.
    pub(super) fn open_at(dir: impl AsFd, name: &FileName, access: Access) -> io::Result<Self> {
        // Should a fifo stand there now, the open must not wait for its other end.
        let wary = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = rights(access) | wary | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = retry_on_intr(|| openat(&dir, name.as_os_str(), flags, Mode::empty()))?;
        Ok(Self { fd })
    }

    /// Takes an open descriptor of a regular file.
    pub(super) fn of(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Writes at least one byte, unless there is none; at most as many parts as the system takes at once.
    fn write_some(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let done = retry_on_intr(|| pwritev(&self.fd, parts, offset))?;
        let nothing_to_do = parts.iter().all(|part| part.is_empty());
        if done == 0 && !nothing_to_do { Err(Errno::IO.into()) } else { Ok(done) }
    }

    /// Overwrites with zeros, up to the end of the file: what a hole reads as.
    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.saturating_add(len).min(self.stat()?.size);
        let zeros = vec![0; ZEROS];
        let mut at = offset;
        while at < end {
            let piece = usize::try_from(end - at).unwrap_or(ZEROS).min(ZEROS);
            self.write_at(&[IoSlice::new(zeros.get(..piece).unwrap_or(&zeros))], at)?;
            at += piece as u64;
        }
        Ok(())
    }
}

impl File for LocalFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = after(offset, done)?;
            match pread(&self.fd, rest, at) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(done)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut done = self.write_some(parts, offset)?;
        if done == total {
            return Ok(());
        }
        let mut rest = parts.to_vec();
        let mut rest = rest.as_mut_slice();
        IoSlice::advance_slices(&mut rest, done);
        while done < total {
            let more = self.write_some(rest, after(offset, done)?)?;
            IoSlice::advance_slices(&mut rest, more);
            done += more;
        }
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&fstat(&self.fd)?))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.fd, len))?)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match retry_on_intr(|| fallocate(&self.fd, flags, offset, len)) {
            Err(Errno::OPNOTSUPP) => self.zero(offset, len),
            outcome => Ok(outcome?),
        }
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| fallocate(&self.fd, FallocateFlags::KEEP_SIZE, offset, len))?)
    }

    fn set_mtime(&self, mtime: Timestamp) -> io::Result<()> {
        let (last_access, last_modification) = (timespec(SetTime::Keep), timespec(SetTime::At(mtime)));
        Ok(rustix::fs::futimens(&self.fd, &Timestamps { last_access, last_modification })?)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.fd)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    fn seek(&self, offset: u64, data: bool) -> io::Result<Option<u64>> {
        let target = if data { SeekFrom::Data(offset) } else { SeekFrom::Hole(offset) };
        match rustix::fs::seek(&self.fd, target) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NXIO) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn rights(access: Access) -> OFlags {
    match access {
        Access::Read => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
    }
}

fn after(offset: u64, done: usize) -> Result<u64, Errno> {
    offset.checked_add(done as u64).ok_or(Errno::FBIG)
}

const ZEROS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroing_stops_at_the_end_of_the_file() {
        let file = LocalFile::of(tempfile::tempfile().unwrap().into());
        file.write_at(&[IoSlice::new(&vec![7; ZEROS + 10])], 0).unwrap();
        file.zero(5, u64::MAX).unwrap();
        let mut content = vec![1; ZEROS + 20];
        assert_eq!(file.read_at(&mut content, 0).unwrap(), ZEROS + 10);
        assert_eq!(content[..5], [7; 5]);
        assert!(content[5..ZEROS + 10].iter().all(|byte| *byte == 0));
    }
}
