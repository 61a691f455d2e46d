//! Where block `i` lies: pure arithmetic, format section 10.1.
//!
//! A header page, the inline segment 0 of `N0` blocks, then segments of one tag page and `N` blocks each.

use super::segment::SEGMENT0_BYTES;

/// Bytes of a header or tag page.
pub const PAGE: u64 = 4096;
/// Bytes of a tag page that hold entries.
const ENTRY_AREA: u64 = 3584;

/// A block size: a power of two from 4 KiB to 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockSize(u8);

impl BlockSize {
    /// 4 KiB, the default on a local store.
    pub const DEFAULT: Self = Self(12);

    /// From its base-2 logarithm (12 to 20).
    pub fn from_log2(log2: u8) -> Option<Self> {
        (12..=20).contains(&log2).then_some(Self(log2))
    }

    /// From a number of bytes.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        if !bytes.is_power_of_two() {
            return None;
        }
        u8::try_from(bytes.trailing_zeros()).ok().and_then(Self::from_log2)
    }

    /// The base-2 logarithm.
    pub fn log2(self) -> u8 {
        self.0
    }

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        1 << self.0
    }
}

/// The layout of every object of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    block: BlockSize,
    header_pages: u8,
    wide: bool,
}

impl Geometry {
    /// Geometry with one header page; `wide` leaves room for two layers of nonce and tag.
    pub fn new(block: BlockSize, wide: bool) -> Self {
        Self { block, header_pages: 1, wide }
    }

    /// The same layout with `pages` header pages (1 to 16).
    pub(super) fn with_header_pages(self, pages: u8) -> Self {
        Self { header_pages: pages, ..self }
    }

    /// Bytes in a block.
    pub fn block_size(&self) -> u64 {
        self.block.bytes()
    }

    /// The block size as such.
    pub fn block(&self) -> BlockSize {
        self.block
    }

    /// Whether entries have room for two layers.
    pub fn wide(&self) -> bool {
        self.wide
    }

    /// Header pages.
    pub fn header_pages(&self) -> u8 {
        self.header_pages
    }

    /// Bytes before the first block.
    pub fn header_len(&self) -> u64 {
        u64::from(self.header_pages) * PAGE
    }

    fn entry_len(&self) -> u64 {
        if self.wide { 56 } else { 28 }
    }

    /// Number of blocks in segment `g` (54 or 27 in segment 0, else 128 or 64).
    pub fn slots(&self, g: u64) -> u64 {
        if g == 0 { SEGMENT0_BYTES / self.entry_len() } else { ENTRY_AREA / self.entry_len() }
    }

    /// Segment and slot of block `i`.
    pub fn segment_of(&self, i: u64) -> (u64, usize) {
        let (first, rest) = (self.slots(0), self.slots(1));
        let (g, slot) = if i < first { (0, i) } else { (1 + (i - first) / rest, (i - first) % rest) };
        (g, usize::try_from(slot).expect("a slot is below 128"))
    }

    /// First block of segment `g`.
    pub fn first_block(&self, g: u64) -> u64 {
        if g == 0 { 0 } else { self.slots(0) + (g - 1) * self.slots(1) }
    }

    /// Stored offset of the tag page of segment `g` (at least 1).
    pub fn tag_page_offset(&self, g: u64) -> u64 {
        self.header_len()
            + self.slots(0) * self.block_size()
            + (g - 1) * (PAGE + self.slots(1) * self.block_size())
    }

    /// Stored offset of block `i`: always a multiple of 4096.
    pub fn block_offset(&self, i: u64) -> u64 {
        let (g, slot) = self.segment_of(i);
        let start = if g == 0 { self.header_len() } else { self.tag_page_offset(g) + PAGE };
        start + slot as u64 * self.block_size()
    }

    /// Number of blocks of an object of `size` bytes.
    pub fn blocks(&self, size: u64) -> u64 {
        size.div_ceil(self.block_size())
    }

    /// Number of segments of an object of `size` bytes (the inline one counts).
    pub fn segments(&self, size: u64) -> u64 {
        match self.blocks(size) {
            0 => 1,
            n => self.segment_of(n - 1).0 + 1,
        }
    }

    /// Bytes of plaintext in block `i` of an object of `size` bytes.
    pub fn block_len(&self, i: u64, size: u64) -> u64 {
        size.saturating_sub(i * self.block_size()).min(self.block_size())
    }

    /// Exact stored length of an object of `size` bytes (at most [`Geometry::max_size`]).
    pub fn stored_len(&self, size: u64) -> u64 {
        match self.blocks(size) {
            0 => self.header_len(),
            n => self.block_offset(n - 1) + size - (n - 1) * self.block_size(),
        }
    }

    /// Plaintext size of a stored length; `None` where no object has that length. Unauthenticated.
    pub fn plain_len(&self, stored: u64) -> Option<u64> {
        let body = stored.checked_sub(self.header_len())?;
        let inline = self.slots(0) * self.block_size();
        if body <= inline {
            return Some(body);
        }
        let full = self.slots(1) * self.block_size();
        let (segments, rest) = ((body - inline - 1) / (PAGE + full), (body - inline - 1) % (PAGE + full) + 1);
        let data = rest.checked_sub(PAGE).filter(|data| *data > 0)?;
        Some(inline + segments * full + data)
    }

    /// Largest plaintext size whose stored length fits a signed 64-bit file offset.
    pub fn max_size(&self) -> u64 {
        let full = self.slots(1) * self.block_size();
        let room = i64::MAX as u64 - self.header_len() - self.slots(0) * self.block_size();
        self.slots(0) * self.block_size() + room / (PAGE + full) * full
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_geometry() -> impl Strategy<Value = Geometry> {
        (12u8..=20, any::<bool>())
            .prop_map(|(log2, wide)| Geometry::new(BlockSize::from_log2(log2).unwrap(), wide))
    }

    #[test]
    fn only_powers_of_two_from_4_kib_to_1_mib_are_block_sizes() {
        assert_eq!(BlockSize::from_bytes(4096), Some(BlockSize::DEFAULT));
        assert_eq!(BlockSize::from_bytes(1 << 20).map(BlockSize::bytes), Some(1 << 20));
        for bad in [0, 1, 2048, 4097, 12288, 2 << 20] {
            assert_eq!(BlockSize::from_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_counts_are_those_of_the_format() {
        let (single, dual) =
            (Geometry::new(BlockSize::DEFAULT, false), Geometry::new(BlockSize::DEFAULT, true));
        assert_eq!((single.slots(0), single.slots(1)), (54, 128));
        assert_eq!((dual.slots(0), dual.slots(1)), (27, 64));
        assert_eq!(single.stored_len(0), 4096);
        assert_eq!(single.stored_len(300_000), 308_192);
    }

    #[test]
    fn a_length_inside_a_tag_page_belongs_to_no_object() {
        let geometry = Geometry::new(BlockSize::DEFAULT, false);
        let full = geometry.stored_len(54 * 4096);
        assert_eq!(geometry.plain_len(full), Some(54 * 4096));
        for stored in [full + 1, full + 4095, full + 4096] {
            assert_eq!(geometry.plain_len(stored), None);
        }
        assert_eq!(geometry.plain_len(full + 4097), Some(54 * 4096 + 1));
        assert_eq!(geometry.plain_len(4095), None);
    }

    proptest! {
        #[test]
        fn stored_and_plain_lengths_are_inverse(geometry in any_geometry(), size in any::<u64>()) {
            let size = size % (geometry.max_size() + 1);
            let stored = geometry.stored_len(size);
            prop_assert!(i64::try_from(stored).is_ok());
            prop_assert_eq!(geometry.plain_len(stored), Some(size));
        }

        #[test]
        fn blocks_are_page_aligned_and_do_not_overlap(geometry in any_geometry(), i in 0u64..1 << 40) {
            let i = i % geometry.blocks(geometry.max_size()).saturating_sub(1).max(1);
            let (here, next) = (geometry.block_offset(i), geometry.block_offset(i + 1));
            prop_assert_eq!(here % PAGE, 0);
            prop_assert!(next == here + geometry.block_size() || next == here + geometry.block_size() + PAGE);
            let (g, slot) = geometry.segment_of(i);
            prop_assert_eq!(geometry.first_block(g) + slot as u64, i);
        }
    }
}
