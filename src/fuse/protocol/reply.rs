//! What the kernel is answered.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, time::Duration};

use crate::{
    engine::Attr,
    store::{Kind, Space, Timestamp},
};

use super::fields::Writer;

/// The reply does not fit into the buffer given for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reply does not fit into its buffer")]
pub struct TooSmall;

/// The first 16 bytes of every reply (`struct fuse_out_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutHeader {
    /// Length of the whole reply in bytes, this header included.
    pub len: u32,
    /// A positive `errno`, or 0. The reply to a failure has no more than this header.
    pub errno: i32,
    /// What the request named itself.
    pub unique: u64,
}

impl OutHeader {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// As it is sent.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut writer = Writer::new(&mut bytes);
        let written = writer
            .u32(self.len)
            .and_then(|()| writer.u32(self.errno.wrapping_neg().cast_unsigned()))
            .and_then(|()| writer.u64(self.unique));
        written.expect("three numbers of sixteen bytes fit into sixteen");
        bytes
    }
}

/// A name and the node behind it; the kernel holds one more reference to the node.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Node number, which is also `st_ino`.
    pub id: u64,
    /// Attributes.
    pub attr: Attr,
    /// How long the kernel may remember both.
    pub ttl: Duration,
}

/// A handle for an open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub handle: u64,
    /// How to treat it: [`open_reply`](super::open_reply).
    pub flags: u32,
}

/// The answer to an operation that succeeded.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It is done.
    Done,
    /// A name that was found or made.
    Entry(Entry),
    /// A name that is not there, and how long the kernel may remember that.
    Absent(Duration),
    /// The attributes of a node; nothing is counted.
    Attr(Entry),
    /// An open file or directory.
    Opened(Opened),
    /// A file that was made and opened.
    Created(Entry, Opened),
    /// How many bytes were written.
    Written(u32),
    /// An offset in a file.
    Offset(i64),
    /// The length that a value has.
    Length(u32),
    /// A value.
    Bytes(Vec<u8>),
    /// The target of a symbolic link.
    Target(OsString),
    /// What a file system holds.
    Space(Space),
}

impl Answer {
    /// Writes the answer to the beginning of `out`; its length in bytes.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, TooSmall> {
        let mut writer = Writer::new(out);
        match self {
            Self::Done => {}
            Self::Entry(found) => entry(&mut writer, found)?,
            Self::Absent(ttl) => absent(&mut writer, *ttl)?,
            Self::Attr(found) => attr_reply(&mut writer, found)?,
            Self::Opened(it) => opened(&mut writer, it)?,
            Self::Created(made, it) => {
                entry(&mut writer, made)?;
                opened(&mut writer, it)?;
            }
            Self::Written(len) | Self::Length(len) => {
                writer.u32(*len)?;
                writer.u32(0)?;
            }
            Self::Offset(offset) => writer.i64(*offset)?,
            Self::Bytes(bytes) => writer.bytes(bytes)?,
            Self::Target(target) => writer.bytes(target.as_bytes())?,
            Self::Space(it) => space(&mut writer, it)?,
        }
        Ok(writer.used())
    }
}

/// `struct fuse_entry_out`. Node numbers are not used for another item while the kernel holds them, so one generation
/// is enough.
pub(super) fn entry(writer: &mut Writer<'_>, entry: &Entry) -> Result<(), TooSmall> {
    writer.u64(entry.id)?;
    writer.u64(0)?;
    writer.u64(entry.ttl.as_secs())?;
    writer.u64(entry.ttl.as_secs())?;
    writer.u32(entry.ttl.subsec_nanos())?;
    writer.u32(entry.ttl.subsec_nanos())?;
    attr(writer, entry.id, &entry.attr)
}

/// `struct fuse_entry_out` with node number 0: a lookup that found nothing, to be remembered as such.
fn absent(writer: &mut Writer<'_>, ttl: Duration) -> Result<(), TooSmall> {
    writer.zeros(16)?;
    writer.u64(ttl.as_secs())?;
    writer.u64(0)?;
    writer.u32(ttl.subsec_nanos())?;
    writer.u32(0)?;
    writer.zeros(ATTR)
}

fn attr_reply(writer: &mut Writer<'_>, entry: &Entry) -> Result<(), TooSmall> {
    writer.u64(entry.ttl.as_secs())?;
    writer.u32(entry.ttl.subsec_nanos())?;
    writer.u32(0)?;
    attr(writer, entry.id, &entry.attr)
}

/// `struct fuse_attr`.
fn attr(writer: &mut Writer<'_>, id: u64, attr: &Attr) -> Result<(), TooSmall> {
    let Timestamp { sec: atime, nsec: atime_nsec } = attr.atime;
    let Timestamp { sec: mtime, nsec: mtime_nsec } = attr.mtime;
    let Timestamp { sec: ctime, nsec: ctime_nsec } = attr.ctime;
    for number in [id, attr.size, attr.blocks] {
        writer.u64(number)?;
    }
    for seconds in [atime, mtime, ctime] {
        writer.i64(seconds)?;
    }
    let mode = type_bits(attr.kind) | (attr.mode & 0o7777);
    // The protocol has room for the device numbers of the 32-bit encoding only.
    let rdev = u32::try_from(attr.rdev).unwrap_or(0);
    let rest = [atime_nsec, mtime_nsec, ctime_nsec, mode, attr.nlink, attr.uid, attr.gid, rdev, BLOCK, 0];
    rest.into_iter().try_for_each(|number| writer.u32(number))
}

/// `struct fuse_open_out`.
fn opened(writer: &mut Writer<'_>, opened: &Opened) -> Result<(), TooSmall> {
    writer.u64(opened.handle)?;
    writer.u32(opened.flags)?;
    writer.u32(0)
}

/// `struct fuse_statfs_out`.
fn space(writer: &mut Writer<'_>, space: &Space) -> Result<(), TooSmall> {
    for count in [space.blocks, space.free, space.available, space.files, space.files_free] {
        writer.u64(count)?;
    }
    for size in [space.block_size, space.name_max, space.fragment] {
        writer.u32(u32::try_from(size).unwrap_or(u32::MAX))?;
    }
    writer.zeros(28)
}

/// The type of a node as the mode of `stat(2)` carries it.
pub(super) fn type_bits(kind: Kind) -> u32 {
    match kind {
        Kind::File => libc::S_IFREG,
        Kind::Directory => libc::S_IFDIR,
        Kind::Symlink => libc::S_IFLNK,
        Kind::Fifo => libc::S_IFIFO,
        Kind::Socket => libc::S_IFSOCK,
        Kind::CharDevice => libc::S_IFCHR,
        Kind::BlockDevice => libc::S_IFBLK,
    }
}

/// Length of `struct fuse_attr`.
const ATTR: usize = 88;
/// Reported as `st_blksize`: the page, which every kernel accepts.
const BLOCK: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NodeKey;

    const NOON: Timestamp = Timestamp { sec: -5, nsec: 7 };

    fn entry() -> Entry {
        let attr = Attr {
            key: NodeKey { dev: 1, ino: 9 },
            kind: Kind::File,
            mode: 0o4640,
            nlink: 2,
            uid: 3,
            gid: 4,
            rdev: 0,
            size: 5_000_000_000,
            blocks: 6,
            atime: NOON,
            mtime: NOON,
            ctime: NOON,
        };
        Entry { id: 9, attr, ttl: Duration::from_millis(1_500) }
    }

    fn encoded(answer: &Answer) -> Vec<u8> {
        let mut out = vec![0xAA; 512];
        let len = answer.encode(&mut out).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn answers_have_the_lengths_of_the_structures_of_the_kernel() {
        let space = Space {
            fragment: 1,
            block_size: 2,
            blocks: 3,
            free: 4,
            available: 5,
            files: 6,
            files_free: 7,
            name_max: 255,
        };
        let opened = Opened { handle: 1, flags: 2 };
        let table = [
            (Answer::Done, 0),
            (Answer::Entry(entry()), 128),
            (Answer::Absent(Duration::ZERO), 128),
            (Answer::Attr(entry()), 104),
            (Answer::Opened(opened), 16),
            (Answer::Created(entry(), opened), 144),
            (Answer::Written(1), 8),
            (Answer::Length(1), 8),
            (Answer::Offset(-1), 8),
            (Answer::Space(space), 80),
        ];
        for (answer, len) in table {
            assert_eq!(encoded(&answer).len(), len, "{answer:?}");
        }
    }

    #[test]
    fn an_entry_lies_where_the_kernel_reads_it() {
        let bytes = encoded(&Answer::Entry(entry()));
        let number = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((number(0), number(16), half(32)), (9, 1, 500_000_000));
        assert_eq!((number(40), number(48)), (9, 5_000_000_000));
        assert_eq!(number(64).cast_signed(), -5);
        assert_eq!(half(88), 7);
        assert_eq!((half(100), half(104), half(108), half(112)), (0o104_640, 2, 3, 4));
    }

    #[test]
    fn what_is_absent_has_no_number_and_a_life_of_its_own() {
        let bytes = encoded(&Answer::Absent(Duration::from_secs(3)));
        assert_eq!(bytes[..8], [0; 8]);
        assert_eq!(bytes[16..24], 3_u64.to_ne_bytes());
        assert_eq!(bytes[24..], [0; 104]);
    }

    #[test]
    fn failures_are_sent_as_negative_numbers() {
        let header = OutHeader { len: 16, errno: 2, unique: 77 }.encode();
        assert_eq!(header[4..8], (-2_i32).to_ne_bytes());
        assert_eq!(header[8..], 77_u64.to_ne_bytes());
    }
}
