//! What a power cut leaves of an object that was never synced: its beginning.
//!
//! Nobody was promised anything of such an object, but programs look into what they left half done, and an error would
//! stop them for ever. So it is opened as if it ended before the first block that is not sound. The stored file stays
//! as it is until somebody writes to the object.
//!
//! A block is sound if it is stored and authenticates. Where the tag pages are not the current set, some may be older
//! than others; then a hole is not sound either, because there may have been a block.

use super::{
    Inner, LiveObject, Result,
    read::as_len,
    tags::{LoadError, read_tags},
};
use crate::{engine::scratch, object::Accumulator};

/// What was found of the tag pages.
struct Pages {
    /// Segments before the first whose tag page is not authentic.
    sound: u64,
    /// They are all there, and the current ones.
    current: bool,
}

impl LiveObject {
    /// Hides what follows the sound beginning of the object; whether all of it is sound. Objects longer than the limit
    /// for checks at opening have their blocks checked when they are read.
    pub(super) fn keep_sound(&self) -> Result<bool> {
        let mut inner = self.write_lock();
        let pages = self.check_pages(&inner)?;
        let (blocks, whole) = (self.sound_blocks(&mut inner, &pages)?, inner.state.size);
        let kept = whole.min(blocks.saturating_mul(self.geometry.block_size()));
        if pages.current && kept == whole {
            return Ok(true);
        }
        self.hide_from(&mut inner, kept)?;
        log::warn!(
            "object `{}`: was never synced, and of its {whole} bytes a crash left {kept}; see `verify --salvage` \
             before you write to it",
            self.node.path().display()
        );
        Ok(false)
    }

    fn check_pages(&self, inner: &Inner) -> Result<Pages> {
        let (mut sum, mut g, segments) =
            (Accumulator::default(), 1, self.geometry.segments(inner.state.size));
        while g < segments {
            if let Some(run) = inner.state.null_extents.run_of(g) {
                g = run.end;
                continue;
            }
            match read_tags(&inner.file, &inner.keys, &inner.identity, g) {
                Ok(tags) => sum.add(&tags.term.unwrap_or_default()),
                Err(LoadError::Format(_)) => return Ok(Pages { sound: g, current: false }),
                Err(LoadError::Io(error)) => return Err(error.into()),
            }
            g += 1;
        }
        let current = !inner.identity.accumulated || sum == inner.state.accumulator;
        Ok(Pages { sound: segments, current })
    }

    /// Number of blocks before the first that is not sound.
    fn sound_blocks(&self, inner: &mut Inner, pages: &Pages) -> Result<u64> {
        let most = self.geometry.blocks(inner.state.size).min(self.geometry.first_block(pages.sound));
        let thorough = inner.state.size <= self.budget.limits().strict_open;
        let mut i = 0;
        while i < most {
            let (g, slot) = self.geometry.segment_of(i);
            if let Some(run) = inner.state.null_extents.run_of(g) {
                i = self.geometry.first_block(run.end);
                continue;
            }
            self.load_segment(inner, g)?;
            let hole = inner.tags.get(g).is_none_or(|tags| tags.segment.stamp(slot).is_hole());
            let sound = if hole { pages.current } else { self.is_stored(inner, i, thorough)? };
            if !sound {
                return Ok(i);
            }
            i += 1;
        }
        Ok(most)
    }

    /// Whether block `i` is there and, if asked, authenticates.
    fn is_stored(&self, inner: &Inner, i: u64, opens: bool) -> Result<bool> {
        let (offset, len) = (self.geometry.block_offset(i), self.geometry.block_len(i, inner.state.size));
        if offset + len > inner.stored_len || !opens {
            return Ok(offset + len <= inner.stored_len);
        }
        let (g, slot) = self.geometry.segment_of(i);
        let tags = inner.tags.get(g).expect("the caller loaded it");
        scratch::with_plain(as_len(len), |plain| {
            scratch::with(as_len(len), |sealed| {
                let got = inner.file.read_at(sealed, offset)?;
                let opened = tags.cipher(&inner.keys).open(i, &tags.segment.stamp(slot), sealed, plain);
                Ok(got == sealed.len() && opened.is_ok())
            })
        })
    }

    /// Lets the object end at `size`, without a look at what follows. Nothing is unsaved by that.
    fn hide_from(&self, inner: &mut Inner, size: u64) -> Result<()> {
        let segments = self.geometry.segments(size);
        inner.tags.split_off(segments);
        inner.state.null_extents.remove(segments..u64::MAX);
        inner.state.accumulator = self.sum_of(inner, segments)?;
        self.load_segment(inner, segments - 1)?;
        self.end_at(inner, size);
        Ok(())
    }
}
