//! The redo journal of a bucket: a change of an object that was flushed here survives whatever a crash does to the
//! object's file.
//!
//! The engine writes every overwrite of committed data as a [`Frame`] first ([`Journal::append`],
//! [`Journal::flush`]), then in place, and says so ([`Journal::applied`]). Opening a journal recovers the bucket. The
//! journal holds ciphertext and file offsets only; it needs no key and knows the object format just so far that it
//! recognises an object's id.
//!
//! It works on [`Node`](super::Node)s and [`File`](super::File)s alone. Its files, `%08x.wal`, are made at need.
//!
//! Whoever uses it must flush a frame before changing anything in place that the frame writes, must keep one frame
//! per object in flight at most, and must call [`Journal::fail`] when a flush of an object fails elsewhere.
//!
//! After recovery a file may be longer than its last commit says: by blocks that were written in place and never
//! committed, of which no frame tells. Nothing refers to these bytes.
//!
//! Locks: one, `state`, held for memory and for the copy of a frame into the page cache, never across a flush. Two
//! roles are marked in it, each for one thread at a time: the leader, who flushes for all that wait, and the keeper,
//! who begins and retires segments. A keeper may become leader; a leader never waits for the keeper.

mod defects;
mod frame;
mod keeper;
mod op;
mod ranges;
mod recovery;
mod segment;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use self::{
    defects::{Defect, Defects},
    frame::PAGE,
    recovery::MOST_SEGMENTS,
    segment::MAX_SEGMENT,
    state::State,
};
use super::NodeRef;

pub use frame::{Frame, Subject};
pub use recovery::{Recovery, Tail};

/// Number of a frame in its journal; rises by one with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much room a journal takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Length of one segment in bytes: a multiple of 4096, from 8 KiB to 64 MiB. A frame must fit into one.
    pub segment_bytes: u64,
    /// Number of segments, 2 to 4; each is made when the ones before it are full.
    pub segments: usize,
}

impl Default for Settings {
    /// Four segments of 16 MiB. The first change of a bucket pays for a whole segment of zeros, so it is short; and
    /// the largest frame that the engine makes, one object's share of unsaved data, still fits several times.
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, segments: MOST_SEGMENTS }
    }
}

impl Settings {
    fn check(&self) -> io::Result<()> {
        let bytes_ok =
            (2 * PAGE..=MAX_SEGMENT).contains(&self.segment_bytes) && self.segment_bytes.is_multiple_of(PAGE);
        let ok = bytes_ok && (2..=MOST_SEGMENTS).contains(&self.segments);
        if ok { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
    }
}

/// The journal of one bucket, open.
pub struct Journal {
    wal: NodeRef,
    bucket_id: [u8; 16],
    settings: Settings,
    defects: Defects,
    state: Mutex<State>,
    /// A role became free, frames became durable, or the journal failed.
    changed: Condvar,
}

impl Journal {
    /// Opens the journal in the directory `wal` and recovers the bucket at `bucket_root` from it; nobody else may use
    /// the bucket meanwhile. The journal is empty then.
    ///
    /// # Errors
    /// Those of the store. `InvalidData` when the journal is another bucket's or of a later version. `EINVAL` for
    /// settings out of their bounds. On any error the journal is left as it is, and opening it again is safe.
    pub fn open(
        wal: NodeRef,
        bucket_root: &NodeRef,
        bucket_id: [u8; 16],
        settings: Settings,
    ) -> io::Result<(Self, Recovery)> {
        Self::open_with(wal, bucket_root, bucket_id, settings, Defects::default())
    }

    fn open_with(
        wal: NodeRef,
        bucket_root: &NodeRef,
        bucket_id: [u8; 16],
        settings: Settings,
        defects: Defects,
    ) -> io::Result<(Self, Recovery)> {
        settings.check()?;
        let recovered = recovery::recover(&wal, bucket_root, &bucket_id, &settings, defects)?;
        let state = State::new(recovered.segments, recovered.next_lsn);
        let journal =
            Self { wal, bucket_id, settings, defects, state: Mutex::new(state), changed: Condvar::new() };
        Ok((journal, recovered.report))
    }

    /// Whether the journal in the directory `wal` has nothing to replay, so that the bucket can be read as it stands.
    pub fn has_nothing(wal: &NodeRef, bucket_id: &[u8; 16]) -> io::Result<bool> {
        recovery::has_nothing(wal, bucket_id)
    }

    /// Writes `frame`, about the object whose file is `node`, to the journal; it is durable after [`Self::flush`].
    ///
    /// # Errors
    /// `EBUSY` when the journal is full of frames that are not applied: apply them, say so, and try again
    /// ([`Self::oldest_unapplied`] is the first that is in the way). `EFBIG` when the frame is longer than
    /// [`Self::max_frame`]. `EIO` for ever after a failed flush. Others from making room; the frame is not written
    /// then, and may be tried again.
    pub fn append(&self, frame: &Frame, node: NodeRef) -> io::Result<Lsn> {
        let len = frame.padded_len(frame_unit(self.defects));
        if len > self.max_frame() {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        loop {
            let mut state = self.lock();
            state.check()?;
            if state.has_room(len) {
                return state.put(frame, node, frame_unit(self.defects));
            }
            self.make_room(state, len)?;
        }
    }

    /// Returns when the frames up to `lsn` are durable. Of those who call at the same time, one flushes for all.
    ///
    /// # Errors
    /// That of the flush, to the one who led it; `EIO` to all others, and for ever: what the system failed to write
    /// may be lost even if a later flush succeeds. Only opening the journal anew helps.
    pub fn flush(&self, lsn: Lsn) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            state.check()?;
            if state.durable >= lsn.0 {
                return Ok(());
            }
            if !state.leading {
                return self.lead(state);
            }
            state = self.wait(state);
        }
    }

    /// The changes of frame `lsn` are in place, durable or not; the frame was flushed before.
    pub fn applied(&self, lsn: Lsn) {
        self.lock().applied(lsn.0);
    }

    /// The first frame that is not [`Self::applied`].
    pub fn oldest_unapplied(&self) -> Option<Lsn> {
        self.lock().oldest_unapplied().map(Lsn)
    }

    /// Whether more than half of the room is in use: time for a [`Self::checkpoint`] before an append has to wait for one.
    pub fn wants_checkpoint(&self) -> bool {
        self.lock().used() * 2 > self.settings.segments
    }

    /// Whether the journal holds something and took nothing for this long.
    pub fn is_idle_for(&self, time: std::time::Duration) -> bool {
        let state = self.lock();
        state.used() > 0 && state.last_put.is_some_and(|last| last.elapsed() >= time)
    }

    /// Makes durable in place what the journal holds, and empties it; as far as frames are applied, the oldest first.
    /// For idle times and the end. Others may append meanwhile.
    ///
    /// # Errors
    /// That of the flush of an object or of the journal, which fails the journal; or of opening an object's file.
    pub fn checkpoint(&self) -> io::Result<()> {
        let _keeper = self.become_keeper();
        while let Some(index) = self.oldest_segment()? {
            if !self.retire(index)? {
                break;
            }
        }
        Ok(())
    }

    /// A last [`Self::checkpoint`]; `EBUSY` when there are frames that are not applied. They stay for recovery.
    pub fn close(self) -> io::Result<()> {
        self.checkpoint()?;
        let empty = self.lock().used() == 0;
        if empty { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBUSY)) }
    }

    /// Ends the use of the journal until it is opened anew, because a flush of one of its objects failed: the journal
    /// may hold the only sound copy, and must not let it go.
    pub fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_all();
    }

    /// The longest [`Frame::stored_len`] that [`Self::append`] takes, in bytes.
    pub fn max_frame(&self) -> u64 {
        self.settings.segment_bytes - PAGE
    }

    /// Flushes all that was appended so far, for everybody.
    fn lead(&self, mut state: MutexGuard<'_, State>) -> io::Result<()> {
        let Some((file, upto)) = state.unflushed() else { return Err(not_ours()) };
        state.leading = true;
        drop(state);
        let outcome = file.sync_data();
        let mut state = self.lock();
        state.leading = false;
        match &outcome {
            Ok(()) => state.durable = state.durable.max(upto),
            Err(_) => state.failed = true,
        }
        drop(state);
        self.changed.notify_all();
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flush of a number that this journal did not give.
fn not_ours() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// What a journal must not hold.
fn fault(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Frames start on multiples of this many bytes.
fn frame_unit(defects: Defects) -> u64 {
    if defects.has(Defect::Unpadded) { SECTOR } else { PAGE }
}

/// What a disk writes at once.
const SECTOR: u64 = 512;
