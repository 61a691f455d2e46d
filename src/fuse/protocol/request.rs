//! Requests read from the bytes that the kernel sends.

use crate::{
    engine::SetAttr,
    store::{SetTime, Timestamp},
};

use super::{
    fields::Fields,
    numbers::{GETATTR_HANDLE, SYNC_DATA_ONLY, change, opcode},
    operation::{Fill, Operation},
};

/// A message that does not fit its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel sent a message that does not fit its layout")]
pub struct Malformed;

/// The first 40 bytes of every request (`struct fuse_in_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the whole request in bytes, this header included.
    pub len: u32,
    /// What is wanted: one of [`opcode`].
    pub opcode: u32,
    /// What the reply must name.
    pub unique: u64,
    /// The node concerned.
    pub node: u64,
    /// User of the caller.
    pub uid: u32,
    /// Group of the caller.
    pub gid: u32,
    /// Process of the caller; 0 where there is none.
    pub pid: u32,
}

impl Header {
    /// Length in bytes.
    pub const LEN: usize = 40;

    /// Reads the header at the beginning of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(bytes);
        let header = Self {
            len: fields.u32()?,
            opcode: fields.u32()?,
            unique: fields.u64()?,
            node: fields.u64()?,
            uid: fields.u32()?,
            gid: fields.u32()?,
            pid: fields.u32()?,
        };
        // Length of extensions, which are never agreed on, and padding.
        fields.bytes(4)?;
        Ok(header)
    }
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Answered with a few fields.
    Operation(Operation<'a>),
    /// Answered with bytes that are written straight into the reply.
    Fill(Fill),
    /// Not answered: references that are taken back.
    Forget(Forgets<'a>),
    /// The file system is gone.
    Destroy,
    /// Not known: answered with `ENOSYS`, on which the kernel stops asking.
    Unknown,
}

/// Nodes, and how many references to each are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgets<'a> {
    one: Option<(u64, u64)>,
    more: &'a [u8],
}

impl Forgets<'_> {
    /// How many nodes.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        usize::from(self.one.is_some()) + self.more.len() / FORGET_LEN
    }

    /// Each node with the number of references.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let pair = |pair: &[u8]| {
            let mut fields = Fields(pair);
            Some((fields.u64().ok()?, fields.u64().ok()?))
        };
        self.one.into_iter().chain(self.more.chunks_exact(FORGET_LEN).filter_map(pair))
    }
}

/// Length of the fixed fields of a request: where its names or its data begin.
pub fn fixed_len(opcode: u32) -> usize {
    match opcode {
        opcode::SETATTR => 88,
        opcode::COPY_FILE_RANGE => 56,
        opcode::READ | opcode::WRITE | opcode::READDIR | opcode::READDIRPLUS => 40,
        opcode::IOCTL | opcode::FALLOCATE => 32,
        opcode::RELEASE | opcode::RELEASEDIR | opcode::FLUSH | opcode::LSEEK => 24,
        opcode::GETATTR
        | opcode::MKNOD
        | opcode::FSYNC
        | opcode::FSYNCDIR
        | opcode::CREATE
        | opcode::RENAME2 => 16,
        opcode::FORGET
        | opcode::BATCH_FORGET
        | opcode::MKDIR
        | opcode::RENAME
        | opcode::LINK
        | opcode::OPEN
        | opcode::OPENDIR
        | opcode::SETXATTR
        | opcode::GETXATTR
        | opcode::LISTXATTR
        | opcode::ACCESS => 8,
        _ => 0,
    }
}

impl<'a> Request<'a> {
    /// Reads a request from its fixed fields, of which there may be more bytes than count, and all that follows them.
    pub fn decode(header: &Header, fixed: &[u8], rest: &'a [u8]) -> Result<Self, Malformed> {
        let (mut fixed, mut rest) = (Fields(fixed), Fields(rest));
        if let Some(fill) = fill(header.opcode, &mut fixed)? {
            return Ok(Self::Fill(fill));
        }
        match header.opcode {
            opcode::FORGET => Ok(Self::Forget(Forgets { one: Some((header.node, fixed.u64()?)), more: &[] })),
            opcode::BATCH_FORGET => forgets(&mut fixed, &mut rest).map(Self::Forget),
            opcode::DESTROY => Ok(Self::Destroy),
            _ => {
                let operation = by_name(header.opcode, &mut fixed, &mut rest)?;
                let operation = operation
                    .map_or_else(|| by_handle(header.opcode, &mut fixed, &mut rest), |it| Ok(Some(it)))?;
                Ok(operation.map_or(Self::Unknown, Self::Operation))
            }
        }
    }
}

fn fill(opcode: u32, fixed: &mut Fields<'_>) -> Result<Option<Fill>, Malformed> {
    if !matches!(opcode, opcode::READ | opcode::READDIR | opcode::READDIRPLUS) {
        return Ok(None);
    }
    let (handle, offset, size) = (fixed.u64()?, fixed.u64()?, fixed.u32()?);
    Ok(Some(match opcode {
        opcode::READ => Fill::Read { handle, offset, size },
        opcode::READDIR => Fill::List { handle, position: offset, size },
        _ => Fill::ListPlus { handle, position: offset, size },
    }))
}

fn forgets<'a>(fixed: &mut Fields<'_>, rest: &mut Fields<'a>) -> Result<Forgets<'a>, Malformed> {
    let count = usize::try_from(fixed.u32()?).map_err(|_| Malformed)?;
    let more = rest.bytes(count.checked_mul(FORGET_LEN).ok_or(Malformed)?)?;
    Ok(Forgets { one: None, more })
}

/// Requests that name things in a directory, and those about a node as such.
fn by_name<'a>(
    opcode: u32,
    fixed: &mut Fields<'_>,
    rest: &mut Fields<'a>,
) -> Result<Option<Operation<'a>>, Malformed> {
    Ok(Some(match opcode {
        opcode::LOOKUP => Operation::Lookup { name: rest.name()? },
        opcode::READLINK => Operation::ReadLink,
        opcode::SYMLINK => Operation::Symlink { name: rest.name()?, target: rest.name()? },
        opcode::MKNOD => {
            let (mode, rdev, umask) = (fixed.u32()?, fixed.u32()?, fixed.u32()?);
            Operation::MakeNode { name: rest.name()?, mode, rdev, umask }
        }
        opcode::MKDIR => {
            let (mode, umask) = (fixed.u32()?, fixed.u32()?);
            Operation::MakeDir { name: rest.name()?, mode, umask }
        }
        opcode::UNLINK => Operation::Unlink { name: rest.name()? },
        opcode::RMDIR => Operation::RemoveDir { name: rest.name()? },
        opcode::RENAME | opcode::RENAME2 => {
            let to_parent = fixed.u64()?;
            let flags = if opcode == opcode::RENAME2 { fixed.u32()? } else { 0 };
            Operation::Rename { name: rest.name()?, to_parent, to_name: rest.name()?, flags }
        }
        opcode::LINK => Operation::Link { node: fixed.u64()?, name: rest.name()? },
        opcode::CREATE => {
            let (flags, mode, umask) = (fixed.i32()?, fixed.u32()?, fixed.u32()?);
            Operation::Create { name: rest.name()?, mode, umask, flags }
        }
        opcode::STATFS => Operation::Space,
        opcode::SETXATTR => {
            let (size, flags) = (fixed.u32()?, fixed.i32()?);
            let name = rest.name()?;
            let value = rest.bytes(usize::try_from(size).map_err(|_| Malformed)?)?;
            Operation::SetXattr { name, value, flags }
        }
        opcode::GETXATTR => Operation::Xattr { size: fixed.u32()?, name: rest.name()? },
        opcode::LISTXATTR => Operation::Xattrs { size: fixed.u32()? },
        opcode::REMOVEXATTR => Operation::RemoveXattr { name: rest.name()? },
        _ => return Ok(None),
    }))
}

/// Requests about open files and directories, and those that may concern one.
fn by_handle<'a>(
    opcode: u32,
    fixed: &mut Fields<'_>,
    rest: &mut Fields<'a>,
) -> Result<Option<Operation<'a>>, Malformed> {
    Ok(Some(match opcode {
        opcode::GETATTR => attr(fixed)?,
        opcode::ACCESS => Operation::Access { mask: fixed.u32()? },
        opcode::SETATTR => set_attr(fixed)?,
        opcode::OPEN => Operation::Open { flags: fixed.i32()? },
        opcode::WRITE => {
            let (handle, offset, size, flags) = (fixed.u64()?, fixed.u64()?, fixed.u32()?, fixed.u32()?);
            let (_lock_owner, of_file) = (fixed.u64()?, fixed.i32()?);
            let data = rest.bytes(usize::try_from(size).map_err(|_| Malformed)?)?;
            Operation::Write { handle, offset, data, flags, of_file }
        }
        opcode::RELEASE => Operation::Release { handle: fixed.u64()? },
        opcode::FSYNC => {
            Operation::Sync { handle: fixed.u64()?, data_only: fixed.u32()? & SYNC_DATA_ONLY != 0 }
        }
        opcode::FLUSH => Operation::Flush { handle: fixed.u64()? },
        opcode::OPENDIR => Operation::OpenDir,
        opcode::RELEASEDIR => Operation::ReleaseDir { handle: fixed.u64()? },
        opcode::FSYNCDIR => Operation::SyncDir { handle: fixed.u64()? },
        opcode::IOCTL => Operation::Ioctl,
        opcode::FALLOCATE => Operation::Allocate {
            handle: fixed.u64()?,
            offset: fixed.u64()?,
            len: fixed.u64()?,
            mode: fixed.i32()?,
        },
        opcode::LSEEK => Operation::Seek { handle: fixed.u64()?, offset: fixed.i64()?, whence: fixed.i32()? },
        opcode::COPY_FILE_RANGE => {
            let from = (fixed.u64()?, fixed.u64()?);
            // The node that the second handle belongs to says nothing new.
            fixed.u64()?;
            Operation::CopyRange { from, to: (fixed.u64()?, fixed.u64()?), len: fixed.u64()? }
        }
        _ => return Ok(None),
    }))
}

fn attr<'a>(fixed: &mut Fields<'_>) -> Result<Operation<'a>, Malformed> {
    let (flags, _, handle) = (fixed.u32()?, fixed.u32()?, fixed.u64()?);
    Ok(Operation::Attr { handle: (flags & GETATTR_HANDLE != 0).then_some(handle) })
}

/// `struct fuse_setattr_in`. The change time is the store's own business.
fn set_attr<'a>(fixed: &mut Fields<'_>) -> Result<Operation<'a>, Malformed> {
    let (valid, _, handle, size, _) = (fixed.u32()?, fixed.u32()?, fixed.u64()?, fixed.u64()?, fixed.u64()?);
    let (atime, mtime, _) = (fixed.i64()?, fixed.i64()?, fixed.i64()?);
    let (atime_nsec, mtime_nsec, _) = (fixed.u32()?, fixed.u32()?, fixed.u32()?);
    let (mode, _, uid, gid) = (fixed.u32()?, fixed.u32()?, fixed.u32()?, fixed.u32()?);
    let named = |flag: u32| valid & flag != 0;
    let time = |set, now, sec, nsec: u32| match (named(now), named(set)) {
        (true, _) => Ok(SetTime::Now),
        (false, true) if nsec < SECOND => Ok(SetTime::At(Timestamp { sec, nsec })),
        (false, true) => Err(Malformed),
        (false, false) => Ok(SetTime::Keep),
    };
    let set = SetAttr {
        drops_set_id: false,
        mode: named(change::MODE).then_some(mode & 0o7777),
        uid: named(change::UID).then_some(uid),
        gid: named(change::GID).then_some(gid),
        size: named(change::SIZE).then_some(size),
        atime: time(change::ATIME, change::ATIME_NOW, atime, atime_nsec)?,
        mtime: time(change::MTIME, change::MTIME_NOW, mtime, mtime_nsec)?,
    };
    Ok(Operation::SetAttr { handle: named(change::HANDLE).then_some(handle), set })
}

/// Length of `struct fuse_forget_one`.
const FORGET_LEN: usize = 16;
/// Nanoseconds.
const SECOND: u32 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(opcode: u32) -> Header {
        Header { len: 0, opcode, unique: 1, node: 5, uid: 0, gid: 0, pid: 0 }
    }

    fn numbers(count: u32) -> Vec<u8> {
        (0..count).flat_map(u32::to_ne_bytes).collect()
    }

    #[test]
    fn a_name_ends_at_its_nul_byte_and_nowhere_else() {
        let lookup = |rest| Request::decode(&header(opcode::LOOKUP), &[], rest);
        let Ok(Request::Operation(Operation::Lookup { name })) = lookup(b"a\xffb\0") else { panic!() };
        assert_eq!(name.as_encoded_bytes(), b"a\xffb");
        assert!(lookup(b"endless").is_err());
    }

    #[test]
    fn a_write_is_as_long_as_it_says() {
        let mut fixed = numbers(10);
        fixed[16..20].copy_from_slice(&3_u32.to_ne_bytes());
        let write = |rest| Request::decode(&header(opcode::WRITE), &fixed, rest);
        let Ok(Request::Operation(Operation::Write { data, of_file, .. })) = write(b"abcdef") else {
            panic!()
        };
        assert_eq!((data, of_file), (&b"abc"[..], 8));
        assert!(write(b"ab").is_err());
    }

    #[test]
    fn times_before_the_epoch_are_taken_as_sent() {
        let mut fixed = vec![0; 88];
        fixed[..4].copy_from_slice(&(change::MTIME | change::ATIME | change::ATIME_NOW).to_ne_bytes());
        fixed[40..48].copy_from_slice(&(-1_i64).to_ne_bytes());
        fixed[60..64].copy_from_slice(&800_000_000_u32.to_ne_bytes());
        let request = Request::decode(&header(opcode::SETATTR), &fixed, &[]);
        let Ok(Request::Operation(Operation::SetAttr { handle, set })) = request else { panic!() };
        assert_eq!(handle, None);
        assert_eq!(set.atime, SetTime::Now);
        assert_eq!(set.mtime, SetTime::At(Timestamp { sec: -1, nsec: 800_000_000 }));
        assert!(set.mode.is_none() && set.size.is_none());
    }

    #[test]
    fn a_time_with_too_many_nanoseconds_is_no_time() {
        let mut fixed = vec![0; 88];
        fixed[..4].copy_from_slice(&change::MTIME.to_ne_bytes());
        fixed[60..64].copy_from_slice(&SECOND.to_ne_bytes());
        assert!(Request::decode(&header(opcode::SETATTR), &fixed, &[]).is_err());
    }

    #[test]
    fn forgets_come_singly_and_in_lists() {
        let one = [3_u64.to_ne_bytes()].concat();
        let Ok(Request::Forget(forgets)) = Request::decode(&header(opcode::FORGET), &one, &[]) else {
            panic!()
        };
        assert_eq!(forgets.iter().collect::<Vec<_>>(), [(5, 3)]);
        let more = [1_u64, 2, 3, 4].map(u64::to_ne_bytes).concat();
        let two = [2_u32.to_ne_bytes(), [0; 4]].concat();
        let Ok(Request::Forget(forgets)) = Request::decode(&header(opcode::BATCH_FORGET), &two, &more) else {
            panic!()
        };
        assert_eq!((forgets.len(), forgets.iter().collect::<Vec<_>>()), (2, vec![(1, 2), (3, 4)]));
        let many = [u32::MAX.to_ne_bytes(), [0; 4]].concat();
        assert!(Request::decode(&header(opcode::BATCH_FORGET), &many, &more).is_err());
    }

    #[test]
    fn what_is_not_known_is_told_from_what_is_malformed() {
        assert!(matches!(Request::decode(&header(4_000), &[], &[]), Ok(Request::Unknown)));
        for opcode in [opcode::OPEN, opcode::READ, opcode::SETATTR, opcode::RENAME2, opcode::COPY_FILE_RANGE]
        {
            assert!(Request::decode(&header(opcode), &[0; 3], &[]).is_err(), "{opcode}");
        }
    }
}
