//! One open encrypted object: its keys, tags, unsaved blocks, and the way from plaintext to stored bytes.
//!
//! Everything that several opens of one object share is here, behind one lock: readers share it, writers and
//! commits hold it alone. Plaintext is kept for unsaved blocks only and wiped when they are saved.
//! It must never hand out bytes that failed authentication, and never lose an unsaved block on a failed write.
//!
//! Lock order: object table shard, then [`LiveObject::inner`]. No key-service call is made under either.

mod blocks;
mod holes;
mod open;
mod read;
mod resize;
mod save;
mod tags;
mod write;

use std::{
    sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

pub(super) use blocks::Budget;
pub(super) use save::Sync;

use self::{blocks::DirtyBlocks, tags::TagTable};
use super::{Bucket, EngineError, Result};
use crate::{
    object::{FormatError, Geometry, Identity, KeySection, ObjectKeys, ObjectState},
    store::{FileRef, NodeRef, Timestamp},
};

/// An open encrypted object, shared by all its opens.
pub(crate) struct LiveObject {
    bucket: Arc<Bucket>,
    node: NodeRef,
    geometry: Geometry,
    budget: Arc<Budget>,
    inner: RwLock<Inner>,
}

/// What changes while the object is open.
struct Inner {
    file: FileRef,
    writable: bool,
    identity: Identity,
    state: ObjectState,
    key_section: KeySection,
    keys: ObjectKeys,
    tags: TagTable,
    dirty: DirtyBlocks,
    /// Length of the stored file as we left it.
    stored_len: u64,
    /// Runs of blocks within a segment that were punched, whose space is given back after the next save.
    freed: Vec<std::ops::Range<u64>>,
    /// Since when something differs from the store.
    unsaved_since: Option<Instant>,
    /// The modification time to show and keep when the store's own stamp would be wrong.
    mtime: Option<Timestamp>,
}

impl LiveObject {
    /// Plaintext size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.read_lock().state.size
    }

    /// Plaintext size, and the modification time where unsaved writes make it newer than the store's.
    pub(crate) fn size_and_mtime(&self) -> (u64, Option<Timestamp>) {
        let inner = self.read_lock();
        (inner.state.size, inner.mtime)
    }

    /// Attributes of the stored file.
    pub(crate) fn stat(&self) -> Result<crate::store::Stat> {
        let file = self.read_lock().file.clone();
        Ok(file.stat()?)
    }

    /// The bucket it lies in.
    pub(crate) fn bucket(&self) -> &Arc<Bucket> {
        &self.bucket
    }

    /// How long something has been unsaved.
    pub(crate) fn unsaved_since(&self) -> Option<Instant> {
        self.read_lock().unsaved_since
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Logs what is wrong with the stored bytes, naming object and place, and makes the error of it.
    fn damaged(&self, reason: FormatError) -> EngineError {
        super::item::damaged(&self.node, reason)
    }
}

impl Inner {
    /// Notes an unsaved change of content.
    fn touch(&mut self) {
        self.mtime = Some(super::clock::now());
        self.mark_unsaved();
    }

    fn mark_unsaved(&mut self) {
        self.unsaved_since.get_or_insert_with(Instant::now);
    }
}
