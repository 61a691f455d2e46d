//! Mode, owner, times, extended attributes and free space, through an `O_PATH` handle.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
};

use rustix::{
    buffer::spare_capacity,
    fs::{Access, AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, XattrFlags},
    io::Errno,
};

use super::proc::path_of;
use crate::store::{Rights, SetTime, Space, Timestamp, XattrMode};

pub(super) fn permits(fd: impl AsFd, rights: Rights) -> io::Result<()> {
    let asked =
        [(rights.read, Access::READ_OK), (rights.write, Access::WRITE_OK), (rights.execute, Access::EXEC_OK)];
    let access = asked.into_iter().filter(|(on, _)| *on).fold(Access::EXISTS, |sum, (_, one)| sum | one);
    Ok(rustix::fs::accessat(CWD, path_of(fd), access, AtFlags::EACCESS)?)
}

pub(super) fn set_mode(fd: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmod(path_of(fd), Mode::from_raw_mode(mode & 0o7777))?)
}

pub(super) fn set_owner(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let (uid, gid) = (uid.map(checked_id).transpose()?, gid.map(checked_id).transpose()?);
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    Ok(rustix::fs::chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH)?)
}

/// The id of all ones means "leave" to the kernel and nobody to us.
fn checked_id(id: u32) -> io::Result<u32> {
    if id == u32::MAX { Err(Errno::INVAL.into()) } else { Ok(id) }
}

pub(super) fn set_times(fd: impl AsFd, atime: SetTime, mtime: SetTime) -> io::Result<()> {
    let times = Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) };
    // Through the name: `AT_EMPTY_PATH` came to this call only with Linux 5.8.
    Ok(rustix::fs::utimensat(CWD, path_of(fd), &times, AtFlags::empty())?)
}

pub(super) fn timespec(time: SetTime) -> Timespec {
    match time {
        SetTime::Keep => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        SetTime::Now => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        SetTime::At(Timestamp { sec, nsec }) => Timespec { tv_sec: sec, tv_nsec: nsec.into() },
    }
}

pub(super) fn xattr(fd: impl AsFd, name: &OsStr) -> io::Result<Vec<u8>> {
    let path = path_of(fd);
    grown(|value| rustix::fs::getxattr(&path, name, spare_capacity(value)))
}

pub(super) fn set_xattr(fd: impl AsFd, name: &OsStr, value: &[u8], mode: XattrMode) -> io::Result<()> {
    let flags = match mode {
        XattrMode::Set => XattrFlags::empty(),
        XattrMode::Create => XattrFlags::CREATE,
        XattrMode::Replace => XattrFlags::REPLACE,
    };
    Ok(rustix::fs::setxattr(path_of(fd), name, value, flags)?)
}

pub(super) fn xattrs(fd: impl AsFd) -> io::Result<Vec<OsString>> {
    let path = path_of(fd);
    let list = grown(|list| rustix::fs::listxattr(&path, spare_capacity(list)))?;
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| OsStr::from_bytes(name).to_owned()).collect())
}

pub(super) fn remove_xattr(fd: impl AsFd, name: &OsStr) -> io::Result<()> {
    Ok(rustix::fs::removexattr(path_of(fd), name)?)
}

pub(super) fn space(fd: impl AsFd) -> io::Result<Space> {
    let vfs = rustix::fs::fstatvfs(fd)?;
    Ok(Space {
        fragment: vfs.f_frsize,
        block_size: vfs.f_bsize,
        blocks: vfs.f_blocks,
        free: vfs.f_bfree,
        available: vfs.f_bavail,
        files: vfs.f_files,
        files_free: vfs.f_ffree,
        name_max: vfs.f_namemax,
    })
}

/// Calls with the room that nearly always does, then once more with the most that the kernel ever gives.
fn grown(mut fill: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>) -> io::Result<Vec<u8>> {
    let mut buf = Vec::with_capacity(USUAL);
    match fill(&mut buf) {
        Err(Errno::RANGE) => {
            buf.reserve_exact(MOST);
            fill(&mut buf)?;
        }
        outcome => _ = outcome?,
    }
    Ok(buf)
}

const USUAL: usize = 256;
/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`.
const MOST: usize = 65_536;
