//! Plaintext of unsaved blocks, and the daemon-wide bound on it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use zeroize::Zeroize;

use super::super::Limits;

/// Counts unsaved bytes of all objects against the configured limits.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    unsaved: AtomicU64,
}

impl Budget {
    /// A budget with nothing used.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, unsaved: AtomicU64::new(0) }
    }

    /// The configured limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether an object with `own` unsaved bytes should save now.
    pub(crate) fn is_spent(&self, own: u64) -> bool {
        own >= self.limits.dirty_per_object || self.unsaved.load(Ordering::Relaxed) >= self.limits.dirty_total
    }
}

/// Unsaved blocks of one object by index; each buffer has the full block size, zero past the object's end.
pub(super) struct DirtyBlocks {
    blocks: BTreeMap<u64, Block>,
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
        self.0.zeroize();
    }
}

impl DirtyBlocks {
    pub(super) fn new(block_size: u64, budget: Arc<Budget>) -> Self {
        Self { blocks: BTreeMap::new(), block_size, budget }
    }

    pub(super) fn get(&self, i: u64) -> Option<&Block> {
        self.blocks.get(&i)
    }

    pub(super) fn get_mut(&mut self, i: u64) -> Option<&mut Block> {
        self.blocks.get_mut(&i)
    }

    pub(super) fn contains(&self, i: u64) -> bool {
        self.blocks.contains_key(&i)
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
        let gone: Vec<u64> = self.blocks.range(range).map(|(i, _)| *i).collect();
        for i in gone {
            self.remove(i);
        }
    }

    pub(super) fn clear(&mut self) {
        let count = self.blocks.len() as u64;
        self.blocks.clear();
        self.give_back(count);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.blocks.len() as u64 * self.block_size
    }

    /// The first unsaved block at or after `i`.
    pub(super) fn next_from(&self, i: u64) -> Option<u64> {
        self.blocks.range(i..).next().map(|(i, _)| *i)
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
        self.clear();
    }
}
