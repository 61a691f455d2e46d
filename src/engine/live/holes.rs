//! Holes: punching, zeroing, finding them.

use super::{Inner, LiveObject, Result, read::as_len, tags::Stored};
use crate::object::Stamp;

impl LiveObject {
    /// Makes `len` bytes from `offset` read as zeroes and gives their space back. Does not change the size.
    pub(crate) fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let mut inner = self.write_lock();
        self.require_writable(&inner)?;
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
            if inner.tags.dirty_pages().len() > PAGES_BETWEEN_SAVES {
                self.save(inner)?;
            }
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

    /// Gives the space of punched blocks back, of those that were not written again since.
    pub(super) fn give_back(&self, inner: &mut Inner) -> Result<()> {
        for range in std::mem::take(&mut inner.freed) {
            let mut i = range.start;
            while i < range.end {
                let holes = (i..range.end)
                    .take_while(|i| matches!(inner.stored_block(&self.geometry, *i), Stored::Hole))
                    .count() as u64;
                if holes > 0 {
                    let len = holes * self.geometry.block_size();
                    inner.file.punch(self.geometry.block_offset(i), len)?;
                }
                i += holes.max(1);
            }
        }
        Ok(())
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

/// Changed tag pages kept in memory while a long range is punched.
const PAGES_BETWEEN_SAVES: usize = 256;
