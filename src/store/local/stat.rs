//! From the kernel's attributes to [`Stat`].

use rustix::fs::FileType;

use crate::store::{Kind, NodeKey, Stat, Timestamp};

/// Attributes in the terms of the contract.
#[allow(clippy::useless_conversion, reason = "the kernel's field types differ between architectures")]
pub(super) fn stat_of(raw: &rustix::fs::Stat) -> Stat {
    Stat {
        key: key_of(raw),
        kind: kind_of(FileType::from_raw_mode(raw.st_mode)).unwrap_or(Kind::File),
        mode: raw.st_mode & 0o7777,
        nlink: raw.st_nlink.try_into().unwrap_or(u32::MAX),
        uid: raw.st_uid,
        gid: raw.st_gid,
        rdev: raw.st_rdev.into(),
        size: raw.st_size.try_into().unwrap_or(0),
        blocks: raw.st_blocks.try_into().unwrap_or(0),
        atime: time_of(raw.st_atime, raw.st_atime_nsec),
        mtime: time_of(raw.st_mtime, raw.st_mtime_nsec),
        ctime: time_of(raw.st_ctime, raw.st_ctime_nsec),
    }
}

/// Identity alone.
#[allow(clippy::useless_conversion, reason = "the kernel's field types differ between architectures")]
pub(super) fn key_of(raw: &rustix::fs::Stat) -> NodeKey {
    NodeKey { dev: raw.st_dev.into(), ino: raw.st_ino.into() }
}

/// The kind of a directory entry or mode; `None` where the file system does not say.
pub(super) fn kind_of(kind: FileType) -> Option<Kind> {
    match kind {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Directory),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::Socket => Some(Kind::Socket),
        FileType::CharacterDevice => Some(Kind::CharDevice),
        FileType::BlockDevice => Some(Kind::BlockDevice),
        FileType::Unknown => None,
    }
}

fn time_of(sec: impl Into<i64>, nsec: impl TryInto<u32>) -> Timestamp {
    Timestamp { sec: sec.into(), nsec: nsec.try_into().unwrap_or(0) }
}
