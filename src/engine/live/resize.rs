//! Growing and cutting: sizes, the segments they bring or take, and null extents.

use super::{
    Inner, LiveObject, Result,
    read::as_len,
    tags::{Stored, Tags, read_tags},
};
use crate::{
    engine::EngineError,
    object::{Accumulator, Geometry, Segment},
};

impl LiveObject {
    /// Sets the size: cuts, or extends with a hole.
    pub(crate) fn set_size(&self, size: u64) -> Result<()> {
        self.set_size_with(size, |_, _| true)
    }

    /// Sets the size if `wanted(current, size)` still holds once the object is ours alone.
    fn set_size_with(&self, size: u64, wanted: impl Fn(u64, u64) -> bool) -> Result<()> {
        self.require_key()?;
        if size > self.geometry.max_size() {
            return Err(EngineError::TooLarge);
        }
        let mut inner = self.write_lock();
        inner.require_writable()?;
        if !wanted(inner.state.size, size) {
            return Ok(());
        }
        if size > inner.state.size {
            self.finish_tail(&mut inner, size)?;
            inner.grow(&self.geometry, size);
            self.limit_null_extents(&mut inner)?;
        } else if size < inner.state.size {
            self.cut(&mut inner, size)?;
        }
        inner.touch();
        Ok(())
    }

    /// Makes the object at least `size` bytes long.
    pub(crate) fn grow_to(&self, size: u64) -> Result<()> {
        if self.size() < size { self.set_size_with(size, |now, wanted| now < wanted) } else { Ok(()) }
    }

    fn cut(&self, inner: &mut Inner, size: u64) -> Result<()> {
        let bs = self.geometry.block_size();
        if !size.is_multiple_of(bs) {
            self.cut_tail(inner, size / bs, as_len(size % bs))?;
        }
        let segments = self.geometry.segments(size);
        self.load_segment(inner, segments - 1)?;
        self.drop_segments(inner, segments)?;
        self.end_at(inner, size);
        Ok(())
    }

    /// Lets the object end at `size`, in its last segment, which is loaded.
    pub(super) fn end_at(&self, inner: &mut Inner, size: u64) {
        let (blocks, last) = (self.geometry.blocks(size), self.geometry.segments(size) - 1);
        inner.dirty.remove_range(blocks..u64::MAX);
        inner.base.cut_at(blocks);
        inner.state.size = size;
        let slot = as_len(blocks - self.geometry.first_block(last));
        if let Some(tags) = inner.tags.get_mut(last) {
            tags.dirty |= tags.segment.clear_from(slot);
        }
    }

    /// The new last block keeps its first `len` bytes; the rest must read as zero if the object grows again.
    fn cut_tail(&self, inner: &mut Inner, tail: u64, len: usize) -> Result<()> {
        self.load_segment(inner, self.geometry.segment_of(tail).0)?;
        if !inner.dirty.contains(tail) && matches!(inner.stored_block(&self.geometry, tail), Stored::Hole) {
            return Ok(());
        }
        self.load_block(inner, tail)?;
        if let Some(block) = inner.dirty.get_mut(tail) {
            block.bytes_mut().get_mut(len..).unwrap_or_default().fill(0);
        }
        Ok(())
    }

    /// Reserves room in the store for the bytes of a range, tag pages included.
    pub(crate) fn reserve(&self, offset: u64, len: u64) -> Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= self.geometry.max_size());
        let end = end.ok_or(EngineError::TooLarge)?;
        let start = self.geometry.block_offset(offset / self.geometry.block_size());
        let file = self.write_lock().file.clone();
        Ok(file.reserve(start, self.geometry.stored_len(end).saturating_sub(start))?)
    }

    /// Forgets segments from `first` on and takes their terms out of the accumulator: by subtraction, or by summing
    /// what stays where that is less to read.
    fn drop_segments(&self, inner: &mut Inner, first: u64) -> Result<()> {
        let old = self.geometry.segments(inner.state.size);
        let gone = inner.tags.split_off(first);
        if first <= old - first.min(old) {
            inner.state.accumulator = self.sum_of(inner, first)?;
        } else {
            let known: std::collections::HashSet<u64> = gone.iter().map(|t| t.segment.index()).collect();
            for term in gone.iter().filter_map(|tags| tags.term) {
                inner.state.accumulator.subtract(&term);
            }
            for g in (first..old).filter(|g| !known.contains(g)) {
                if let Some(term) = self.term_of(inner, g)? {
                    inner.state.accumulator.subtract(&term);
                }
            }
        }
        inner.state.null_extents.remove(first..u64::MAX);
        Ok(())
    }

    /// The accumulator of the segments before `end`.
    pub(super) fn sum_of(&self, inner: &Inner, end: u64) -> Result<Accumulator> {
        let mut sum = Accumulator::default();
        for g in 1..end {
            if let Some(term) = self.term_of(inner, g)? {
                sum.add(&term);
            }
        }
        Ok(sum)
    }

    /// The accumulator term of segment `g` as last saved; `None` for a hole or a segment never saved.
    fn term_of(&self, inner: &Inner, g: u64) -> Result<Option<[u8; 32]>> {
        if let Some(tags) = inner.tags.get(g) {
            return Ok(tags.term);
        }
        if inner.state.null_extents.contains(g) {
            return Ok(None);
        }
        let tags = read_tags(&inner.file, &inner.keys, &inner.identity, g)
            .map_err(|error| self.load_failed(error))?;
        Ok(tags.term)
    }

    /// Keeps the number of null extents within what a header holds, by giving tag pages to the shortest ones.
    pub(super) fn limit_null_extents(&self, inner: &mut Inner) -> Result<()> {
        while inner.state.null_extents.overflows() {
            let Some(run) = inner.state.null_extents.shortest() else { return Ok(()) };
            for (count, g) in run.clone().enumerate() {
                let tags = Tags::fresh(Segment::empty(&self.geometry, g)?);
                inner.state.null_extents.remove(g..g + 1);
                inner.tags.insert(tags);
                inner.mark_unsaved();
                if count % PAGES_BETWEEN_SAVES == PAGES_BETWEEN_SAVES - 1 {
                    self.store_fresh_pages(inner)?;
                }
            }
        }
        Ok(())
    }
}

/// New tag pages kept in memory while a long hole gets its pages.
const PAGES_BETWEEN_SAVES: usize = 256;

impl Inner {
    /// Notes a larger size; the segments in between become a null extent where nothing was written to them.
    pub(super) fn grow(&mut self, geometry: &Geometry, size: u64) {
        if size <= self.state.size {
            return;
        }
        let (old, new) = (geometry.segments(self.state.size), geometry.segments(size));
        self.state.size = size;
        self.mark_unsaved();
        if new > old {
            let made: Vec<u64> = self.tags.indices_in(old..new);
            self.state.null_extents.insert(old..new);
            for g in made {
                self.state.null_extents.remove(g..g + 1);
            }
        }
    }
}
