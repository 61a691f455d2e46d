//! A frame: the changes of one commit, as they go to the journal (format section 10.8).
//!
//! Whoever builds a frame puts the full image of every changed header page and tag page into it, so that a page which
//! a crash destroys while it is overwritten in place can be written anew.

use super::op::{OP_LEN, OpCode};
use crate::crypto;

/// Whom a frame is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The object's id, as in sector 0 of its file.
    pub object_id: [u8; 16],
    /// Inode number of its file.
    pub inode: u64,
    /// Where the file stands, from the root of the bucket; components joined by `/`. A hint.
    pub path: Vec<u8>,
}

/// The changes of one commit. Operations apply in the order given; a truncation comes before the writes of its object.
#[derive(Debug, Clone)]
pub struct Frame {
    body: Vec<u8>,
    ops: u32,
    objects: u32,
}

impl Frame {
    /// A frame about `subject`, without changes as yet.
    pub fn new(subject: &Subject) -> Self {
        let mut frame = Self { body: Vec::new(), ops: 0, objects: 0 };
        frame.about(subject);
        frame
    }

    /// What follows is about `subject`, a further object.
    pub fn about(&mut self, subject: &Subject) -> &mut Self {
        self.objects += 1;
        self.object(&subject.object_id, subject.inode, &subject.path)
    }

    /// The file had `old` as its object id until this frame, which gives it a new identity.
    /// Recovery accepts the file under either id.
    pub fn superseded(&mut self, old: &[u8; 16]) -> &mut Self {
        self.object(old, 0, &[])
    }

    /// The file has `len` bytes now; bytes beyond the old length read as zeros until written.
    pub fn truncate(&mut self, len: u64) -> &mut Self {
        self.op(OpCode::Truncate, len, 0);
        self
    }

    /// The range is in place already, and durable.
    pub fn direct(&mut self, offset: u64, len: u64) -> &mut Self {
        if len > 0 {
            self.op(OpCode::Direct, offset, len);
        }
        self
    }

    /// The file has `bytes` at `offset` now.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> &mut Self {
        if !bytes.is_empty() {
            self.op(OpCode::Write, offset, bytes.len() as u64);
            self.payload(&[bytes]);
        }
        self
    }

    /// The range is a hole now.
    pub fn punch(&mut self, offset: u64, len: u64) -> &mut Self {
        if len > 0 {
            self.op(OpCode::Punch, offset, len);
        }
        self
    }

    /// The file is about to stand at `path`.
    pub fn path(&mut self, path: &[u8]) -> &mut Self {
        if !path.is_empty() && path.len() <= PATH_MAX {
            self.op(OpCode::Path, 0, path.len() as u64);
            self.payload(&[path]);
        }
        self
    }

    /// Bytes that the frame takes in the journal; compare with [`Journal::max_frame`](super::Journal::max_frame).
    pub fn stored_len(&self) -> u64 {
        self.padded_len(PAGE)
    }

    /// The length in whole units of `unit` bytes.
    pub(super) fn padded_len(&self, unit: u64) -> u64 {
        (FRAME_HEADER_LEN + self.body.len()).next_multiple_of(unit_len(unit)) as u64
    }

    /// The ops.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The header of this frame as number `lsn` of the segment with `salt`.
    pub(super) fn header(&self, lsn: u64, salt: &[u8; 16], len: u32) -> [u8; FRAME_HEADER_LEN] {
        let header = FrameHeader {
            len,
            lsn,
            salt: *salt,
            ops: self.ops,
            flags: 0,
            body_len: self.body.len() as u64,
            digest: [0; 16],
        };
        let mut bytes = header.encode();
        let digest = crypto::frame_digest(&[bytes.split_at(DIGEST_AT).0, &self.body]);
        bytes.split_at_mut(DIGEST_AT).1.copy_from_slice(&digest);
        bytes
    }

    fn object(&mut self, id: &[u8; 16], inode: u64, path: &[u8]) -> &mut Self {
        // A hint too long for its length field is no hint; the file is found by its inode number.
        let path = if path.len() <= PATH_MAX { path } else { &[] };
        let path_len = u16::try_from(path.len()).expect("bounded by PATH_MAX");
        self.op(OpCode::Object, 0, (OBJECT_FIXED_LEN + path.len()) as u64);
        self.payload(&[id, &inode.to_be_bytes(), &path_len.to_be_bytes(), path]);
        self
    }

    fn op(&mut self, code: OpCode, offset: u64, len: u64) {
        self.ops += 1;
        self.body.extend([code as u8, 0, 0, 0]);
        self.body.extend((self.objects - 1).to_be_bytes());
        self.body.extend(offset.to_be_bytes());
        self.body.extend(len.to_be_bytes());
        self.body.extend([0; 8]);
        debug_assert_eq!(self.body.len() % 8, 0, "ops are {OP_LEN} bytes and payloads padded");
    }

    fn payload(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.body.extend_from_slice(part);
        }
        self.body.resize(self.body.len().next_multiple_of(8), 0);
    }
}

/// The first 64 bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Length of the whole frame with its padding.
    pub(super) len: u32,
    /// Log sequence number.
    pub(super) lsn: u64,
    /// Salt of the segment that the frame was written to.
    pub(super) salt: [u8; 16],
    /// Number of ops.
    pub(super) ops: u32,
    /// None are known.
    pub(super) flags: u32,
    /// Bytes of ops.
    pub(super) body_len: u64,
    /// Digest of the header before it, and of the body.
    pub(super) digest: [u8; 16],
}

impl FrameHeader {
    /// Reads a header; `None` where there is none.
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER_LEN]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (lsn, rest) = rest.split_first_chunk::<8>()?;
        let (salt, rest) = rest.split_first_chunk::<16>()?;
        let (ops, rest) = rest.split_first_chunk::<4>()?;
        let (flags, rest) = rest.split_first_chunk::<4>()?;
        let (body_len, rest) = rest.split_first_chunk::<8>()?;
        let (digest, _) = rest.split_first_chunk::<16>()?;
        (magic == MAGIC).then(|| Self {
            len: u32::from_be_bytes(*len),
            lsn: u64::from_be_bytes(*lsn),
            salt: *salt,
            ops: u32::from_be_bytes(*ops),
            flags: u32::from_be_bytes(*flags),
            body_len: u64::from_be_bytes(*body_len),
            digest: *digest,
        })
    }

    /// Whether `body` is what this header was made for.
    pub(super) fn fits(&self, body: &[u8]) -> bool {
        crypto::frame_digest(&[self.encode().split_at(DIGEST_AT).0, body]) == self.digest
    }

    pub(super) fn encode(&self) -> [u8; FRAME_HEADER_LEN] {
        let parts: [&[u8]; 8] = [
            MAGIC,
            &self.len.to_be_bytes(),
            &self.lsn.to_be_bytes(),
            &self.salt,
            &self.ops.to_be_bytes(),
            &self.flags.to_be_bytes(),
            &self.body_len.to_be_bytes(),
            &self.digest,
        ];
        parts.concat().try_into().expect("the fields add up to the header")
    }
}

fn unit_len(unit: u64) -> usize {
    usize::try_from(unit).expect("units are pages or sectors")
}

/// Frames start and end on pages, so that no write ever touches the page of an earlier frame.
pub(super) const PAGE: u64 = 4096;
/// Bytes of [`FrameHeader`].
pub(super) const FRAME_HEADER_LEN: usize = 64;
/// Bytes of an object's payload before its path.
pub(super) const OBJECT_FIXED_LEN: usize = 26;
const MAGIC: &[u8; 4] = b"EOBF";
const DIGEST_AT: usize = 48;
const PATH_MAX: usize = u16::MAX as usize;
