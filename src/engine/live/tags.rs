//! The tags of an open object's segments, as far as they are loaded.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use super::{Budget, Inner};
use crate::{
    crypto::CryptoError,
    object::{FormatError, Geometry, Identity, Nonces, ObjectKeys, Page, SALT_LEN, Segment, SegmentCipher},
    store::FileRef,
};

/// Tags of one segment in memory.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each tells of another place: memory, list, commit, journal"
)]
pub(super) struct Tags {
    pub(super) segment: Segment,
    cipher: OnceLock<SegmentCipher>,
    /// What the accumulator holds for this segment; `None` for segment 0 and before its first save.
    pub(super) term: Option<[u8; 32]>,
    /// Differs from the store.
    pub(super) dirty: bool,
    /// In the list of those changed since the last commit.
    changed: bool,
    /// Slots that the last commit references, one bit each.
    pub(super) committed: u128,
    /// Whether the last commit references the tag page itself.
    pub(super) page_committed: bool,
    /// Logged in the journal and not yet stored in place, so that it must not be forgotten.
    logged: bool,
}

impl Tags {
    pub(super) fn stored(segment: Segment, term: Option<[u8; 32]>) -> Self {
        let mut tags = Self { term, dirty: false, ..Self::fresh(segment) };
        tags.note_commit();
        tags
    }

    pub(super) fn fresh(segment: Segment) -> Self {
        Self {
            segment,
            cipher: OnceLock::new(),
            term: None,
            dirty: true,
            changed: false,
            committed: 0,
            page_committed: false,
            logged: false,
        }
    }

    /// What the tags show now is what the last commit references.
    fn note_commit(&mut self) {
        self.committed = self.segment.present().fold(0, |bits, slot| bits | 1 << slot);
        self.page_committed = true;
    }

    pub(super) fn cipher(&self, keys: &ObjectKeys) -> &SegmentCipher {
        self.cipher.get_or_init(|| keys.segment_cipher(self.segment.index(), &self.segment.salt))
    }

    /// Seals block `i`, which stands in `slot` and is `plain`, into `out` and notes its stamp.
    pub(super) fn seal(
        &mut self,
        keys: &ObjectKeys,
        (i, slot): (u64, usize),
        nonces: &mut Nonces,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        if self.segment.salt == [0; SALT_LEN] {
            self.replace_salt()?;
        }
        let stamp = self.cipher(keys).seal(i, nonces, plain, out)?;
        self.segment.set_stamp(slot, stamp);
        self.segment.writes += 1;
        self.dirty = true;
        Ok(())
    }

    /// A new salt: no block sealed before can be opened any more, so all of them must be sealed again.
    pub(super) fn replace_salt(&mut self) -> Result<(), CryptoError> {
        self.segment.salt = crate::crypto::random()?;
        self.segment.writes = 0;
        self.cipher = OnceLock::new();
        self.dirty = true;
        Ok(())
    }
}

/// The loaded segments; segment 0 is always there. What a commit costs depends on what was changed, not on what is loaded.
pub(super) struct TagTable {
    loaded: HashMap<u64, Tags>,
    /// Among others, all that changed since the last commit; some may be gone from memory.
    changed: Vec<u64>,
    /// Among others, all that are logged.
    logged: Vec<u64>,
    budget: Arc<Budget>,
}

impl Drop for TagTable {
    fn drop(&mut self) {
        self.budget.uncount_tag_pages(self.loaded.len());
    }
}

impl TagTable {
    /// A table with segment 0.
    pub(super) fn new(segment0: Tags, budget: Arc<Budget>) -> Self {
        budget.count_tag_pages(1);
        Self { loaded: HashMap::from([(0, segment0)]), changed: Vec::new(), logged: Vec::new(), budget }
    }

    pub(super) fn get(&self, g: u64) -> Option<&Tags> {
        self.loaded.get(&g)
    }

    /// The tags of segment `g`, to be changed.
    pub(super) fn get_mut(&mut self, g: u64) -> Option<&mut Tags> {
        let tags = self.loaded.get_mut(&g)?;
        if !tags.changed {
            tags.changed = true;
            self.changed.push(g);
        }
        Some(tags)
    }

    pub(super) fn insert(&mut self, tags: Tags) {
        let (g, fresh) = (tags.segment.index(), tags.dirty);
        if self.loaded.insert(g, tags).is_none() {
            self.budget.count_tag_pages(1);
        }
        if fresh {
            self.get_mut(g);
        }
    }

    pub(super) fn segment0(&self) -> &Tags {
        self.loaded.get(&0).expect("segment 0 is always loaded")
    }

    /// Loaded segments that differ from the store, ascending, without segment 0.
    pub(super) fn dirty_pages(&self) -> Vec<u64> {
        let mut dirty: Vec<u64> = self.dirty().filter(|g| *g > 0).collect();
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// Whether so many segments are unsaved that memory calls for a save.
    pub(super) fn are_many_dirty(&self) -> bool {
        self.changed.len() > MANY && self.dirty().count() > MANY
    }

    fn dirty(&self) -> impl Iterator<Item = u64> {
        self.changed.iter().copied().filter(|g| self.loaded.get(g).is_some_and(|tags| tags.dirty))
    }

    /// Loaded segments in `range`.
    pub(super) fn indices_in(&self, range: std::ops::Range<u64>) -> Vec<u64> {
        self.loaded.keys().copied().filter(|g| range.contains(g)).collect()
    }

    /// The pages that no commit knows are stored. They are not logged, and may be forgotten.
    pub(super) fn stored_fresh(&mut self) {
        self.each_changed(|tags| tags.dirty &= tags.page_committed || tags.segment.index() == 0);
    }

    /// Everything is stored in place.
    pub(super) fn stored(&mut self) {
        self.each_changed(|tags| tags.dirty = false);
    }

    /// Everything that is not stored in place is logged.
    pub(super) fn log(&mut self) {
        self.each_changed(|tags| tags.logged |= std::mem::take(&mut tags.dirty));
        self.logged.extend(&self.changed);
    }

    /// What was logged is stored in place.
    pub(super) fn applied(&mut self) {
        for g in self.logged.drain(..) {
            if let Some(tags) = self.loaded.get_mut(&g) {
                tags.logged = false;
            }
        }
    }

    /// Everything is part of the last commit.
    pub(super) fn committed(&mut self) {
        self.each_changed(|tags| {
            tags.note_commit();
            tags.changed = false;
        });
        self.changed.clear();
    }

    fn each_changed(&mut self, mut work: impl FnMut(&mut Tags)) {
        for g in &self.changed {
            if let Some(tags) = self.loaded.get_mut(g).filter(|tags| tags.changed) {
                work(tags);
            }
        }
    }

    /// Takes out every segment from `first` on.
    pub(super) fn split_off(&mut self, first: u64) -> Vec<Tags> {
        let gone: Vec<u64> = self.loaded.keys().copied().filter(|g| *g >= first).collect();
        self.budget.uncount_tag_pages(gone.len());
        gone.into_iter().filter_map(|g| self.loaded.remove(&g)).collect()
    }

    /// Forgets saved segments while more than `most` are loaded, keeping those in `keep`.
    fn shrink_to(&mut self, most: usize, keep: &std::ops::RangeInclusive<u64>) {
        let before = self.loaded.len();
        let mut excess = before.saturating_sub(most);
        if excess == 0 {
            return;
        }
        self.loaded.retain(|g, tags| {
            let stays = excess == 0 || *g == 0 || tags.dirty || tags.logged || keep.contains(g);
            excess -= usize::from(!stays);
            stays
        });
        self.budget.uncount_tag_pages(before - self.loaded.len());
    }
}

/// Unsaved segments (4 KiB each) that one object may keep.
const MANY: usize = 512;

/// What stands at a block's place in the store.
pub(super) enum Stored {
    /// Nothing: it reads as zeroes.
    Hole,
    /// A sealed block.
    Sealed,
    /// Its segment's tags are not loaded yet.
    Unknown,
}

impl Inner {
    /// What is stored of block `i` (unsaved plaintext is not considered).
    pub(super) fn stored_block(&self, geometry: &Geometry, i: u64) -> Stored {
        let (g, slot) = geometry.segment_of(i);
        match self.tags.get(g) {
            Some(tags) if tags.segment.stamp(slot).is_hole() => Stored::Hole,
            Some(_) => Stored::Sealed,
            None if self.is_null(geometry, g) => Stored::Hole,
            None => Stored::Unknown,
        }
    }

    /// Whether segment `g` has no tag page.
    pub(super) fn is_null(&self, geometry: &Geometry, g: u64) -> bool {
        g >= geometry.segments(self.state.size) || self.state.null_extents.contains(g)
    }

    /// Whether every segment in `range` is loaded or known to be a hole.
    pub(super) fn has_tags(&self, geometry: &Geometry, range: &std::ops::RangeInclusive<u64>) -> bool {
        range.clone().all(|g| self.tags.get(g).is_some() || self.is_null(geometry, g))
    }

    /// Loads the tags of the segments in `range`, each checked; forgets others when there are too many.
    pub(super) fn load_tags(
        &mut self,
        geometry: &Geometry,
        range: &std::ops::RangeInclusive<u64>,
        most: usize,
    ) -> Result<(), LoadError> {
        self.tags.shrink_to(most, range);
        for g in range.clone() {
            if self.tags.get(g).is_none() && !self.is_null(geometry, g) {
                let tags = read_tags(&self.file, &self.keys, &self.identity, g)?;
                self.tags.insert(tags);
            }
        }
        Ok(())
    }

    /// The tags of segment `g` for writing; a hole segment gets tags of its own.
    ///
    /// The caller has loaded it where it exists.
    pub(super) fn tags_for_writing(&mut self, geometry: &Geometry, g: u64) -> Result<&mut Tags, CryptoError> {
        if self.tags.get(g).is_none() {
            self.state.null_extents.remove(g..g + 1);
            self.tags.insert(Tags::fresh(Segment::empty(geometry, g)?));
        }
        Ok(self.tags.get_mut(g).expect("it was just put there"))
    }
}

/// Why tags could not be loaded.
pub(super) enum LoadError {
    Io(std::io::Error),
    Format(FormatError),
}

impl From<std::io::Error> for LoadError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FormatError> for LoadError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl super::LiveObject {
    pub(super) fn load_failed(&self, error: LoadError) -> super::EngineError {
        match error {
            LoadError::Io(error) => error.into(),
            LoadError::Format(error) => self.damaged(error),
        }
    }
}

/// Reads and checks one tag page.
pub(super) fn read_tags(
    file: &FileRef,
    keys: &ObjectKeys,
    identity: &Identity,
    g: u64,
) -> Result<Tags, LoadError> {
    let mut page: Page = [0; 4096];
    let got = file.read_at(&mut page, identity.geometry.tag_page_offset(g))?;
    if got < page.len() {
        return Err(FormatError::TagPage(g).into());
    }
    let segment = keys.open_segment(identity, g, &page)?;
    Ok(Tags::stored(segment, Some(keys.accumulator_term(g, &page))))
}
