//! Beginning and retiring segments: the keeper's work.
//!
//! Two rules make a crash at any point harmless. A segment is retired only when all its objects are durable in place,
//! the oldest first. And its new salt is durable before anything is written behind it, or old frames could come back
//! to life between new ones.

use std::{
    io,
    sync::{Arc, MutexGuard},
};

use super::{
    Journal,
    defects::Defect,
    recovery::free_header,
    segment::{Segment, SegmentHeader},
    state::State,
};
use crate::store::{Access, NodeRef};

/// The role of the keeper, until dropped.
pub(super) struct Keeper<'a>(&'a Journal);

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        self.0.lock().keeping = false;
        self.0.changed.notify_all();
    }
}

impl Journal {
    /// Waits for the keeper's role.
    pub(super) fn become_keeper(&self) -> Keeper<'_> {
        let mut state = self.lock();
        while state.keeping {
            state = self.wait(state);
        }
        state.keeping = true;
        Keeper(self)
    }

    /// Begins a segment with room for `len` bytes, or waits for somebody who does such work already.
    pub(super) fn make_room(&self, state: MutexGuard<'_, State>, len: u64) -> io::Result<()> {
        if state.keeping {
            drop(self.wait(state));
            return Ok(());
        }
        drop(state);
        let _keeper = self.become_keeper();
        if self.lock().has_room(len) { Ok(()) } else { self.roll() }
    }

    /// The oldest segment that holds frames.
    pub(super) fn oldest_segment(&self) -> io::Result<Option<usize>> {
        let state = self.lock();
        state.check()?;
        Ok(state.oldest())
    }

    /// Ends the current segment and begins another.
    fn roll(&self) -> io::Result<()> {
        // From here on nothing is appended, so that all that is not durable stays in one segment.
        let unflushed = {
            let mut state = self.lock();
            state.current = None;
            state.unflushed()
        };
        if let Some((_, last)) = unflushed {
            self.flush(super::Lsn(last))?;
        }
        let free = self.lock().free();
        let index = match free {
            Some(index) => index,
            None => self.retire_oldest()?,
        };
        self.begin(index)
    }

    fn retire_oldest(&self) -> io::Result<usize> {
        let busy = || io::Error::from_raw_os_error(libc::EBUSY);
        let index = self.oldest_segment()?.ok_or_else(busy)?;
        if self.retire(index)? { Ok(index) } else { Err(busy()) }
    }

    /// Gives the free segment `index` a header that says it is in use, and lets frames in.
    fn begin(&self, index: usize) -> io::Result<()> {
        let (segment, seq, first_lsn) = {
            let state = self.lock();
            let segment = state.slot(Some(index)).and_then(|slot| slot.segment.clone());
            (segment, state.next_seq, state.next_lsn)
        };
        let segment = match segment {
            Some(segment) => segment,
            None => Segment::create(&self.wal, index, self.settings.segment_bytes)?,
        };
        let header = SegmentHeader { seq, ..free_header(&self.bucket_id, first_lsn)? };
        self.put_header(&segment, &header)?;
        self.lock().begin(index, segment, &header);
        Ok(())
    }

    /// Empties segment `index`, the oldest; `false` when it has frames that are not applied.
    pub(super) fn retire(&self, index: usize) -> io::Result<bool> {
        while let Some((objects, seen)) = self.applied_objects(index) {
            if !self.defects.has(Defect::ReusedUnsynced) {
                self.sync_objects(&objects)?;
            }
            if let Some(segment) = self.close_unless_grown(index, seen) {
                let next_lsn = self.lock().next_lsn;
                self.put_header(&segment, &free_header(&self.bucket_id, next_lsn)?)?;
                self.lock().end(index);
                self.changed.notify_all();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The objects of segment `index` and its last frame, when all its frames are applied.
    fn applied_objects(&self, index: usize) -> Option<(Vec<NodeRef>, u64)> {
        let state = self.lock();
        let slot = state.slot(Some(index)).filter(|slot| slot.unapplied.is_empty())?;
        Some((slot.objects.values().map(Arc::clone).collect(), slot.last_lsn))
    }

    /// Keeps further frames out of segment `index`, unless some came after frame `seen`.
    fn close_unless_grown(&self, index: usize, seen: u64) -> Option<Segment> {
        let mut state = self.lock();
        let slot = state.slot(Some(index)).filter(|slot| slot.last_lsn == seen);
        let segment = slot.and_then(|slot| slot.segment.clone())?;
        if state.current == Some(index) {
            state.current = None;
        }
        Some(segment)
    }

    /// Makes objects durable in place: each by itself, or, where a job went over many, all by one flush of the file system.
    fn sync_objects(&self, objects: &[NodeRef]) -> io::Result<()> {
        if objects.len() > MANY {
            return self.wal.sync_store().inspect_err(|_| self.fail());
        }
        objects.iter().try_for_each(|node| self.sync_object(node))
    }

    fn sync_object(&self, node: &NodeRef) -> io::Result<()> {
        let file = match node.open(Access::Read) {
            Err(error) if [libc::ENOENT, libc::ESTALE].map(Some).contains(&error.raw_os_error()) => {
                return Ok(()); // Unlinked: nobody can ever ask for it again.
            }
            opened => opened?,
        };
        file.sync_data().inspect_err(|_| self.fail())
    }

    /// Writes a header and makes it durable.
    fn put_header(&self, segment: &Segment, header: &SegmentHeader) -> io::Result<()> {
        segment.put_header(header)?;
        if self.defects.has(Defect::SaltUnflushed) {
            return Ok(());
        }
        segment.file.sync_data().inspect_err(|_| self.fail())
    }
}

/// More objects than this are not flushed one by one.
const MANY: usize = 256;
