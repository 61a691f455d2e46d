//! Making names: mode under the creator's umask, then owner, then the set-id bits.
//!
//! Set-id bits are given last, and only to a node that ended up with the owner it was born for: a daemon that may
//! not give files away must not hand out its own identity instead.

use std::{
    ffi::OsStr,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::LazyLock,
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, mkdirat, mknodat, openat, symlinkat,
        unlinkat,
    },
    io::Errno,
    process::{getegid, geteuid},
};

use super::{attributes, node::open_path, stat::stat_of, umask::with_umask};
use crate::{
    name::FileName,
    store::{Birth, Kind, Stat},
};

/// A regular file, open for reading and writing.
pub(super) fn file(dir: impl AsFd, name: &FileName, birth: &Birth) -> io::Result<(OwnedFd, Stat)> {
    let dir = dir.as_fd();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = with_umask(birth.umask, || openat(dir, name.as_os_str(), flags, plain_mode(birth)))?;
    let owned = fstat(&fd).map_err(Into::into).and_then(|raw| own(dir, fd.as_fd(), stat_of(&raw), birth));
    let stat = or_remove(owned, dir, name, AtFlags::empty())?;
    Ok((fd, stat))
}

/// A directory; its handle is `O_PATH`, as those of the kinds below.
pub(super) fn dir(dir: impl AsFd, name: &FileName, birth: &Birth) -> io::Result<(OwnedFd, Stat)> {
    let dir = dir.as_fd();
    with_umask(birth.umask, || mkdirat(dir, name.as_os_str(), plain_mode(birth)))?;
    or_remove(adopt(dir, name, Kind::Directory, birth), dir, name, AtFlags::REMOVEDIR)
}

/// A symbolic link.
pub(super) fn symlink(
    dir: impl AsFd,
    name: &FileName,
    target: &OsStr,
    birth: &Birth,
) -> io::Result<(OwnedFd, Stat)> {
    let dir = dir.as_fd();
    symlinkat(target, dir, name.as_os_str())?;
    or_remove(adopt(dir, name, Kind::Symlink, birth), dir, name, AtFlags::empty())
}

/// A fifo, socket or device; `EINVAL` for another kind.
pub(super) fn special(
    dir: impl AsFd,
    name: &FileName,
    kind: Kind,
    rdev: u64,
    birth: &Birth,
) -> io::Result<(OwnedFd, Stat)> {
    let dir = dir.as_fd();
    let file_type = match kind {
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::File | Kind::Directory | Kind::Symlink => return Err(Errno::INVAL.into()),
    };
    with_umask(birth.umask, || mknodat(dir, name.as_os_str(), file_type, plain_mode(birth), rdev))?;
    or_remove(adopt(dir, name, kind, birth), dir, name, AtFlags::empty())
}

/// Opens what was just made by name. Another process may have put something else there: that must not be given away.
fn adopt(dir: BorrowedFd<'_>, name: &FileName, kind: Kind, birth: &Birth) -> io::Result<(OwnedFd, Stat)> {
    let fd = open_path(dir, name)?;
    let seen = stat_of(&fstat(&fd)?);
    if seen.kind != kind || (kind != Kind::Directory && seen.nlink != 1) {
        return Err(Errno::STALE.into());
    }
    let stat = own(dir, fd.as_fd(), seen, birth)?;
    Ok((fd, stat))
}

/// Gives the new node its owner, as far as the daemon may, and its set-id bits.
fn own(dir: BorrowedFd<'_>, fd: BorrowedFd<'_>, mut stat: Stat, birth: &Birth) -> io::Result<Stat> {
    if is_root() && give_away(dir, fd, birth, &stat)? {
        stat = stat_of(&fstat(fd)?);
    }
    let mode = stat.mode | set_id_bits(birth, &stat);
    if mode != stat.mode {
        attributes::set_mode(fd, mode)?;
        stat = stat_of(&fstat(fd)?);
    }
    Ok(stat)
}

/// Whether this process may give files away, and pass over permissions; its user never changes.
pub(super) fn is_root() -> bool {
    static ROOT: LazyLock<bool> = LazyLock::new(|| geteuid().is_root());
    *ROOT
}

fn give_away(dir: BorrowedFd<'_>, fd: BorrowedFd<'_>, birth: &Birth, stat: &Stat) -> io::Result<bool> {
    let uid = (birth.uid != stat.uid).then(|| Uid::from_raw(birth.uid));
    let keeps_group = birth.gid == stat.gid || has_inherited_group(dir, stat)?;
    let gid = (!keeps_group).then(|| Gid::from_raw(birth.gid));
    if uid.is_none() && gid.is_none() {
        return Ok(false);
    }
    match chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH) {
        // A sandboxed root, or a file system without owners: the daemon may not.
        Err(Errno::PERM) => Ok(false),
        outcome => Ok(outcome.map(|()| true)?),
    }
}

/// Whether the group came from the directory and not from this process.
fn has_inherited_group(dir: BorrowedFd<'_>, stat: &Stat) -> io::Result<bool> {
    Ok(stat.gid != getegid().as_raw() || stat_of(&fstat(dir)?).mode & SET_GID != 0)
}

/// Those that were asked for and are harmless. `mkdir(2)` and `symlink(2)` know none.
fn set_id_bits(birth: &Birth, stat: &Stat) -> u32 {
    if matches!(stat.kind, Kind::Directory | Kind::Symlink) {
        return 0;
    }
    let uid = if stat.uid == birth.uid { SET_UID } else { 0 };
    let gid = if stat.gid == birth.gid { SET_GID } else { 0 };
    birth.mode & (uid | gid)
}

fn plain_mode(birth: &Birth) -> Mode {
    Mode::from_raw_mode(birth.mode & 0o1777)
}

fn or_remove<T>(made: io::Result<T>, dir: BorrowedFd<'_>, name: &FileName, flags: AtFlags) -> io::Result<T> {
    made.inspect_err(|_| {
        // The first error is the one to report; a name that cannot be removed either has no better story.
        let _ = unlinkat(dir, name.as_os_str(), flags);
    })
}

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
