//! A segment: one file of the journal, a header page and then frames.
//!
//! The header's salt says which frames are of this use of the file; what an earlier use left behind never counts.

use std::{
    ffi::OsStr,
    io::{self, IoSlice},
};

use super::{
    fault,
    frame::{FRAME_HEADER_LEN, Frame, FrameHeader, PAGE},
    op::{self, Op},
};
use crate::{
    crypto,
    name::FileName,
    store::{Access, Birth, FileRef, NodeRef},
};

/// One file of the journal, open.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) file: FileRef,
    /// Length of the file.
    pub(super) bytes: u64,
}

/// The first page of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) bucket_id: [u8; 16],
    /// Rises by one with each use of a segment; [`FREE`] when it is not in use.
    pub(super) seq: u64,
    pub(super) salt: [u8; 16],
    /// Number of the first frame; of a free segment, a number that no frame had yet.
    pub(super) first_lsn: u64,
}

/// What stands at a place where a frame may stand.
pub(super) enum Found {
    /// A whole frame.
    Frame(StoredFrame),
    /// The beginning of a frame of this segment, but not all of it.
    Torn,
    /// Nothing of this use of the segment.
    End,
}

/// A frame as read back, its digest checked.
pub(super) struct StoredFrame {
    pub(super) header: FrameHeader,
    body: Vec<u8>,
}

impl StoredFrame {
    /// The operations. That they are not well formed is no accident of a crash: the digest was right.
    pub(super) fn ops(&self) -> io::Result<Vec<Op<'_>>> {
        let known = if self.header.flags == 0 { op::parse(&self.body, self.header.ops) } else { None };
        known.ok_or_else(|| {
            fault("a journal frame has flags or operations that this program does not know; use a matching program")
        })
    }
}

impl Segment {
    /// The segment file number `index` in `wal`, where there is one.
    pub(super) fn open(wal: &NodeRef, index: usize) -> io::Result<Option<Self>> {
        match wal.lookup(&file_name(index)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => {
                let file = found?.0.open(Access::ReadWrite)?;
                let bytes = file.stat()?.size;
                Ok(Some(Self { file, bytes }))
            }
        }
    }

    /// Makes the segment file number `index` in `wal`, `bytes` long and full of zeros: a flush of a frame must never
    /// have to wait for the file system to record an allocation.
    pub(super) fn create(wal: &NodeRef, index: usize, bytes: u64) -> io::Result<Self> {
        let name = file_name(index);
        let owner = wal.stat()?;
        let birth = Birth { mode: 0o600, umask: 0, uid: owner.uid, gid: owner.gid };
        let (_, _, file) = wal.create_file(&name, &birth)?;
        if let Err(error) = fill_with_zeros(&file, bytes) {
            // The first error is the one to report; a leftover is removed by the next recovery.
            let _ = wal.unlink(&name);
            return Err(error);
        }
        wal.sync_dir()?;
        Ok(Self { file, bytes })
    }

    /// Writes `header`; not durable yet.
    pub(super) fn put_header(&self, header: &SegmentHeader) -> io::Result<()> {
        self.file.write_at(&[IoSlice::new(&header.encode())], 0)
    }

    /// The header; `None` where there is none, as after a crash while it was written.
    pub(super) fn header(&self) -> io::Result<Option<SegmentHeader>> {
        let mut page = [0; PAGE_LEN];
        if self.file.read_at(&mut page, 0)? < page.len() {
            return Ok(None);
        }
        SegmentHeader::parse(&page)
    }

    /// Writes `frame` at `position` as number `lsn`, padded to units of `unit` bytes; not durable yet.
    pub(super) fn put_frame(
        &self,
        frame: &Frame,
        position: u64,
        lsn: u64,
        salt: &[u8; 16],
        unit: u64,
    ) -> io::Result<()> {
        let len = frame.padded_len(unit);
        let header = frame.header(lsn, salt, u32::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?);
        let padding = [0; PAGE_LEN];
        let used = (header.len() + frame.body().len()) as u64;
        let padding = padding.split_at(usize::try_from(len - used).unwrap_or(0)).0;
        let parts = [IoSlice::new(&header), IoSlice::new(frame.body()), IoSlice::new(padding)];
        self.file.write_at(parts.split_at(if padding.is_empty() { 2 } else { 3 }).0, position)
    }

    /// What stands at `position`, when frames have the salt `salt` and start on multiples of `unit`.
    pub(super) fn frame_at(&self, position: u64, salt: &[u8; 16], unit: u64) -> io::Result<Found> {
        let mut bytes = [0; FRAME_HEADER_LEN];
        if self.file.read_at(&mut bytes, position)? < bytes.len() {
            return Ok(Found::End);
        }
        let Some(header) = FrameHeader::parse(&bytes).filter(|header| header.salt == *salt) else {
            return Ok(Found::End);
        };
        let Some(body_len) = self.body_len(&header, position, unit) else { return Ok(Found::Torn) };
        let mut body = vec![0; body_len];
        let whole = self.file.read_at(&mut body, position + FRAME_HEADER_LEN as u64)? == body_len;
        let found = whole && header.fits(&body);
        Ok(if found { Found::Frame(StoredFrame { header, body }) } else { Found::Torn })
    }

    /// The body's length, when both lengths of the header are possible here.
    fn body_len(&self, header: &FrameHeader, position: u64, unit: u64) -> Option<usize> {
        let len = u64::from(header.len);
        let used = header.body_len.checked_add(FRAME_HEADER_LEN as u64)?;
        let end = position.checked_add(len)?;
        let possible = end <= self.bytes && len <= MAX_SEGMENT && used.checked_next_multiple_of(unit)? == len;
        if possible { usize::try_from(header.body_len).ok() } else { None }
    }
}

impl SegmentHeader {
    fn encode(&self) -> [u8; PAGE_LEN] {
        let parts: [&[u8]; 6] = [
            MAGIC,
            &self.bucket_id,
            &self.seq.to_be_bytes(),
            &self.salt,
            &self.first_lsn.to_be_bytes(),
            &VERSION.to_be_bytes(),
        ];
        let mut page = parts.concat();
        page.extend(crypto::crc32c(&page).to_be_bytes());
        page.resize(PAGE_LEN, 0);
        page.try_into().expect("resized to a page")
    }

    fn parse(page: &[u8; PAGE_LEN]) -> io::Result<Option<Self>> {
        match Self::fields(page) {
            None => Ok(None),
            Some((VERSION, header)) if (1..=MOST_LSN).contains(&header.first_lsn) => Ok(Some(header)),
            Some((VERSION, _)) => Err(fault(
                "the journal counts its frames wrongly; move `.eob/wal` away and verify the bucket",
            )),
            Some(_) => Err(fault(
                "the journal has a version that this program does not know; use a matching program",
            )),
        }
    }

    fn fields(page: &[u8]) -> Option<(u32, Self)> {
        let (checked, rest) = page.split_at_checked(CRC_AT)?;
        let (crc, zeros) = rest.split_first_chunk::<4>()?;
        let (magic, rest) = checked.split_first_chunk::<8>()?;
        let (bucket_id, rest) = rest.split_first_chunk::<16>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (salt, rest) = rest.split_first_chunk::<16>()?;
        let (first_lsn, version) = rest.split_first_chunk::<8>()?;
        let sound = magic == MAGIC
            && crypto::crc32c(checked) == u32::from_be_bytes(*crc)
            && zeros.iter().all(|byte| *byte == 0);
        let header = Self {
            bucket_id: *bucket_id,
            seq: u64::from_be_bytes(*seq),
            salt: *salt,
            first_lsn: u64::from_be_bytes(*first_lsn),
        };
        sound.then_some((u32::from_be_bytes(version.try_into().ok()?), header))
    }
}

/// The name of segment file number `index`.
pub(super) fn file_name(index: usize) -> FileName {
    FileName::parse(OsStr::new(&format!("{index:08x}.wal"))).expect("a number and a suffix are a file name")
}

fn fill_with_zeros(file: &FileRef, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut at = 0;
    while at < bytes {
        let piece = usize::try_from(bytes - at).unwrap_or(ZEROS).min(ZEROS);
        file.write_at(&[IoSlice::new(zeros.split_at(piece).0)], at)?;
        at += piece as u64;
    }
    file.sync_all()
}

/// The sequence number of a segment that is not in use.
pub(super) const FREE: u64 = 0;
/// The longest segment, in bytes; bounds what is read into memory at once.
pub(super) const MAX_SEGMENT: u64 = 64 << 20;
/// No journal ever counts so far; leaves room to count on.
const MOST_LSN: u64 = u64::MAX / 2;
const MAGIC: &[u8; 8] = b"EOBWAL\x00\x01";
const VERSION: u32 = 1;
const CRC_AT: usize = 60;
const PAGE_LEN: usize = 4096;
const _: () = assert!(PAGE_LEN as u64 == PAGE, "one page, as a length in memory and in files");
/// Bytes of one write while a segment is made.
const ZEROS: usize = 1 << 20;
