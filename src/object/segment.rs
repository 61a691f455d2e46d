//! A segment's tags: one stamp a block, the salt of the segment key, and how often it was used.
//!
//! Segment 0 stands in the header page; every other segment in a tag page of its own (format section 10.3).
#![allow(clippy::indexing_slicing, reason = "constant ranges of fixed-size pages")]

use super::{FormatError, Geometry, Page};

/// Bytes of a segment salt.
pub const SALT_LEN: usize = 16;
/// Bytes of entries in the header page.
pub(super) const SEGMENT0_BYTES: u64 = 1512;
/// Block encryptions after which a salt must be replaced (2^31, so that random nonces do not collide).
const SALT_LIFE: u64 = 1 << 31;

/// Nonce and tag of one layer of one block; all zero means the block is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The nonce; never all zero for a block that is there.
    pub nonce: [u8; 12],
    /// The authentication tag.
    pub tag: [u8; 16],
}

impl Stamp {
    /// Bytes of a stored stamp.
    pub const LEN: usize = 28;
    /// The stamp of a block that was never written.
    pub const HOLE: Self = Self { nonce: [0; 12], tag: [0; 16] };

    /// Whether it marks a hole.
    pub fn is_hole(&self) -> bool {
        *self == Self::HOLE
    }

    fn encode(&self, out: &mut [u8; Self::LEN]) {
        let (nonce, tag) = out.split_at_mut(12);
        nonce.copy_from_slice(&self.nonce);
        tag.copy_from_slice(&self.tag);
    }

    fn decode(bytes: &[u8; Self::LEN]) -> Self {
        let [nonce @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *bytes;
        let [_, _, _, _, _, _, _, _, _, _, _, _, tag @ ..] = *bytes;
        Self { nonce, tag }
    }
}

/// Tags of the blocks of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    index: u64,
    /// Commit number of the last change (not stored for segment 0).
    pub generation: u64,
    /// Block encryptions under the current salt.
    pub writes: u64,
    /// Salt of the segment key.
    pub salt: [u8; SALT_LEN],
    stamps: Box<[Stamp]>,
    stride: usize,
}

impl Segment {
    /// A segment of holes with a fresh salt.
    pub fn empty(geometry: &Geometry, index: u64) -> Result<Self, crate::crypto::CryptoError> {
        Ok(Self { salt: crate::crypto::random()?, ..Self::blank(geometry, index) })
    }

    /// A segment of holes without a salt: segment 0 of an object in which nothing was written.
    pub fn blank(geometry: &Geometry, index: u64) -> Self {
        let slots = usize::try_from(geometry.slots(index)).expect("at most 128 slots");
        let stride = if geometry.wide() { 2 * Stamp::LEN } else { Stamp::LEN };
        let stamps = vec![Stamp::HOLE; slots].into_boxed_slice();
        Self { index, generation: 0, writes: 0, salt: [0; SALT_LEN], stamps, stride }
    }

    /// Which segment this is.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The stamp in `slot`; a slot past the end is a hole.
    pub fn stamp(&self, slot: usize) -> Stamp {
        self.stamps.get(slot).copied().unwrap_or(Stamp::HOLE)
    }

    /// Replaces the stamp in `slot`.
    pub fn set_stamp(&mut self, slot: usize, stamp: Stamp) {
        *self.stamps.get_mut(slot).expect("slots come from the geometry") = stamp;
    }

    /// Makes every slot from `slot` on a hole; whether anything changed.
    pub fn clear_from(&mut self, slot: usize) -> bool {
        let Some(tail) = self.stamps.get_mut(slot..) else { return false };
        let changed = tail.iter().any(|stamp| !stamp.is_hole());
        tail.fill(Stamp::HOLE);
        changed
    }

    /// Slots that hold a block.
    pub fn present(&self) -> impl Iterator<Item = usize> + '_ {
        self.stamps.iter().enumerate().filter(|(_, stamp)| !stamp.is_hole()).map(|(slot, _)| slot)
    }

    /// Whether `more` encryptions would wear the salt out, so that it must be replaced first.
    pub fn is_worn(&self, more: u64) -> bool {
        self.writes.saturating_add(more) > SALT_LIFE
    }

    /// Writes the stamps into an entry area.
    pub(super) fn encode_stamps(&self, area: &mut [u8]) {
        for (stamp, entry) in self.stamps.iter().zip(area.chunks_exact_mut(self.stride)) {
            if let Some(first) = entry.first_chunk_mut() {
                stamp.encode(first);
            }
        }
    }

    /// Reads stamps from an entry area; bytes that no single-layer object sets must be zero.
    pub(super) fn decode_stamps(&mut self, area: &[u8]) -> Result<(), FormatError> {
        let used = self.stamps.len() * self.stride;
        let (entries, slack) = area.split_at_checked(used).ok_or(FormatError::Malformed("entries"))?;
        for (stamp, entry) in self.stamps.iter_mut().zip(entries.chunks_exact(self.stride)) {
            let (first, second) = entry.split_first_chunk().ok_or(FormatError::Malformed("entries"))?;
            *stamp = Stamp::decode(first);
            let half_zero = stamp.nonce == [0; 12] && stamp.tag != [0; 16];
            if half_zero || second.iter().any(|b| *b != 0) {
                return Err(FormatError::Malformed("entries"));
            }
        }
        if slack.iter().any(|b| *b != 0) {
            return Err(FormatError::Malformed("bytes after the entries"));
        }
        Ok(())
    }

    /// The tag page of this segment (at least 1), its MAC still zero.
    pub(super) fn encode_page(&self) -> Box<Page> {
        let mut page = Box::new([0; 4096]);
        page[0..4].copy_from_slice(b"EOBT");
        page[8..16].copy_from_slice(&self.index.to_be_bytes());
        page[16..24].copy_from_slice(&self.generation.to_be_bytes());
        page[24..32].copy_from_slice(&self.writes.to_be_bytes());
        page[32..48].copy_from_slice(&self.salt);
        self.encode_stamps(&mut page[512..]);
        page
    }

    /// Reads a tag page whose MAC was checked.
    pub(super) fn decode_page(geometry: &Geometry, index: u64, page: &Page) -> Result<Self, FormatError> {
        let bad = FormatError::TagPage(index);
        if page[0..4] != *b"EOBT" || page[4..8] != [0; 4] || page[8..16] != index.to_be_bytes() {
            return Err(bad);
        }
        if page[48..480].iter().any(|b| *b != 0) {
            return Err(bad);
        }
        let mut segment = Self::blank(geometry, index);
        segment.generation = u64::from_be_bytes(page[16..24].try_into().expect("8 bytes"));
        segment.writes = u64::from_be_bytes(page[24..32].try_into().expect("8 bytes"));
        segment.salt = page[32..48].try_into().expect("16 bytes");
        segment.decode_stamps(&page[512..]).map_err(|_| bad)?;
        Ok(segment)
    }
}
