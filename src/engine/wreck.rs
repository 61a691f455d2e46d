//! A damaged object whose data key still unwraps: what of it authenticates can be copied out.

use std::ops::Range;

use super::Result;
use crate::{
    crypto::Zeroizing,
    object::{Accumulator, FormatError, Header, ObjectKeys, PAGE, Segment, SegmentCipher},
    store::FileRef,
};

/// A damaged object, open for copying.
pub(super) struct Wreck {
    file: FileRef,
    header: Header,
    keys: ObjectKeys,
    size: u64,
    authentic: bool,
}

/// What copying a wreck gave.
#[derive(Default)]
pub(super) struct Copied {
    /// Bytes that were copied.
    pub(super) recovered: u64,
    /// Byte ranges that are lost, ascending and apart.
    pub(super) lost: Vec<Range<u64>>,
    /// Every tag page is authentic, but together they are not the current set.
    pub(super) stale: bool,
}

impl Wreck {
    /// A wreck with this `header` in `file`, of which `start` are the first bytes.
    pub(super) fn new(file: FileRef, start: &[u8], header: Header, keys: ObjectKeys) -> Result<Self> {
        let stored = file.stat()?.size;
        let proven = start.first_chunk().is_some_and(|page| {
            Header::decode(start).is_ok_and(|header| keys.check_header(page, &header).is_ok())
        });
        let size = if proven { header.state.size } else { size_of(&header, stored) };
        Ok(Self { file, header, keys, size, authentic: proven })
    }

    /// Plaintext bytes: proven by the header, or else what the stored length makes likely.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether the header proves the size and the holes.
    pub(super) fn is_authentic(&self) -> bool {
        self.authentic
    }

    /// Writes every block that authenticates to its place in `out`; what is lost stays a hole.
    pub(super) fn copy(&self, out: &FileRef, progress: &mut dyn FnMut(u64)) -> Result<Copied> {
        let geometry = &self.header.identity.geometry;
        let (mut copied, mut sum, mut pages_lost) = (Copied::default(), Accumulator::default(), false);
        let segments = geometry.segments(self.size);
        let mut g = 0;
        while g < segments {
            if let Some(run) = self.header.state.null_extents.run_of(g) {
                g = run.end;
                continue;
            }
            if let Some(segment) = self.segment(g, &mut sum) {
                self.copy_segment(&segment, out, &mut copied, progress)?;
            } else {
                pages_lost = true;
                let bs = geometry.block_size();
                let end = geometry.first_block(g + 1).saturating_mul(bs).min(self.size);
                copied.lose(geometry.first_block(g) * bs..end);
            }
            g += 1;
        }
        let kept = self.authentic && self.header.identity.accumulated;
        copied.stale = kept && !pages_lost && sum != self.header.state.accumulator;
        out.set_len(self.size)?;
        out.sync_all()?;
        Ok(copied)
    }

    /// The tags of segment `g`; `None` when its page is not authentic. Those of segment 0 stand in the header, and
    /// are tried even if that is not.
    fn segment(&self, g: u64, sum: &mut Accumulator) -> Option<Segment> {
        if g == 0 {
            return Some(self.header.segment0.clone());
        }
        let mut page = [0; 4096];
        let offset = self.header.identity.geometry.tag_page_offset(g);
        let got = self.file.read_at(&mut page, offset).ok()?;
        let segment = self.keys.open_segment(&self.header.identity, g, &page).ok();
        let segment = segment.filter(|_| got == page.len())?;
        sum.add(&self.keys.accumulator_term(g, &page));
        Some(segment)
    }

    fn copy_segment(
        &self,
        segment: &Segment,
        out: &FileRef,
        copied: &mut Copied,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let geometry = &self.header.identity.geometry;
        let cipher = self.keys.segment_cipher(segment.index(), &segment.salt);
        let first = geometry.first_block(segment.index());
        for slot in segment.present() {
            let i = first + slot as u64;
            let len = geometry.block_len(i, self.size);
            let at = i * geometry.block_size();
            if len == 0 {
                break;
            }
            match self.open_block(&cipher, segment, (i, slot), len) {
                Some(plain) => {
                    out.write_at(&[std::io::IoSlice::new(&plain)], at)?;
                    copied.recovered += len;
                }
                None => copied.lose(at..at + len),
            }
            progress(len);
        }
        Ok(())
    }

    /// Block `i`, which stands in `slot`; a disk that cannot read it has lost it like one that altered it.
    fn open_block(
        &self,
        cipher: &SegmentCipher,
        segment: &Segment,
        (i, slot): (u64, usize),
        len: u64,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut sealed = vec![0; usize::try_from(len).ok()?];
        let mut plain = Zeroizing::new(sealed.clone());
        let offset = self.header.identity.geometry.block_offset(i);
        let got = self.file.read_at(&mut sealed, offset).ok()?;
        let opened: std::result::Result<(), FormatError> =
            cipher.open(i, &segment.stamp(slot), &sealed, &mut plain);
        opened.ok().filter(|()| got == sealed.len()).map(|()| plain)
    }
}

impl Copied {
    fn lose(&mut self, range: Range<u64>) {
        match self.lost.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.lost.push(range),
        }
    }
}

/// The plaintext size that a stored length stands for; of a length inside a tag page, the one just before it.
pub(super) fn size_of(header: &Header, stored: u64) -> u64 {
    let geometry = &header.identity.geometry;
    let whole = |cut| geometry.plain_len(stored.checked_sub(cut)?);
    (0..=PAGE).find_map(whole).unwrap_or(0).min(geometry.max_size())
}
