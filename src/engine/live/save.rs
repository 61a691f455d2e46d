//! Saving in place: unsaved blocks are sealed and stored, then tag pages, and at last the header that names them.
//!
//! The header is one page, written by itself: whatever ends the daemon leaves all of it or nothing. A new object has
//! none before, so that it is either empty or whole.

use std::io::IoSlice;

use super::{Inner, LiveObject, Result, read::as_len, tags::Tags};
use crate::{
    engine::scratch,
    object::{Header, Nonces, PAGE, Page},
    store::Timestamp,
};

/// Most bytes of blocks in one write.
const RUN_BYTES: usize = 1 << 20;

impl LiveObject {
    /// Stores everything unsaved in place. On failure nothing is forgotten: the next save stores all of it again.
    pub(super) fn save(&self, inner: &mut Inner) -> Result<()> {
        if inner.unsaved_since.is_none() {
            return Ok(());
        }
        let mtime = inner.mtime_to_keep()?;
        self.save_blocks(inner)?;
        self.limit_null_extents(inner)?;
        self.store_pages(inner, |_| true)?;
        let stored_len = self.geometry.stored_len(inner.state.size);
        if stored_len > inner.stored_len.max(PAGE) {
            inner.fit_length(stored_len)?;
        }
        let header = self.next_header(inner)?;
        inner.put(header.as_slice(), 0)?;
        inner.fit_length(stored_len)?;
        for range in self.freed_ranges(inner) {
            inner.file.punch(range.start, range.end - range.start)?;
        }
        inner.file.set_mtime(mtime)?;
        inner.freed.clear();
        inner.mtime = None;
        inner.dirty.clear();
        inner.tags.stored();
        inner.tags.committed();
        inner.unsaved_since = None;
        Ok(())
    }

    /// Seals and stores the unsaved blocks, run by run.
    fn save_blocks(&self, inner: &mut Inner) -> Result<()> {
        self.prepare_dirty_segments(inner)?;
        let indices = inner.dirty.indices();
        let mut rest = indices.as_slice();
        while let Some(run) = self.next_run(&mut rest) {
            self.store_sealed(inner, run)?;
        }
        Ok(())
    }

    /// Seals the unsaved blocks of `run` and stores them in place.
    pub(super) fn store_sealed(&self, inner: &mut Inner, run: &[u64]) -> Result<()> {
        let len = self.run_bytes(inner, run);
        scratch::with(len, |buffer| {
            let offset = self.seal_run(inner, run, buffer)?;
            inner.put(buffer, offset)
        })
    }

    /// Loads or makes the segments of all unsaved blocks; a worn segment makes more blocks unsaved.
    pub(super) fn prepare_dirty_segments(&self, inner: &mut Inner) -> Result<()> {
        let mut counts = std::collections::BTreeMap::new();
        for i in inner.dirty.indices() {
            *counts.entry(self.geometry.segment_of(i).0).or_insert(0) += 1;
        }
        for (g, count) in counts {
            self.prepare_segment(inner, g, count)?;
        }
        Ok(())
    }

    /// Splits off the blocks that lie side by side in one segment and fit one write.
    pub(super) fn next_run<'a>(&self, rest: &mut &'a [u64]) -> Option<&'a [u64]> {
        let first = *rest.first()?;
        let g = self.geometry.segment_of(first).0;
        let most = (RUN_BYTES / as_len(self.geometry.block_size())).max(1);
        let len = rest
            .iter()
            .zip(first..)
            .take(most)
            .take_while(|(i, wanted)| *i == wanted && self.geometry.segment_of(**i).0 == g)
            .count();
        let (run, tail) = rest.split_at(len);
        *rest = tail;
        Some(run)
    }

    pub(super) fn run_bytes(&self, inner: &Inner, run: &[u64]) -> usize {
        run.iter().map(|i| as_len(self.geometry.block_len(*i, inner.state.size))).sum()
    }

    /// Seals the blocks of `run` into `buffer`; their stored offset.
    pub(super) fn seal_run(&self, inner: &mut Inner, run: &[u64], mut buffer: &mut [u8]) -> Result<u64> {
        let first = *run.first().expect("runs are not empty");
        let mut nonces = Nonces::draw(run.len())?;
        for i in run {
            let (g, slot) = self.geometry.segment_of(*i);
            let len = as_len(self.geometry.block_len(*i, inner.state.size));
            let Inner { tags, dirty, keys, .. } = &mut *inner;
            let (target, rest) = buffer.split_at_mut(len);
            let plain = dirty.get(*i).expect("runs name unsaved blocks").bytes();
            let (plain, _) = plain.split_at(len);
            tags.get_mut(g).expect("prepared").seal(keys, (*i, slot), &mut nonces, plain, target)?;
            buffer = rest;
        }
        Ok(self.geometry.block_offset(first))
    }

    /// Stores those changed tag pages in place that `which` picks.
    pub(super) fn store_pages(&self, inner: &mut Inner, which: impl Fn(&Tags) -> bool) -> Result<()> {
        for g in inner.tags.dirty_pages() {
            if inner.tags.get(g).is_some_and(&which) {
                let page = inner.next_page(g);
                inner.put(page.as_slice(), self.geometry.tag_page_offset(g))?;
            }
        }
        Ok(())
    }

    /// Stores the pages of segments that the last commit does not know, and lets them go from memory if need be.
    pub(super) fn store_fresh_pages(&self, inner: &mut Inner) -> Result<()> {
        if inner.pending.is_empty() {
            self.store_pages(inner, |tags| !tags.page_committed)?;
            inner.tags.stored_fresh();
        }
        Ok(())
    }

    /// The header page of the next commit.
    pub(super) fn next_header(&self, inner: &mut Inner) -> Result<Box<Page>> {
        inner.state.generation += 1;
        let header = Header {
            identity: inner.identity.clone(),
            state: inner.state.clone(),
            keys: inner.key_section.clone(),
            segment0: inner.tags.segment0().segment.clone(),
        };
        inner.keys.seal_header(&header).map_err(|error| self.damaged(error))
    }
}

impl Inner {
    /// The modification time to restore after storing: that of the last write, or the store's own.
    pub(super) fn mtime_to_keep(&self) -> Result<Timestamp> {
        Ok(match self.mtime {
            Some(written) => written,
            None => self.file.stat()?.mtime,
        })
    }

    /// The changed tag page of segment `g`, with the accumulator brought up to date.
    pub(super) fn next_page(&mut self, g: u64) -> Box<Page> {
        let Self { tags, keys, state, .. } = self;
        let tags = tags.get_mut(g).expect("changed segments are loaded");
        tags.segment.generation = state.generation + 1;
        let page = keys.seal_segment(&tags.segment);
        let term = keys.accumulator_term(g, &page);
        if let Some(old) = tags.term.replace(term) {
            state.accumulator.subtract(&old);
        }
        state.accumulator.add(&term);
        page
    }

    pub(super) fn fit_length(&mut self, wanted: u64) -> Result<()> {
        if self.stored_len != wanted {
            self.file.set_len(wanted)?;
            self.stored_len = wanted;
        }
        Ok(())
    }

    pub(super) fn put(&mut self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_at(&[IoSlice::new(bytes)], offset)?;
        self.note_stored(offset, bytes.len());
        Ok(())
    }
}
