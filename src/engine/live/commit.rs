//! Commits: how far they go, and which way: in place, or through the bucket's journal.
//!
//! The first commit of a new object is stored in place, its header last: until that stands, the object is empty. From
//! then on it has a base, and every commit is a frame of the journal. If the object was ever synced, no crash may
//! destroy its base: the frame is made durable before it is stored in place. If not, nobody was promised anything, and
//! the frame is stored in place at once: it is there for the end of the daemon, which must not leave half a commit
//! (`docs/semantics.md`).

use std::sync::PoisonError;

use super::{LiveObject, Result, base::Promise};
use crate::engine::{EngineError, defects::Defect};
use crate::store::journal::Journal;

/// How far a commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// To the backing file system, safe from a crash of the daemon, where that costs no flush.
    Store,
    /// So far that nothing of it is kept in memory.
    Settled,
    /// To the disk, as `fdatasync`.
    Data,
    /// To the disk with all attributes, as `fsync`.
    All,
}

impl LiveObject {
    /// Commits what is unsaved.
    pub(crate) fn commit(&self, sync: Sync) -> Result<()> {
        for _ in 0..ATTEMPTS {
            match self.try_commit(sync) {
                Err(EngineError::Store(error)) if error.raw_os_error() == Some(libc::EBUSY) => {
                    self.withdraw_intent();
                    self.settle_peers();
                }
                Err(error) => {
                    self.bucket.note_shortage(&error);
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
        // What fills the journal cannot be stored in place: the disk is full.
        let error = EngineError::os(libc::ENOSPC);
        self.bucket.note_shortage(&error);
        Err(error)
    }

    /// Stores in place what other objects of the bucket have in the journal, which is full.
    fn settle_peers(&self) {
        let peers = self.peers.upgrade().map(|table| table.all()).unwrap_or_default();
        for peer in peers.iter().filter(|peer| peer.bucket.id() == self.bucket.id()) {
            match peer.try_commit(Sync::Settled) {
                Ok(()) => {}
                Err(EngineError::Store(error)) if error.raw_os_error() == Some(libc::EBUSY) => {
                    peer.withdraw_intent();
                }
                Err(error) => {
                    log::warn!("the journal of bucket `{}` stays full: {error}", self.bucket.name());
                }
            }
        }
    }

    fn try_commit(&self, sync: Sync) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.bucket.journal() {
            Some(journal) if !self.read_lock().base.is_free() && !self.has_no_journal() => {
                self.commit_logged(journal, sync)
            }
            journal => self.commit_in_place(journal, sync),
        }
    }

    fn has_no_journal(&self) -> bool {
        self.budget.limits().defects.has(Defect::NoJournal)
    }

    fn commit_in_place(&self, journal: Option<&Journal>, sync: Sync) -> Result<()> {
        let flush = matches!(sync, Sync::Data | Sync::All);
        let mut inner = self.write_lock();
        if flush && journal.is_none() && inner.state.birth && inner.writable {
            inner.state.birth = false;
            inner.mark_unsaved();
        }
        self.save(&mut inner)?;
        let first = inner.base.is_free() && journal.is_some();
        if first {
            // From here on it is protected; if the flush fails, the bucket takes no further writes.
            inner.rebase(&self.geometry);
            inner.promise = if flush { Promise::Made } else { Promise::Nothing };
        }
        if !flush {
            self.bucket.note_unsynced();
            return Ok(());
        }
        let file = inner.file.clone();
        inner.attributes_unsynced &= sync == Sync::Data && !first;
        drop(inner);
        let flushed = if sync == Sync::All || first { file.sync_all() } else { file.sync_data() };
        flushed.map_err(|error| self.bucket.flush_failed(&error))
    }

    /// Flushes the file itself, for the content that is stored in place.
    pub(super) fn flush_file(&self) -> Result<()> {
        let file = self.read_lock().file.clone();
        file.sync_data().map_err(|error| self.bucket.flush_failed(&error))
    }
}

/// How often a commit tries to get room in the journal.
const ATTEMPTS: usize = 16;
