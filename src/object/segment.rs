//! A segment's tags: one stamp a block, the salt of the segment key, and how often it was used.
//!
//! Segment 0 stands in the header page; every other segment in a tag page of its own (format section 10.3).
#![allow(clippy::indexing_slicing, reason = "constant ranges of fixed-size pages")]

use super::{FormatError, Geometry, Identity, Page};

/// Bytes of a segment salt.
pub const SALT_LEN: usize = 16;
/// Bytes of entries in the header page.
pub(super) const SEGMENT0_BYTES: u64 = 1512;
/// Block encryptions after which a salt must be replaced (2^31, so that random nonces do not collide).
const SALT_LIFE: u64 = 1 << 31;

/// Nonce and tag of one block; all zero means the block is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The nonce; never all zero for a block that is there.
    pub nonce: [u8; 12],
    /// The authentication tag.
    pub tag: [u8; 16],
    /// Nonce and tag of the outer layer, where there is one.
    pub outer: Option<OuterStamp>,
}

/// Nonce and tag of the outer layer of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OuterStamp {
    /// The nonce; never all zero.
    pub nonce: [u8; 12],
    /// The authentication tag.
    pub tag: [u8; 16],
}

impl Stamp {
    /// Stored bytes of one layer.
    pub const LEN: usize = 28;
    /// The stamp of a block that was never written.
    pub const HOLE: Self = Self { nonce: [0; 12], tag: [0; 16], outer: None };

    /// Whether it marks a hole.
    pub fn is_hole(&self) -> bool {
        *self == Self::HOLE
    }

    /// Writes an entry of one layer or, in wide geometry, of two.
    fn encode(&self, entry: &mut [u8]) {
        let (inner, outer) = entry.split_at_mut(Self::LEN);
        inner[..12].copy_from_slice(&self.nonce);
        inner[12..].copy_from_slice(&self.tag);
        match self.outer {
            Some(stamp) => {
                outer[..12].copy_from_slice(&stamp.nonce);
                outer[12..].copy_from_slice(&stamp.tag);
            }
            None => outer.fill(0),
        }
    }

    fn decode(entry: &[u8]) -> Self {
        let (inner, outer) = entry.split_at(Self::LEN);
        let (nonce, tag) = halves(inner);
        let outer = outer.iter().any(|b| *b != 0).then(|| {
            let (nonce, tag) = halves(outer);
            OuterStamp { nonce, tag }
        });
        Self { nonce, tag, outer }
    }

    /// Whether it is a hole, or has a nonce in each layer that the object has, and nothing else.
    fn is_sound(&self, dual: bool) -> bool {
        let nonces = self.nonce != [0; 12] && self.outer.is_none_or(|outer| outer.nonce != [0; 12]);
        self.is_hole() || (nonces && self.outer.is_some() == dual)
    }
}

/// Nonce and tag of one layer of an entry.
fn halves(layer: &[u8]) -> ([u8; 12], [u8; 16]) {
    (layer[..12].try_into().expect("12 bytes"), layer[12..].try_into().expect("16 bytes"))
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
    /// As stored, [`Segment::stride`] bytes for each slot.
    entries: Box<[u8]>,
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
        let entries = vec![0; slots * stride].into_boxed_slice();
        Self { index, generation: 0, writes: 0, salt: [0; SALT_LEN], entries, stride }
    }

    /// Which segment this is.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The stamp in `slot`; a slot past the end is a hole.
    pub fn stamp(&self, slot: usize) -> Stamp {
        let entry = slot.checked_mul(self.stride).and_then(|at| self.entries.get(at..at + self.stride));
        entry.map_or(Stamp::HOLE, Stamp::decode)
    }

    /// Replaces the stamp in `slot`.
    pub fn set_stamp(&mut self, slot: usize, stamp: Stamp) {
        let at = slot * self.stride;
        stamp.encode(self.entries.get_mut(at..at + self.stride).expect("slots come from the geometry"));
    }

    /// Makes every slot from `slot` on a hole; whether anything changed.
    pub fn clear_from(&mut self, slot: usize) -> bool {
        let Some(tail) = self.entries.get_mut(slot * self.stride..) else { return false };
        let changed = tail.iter().any(|byte| *byte != 0);
        tail.fill(0);
        changed
    }

    /// Slots that hold a block.
    pub fn present(&self) -> impl Iterator<Item = usize> + '_ {
        let entries = self.entries.chunks_exact(self.stride).enumerate();
        entries.filter(|(_, entry)| entry.iter().any(|byte| *byte != 0)).map(|(slot, _)| slot)
    }

    /// Whether `more` encryptions would wear the salt out, so that it must be replaced first.
    pub fn is_worn(&self, more: u64) -> bool {
        self.writes.saturating_add(more) > SALT_LIFE
    }

    /// Writes the stamps into an entry area.
    pub(super) fn encode_stamps(&self, area: &mut [u8]) {
        area[..self.entries.len()].copy_from_slice(&self.entries);
    }

    /// Reads stamps from an entry area of an object with two layers (`dual`) or one; bytes that such an object does not
    /// set must be zero. On an error the stamps before it are there.
    pub(super) fn decode_stamps(&mut self, area: &[u8], dual: bool) -> Result<(), FormatError> {
        let (entries, slack) =
            area.split_at_checked(self.entries.len()).ok_or(FormatError::Malformed("entries"))?;
        let slots = self.entries.chunks_exact_mut(self.stride);
        for (slot, entry) in slots.zip(entries.chunks_exact(self.stride)) {
            if !Stamp::decode(entry).is_sound(dual) {
                return Err(FormatError::Malformed("entries"));
            }
            slot.copy_from_slice(entry);
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
    pub(super) fn decode_page(identity: &Identity, index: u64, page: &Page) -> Result<Self, FormatError> {
        let bad = FormatError::TagPage(index);
        if page[0..4] != *b"EOBT" || page[4..8] != [0; 4] || page[8..16] != index.to_be_bytes() {
            return Err(bad);
        }
        if page[48..480].iter().any(|b| *b != 0) {
            return Err(bad);
        }
        let mut segment = Self::blank(&identity.geometry, index);
        segment.generation = u64::from_be_bytes(page[16..24].try_into().expect("8 bytes"));
        segment.writes = u64::from_be_bytes(page[24..32].try_into().expect("8 bytes"));
        segment.salt = page[32..48].try_into().expect("16 bytes");
        segment.decode_stamps(&page[512..], identity.is_dual()).map_err(|_| bad)?;
        Ok(segment)
    }
}
