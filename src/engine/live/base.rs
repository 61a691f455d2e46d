//! What the store is known to hold of an object after a power cut: which places must not be overwritten in place.

use super::{Inner, tags::Stored};
use crate::{engine::defects::Defect, object::Geometry};

/// The last state of the object that a crash must not destroy.
pub(super) enum Base {
    /// There is none: the object was made here and has no header yet, or its bucket has no journal.
    Free,
    /// The last commit. What it references is overwritten through the journal only.
    Committed {
        /// Its number of blocks.
        blocks: u64,
        /// The lowest block cut away since: from there on the commit references what the tags no longer show.
        cut: u64,
    },
}

/// What was promised of the object's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Nothing: it was made here and never synced. Only the end of the daemon must not harm it.
    Nothing,
    /// Its header does not tell whether it was ever synced: it is treated with the care of one that was, and its first
    /// sync flushes all of it.
    Unknown,
    /// It was synced.
    Made,
}

impl Base {
    /// A commit of `blocks` blocks, nothing cut since.
    pub(super) fn committed(blocks: u64) -> Self {
        Self::Committed { blocks, cut: u64::MAX }
    }

    pub(super) fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }

    /// Notes that the blocks from `first` on were cut away.
    pub(super) fn cut_at(&mut self, first: u64) {
        if let Self::Committed { cut, .. } = self {
            *cut = first.min(*cut);
        }
    }
}

impl Inner {
    /// Whether the last commit references the place of block `i`. Its tags are loaded where it has any.
    pub(super) fn is_referenced(&self, geometry: &Geometry, i: u64) -> bool {
        match self.base {
            Base::Free => false,
            Base::Committed { blocks, cut } => {
                let (g, slot) = geometry.segment_of(i);
                i < blocks
                    && (i >= cut || self.tags.get(g).is_some_and(|tags| tags.committed >> slot & 1 == 1))
            }
        }
    }

    /// Whether block `i` may be written in place now: nothing that a crash must keep is there, and nothing that is
    /// logged but not yet applied could be written over it later.
    pub(super) fn may_store(&self, geometry: &Geometry, i: u64) -> bool {
        if self.dirty.limits().defects.has(Defect::FreshByMemory) {
            return matches!(self.stored_block(geometry, i), Stored::Hole);
        }
        self.pending.is_empty() && !self.is_referenced(geometry, i)
    }

    /// Makes what the tags show now the base.
    pub(super) fn rebase(&mut self, geometry: &Geometry) {
        self.base = Base::committed(geometry.blocks(self.state.size));
        self.tags.committed();
    }
}
