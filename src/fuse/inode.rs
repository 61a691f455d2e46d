//! One item that the kernel knows: its number, what it stands for, and what is known of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::NodeKey;

/// An item the kernel knows.
pub(super) struct Inode<I> {
    id: u64,
    key: NodeKey,
    item: I,
    /// References held by the kernel; changed only under the lock of the shard.
    lookups: AtomicU64,
    place: AtomicU64,
    plain: AtomicBool,
    bare: AtomicBool,
    /// Asked for since it was last looked at for being idle.
    used: AtomicBool,
}

impl<I> Inode<I> {
    pub(super) fn new(id: u64, key: NodeKey, item: I, place: u64) -> Self {
        let (lookups, place) = (AtomicU64::new(0), AtomicU64::new(place));
        let [plain, bare, used] = [false, false, true].map(AtomicBool::new);
        Self { id, key, item, lookups, place, plain, bare, used }
    }

    /// Adds a reference of the kernel.
    pub(super) fn add_reference(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes `count` references back; how many are left.
    pub(super) fn take_references(&self, count: u64) -> u64 {
        let left = self.lookups.load(Ordering::Relaxed).saturating_sub(count);
        self.lookups.store(left, Ordering::Relaxed);
        left
    }

    /// Its node number, which is also its `st_ino`.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Its identity in the store.
    pub(super) fn key(&self) -> NodeKey {
        self.key
    }

    /// What it stands for.
    pub(super) fn item(&self) -> &I {
        &self.item
    }

    /// Notes that it is used.
    pub(super) fn note_use(&self) {
        // Storing only on change keeps the cache line shared between the threads.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Fingerprint of the directory and name under which the item was last seen.
    pub(super) fn place(&self) -> u64 {
        self.place.load(Ordering::Acquire)
    }

    /// Notes where the item was seen.
    pub(super) fn set_place(&self, place: u64) {
        self.place.store(place, Ordering::Release);
    }

    /// Whether the file is known to have neither set-user-id nor set-group-id, so that a write need not look.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::SeqCst)
    }

    /// Notes the same. Set it before looking at the mode and unset it after changing the mode: in every interleaving
    /// either the look finds the new bits or the note is gone.
    pub(super) fn set_plain(&self, plain: bool) {
        self.plain.store(plain, Ordering::SeqCst);
    }

    /// Whether it is known to have no `security.capability`: it was made here and has been given no attribute since.
    pub(super) fn is_bare(&self) -> bool {
        self.bare.load(Ordering::SeqCst)
    }

    /// Notes the same. Set it before the kernel hears of the file, and unset it before setting an attribute.
    pub(super) fn set_bare(&self, bare: bool) {
        self.bare.store(bare, Ordering::SeqCst);
    }

    /// Whether it was used since the last call.
    pub(super) fn take_use(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}
