//! Operations on open files.

use std::{ffi::OsStr, sync::Arc};

use crate::engine::{Allocate, Caller, Engine, Item, OpenFile, OpenFlags};

use super::{Entry, Errno, Inode, Ops, Result, range, unsigned};

/// A file was opened.
pub(in crate::fuse) struct Opened {
    /// Handle number.
    pub(in crate::fuse) handle: u64,
    /// It can be written to, so that closing it has something to report.
    pub(in crate::fuse) writable: bool,
    /// The kernel shall neither answer from pages that others have read nor keep what is written.
    pub(in crate::fuse) direct: bool,
}

/// A file was created and opened.
pub(in crate::fuse) struct Created {
    /// The new name.
    pub(in crate::fuse) entry: Entry,
    /// The open file.
    pub(in crate::fuse) opened: Opened,
}

/// An open file and its inode. Whoever holds it last closes it: a reply to the last read may overtake the release.
pub(super) struct OpenObject {
    inode: Arc<Inode<Item>>,
    file: Option<OpenFile>,
    /// As in [`Opened`].
    direct: bool,
    /// Those of `open(2)`.
    flags: i32,
    engine: Arc<Engine>,
}

impl OpenObject {
    pub(super) fn file(&self) -> &OpenFile {
        self.file.as_ref().expect("the file is taken out only when dropped")
    }

    /// Does what `O_SYNC` and `O_DSYNC` promise, if `flags` have one of them, after a change for which the kernel does not.
    fn synced(&self, flags: i32) -> Result<()> {
        match flags & libc::O_SYNC {
            libc::O_SYNC => Ok(self.file().sync(false)?),
            libc::O_DSYNC => Ok(self.file().sync(true)?),
            _ => Ok(()),
        }
    }
}

impl Drop for OpenObject {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.engine.close(file);
        }
    }
}

impl Ops {
    /// Opens `id`; `flags` are those of `open(2)`.
    pub(in crate::fuse) fn open(&self, caller: &Caller, id: u64, flags: i32) -> Result<Opened> {
        let wanted = open_flags(flags, self.writeback)?;
        let inode = self.inode(id)?;
        let file = self.engine.open(caller, inode.item(), wanted)?;
        if wanted.truncate && caller.uid != 0 {
            self.clear_set_id(caller, &inode, &file)?;
        }
        Ok(self.opened(inode, file, wanted, flags, wanted.truncate))
    }

    /// Creates `name` in `parent` and opens it. The kernel asks only for names it believes absent.
    ///
    /// If somebody else made the name meanwhile and the caller did not demand to be the one (`O_EXCL`), the answer is
    /// `ESTALE`: the kernel then looks again and opens what is there. Opening it here would skip the kernel's check of
    /// the permission bits, which it does not make for a file it takes for new.
    pub(in crate::fuse) fn create(
        &self,
        caller: &Caller,
        parent: u64,
        name: &OsStr,
        mode: u32,
        flags: i32,
    ) -> Result<Created> {
        let wanted = open_flags(flags, self.writeback)?;
        let dir = self.inode(parent)?;
        let outcome = self.engine.create(caller, dir.item(), name, mode & super::names::PERMISSIONS, wanted);
        let (item, attr, file) = outcome.map_err(|error| race_lost(error.into(), flags))?;
        let entry = self.entry(&dir, name, item, attr);
        let inode = self.inode(entry.id)?;
        inode.set_bare(true);
        let opened = self.opened(inode, file, wanted, flags, true);
        Ok(Created { entry, opened })
    }

    /// `anew`: nothing is there that anybody could have read. What is then only written goes past the kernel's cache, which
    /// saves a copy of it, and the question for capabilities before the first write.
    fn opened(
        &self,
        inode: Arc<Inode<Item>>,
        file: OpenFile,
        wanted: OpenFlags,
        flags: i32,
        anew: bool,
    ) -> Opened {
        let direct = !file.is_readable() || anew && !wanted.read;
        let object = OpenObject { inode, file: Some(file), direct, flags, engine: Arc::clone(&self.engine) };
        Opened { handle: self.files.insert(object), writable: wanted.write, direct }
    }

    /// Fills `buf` from `offset`; the number of bytes, less than asked only at the end of the file.
    pub(in crate::fuse) fn read(&self, handle: u64, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Ok(self.object(handle)?.file().read_at(unsigned(offset)?, buf)?)
    }

    /// Writes `data`, the number of bytes, short only when the store is full; `clear_set_id` as the kernel says.
    ///
    /// What is to be durable by `flags`, those of `open(2)`, is synced here where it goes past the kernel's cache. Elsewhere the
    /// kernel asks for that by itself, once all of a call is written.
    pub(in crate::fuse) fn write(
        &self,
        caller: &Caller,
        handle: u64,
        offset: u64,
        data: &[u8],
        clear_set_id: bool,
        flags: i32,
    ) -> Result<usize> {
        let object = self.object(handle)?;
        range(offset, u64::try_from(data.len()).map_err(|_| Errno(libc::EFBIG))?)?;
        if clear_set_id {
            self.clear_set_id(caller, &object.inode, object.file())?;
        }
        let written = object.file().write_at(offset, data)?;
        if object.direct {
            object.synced(flags)?;
        }
        Ok(written)
    }

    /// One of possibly many `close(2)` of the file.
    pub(in crate::fuse) fn flush(&self, handle: u64) -> Result<()> {
        Ok(self.object(handle)?.file().flush()?)
    }

    /// The last use of a handle.
    pub(in crate::fuse) fn release(&self, handle: u64) {
        drop(self.files.remove(handle));
    }

    /// Makes the file durable.
    pub(in crate::fuse) fn sync(&self, handle: u64, data_only: bool) -> Result<()> {
        Ok(self.object(handle)?.file().sync(data_only)?)
    }

    /// `fallocate(2)`.
    pub(in crate::fuse) fn allocate(
        &self,
        caller: &Caller,
        handle: u64,
        offset: u64,
        len: u64,
        mode: i32,
    ) -> Result<()> {
        let how = allocation(mode)?;
        range(offset, len)?;
        let object = self.object(handle)?;
        self.content_changes(caller, &object)?;
        object.file().allocate(how, offset, len)?;
        object.synced(object.flags)
    }

    /// `lseek(2)` with `SEEK_DATA` or `SEEK_HOLE`; the kernel does the other kinds itself.
    pub(in crate::fuse) fn seek(&self, handle: u64, offset: i64, whence: i32) -> Result<i64> {
        let data = match whence {
            libc::SEEK_DATA => true,
            libc::SEEK_HOLE => false,
            _ => return Err(Errno(libc::EINVAL)),
        };
        let outside = Errno(libc::ENXIO);
        let from = u64::try_from(offset).map_err(|_| outside)?;
        let found = self.object(handle)?.file().seek(from, data)?.ok_or(outside)?;
        i64::try_from(found).map_err(|_| Errno(libc::EOVERFLOW))
    }

    /// Copies between open files; the number of bytes copied, possibly less than asked.
    pub(in crate::fuse) fn copy_range(
        &self,
        caller: &Caller,
        (from, from_offset): (u64, u64),
        (to, to_offset): (u64, u64),
        len: u64,
    ) -> Result<u32> {
        let len = len.min(COPY_AT_ONCE);
        range(from_offset, len)?;
        range(to_offset, len)?;
        let (from, to) = (self.object(from)?, self.object(to)?);
        self.content_changes(caller, &to)?;
        let copied = self.engine.copy_range(from.file(), from_offset, to.file(), to_offset, len)?;
        to.synced(to.flags)?;
        u32::try_from(copied).map_err(|_| Errno(libc::EIO))
    }

    /// The kernel sends no hint about set-id bits with these changes.
    fn content_changes(&self, caller: &Caller, object: &OpenObject) -> Result<()> {
        if caller.uid == 0 {
            return Ok(());
        }
        self.clear_set_id(caller, &object.inode, object.file())
    }
}

fn open_flags(flags: i32, writeback: bool) -> Result<OpenFlags> {
    let truncate = flags & libc::O_TRUNC != 0;
    let (read, write) = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => (true, truncate),
        libc::O_WRONLY => (writeback, true),
        libc::O_RDWR => (true, true),
        _ => return Err(Errno(libc::EINVAL)),
    };
    Ok(OpenFlags { read, write, append: flags & libc::O_APPEND != 0 && !writeback, truncate })
}

fn race_lost(errno: Errno, flags: i32) -> Errno {
    let exclusive = flags & libc::O_EXCL != 0;
    if errno.0 == libc::EEXIST && !exclusive { Errno(libc::ESTALE) } else { errno }
}

fn allocation(mode: i32) -> Result<Allocate> {
    let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    match (mode & !libc::FALLOC_FL_KEEP_SIZE, keep_size) {
        (0, keep_size) => Ok(Allocate::Reserve { keep_size }),
        (libc::FALLOC_FL_PUNCH_HOLE, true) => Ok(Allocate::Punch),
        (libc::FALLOC_FL_ZERO_RANGE, keep_size) => Ok(Allocate::Zero { keep_size }),
        _ => Err(Errno(libc::EOPNOTSUPP)),
    }
}

/// Bytes one copy request may take: a loop thread is busy with it and cannot be interrupted.
const COPY_AT_ONCE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(flags: i32) -> (bool, bool, bool, bool) {
        let OpenFlags { read, write, append, truncate } = open_flags(flags, false).unwrap();
        (read, write, append, truncate)
    }

    #[test]
    fn open_flags_say_what_is_wanted() {
        assert_eq!(decoded(libc::O_RDONLY | libc::O_CLOEXEC), (true, false, false, false));
        assert_eq!(decoded(libc::O_WRONLY | libc::O_APPEND), (false, true, true, false));
        assert_eq!(decoded(libc::O_RDWR | libc::O_TRUNC), (true, true, false, true));
    }

    #[test]
    fn truncating_needs_write_access_whatever_the_mode_says() {
        assert_eq!(decoded(libc::O_RDONLY | libc::O_TRUNC), (true, true, false, true));
    }

    #[test]
    fn the_access_mode_that_is_none_is_invalid() {
        assert!(open_flags(libc::O_ACCMODE, false).is_err());
    }

    #[test]
    fn with_write_back_the_kernel_reads_and_appends_by_itself() {
        let flags = open_flags(libc::O_WRONLY | libc::O_APPEND, true).unwrap();
        assert!(flags.read && flags.write && !flags.append);
    }

    #[test]
    fn a_lost_race_is_retried_unless_the_caller_wanted_to_be_first() {
        let exists = Errno(libc::EEXIST);
        assert_eq!(race_lost(exists, libc::O_CREAT), Errno(libc::ESTALE));
        assert_eq!(race_lost(exists, libc::O_CREAT | libc::O_EXCL), exists);
        assert_eq!(race_lost(Errno(libc::ENOSPC), libc::O_CREAT), Errno(libc::ENOSPC));
    }

    #[test]
    fn fallocate_modes_that_shift_or_share_are_not_supported() {
        assert_eq!(allocation(0), Ok(Allocate::Reserve { keep_size: false }));
        let punch = libc::FALLOC_FL_PUNCH_HOLE;
        assert_eq!(allocation(punch | libc::FALLOC_FL_KEEP_SIZE), Ok(Allocate::Punch));
        assert_eq!(allocation(libc::FALLOC_FL_ZERO_RANGE), Ok(Allocate::Zero { keep_size: false }));
        for odd in [punch, libc::FALLOC_FL_COLLAPSE_RANGE, libc::FALLOC_FL_INSERT_RANGE, 1 << 20] {
            assert_eq!(allocation(odd), Err(Errno(libc::EOPNOTSUPP)));
        }
    }
}
