//! Saving: unsaved blocks are sealed and stored, then tag pages, then the header that names them.

use std::io::IoSlice;

use super::{Inner, LiveObject, Result, read::as_len};
use crate::{engine::scratch, object::Header};

/// How far a commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// To the backing file system: safe from a crash of the daemon, not from a power cut.
    Store,
    /// To the disk, as `fdatasync`.
    Data,
    /// To the disk with all attributes, as `fsync`.
    All,
}

/// Sealed blocks at the start of the object that are stored together with the header, at most this many bytes.
const WITH_HEADER: usize = 64 * 1024;
/// Most bytes of blocks in one write.
const RUN_BYTES: usize = 1 << 20;

impl LiveObject {
    /// Saves what is unsaved and, if asked, waits for the disk.
    pub(crate) fn commit(&self, sync: Sync) -> Result<()> {
        let file = {
            let mut inner = self.write_lock();
            if sync != Sync::Store && inner.state.birth && inner.writable {
                inner.state.birth = false;
                inner.mark_unsaved();
            }
            self.save(&mut inner)?;
            inner.file.clone()
        };
        match sync {
            Sync::Store => Ok(()),
            Sync::Data => Ok(file.sync_data()?),
            Sync::All => Ok(file.sync_all()?),
        }
    }

    /// Stores everything unsaved. On failure nothing is forgotten: the next save stores all of it again.
    pub(super) fn save(&self, inner: &mut Inner) -> Result<()> {
        if inner.unsaved_since.is_none() {
            return Ok(());
        }
        let mtime = match inner.mtime {
            Some(written) => written,
            None => inner.file.stat()?.mtime,
        };
        let head = self.save_blocks(inner)?;
        self.limit_null_extents(inner)?;
        self.save_tag_pages(inner)?;
        self.save_header(inner, &head)?;
        self.fit_length(inner)?;
        self.give_back(inner)?;
        inner.file.set_mtime(mtime)?;
        inner.mtime = None;
        inner.dirty.clear();
        inner.tags.mark_saved();
        inner.unsaved_since = None;
        Ok(())
    }

    /// Seals and stores the unsaved blocks, run by run. A short run right behind the header is handed back instead,
    /// sealed, to be stored together with it.
    fn save_blocks(&self, inner: &mut Inner) -> Result<Vec<u8>> {
        self.prepare_dirty_segments(inner)?;
        let mut head = Vec::new();
        let indices = inner.dirty.indices();
        let mut rest = indices.as_slice();
        while let Some(run) = self.next_run(&mut rest) {
            let len = self.run_bytes(inner, run);
            scratch::with(len, |buffer| {
                let offset = self.seal_run(inner, run, buffer)?;
                if offset == self.geometry.header_len() && len <= WITH_HEADER {
                    head.extend_from_slice(buffer);
                    return Ok(());
                }
                self.put(inner, &[buffer], offset)
            })?;
        }
        Ok(head)
    }

    /// Loads or makes the segments of all unsaved blocks; a worn segment makes more blocks unsaved.
    fn prepare_dirty_segments(&self, inner: &mut Inner) -> Result<()> {
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
    fn next_run<'a>(&self, rest: &mut &'a [u64]) -> Option<&'a [u64]> {
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

    fn run_bytes(&self, inner: &Inner, run: &[u64]) -> usize {
        run.iter().map(|i| as_len(self.geometry.block_len(*i, inner.state.size))).sum()
    }

    /// Seals the blocks of `run` into `buffer`; their stored offset.
    fn seal_run(&self, inner: &mut Inner, run: &[u64], mut buffer: &mut [u8]) -> Result<u64> {
        let first = *run.first().expect("runs are not empty");
        for i in run {
            let (g, slot) = self.geometry.segment_of(*i);
            let len = as_len(self.geometry.block_len(*i, inner.state.size));
            let Inner { tags, dirty, keys, .. } = &mut *inner;
            let (target, rest) = buffer.split_at_mut(len);
            let plain = dirty.get(*i).expect("runs name unsaved blocks").bytes();
            target.copy_from_slice(plain.split_at(len).0);
            tags.get_mut(g).expect("prepared").seal(keys, *i, slot, target)?;
            buffer = rest;
        }
        Ok(self.geometry.block_offset(first))
    }

    /// Stores the changed tag pages and brings the accumulator up to date.
    pub(super) fn save_tag_pages(&self, inner: &mut Inner) -> Result<()> {
        for g in inner.tags.dirty_pages() {
            let Inner { tags, keys, state, .. } = &mut *inner;
            let tags = tags.get_mut(g).expect("it was listed");
            tags.segment.generation = state.generation + 1;
            let page = keys.seal_segment(&tags.segment);
            let term = keys.accumulator_term(g, &page);
            if let Some(old) = tags.term.replace(term) {
                state.accumulator.subtract(&old);
            }
            state.accumulator.add(&term);
            self.put(inner, &[page.as_slice()], self.geometry.tag_page_offset(g))?;
        }
        Ok(())
    }

    fn save_header(&self, inner: &mut Inner, head: &[u8]) -> Result<()> {
        inner.state.generation += 1;
        let header = Header {
            identity: inner.identity.clone(),
            state: inner.state.clone(),
            keys: inner.key_section.clone(),
            segment0: inner.tags.segment0().segment.clone(),
        };
        let page = inner.keys.seal_header(&header).map_err(|error| self.damaged(error))?;
        self.put(inner, &[page.as_slice(), head], 0)
    }

    fn fit_length(&self, inner: &mut Inner) -> Result<()> {
        let wanted = self.geometry.stored_len(inner.state.size);
        if inner.stored_len != wanted {
            inner.file.set_len(wanted)?;
            inner.stored_len = wanted;
        }
        Ok(())
    }

    fn put(&self, inner: &mut Inner, parts: &[&[u8]], offset: u64) -> Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut slices = parts.iter().map(|part| IoSlice::new(part)).collect::<Vec<_>>();
        slices.retain(|slice| !slice.is_empty());
        inner.file.write_at(&slices, offset)?;
        inner.stored_len = inner.stored_len.max(offset + len as u64);
        Ok(())
    }
}
