//! Commits through the journal (`docs/semantics.md`): fresh data in place first, then one frame, then, once that is
//! durable, the same changes in place.

use std::{ops::Range, os::unix::ffi::OsStringExt, time::Instant};

use super::{Inner, LiveObject, Result, Sync, base::Promise, tags::Stored};
use crate::{
    engine::{defects::Defect, item::path_in_bucket},
    store::{
        Timestamp,
        journal::{Frame, Journal, Lsn, Subject},
    },
};

/// A commit that is in the journal and not yet in place.
pub(super) struct Pending {
    lsn: Lsn,
    writes: Vec<(u64, Vec<u8>)>,
    freed: Vec<Range<u64>>,
    stored_len: u64,
    mtime: Timestamp,
    since: Instant,
}

impl Pending {
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn set_mtime(&mut self, mtime: Timestamp) {
        self.mtime = mtime;
    }
}

impl LiveObject {
    pub(super) fn commit_logged(&self, journal: &Journal, sync: Sync) -> Result<()> {
        let flush = matches!(sync, Sync::Data | Sync::All);
        let unpromised = !flush && self.read_lock().promise == Promise::Nothing;
        if self.is_bulk() {
            if sync == Sync::Store && !unpromised {
                return Ok(());
            }
            self.apply_logged(journal)?;
            self.store_bulk()?;
        }
        if unpromised {
            return self.log(journal, flush)?.map_or(Ok(()), |lsn| self.apply(journal, lsn));
        }
        let attributes = self.settle_base(sync)?;
        let logged = self.log(journal, flush)?;
        if sync == Sync::Store {
            return Ok(());
        }
        if let Some(lsn) = logged {
            if self.budget.limits().defects.has(Defect::AppliedEarly) {
                self.apply(journal, lsn)?;
            }
            self.settle(journal, lsn)?;
        }
        if attributes {
            let file = self.read_lock().file.clone();
            file.sync_all().map_err(|error| self.bucket.flush_failed(&error))?;
        }
        Ok(())
    }

    /// Whether the next commit has enough fresh data to store it in place first, or has done so already.
    fn is_bulk(&self) -> bool {
        let inner = self.read_lock();
        !inner.early.is_empty() || {
            let fresh = |i: &&u64| !inner.is_referenced(&self.geometry, **i);
            let count = inner.dirty.indices().iter().filter(fresh).count() as u64;
            count * self.geometry.block_size() >= self.budget.limits().bulk
        }
    }

    /// Makes durable and stores in place what is logged, so that fresh data can be stored in place after it.
    fn apply_logged(&self, journal: &Journal) -> Result<()> {
        let last = self.read_lock().pending.back().map(|pending| pending.lsn);
        last.map_or(Ok(()), |lsn| self.settle(journal, lsn))
    }

    /// Makes the frames up to `lsn` durable, and only then stores in place what they say (mutant M5).
    fn settle(&self, journal: &Journal, lsn: Lsn) -> Result<()> {
        journal.flush(lsn).map_err(|error| self.bucket.flush_failed(&error))?;
        self.apply(journal, lsn)
    }

    /// Stores the unsaved blocks in place that nothing references, and the tag pages of new segments.
    fn store_bulk(&self) -> Result<()> {
        let mut inner = self.write_lock();
        self.announce_growth(&mut inner)?;
        self.prepare_dirty_segments(&mut inner)?;
        let mut fresh = inner.dirty.indices();
        fresh.retain(|i| inner.may_store(&self.geometry, *i));
        let mut rest = fresh.as_slice();
        while let Some(run) = self.next_run(&mut rest) {
            self.store_sealed(&mut inner, run)?;
            for i in run {
                inner.dirty.remove(*i);
            }
        }
        self.limit_null_extents(&mut inner)?;
        self.store_fresh_pages(&mut inner)
    }

    /// Flushes what was stored in place for the coming commit, while others may go on reading and writing. Whether
    /// attributes must be synced too.
    fn settle_base(&self, sync: Sync) -> Result<bool> {
        let flush = matches!(sync, Sync::Data | Sync::All);
        let mut synced = 0;
        for _ in 0..FLUSHES_WITHOUT_LOCK {
            let inner = self.read_lock();
            let base = flush && inner.promise != Promise::Made;
            if inner.early_writes == synced && !base {
                break;
            }
            synced = inner.early_writes;
            drop(inner);
            if !self.budget.limits().defects.has(Defect::DataUnflushed) {
                self.flush_file()?;
            }
            if base {
                self.write_lock().promise = Promise::Made;
            }
        }
        let mut inner = self.write_lock();
        inner.early_synced = synced;
        let attributes = sync == Sync::All && std::mem::take(&mut inner.attributes_unsynced);
        Ok(attributes)
    }

    /// Appends the frame of everything unsaved; its number, or that of the last frame where nothing is unsaved.
    fn log(&self, journal: &Journal, flush: bool) -> Result<Option<Lsn>> {
        let mut inner = self.write_lock();
        let inner = &mut *inner;
        if flush && inner.state.birth && inner.writable {
            inner.state.birth = false;
            inner.mark_unsaved();
        }
        if inner.unsaved_since.is_none() {
            return Ok(inner.pending.back().map(|pending| pending.lsn));
        }
        if inner.early_writes > inner.early_synced && (flush || inner.promise != Promise::Nothing) {
            // Somebody keeps storing fresh data in place: this flush is waited for with the object held.
            inner.file.sync_data().map_err(|error| self.bucket.flush_failed(&error))?;
        }
        let mtime = inner.mtime_to_keep()?;
        self.cover_cut(inner)?;
        let writes = self.sealed_writes(inner)?;
        let stored_len = self.geometry.stored_len(inner.state.size);
        let freed = self.freed_ranges(inner);
        inner.reserve_growth(&writes)?;
        let frame = self.frame(inner, &writes, &freed, stored_len);
        let lsn = journal.append(&frame, self.node.clone())?;
        if let Some(intent) = inner.intent.take() {
            journal.applied(intent);
        }
        inner.dirty.log_all(lsn);
        inner.tags.log();
        inner.pending.push_back(Pending { lsn, writes, freed, stored_len, mtime, since: Instant::now() });
        inner.early.clear();
        (inner.early_writes, inner.early_synced) = (0, 0);
        inner.freed.clear();
        inner.superseded = None;
        inner.unsaved_since = None;
        inner.rebase(&self.geometry);
        Ok(Some(lsn))
    }

    /// Cutting the stored file inside a page writes that page anew, and a crash may destroy it: the frame must carry
    /// the block that ends there.
    fn cover_cut(&self, inner: &mut Inner) -> Result<()> {
        let (size, bs) = (inner.state.size, self.geometry.block_size());
        let cuts = inner.stored_len > self.geometry.stored_len(size) && !size.is_multiple_of(bs);
        if !cuts || inner.dirty.contains(size / bs) {
            return Ok(());
        }
        self.load_segment(inner, self.geometry.segment_of(size / bs).0)?;
        match inner.stored_block(&self.geometry, size / bs) {
            Stored::Sealed => self.load_block(inner, size / bs),
            Stored::Hole | Stored::Unknown => Ok(()),
        }
    }

    /// Before fresh data is stored past the end that the last commit knows: a frame that names this end, so that
    /// recovery cuts off what was not committed.
    pub(super) fn announce_growth(&self, inner: &mut Inner) -> Result<()> {
        let announced = inner.intent.is_some()
            || !inner.early.is_empty()
            || inner.base.is_free()
            || inner.promise == Promise::Nothing;
        if let (Some(journal), false) = (self.bucket.journal(), announced) {
            let frame = self.frame(inner, &[], &[], inner.stored_len);
            inner.intent = Some(journal.append(&frame, self.node.clone())?);
        }
        Ok(())
    }

    /// Lets the journal go of an object that has no name any more and cannot be stored.
    pub(crate) fn give_up(&self) {
        self.withdraw_intent();
        let pending = std::mem::take(&mut self.write_lock().pending);
        if let Some(journal) = self.bucket.journal() {
            for pending in &pending {
                journal.applied(pending.lsn);
            }
        }
    }

    /// Gives up the frame of [`LiveObject::announce_growth`] where it is in the way of a commit. What a crash then leaves
    /// past the end is noticed when the object is opened.
    pub(super) fn withdraw_intent(&self) {
        let intent = self.write_lock().intent.take();
        if let (Some(journal), Some(intent)) = (self.bucket.journal(), intent) {
            journal.applied(intent);
        }
    }

    /// Seals the unsaved blocks, changed tag pages and the header: what the frame carries.
    fn sealed_writes(&self, inner: &mut Inner) -> Result<Vec<(u64, Vec<u8>)>> {
        self.prepare_dirty_segments(inner)?;
        let mut writes = Vec::new();
        let indices = inner.dirty.indices();
        let mut rest = indices.as_slice();
        while let Some(run) = self.next_run(&mut rest) {
            let mut sealed = vec![0; self.run_bytes(inner, run)];
            let offset = self.seal_run(inner, run, &mut sealed)?;
            writes.push((offset, sealed));
        }
        self.limit_null_extents(inner)?;
        for g in inner.tags.dirty_pages() {
            let page = inner.next_page(g);
            writes.push((self.geometry.tag_page_offset(g), page.to_vec()));
        }
        let header = self.next_header(inner)?;
        writes.push((0, header.to_vec()));
        Ok(writes)
    }

    fn frame(
        &self,
        inner: &Inner,
        writes: &[(u64, Vec<u8>)],
        freed: &[Range<u64>],
        stored_len: u64,
    ) -> Frame {
        let path = path_in_bucket(&self.node);
        let subject = Subject {
            object_id: *inner.identity.object.as_bytes(),
            inode: self.node.key().ino,
            path: path.into_os_string().into_vec(),
        };
        let mut frame = Frame::new(&subject);
        if let Some(old) = inner.superseded.filter(|old| *old != inner.identity.object) {
            frame.superseded(old.as_bytes());
        }
        frame.truncate(stored_len);
        for range in freed {
            frame.punch(range.start, range.end - range.start);
        }
        for range in &inner.early {
            frame.direct(range.start, range.end - range.start);
        }
        for (offset, bytes) in writes {
            let skip =
                if self.budget.limits().defects.has(Defect::NoIdentity) && *offset == 0 { 512 } else { 0 };
            frame.write(*offset + skip as u64, bytes.split_at(skip).1);
        }
        frame
    }

    /// Stores in place what the durable frames up to `lsn` say.
    fn apply(&self, journal: &Journal, lsn: Lsn) -> Result<()> {
        let mut inner = self.write_lock();
        let inner = &mut *inner;
        while let Some(pending) = inner.pending.front().filter(|pending| pending.lsn <= lsn) {
            if inner.stored_len > pending.stored_len {
                inner.file.set_len(pending.stored_len)?;
            }
            for (offset, bytes) in &pending.writes {
                inner.file.write_at(&[std::io::IoSlice::new(bytes)], *offset)?;
            }
            let end = pending.writes.iter().map(|(offset, bytes)| offset + bytes.len() as u64).max();
            let now = inner.stored_len.min(pending.stored_len).max(end.unwrap_or(0));
            if now != pending.stored_len {
                inner.file.set_len(pending.stored_len)?;
            }
            for range in &pending.freed {
                inner.file.punch(range.start, range.end - range.start)?;
            }
            inner.file.set_mtime(pending.mtime)?;
            let applied = pending.lsn;
            inner.stored_len = pending.stored_len;
            inner.pending.pop_front();
            inner.dirty.applied(applied);
            journal.applied(applied);
        }
        if inner.pending.is_empty() {
            inner.tags.applied();
            if inner.unsaved_since.is_none() {
                inner.mtime = None;
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Takes the room that applying will need past the stored end, so that a full disk is known before the promise.
    fn reserve_growth(&self, writes: &[(u64, Vec<u8>)]) -> Result<()> {
        for (offset, bytes) in writes {
            let end = offset + bytes.len() as u64;
            let start = (*offset).max(self.stored_len);
            if end > start {
                match self.file.reserve(start, end - start) {
                    Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                    reserved => reserved?,
                }
            }
        }
        Ok(())
    }
}

/// Flushes of an object's file that a commit waits for without holding the object.
const FLUSHES_WITHOUT_LOCK: usize = 2;
