//! One open encrypted object: its keys, tags, unsaved blocks, and the way from plaintext to stored bytes.
//!
//! Everything that several opens of one object share is here, behind one lock: readers share it, writers and
//! commits hold it alone. Plaintext is kept for unsaved blocks only and wiped when they are saved.
//! It must never hand out bytes that failed authentication, and never lose an unsaved block on a failed write.
//!
//! Lock order: object table shard, then [`LiveObject::turn`], then [`LiveObject::inner`]. No key-service call is made
//! under any, and no flush of a disk under `inner` but one that keeps a commit from starving.

mod access;
mod base;
mod blocks;
mod commit;
mod holes;
mod logged;
mod open;
mod read;
mod resize;
mod rewrap;
mod save;
mod tags;
mod unfinished;
mod write;

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
    time::Instant,
};

pub(super) use blocks::Budget;
pub(super) use commit::Sync;
pub(super) use open::{Opening, is_unborn, read_header};

use self::{
    access::KeyAccess,
    base::{Base, Promise},
    blocks::DirtyBlocks,
    logged::Pending,
    tags::TagTable,
};
use super::{Bucket, EngineError, Result, table::ObjectTable};
use crate::{
    envelope::Id,
    object::{FormatError, Geometry, Identity, KeySection, ObjectKeys, ObjectState},
    store::{FileRef, NodeKey, NodeRef, Timestamp, journal::Lsn},
};

/// An open encrypted object, shared by all its opens.
pub(crate) struct LiveObject {
    bucket: Arc<Bucket>,
    node: NodeRef,
    geometry: Geometry,
    budget: Arc<Budget>,
    /// The other open objects, for making room in the journal.
    peers: Weak<ObjectTable>,
    access: KeyAccess,
    /// Held for a whole commit, so that commits come one after another.
    turn: Mutex<()>,
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
    /// What the last commit protects from being overwritten in place.
    base: Base,
    /// What the owner of the content may rely on.
    promise: Promise,
    /// Stored ranges written in place since the last commit, which its frame must name.
    early: Vec<Range<u64>>,
    /// How often something was written in place since the last commit, and up to which of these writes it was flushed.
    early_writes: u64,
    early_synced: u64,
    /// Commits in the journal that are not stored in place yet, oldest first.
    pending: VecDeque<Pending>,
    /// The identity that the last commit knows, where it is another.
    superseded: Option<Id>,
    /// The frame that keeps the stored end known while fresh data is written past it.
    intent: Option<Lsn>,
    /// Owner, mode or times may have changed since the last full sync.
    attributes_unsynced: bool,
    /// Runs of blocks within a segment that were punched, whose space is given back after the next save.
    freed: Vec<Range<u64>>,
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

    /// How it is encrypted, and its own identity.
    pub(crate) fn mode_and_id(&self) -> (crate::object::SseMode, crate::envelope::Id) {
        let inner = self.read_lock();
        (inner.identity.mode, inner.identity.object)
    }

    /// Whether all its tags are in the header, and opening it asks nobody for its key who counts that.
    pub(crate) fn is_light(&self) -> bool {
        let inner = self.read_lock();
        self.geometry.segments(inner.state.size) <= 1 && inner.identity.bucket_key
    }

    /// Identity of the stored file.
    pub(crate) fn key(&self) -> NodeKey {
        self.node.key()
    }

    /// The stored file.
    pub(crate) fn node(&self) -> &NodeRef {
        &self.node
    }

    /// The bucket it lies in.
    pub(crate) fn bucket(&self) -> &Arc<Bucket> {
        &self.bucket
    }

    /// Since when something is unsaved.
    pub(crate) fn unsaved_since(&self) -> Option<Instant> {
        self.read_lock().unsaved_since
    }

    /// Since when something is unsaved or only logged.
    pub(crate) fn unsettled_since(&self) -> Option<Instant> {
        let inner = self.read_lock();
        inner.unsaved_since.into_iter().chain(inner.pending.front().map(Pending::since)).min()
    }

    /// Whether the store, in place, is all there is of it.
    pub(crate) fn is_settled(&self) -> bool {
        let inner = self.read_lock();
        inner.unsaved_since.is_none() && inner.pending.is_empty()
    }

    /// Owner, mode or times were changed: the next full sync makes them durable.
    pub(crate) fn note_attributes(&self) {
        self.write_lock().attributes_unsynced = true;
    }

    /// Whoever made the new object syncs it before anybody sees it: its first commit already says that it was synced.
    pub(crate) fn note_promised(&self) {
        self.write_lock().state.birth = false;
    }

    /// The modification time was set by hand: what is stored later must not bring another one back.
    pub(crate) fn note_mtime(&self, mtime: Timestamp) {
        let mut inner = self.write_lock();
        for pending in &mut inner.pending {
            pending.set_mtime(mtime);
        }
        if inner.unsaved_since.is_some() || !inner.pending.is_empty() {
            inner.mtime = Some(mtime);
        }
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
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

    /// Notes that `len` bytes were stored in place at `offset`.
    fn note_stored(&mut self, offset: u64, len: usize) {
        let end = offset + len as u64;
        self.stored_len = self.stored_len.max(end);
        if self.base.is_free() {
            return;
        }
        self.early_writes += 1;
        match self.early.last_mut() {
            Some(last) if last.end == offset => last.end = end,
            _ => self.early.push(offset..end),
        }
    }

    fn mark_unsaved(&mut self) {
        self.unsaved_since.get_or_insert_with(Instant::now);
    }
}
