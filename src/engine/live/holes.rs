//! Holes: punching, zeroing, finding them.

use super::{Inner, LiveObject, Result, Sync, read::as_len, tags::Stored};
use crate::object::Stamp;

impl LiveObject {
    /// Makes `len` bytes from `offset` read as zeroes and gives their space back. Does not change the size.
    pub(crate) fn punch(&self, offset: u64, len: u64) -> Result<()> {
        self.require_key()?;
        let (mut at, end) = (offset, offset.saturating_add(len));
        while at < end {
            let next = (at / PUNCH_STEP + 1).saturating_mul(PUNCH_STEP).min(end);
            let next = self.end_of_hole(at).map_or(next, |hole| hole.clamp(next, end));
            self.punch_some(at, next - at)?;
            if self.read_lock().tags.are_many_dirty() {
                self.commit(Sync::Settled)?;
            }
            at = next;
            if at >= self.size() {
                break;
            }
        }
        Ok(())
    }

    /// Where the null extent that holds `offset` ends.
    fn end_of_hole(&self, offset: u64) -> Option<u64> {
        let inner = self.read_lock();
        let bs = self.geometry.block_size();
        let run = inner.state.null_extents.run_of(self.geometry.segment_of(offset / bs).0)?;
        Some(self.geometry.first_block(run.end).saturating_mul(bs))
    }

    fn punch_some(&self, offset: u64, len: u64) -> Result<()> {
        let mut inner = self.write_lock();
        inner.require_writable()?;
        let end = offset.saturating_add(len).min(inner.state.size);
        if offset >= end {
            return Ok(());
        }
        let bs = self.geometry.block_size();
        let at_end = end == inner.state.size;
        let first = offset.div_ceil(bs);
        let last = if at_end { self.geometry.blocks(end) } else { end / bs };
        if first > last {
            self.zero_part(&mut inner, offset / bs, offset % bs, end - offset)?;
        } else {
            if !offset.is_multiple_of(bs) {
                self.zero_part(&mut inner, offset / bs, offset % bs, bs - offset % bs)?;
            }
            self.punch_blocks(&mut inner, first, last)?;
            if !at_end && !end.is_multiple_of(bs) {
                self.zero_part(&mut inner, last, 0, end % bs)?;
            }
        }
        inner.touch();
        Ok(())
    }

    fn zero_part(&self, inner: &mut Inner, i: u64, skip: u64, len: u64) -> Result<()> {
        self.load_segment(inner, self.geometry.segment_of(i).0)?;
        let hole = matches!(inner.stored_block(&self.geometry, i), Stored::Hole);
        if hole && !inner.dirty.contains(i) {
            return Ok(());
        }
        self.load_block(inner, i)?;
        if let Some(block) = inner.dirty.get_mut(i) {
            block.bytes_mut().get_mut(as_len(skip)..as_len(skip + len)).unwrap_or_default().fill(0);
        }
        Ok(())
    }

    /// Makes the blocks `first..last` holes.
    fn punch_blocks(&self, inner: &mut Inner, first: u64, last: u64) -> Result<()> {
        inner.dirty.remove_range(first..last);
        let mut i = first;
        while i < last {
            let (g, slot) = self.geometry.segment_of(i);
            if let Some(run) = inner.state.null_extents.run_of(g) {
                i = self.geometry.first_block(run.end);
                continue;
            }
            self.load_segment(inner, g)?;
            let end = as_len(self.geometry.slots(g)).min(slot + as_len(last - i));
            self.punch_slots(inner, g, slot..end);
            i += (end - slot) as u64;
        }
        Ok(())
    }

    fn punch_slots(&self, inner: &mut Inner, g: u64, slots: std::ops::Range<usize>) {
        let Some(tags) = inner.tags.get_mut(g) else { return };
        let first = self.geometry.first_block(g);
        for slot in slots.clone() {
            if !tags.segment.stamp(slot).is_hole() {
                tags.segment.set_stamp(slot, Stamp::HOLE);
                tags.dirty = true;
            }
        }
        inner.freed.push(first + slots.start as u64..first + slots.end as u64);
        inner.mark_unsaved();
    }

    /// Stored ranges of punched blocks, of those that were not written again since.
    pub(super) fn freed_ranges(&self, inner: &Inner) -> Vec<std::ops::Range<u64>> {
        let mut ranges = Vec::new();
        for run in &inner.freed {
            let mut i = run.start;
            while i < run.end {
                let holes = (i..run.end)
                    .take_while(|i| matches!(inner.stored_block(&self.geometry, *i), Stored::Hole))
                    .count() as u64;
                if holes > 0 {
                    let start = self.geometry.block_offset(i);
                    ranges.push(start..start + holes * self.geometry.block_size());
                }
                i += holes.max(1);
            }
        }
        ranges
    }

    /// The next data (`true`) or hole (`false`) at or after `offset`; `None` past the end. The end counts as a hole.
    pub(crate) fn seek(&self, offset: u64, data: bool) -> Result<Option<u64>> {
        let mut inner = self.write_lock();
        let size = inner.state.size;
        if offset >= size {
            return Ok(None);
        }
        let bs = self.geometry.block_size();
        let (mut i, blocks) = (offset / bs, self.geometry.blocks(size));
        while i < blocks {
            let (g, _) = self.geometry.segment_of(i);
            if let Some(run) = inner.state.null_extents.run_of(g) {
                let end = self.geometry.first_block(run.end).min(blocks);
                let unsaved = inner.dirty.next_from(i).filter(|unsaved| *unsaved < end);
                match (data, unsaved) {
                    (false, Some(unsaved)) if unsaved == i => i += 1,
                    (false, _) => return Ok(Some(offset.max(i * bs))),
                    (true, Some(unsaved)) => return Ok(Some(offset.max(unsaved * bs))),
                    (true, None) => i = end,
                }
                continue;
            }
            self.load_segment(&mut inner, g)?;
            let present =
                inner.dirty.contains(i) || matches!(inner.stored_block(&self.geometry, i), Stored::Sealed);
            if present == data {
                return Ok(Some(offset.max(i * bs)));
            }
            i += 1;
        }
        Ok(if data { None } else { Some(size) })
    }
}

/// Bytes punched at a time; between the steps the object may be saved.
const PUNCH_STEP: u64 = 64 << 20;
