//! Conversions between our types and those of the protocol library.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};

use crate::{
    engine::Attr,
    store::{Kind, SetTime, Timestamp},
};

use super::errno::Errno;

impl From<Errno> for fuser::Errno {
    fn from(errno: Errno) -> Self {
        Self::from_i32(errno.0)
    }
}

/// Attributes of node `id`.
pub(super) fn file_attr(id: u64, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(id),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: u16::try_from(attr.mode & 0o7777).expect("twelve bits fit into sixteen"),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: u32::try_from(attr.rdev).unwrap_or(0),
        blksize: BLOCK,
        flags: 0,
    }
}

/// The entry of a listing whose attributes are not to be had: the type alone counts.
///
/// With the number of the root as node number the kernel shows the name, links nothing to it and looks it up on use.
pub(super) fn bare_attr(kind: Kind) -> FileAttr {
    FileAttr {
        ino: INodeNo::ROOT,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: file_type(kind),
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

/// Type of a node.
pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// A time to set.
pub(super) fn set_time(time: Option<TimeOrNow>) -> SetTime {
    match time {
        None => SetTime::Keep,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(time)) => SetTime::At(requested_time(time)),
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let seconds = Duration::from_secs(time.sec.unsigned_abs());
    let whole = if time.sec < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    whole.and_then(|t| t.checked_add(Duration::from_nanos(time.nsec.into()))).unwrap_or(UNIX_EPOCH)
}

/// Undoes the library's decoding, which counts the nanoseconds of a time before 1970 away from the epoch although the
/// kernel counts them towards it: what arrives as 1.8 s before 1970 was sent as -1 s + 0.8 s.
fn requested_time(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => {
            Timestamp { sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX), nsec: after.subsec_nanos() }
        }
        Err(before) => {
            let before = before.duration();
            let sec = 0_i64.checked_sub_unsigned(before.as_secs()).unwrap_or(i64::MIN);
            Timestamp { sec, nsec: before.subsec_nanos() }
        }
    }
}

/// Reported as `st_blksize`: the page, which every kernel accepts.
const BLOCK: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_are_reported_as_stored() {
        let time = system_time(Timestamp { sec: -1, nsec: 800_000_000 });
        assert_eq!(UNIX_EPOCH.duration_since(time).unwrap(), Duration::from_millis(200));
    }

    #[test]
    fn times_before_the_epoch_are_set_as_sent() {
        let decoded_by_library = UNIX_EPOCH - Duration::new(1, 800_000_000);
        assert_eq!(requested_time(decoded_by_library), Timestamp { sec: -1, nsec: 800_000_000 });
        assert_eq!(requested_time(UNIX_EPOCH - Duration::from_secs(5)), Timestamp { sec: -5, nsec: 0 });
    }

    #[test]
    fn times_after_the_epoch_pass_unchanged() {
        let time = Timestamp { sec: 4_102_444_800, nsec: 999_999_999 };
        assert_eq!(requested_time(system_time(time)), time);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for sec in [i64::MIN, i64::MAX] {
            system_time(Timestamp { sec, nsec: 999_999_999 });
        }
    }
}
