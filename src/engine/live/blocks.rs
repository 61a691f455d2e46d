//! Plaintext of unsaved blocks, and the daemon-wide bound on it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::super::Limits;
use crate::{crypto, object::PAGE, store::journal::Lsn};

/// Counts unsaved bytes of all objects against the configured limits.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    unsaved: AtomicU64,
    /// Loaded tag pages of all objects.
    tag_pages: AtomicU64,
}

impl Budget {
    /// A budget with nothing used.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, unsaved: AtomicU64::new(0), tag_pages: AtomicU64::new(0) }
    }

    /// The configured limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many tag pages one object may keep: any number while all objects together are within the limit.
    pub(super) fn tag_pages_for_one(&self) -> usize {
        let kept = self.tag_pages.load(Ordering::Relaxed) * PAGE;
        if kept < self.limits.tag_cache { usize::MAX } else { LEAST_TAG_PAGES }
    }

    pub(super) fn count_tag_pages(&self, more: usize) {
        self.tag_pages.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(super) fn uncount_tag_pages(&self, fewer: usize) {
        self.tag_pages.fetch_sub(fewer as u64, Ordering::Relaxed);
    }

    /// Whether an object with `own` unsaved bytes should save now.
    pub(crate) fn is_spent(&self, own: u64) -> bool {
        own >= self.limits.dirty_per_object || self.unsaved.load(Ordering::Relaxed) >= self.limits.dirty_total
    }
}

/// Tag pages that every open object may keep, whatever others keep.
const LEAST_TAG_PAGES: usize = 8;

/// Plaintext of one object's blocks that is not in place yet, by index; each buffer has the full block size, zero past
/// the object's end.
pub(super) struct DirtyBlocks {
    /// Unsaved.
    blocks: BTreeMap<u64, Block>,
    /// Logged in the journal under this number, and not yet stored in place.
    logged: BTreeMap<u64, (Lsn, Block)>,
    block_size: u64,
    budget: Arc<Budget>,
}

/// Plaintext of one block, wiped when dropped.
pub(super) struct Block(Box<[u8]>);

impl Block {
    pub(super) fn zero(block_size: u64) -> Self {
        let len = usize::try_from(block_size).expect("a block is at most 1 MiB");
        Self(vec![0; len].into_boxed_slice())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        crypto::wipe(&mut self.0);
    }
}

impl DirtyBlocks {
    pub(super) fn new(block_size: u64, budget: Arc<Budget>) -> Self {
        Self { blocks: BTreeMap::new(), logged: BTreeMap::new(), block_size, budget }
    }

    pub(super) fn get(&self, i: u64) -> Option<&Block> {
        self.blocks.get(&i)
    }

    pub(super) fn get_mut(&mut self, i: u64) -> Option<&mut Block> {
        self.blocks.get_mut(&i)
    }

    pub(super) fn limits(&self) -> &Limits {
        self.budget.limits()
    }

    /// Whether block `i` is unsaved.
    pub(super) fn contains(&self, i: u64) -> bool {
        self.blocks.contains_key(&i)
    }

    /// Whether nothing is held here.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.logged.is_empty()
    }

    /// The plaintext to read of block `i`, if it is not to be read from the store.
    pub(super) fn shown(&self, i: u64) -> Option<&Block> {
        self.blocks.get(&i).or_else(|| self.logged.get(&i).map(|(_, block)| block))
    }

    /// Everything unsaved has become part of the journal's frame `lsn`.
    pub(super) fn log_all(&mut self, lsn: Lsn) {
        for (i, block) in std::mem::take(&mut self.blocks) {
            if self.logged.insert(i, (lsn, block)).is_some() {
                self.give_back(1);
            }
        }
    }

    /// Frames up to `lsn` are stored in place: their plaintext can be read from there.
    pub(super) fn applied(&mut self, lsn: Lsn) {
        let before = self.logged.len();
        self.logged.retain(|_, (logged, _)| *logged > lsn);
        self.give_back((before - self.logged.len()) as u64);
    }

    pub(super) fn insert(&mut self, i: u64, block: Block) {
        if self.blocks.insert(i, block).is_none() {
            self.budget.unsaved.fetch_add(self.block_size, Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&mut self, i: u64) {
        if self.blocks.remove(&i).is_some() {
            self.give_back(1);
        }
    }

    /// Forgets the blocks in `range`.
    pub(super) fn remove_range(&mut self, range: std::ops::Range<u64>) {
        let unsaved: Vec<u64> = self.blocks.range(range.clone()).map(|(i, _)| *i).collect();
        for i in unsaved {
            self.remove(i);
        }
        let logged: Vec<u64> = self.logged.range(range).map(|(i, _)| *i).collect();
        for i in &logged {
            self.logged.remove(i);
        }
        self.give_back(logged.len() as u64);
    }

    pub(super) fn clear(&mut self) {
        let count = self.blocks.len() as u64;
        self.blocks.clear();
        self.give_back(count);
    }

    /// Bytes of plaintext held, unsaved and logged.
    pub(super) fn bytes(&self) -> u64 {
        (self.blocks.len() + self.logged.len()) as u64 * self.block_size
    }

    /// The first block at or after `i` that is held here.
    pub(super) fn next_from(&self, i: u64) -> Option<u64> {
        let unsaved = self.blocks.range(i..).next().map(|(i, _)| *i);
        let logged = self.logged.range(i..).next().map(|(i, _)| *i);
        unsaved.into_iter().chain(logged).min()
    }

    /// Indices, ascending.
    pub(super) fn indices(&self) -> Vec<u64> {
        self.blocks.keys().copied().collect()
    }

    fn give_back(&self, blocks: u64) {
        self.budget.unsaved.fetch_sub(blocks * self.block_size, Ordering::Relaxed);
    }
}

impl Drop for DirtyBlocks {
    fn drop(&mut self) {
        self.remove_range(0..u64::MAX);
    }
}
