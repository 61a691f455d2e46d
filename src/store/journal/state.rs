//! What the journal knows in memory: its segments, and which frames are durable and applied.

use std::{
    collections::{BTreeSet, HashMap},
    io,
};

use super::{
    Lsn,
    frame::{Frame, PAGE},
    segment::{FREE, Segment, SegmentHeader},
};
use crate::store::{FileRef, NodeKey, NodeRef};

/// Everything under the journal's lock.
pub(super) struct State {
    /// A flush failed; nothing can be promised any more.
    pub(super) failed: bool,
    /// Somebody flushes.
    pub(super) leading: bool,
    /// Somebody begins or retires segments.
    pub(super) keeping: bool,
    /// Frames up to this number are durable.
    pub(super) durable: u64,
    /// Number of the next frame.
    pub(super) next_lsn: u64,
    /// Sequence number of the next use of a segment.
    pub(super) next_seq: u64,
    pub(super) slots: Vec<Slot>,
    /// When a frame was last put.
    pub(super) last_put: Option<std::time::Instant>,
    /// The slot that takes frames.
    pub(super) current: Option<usize>,
    /// The file of the last frame. All frames that are not durable are in it.
    tail: Option<FileRef>,
}

/// One segment file, or the place for one.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) segment: Option<Segment>,
    /// [`FREE`] when it holds nothing.
    pub(super) seq: u64,
    salt: [u8; 16],
    /// Where the next frame goes.
    position: u64,
    /// Number of the last frame in it.
    pub(super) last_lsn: u64,
    pub(super) unapplied: BTreeSet<u64>,
    /// The objects of its frames.
    pub(super) objects: HashMap<NodeKey, NodeRef>,
}

impl State {
    /// An empty journal.
    pub(super) fn new(segments: Vec<Option<Segment>>, next_lsn: u64) -> Self {
        let slots = segments.into_iter().map(|segment| Slot { segment, ..Slot::default() }).collect();
        Self {
            failed: false,
            leading: false,
            keeping: false,
            durable: next_lsn.saturating_sub(1),
            next_lsn,
            next_seq: FREE + 1,
            slots,
            last_put: None,
            current: None,
            tail: None,
        }
    }

    /// `EIO` once a flush has failed.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    /// Whether a frame of `len` bytes fits into the current segment.
    pub(super) fn has_room(&self, len: u64) -> bool {
        self.slot(self.current).is_some_and(|slot| {
            slot.segment.as_ref().is_some_and(|segment| segment.bytes - slot.position >= len)
        })
    }

    /// Writes `frame` to the current segment, which has room for it.
    pub(super) fn put(&mut self, frame: &Frame, node: NodeRef, unit: u64) -> io::Result<Lsn> {
        let lsn = self.next_lsn;
        let slot = self.current.and_then(|index| self.slots.get_mut(index)).expect("asked for room");
        let segment = slot.segment.as_ref().expect("a segment that takes frames has a file");
        segment.put_frame(frame, slot.position, lsn, &slot.salt, unit)?;
        slot.position += frame.padded_len(unit);
        slot.last_lsn = lsn;
        slot.unapplied.insert(lsn);
        slot.objects.insert(node.key(), node);
        self.tail = Some(segment.file.clone());
        self.next_lsn += 1;
        self.last_put = Some(std::time::Instant::now());
        Ok(Lsn(lsn))
    }

    /// The file that holds all frames that are not durable, and the last of them.
    pub(super) fn unflushed(&self) -> Option<(FileRef, u64)> {
        let last = self.next_lsn - 1;
        self.tail.clone().filter(|_| last > self.durable).map(|file| (file, last))
    }

    /// Marks a frame as applied.
    pub(super) fn applied(&mut self, lsn: u64) {
        for slot in &mut self.slots {
            slot.unapplied.remove(&lsn);
        }
    }

    /// The first frame that is not applied.
    pub(super) fn oldest_unapplied(&self) -> Option<u64> {
        self.slots.iter().filter_map(|slot| slot.unapplied.first()).min().copied()
    }

    /// How many segments hold frames.
    pub(super) fn used(&self) -> usize {
        self.slots.iter().filter(|slot| slot.seq != FREE).count()
    }

    /// The segment in use that was begun first.
    pub(super) fn oldest(&self) -> Option<usize> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.seq != FREE);
        used.min_by_key(|(_, slot)| slot.seq).map(|(index, _)| index)
    }

    /// A segment that holds nothing; one that is a file already, where there is one.
    pub(super) fn free(&self) -> Option<usize> {
        let free = self.slots.iter().enumerate().filter(|(_, slot)| slot.seq == FREE);
        free.min_by_key(|(_, slot)| slot.segment.is_none()).map(|(index, _)| index)
    }

    /// The slot `index` takes frames from now on; `header` is durable in it.
    pub(super) fn begin(&mut self, index: usize, segment: Segment, header: &SegmentHeader) {
        self.next_seq = header.seq + 1;
        self.current = Some(index);
        if let Some(slot) = self.slots.get_mut(index) {
            let SegmentHeader { seq, salt, first_lsn, .. } = *header;
            let last_lsn = first_lsn - 1;
            *slot = Slot { segment: Some(segment), seq, salt, position: PAGE, last_lsn, ..Slot::default() };
        }
    }

    /// The slot `index` holds nothing any more; its objects are durable in place.
    pub(super) fn end(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            self.durable = self.durable.max(slot.last_lsn);
            *slot = Slot { segment: slot.segment.take(), ..Slot::default() };
        }
    }

    /// The slot `index`.
    pub(super) fn slot(&self, index: Option<usize>) -> Option<&Slot> {
        index.and_then(|index| self.slots.get(index))
    }
}
