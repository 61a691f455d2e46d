//! Writing: long runs of whole blocks are sealed and stored at once, everything else is kept as unsaved plaintext.

use std::io::IoSlice;

use super::{Inner, LiveObject, Result, Sync, blocks::Block, read::as_len, tags::Stored};
use crate::{
    engine::{EngineError, scratch},
    object::{Nonces, Stamp},
};

/// What one step of a write did.
struct Written {
    len: usize,
    end: u64,
    must_save: bool,
}

/// From this many bytes of whole blocks on, a write goes straight to the store.
const DIRECT_BYTES: u64 = 64 * 1024;

impl LiveObject {
    /// Writes `data` at `offset` (`None`: at the end); the number of bytes, short only when the store refused the rest.
    pub(crate) fn write_at(&self, offset: Option<u64>, data: &[u8]) -> Result<usize> {
        self.require_key()?;
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let outcome = self.write_some(at, rest).and_then(|written| {
                at = Some(written.end);
                rest = rest.split_at(written.len).1;
                if written.must_save { self.commit(Sync::Settled) } else { Ok(()) }
            });
            match outcome {
                Err(error) if rest.len() == data.len() => return Err(error),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        Ok(data.len() - rest.len())
    }

    /// Writes as much of `data` as memory allows before something must be saved.
    fn write_some(&self, offset: Option<u64>, data: &[u8]) -> Result<Written> {
        let mut inner = self.write_lock();
        let offset = offset.unwrap_or(inner.state.size);
        let end = offset.checked_add(data.len() as u64).ok_or(EngineError::TooLarge)?;
        if end > self.geometry.max_size() {
            return Err(EngineError::TooLarge);
        }
        inner.require_writable()?;
        if end > inner.state.size {
            self.finish_tail(&mut inner, end)?;
        }
        let mut done = 0;
        let outcome = self.write_pieces(&mut inner, offset, data, &mut done);
        if done > 0 {
            inner.grow(&self.geometry, offset + done as u64);
            inner.touch();
        }
        if outcome.is_err() {
            let segments = self.geometry.segments(inner.state.size);
            inner.tags.split_off(segments);
        }
        self.limit_null_extents(&mut inner)?;
        match outcome {
            Err(error) if done == 0 => Err(error),
            _ => {
                let must_save = self.budget.is_spent(inner.dirty.bytes()) || inner.tags.are_many_dirty();
                Ok(Written { len: done, end: offset + done as u64, must_save })
            }
        }
    }

    fn write_pieces(&self, inner: &mut Inner, offset: u64, data: &[u8], done: &mut usize) -> Result<()> {
        let bs = self.geometry.block_size();
        while let Some(rest) = data.get(*done..).filter(|rest| !rest.is_empty()) {
            let at = offset + *done as u64;
            let (i, skip) = (at / bs, at % bs);
            let whole = rest.len() as u64 / bs;
            let whole =
                if skip == 0 && whole * bs >= DIRECT_BYTES { self.storable(inner, i, whole)? } else { 0 };
            *done += if whole > 0 {
                self.store_run(inner, i, whole, rest)?
            } else {
                self.keep_block(inner, i, as_len(skip), rest)?
            };
            if self.budget.is_spent(inner.dirty.bytes()) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// How many of the `most` blocks from `first` on, within one segment, may be stored in place.
    fn storable(&self, inner: &mut Inner, first: u64, most: u64) -> Result<u64> {
        let (g, slot) = self.geometry.segment_of(first);
        self.load_segment(inner, g)?;
        let most = most.min(self.geometry.slots(g) - slot as u64);
        let fit = (first..first + most).take_while(|i| inner.may_store(&self.geometry, *i)).count();
        Ok(fit as u64)
    }

    /// Seals whole blocks from `first` on, within one segment, and stores them; the number of bytes taken.
    fn store_run(&self, inner: &mut Inner, first: u64, blocks: u64, data: &[u8]) -> Result<usize> {
        let bs = as_len(self.geometry.block_size());
        let (g, slot) = self.geometry.segment_of(first);
        self.announce_growth(inner)?;
        self.prepare_segment(inner, g, blocks)?;
        let plaintext = data.get(..as_len(blocks) * bs).expect("the caller counted whole blocks");
        let Inner { keys, tags, file, .. } = inner;
        let tags = tags.get_mut(g).expect("just prepared");
        scratch::with(plaintext.len(), |buffer| {
            let mut nonces = Nonces::draw(as_len(blocks))?;
            for ((at, block), plain) in
                buffer.chunks_exact_mut(bs).enumerate().zip(plaintext.chunks_exact(bs))
            {
                tags.seal(keys, (first + at as u64, slot + at), &mut nonces, plain, block)?;
            }
            Ok::<_, EngineError>(file.write_at(&[IoSlice::new(buffer)], self.geometry.block_offset(first))?)
        })
        .inspect_err(|_| self.forget_run(inner, first, blocks))?;
        inner.note_stored(self.geometry.block_offset(first), plaintext.len());
        inner.dirty.remove_range(first..first + blocks);
        inner.mark_unsaved();
        Ok(plaintext.len())
    }

    /// After a failed store of a run: what lies there is neither old nor new, so it becomes a hole rather than an
    /// error for ever. The writer was told.
    fn forget_run(&self, inner: &mut Inner, first: u64, blocks: u64) {
        for i in first..first + blocks {
            let (g, slot) = self.geometry.segment_of(i);
            if let Some(tags) = inner.tags.get_mut(g) {
                tags.segment.set_stamp(slot, Stamp::HOLE);
                tags.dirty = true;
            }
        }
        inner.mark_unsaved();
    }

    /// Takes what of `data` falls into block `i` from byte `skip` on into unsaved plaintext.
    fn keep_block(&self, inner: &mut Inner, i: u64, skip: usize, data: &[u8]) -> Result<usize> {
        let bs = as_len(self.geometry.block_size());
        let len = data.len().min(bs - skip);
        let (piece, _) = data.split_at(len);
        if len == bs && !inner.dirty.contains(i) {
            inner.dirty.insert(i, Block::zero(self.geometry.block_size()));
        } else {
            self.load_block(inner, i)?;
        }
        let block = inner.dirty.get_mut(i).expect("just put there");
        block.bytes_mut().get_mut(skip..skip + len).expect("inside the block").copy_from_slice(piece);
        inner.mark_unsaved();
        Ok(len)
    }

    /// Makes block `i` unsaved plaintext, decrypting what is stored.
    pub(super) fn load_block(&self, inner: &mut Inner, i: u64) -> Result<()> {
        if inner.dirty.contains(i) {
            return Ok(());
        }
        let g = self.geometry.segment_of(i).0;
        self.load_segment(inner, g)?;
        let mut block = Block::zero(self.geometry.block_size());
        if let Some(logged) = inner.dirty.shown(i) {
            block.bytes_mut().copy_from_slice(logged.bytes());
        } else if let Stored::Sealed = inner.stored_block(&self.geometry, i) {
            self.open_block(inner, i, block.bytes_mut())?;
        }
        inner.dirty.insert(i, block);
        inner.mark_unsaved();
        Ok(())
    }

    pub(super) fn load_segment(&self, inner: &mut Inner, g: u64) -> Result<()> {
        let most = self.budget.tag_pages_for_one();
        inner.load_tags(&self.geometry, &(g..=g), most).map_err(|error| self.load_failed(error))
    }

    /// Makes segment `g` ready for `more` sealed blocks: loaded or made, and with a salt that lasts.
    pub(super) fn prepare_segment(&self, inner: &mut Inner, g: u64, more: u64) -> Result<()> {
        self.load_segment(inner, g)?;
        let tags = inner.tags_for_writing(&self.geometry, g)?;
        // It is about to change, and must not be let go from memory while others are made ready.
        tags.dirty = true;
        if !tags.segment.is_worn(more) {
            return Ok(());
        }
        let first = self.geometry.first_block(g);
        let present: Vec<u64> = tags.segment.present().map(|slot| first + slot as u64).collect();
        for i in present {
            self.load_block(inner, i)?;
        }
        Ok(inner.tags_for_writing(&self.geometry, g)?.replace_salt()?)
    }

    /// Before the object grows past its last, partly filled block: that block is sealed anew with its new length.
    pub(super) fn finish_tail(&self, inner: &mut Inner, new_size: u64) -> Result<()> {
        let (bs, size) = (self.geometry.block_size(), inner.state.size);
        let tail = size / bs;
        if size % bs == 0 || new_size <= size || inner.dirty.contains(tail) {
            return Ok(());
        }
        self.load_segment(inner, self.geometry.segment_of(tail).0)?;
        match inner.stored_block(&self.geometry, tail) {
            Stored::Hole | Stored::Unknown => Ok(()),
            Stored::Sealed => self.load_block(inner, tail),
        }
    }
}

impl Inner {
    pub(super) fn require_writable(&self) -> Result<()> {
        if self.writable { Ok(()) } else { Err(EngineError::os(libc::EBADF)) }
    }
}
