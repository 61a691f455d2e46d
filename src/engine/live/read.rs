//! Reading: unsaved plaintext where there is some, else one read per run of stored blocks and straight into place.

use super::{Inner, LiveObject, Result, tags::Stored};
use crate::{
    engine::scratch,
    object::{FormatError, Geometry},
};

impl LiveObject {
    /// Decrypts from `offset` into `out`; the number of bytes, short only at the end of the object.
    ///
    /// A block that fails authentication fails the whole call: nothing of it is handed out.
    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        self.require_key()?;
        let mut inner = self.read_lock();
        let Some((len, segments)) = self.clip(&inner, offset, out.len()) else { return Ok(0) };
        if !inner.has_tags(&self.geometry, &segments) {
            drop(inner);
            let mut writer = self.write_lock();
            let Some((_, segments)) = self.clip(&writer, offset, len) else { return Ok(0) };
            writer
                .load_tags(&self.geometry, &segments, self.budget.tag_pages_for_one())
                .map_err(|error| self.load_failed(error))?;
            inner = std::sync::RwLockWriteGuard::downgrade(writer);
        }
        let Some((len, _)) = self.clip(&inner, offset, len) else { return Ok(0) };
        let out = out.get_mut(..len).expect("clipped to the buffer");
        let result = self.read_range(&inner, offset, out);
        if result.is_err() {
            out.fill(0);
        }
        result.map(|()| len)
    }

    /// Bytes of the request inside the object, and the segments it touches.
    fn clip(&self, inner: &Inner, offset: u64, len: usize) -> Option<(usize, std::ops::RangeInclusive<u64>)> {
        let left = inner.state.size.checked_sub(offset).filter(|left| *left > 0)?;
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        let last = offset + (len as u64).checked_sub(1)?;
        let bs = self.geometry.block_size();
        Some((len, self.geometry.segment_of(offset / bs).0..=self.geometry.segment_of(last / bs).0))
    }

    fn read_range(&self, inner: &Inner, mut offset: u64, mut out: &mut [u8]) -> Result<()> {
        let bs = self.geometry.block_size();
        while !out.is_empty() {
            let (i, skip) = (offset / bs, as_len(offset % bs));
            let done = if let Some(block) = inner.dirty.shown(i) {
                copy_prefix(out, block.bytes().get(skip..).unwrap_or_default())
            } else {
                match inner.stored_block(&self.geometry, i) {
                    Stored::Hole => fill_prefix(out, as_len(bs) - skip),
                    Stored::Sealed => self.read_run(inner, i, skip, out)?,
                    Stored::Unknown => unreachable!("tags were loaded for the whole range"),
                }
            };
            offset += done as u64;
            out = out.get_mut(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads and opens the stored blocks from `first` on that `out` covers and that lie side by side.
    fn read_run(&self, inner: &Inner, first: u64, skip: usize, out: &mut [u8]) -> Result<usize> {
        let (bs, size) = (self.geometry.block_size(), inner.state.size);
        let wanted = (skip + out.len()).min(STEP).div_ceil(as_len(bs));
        let blocks = inner.run_len(&self.geometry, first, wanted);
        let last = first + blocks as u64 - 1;
        let stored = as_len((last - first) * bs + self.geometry.block_len(last, size));
        scratch::with(stored, |ciphertext| {
            let got = inner.file.read_at(ciphertext, self.geometry.block_offset(first))?;
            let mut done = 0;
            for at in 0..blocks {
                let i = first + at as u64;
                let start = at * as_len(bs);
                let len = as_len(self.geometry.block_len(i, size));
                let sealed = ciphertext.get(start..start + len).filter(|_| start + len <= got);
                let sealed = sealed.ok_or_else(|| self.damaged(FormatError::Block(i)))?;
                let skip = if at == 0 { skip } else { 0 };
                let target = out.get_mut(done..).unwrap_or_default();
                done += self.open_into(inner, i, sealed, skip, target)?;
            }
            Ok(done)
        })
    }

    /// Opens one block into the front of `target`, leaving out its first `skip` bytes.
    fn open_into(
        &self,
        inner: &Inner,
        i: u64,
        sealed: &[u8],
        skip: usize,
        target: &mut [u8],
    ) -> Result<usize> {
        let (g, slot) = self.geometry.segment_of(i);
        let tags = inner.tags.get(g).expect("the run came from loaded tags");
        let stamp = &tags.segment.stamp(slot);
        let cipher = tags.cipher(&inner.keys);
        match target.get_mut(..sealed.len()) {
            Some(whole) if skip == 0 => {
                cipher.open(i, stamp, sealed, whole).map_err(|error| self.damaged(error))?;
                Ok(sealed.len())
            }
            _ => scratch::with_plain(sealed.len(), |plain| {
                cipher.open(i, stamp, sealed, plain).map_err(|error| self.damaged(error))?;
                Ok(copy_prefix(target, plain.get(skip..).unwrap_or_default()))
            }),
        }
    }

    /// Decrypts the whole of stored block `i` into `plain`, which is zero and as long as a block.
    pub(super) fn open_block(&self, inner: &Inner, i: u64, plain: &mut [u8]) -> Result<()> {
        let len = as_len(self.geometry.block_len(i, inner.state.size));
        let target = plain.get_mut(..len).expect("a block holds its content");
        scratch::with(len, |ciphertext| {
            let got = inner.file.read_at(ciphertext, self.geometry.block_offset(i))?;
            if got < len {
                return Err(self.damaged(FormatError::Block(i)));
            }
            self.open_into(inner, i, ciphertext, 0, target).map(drop)
        })
    }
}

/// Bytes read at a time: few enough to be in the processor's nearer caches still when they are opened.
const STEP: usize = 128 * 1024;

impl Inner {
    /// Number of stored, saved blocks side by side from `first` on, at most `most` and within one segment.
    fn run_len(&self, geometry: &Geometry, first: u64, most: usize) -> usize {
        let (g, slot) = geometry.segment_of(first);
        let tags = self.tags.get(g).expect("the caller saw its tags");
        let end = as_len(geometry.slots(g)).min(slot + most);
        let held = |i| !self.dirty.is_empty() && self.dirty.shown(i).is_some();
        (slot..end)
            .zip(first..geometry.blocks(self.state.size))
            .take_while(|(slot, i)| !tags.segment.stamp(*slot).is_hole() && !held(*i))
            .count()
    }
}

pub(super) fn as_len(n: u64) -> usize {
    usize::try_from(n).expect("in-memory lengths fit")
}

fn copy_prefix(out: &mut [u8], from: &[u8]) -> usize {
    let len = out.len().min(from.len());
    let ((to, _), (from, _)) = (out.split_at_mut(len), from.split_at(len));
    to.copy_from_slice(from);
    len
}

fn fill_prefix(out: &mut [u8], len: usize) -> usize {
    let (to, _) = out.split_at_mut(len.min(out.len()));
    to.fill(0);
    to.len()
}
