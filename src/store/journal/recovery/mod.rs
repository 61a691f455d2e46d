//! Recovery: what the journal holds is brought into the files, before anything else looks at them.
//!
//! Needs no key: frames are ciphertext. Replay goes from the newest frame to the oldest, and nothing older ever
//! overwrites what something newer has said about a range; running it again, also after a crash inside it, has the
//! same outcome. It writes to regular files of the bucket only, never below `.eob`.

mod find;
mod objects;
mod replay;
mod scan;

use std::{fmt, io, path::PathBuf};

use self::{objects::Objects, scan::Log};
use super::{
    Settings,
    defects::{Defect, Defects},
    segment::{self, FREE, Segment, SegmentHeader},
};
use crate::{crypto, store::NodeRef};

/// What recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Whole frames in the journal.
    pub frames: u64,
    /// Of these, frames whose objects are all gone.
    pub dropped: u64,
    /// Where the objects stand that were written to, from the root of the store.
    pub objects: Vec<PathBuf>,
    /// How the journal ended.
    pub tail: Tail,
}

/// How a journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// After a whole frame.
    #[default]
    Clean,
    /// With a part of a frame, which nobody was told is durable.
    Torn,
    /// Before its last segment: frames may be lost that should not be.
    Damaged,
}

impl Recovery {
    /// Whether there was nothing to do.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, dropped, objects, tail } = self;
        write!(f, "replayed {} frames to {} objects", frames - dropped, objects.len())?;
        if *dropped > 0 {
            write!(f, ", dropped {dropped} of objects that are gone")?;
        }
        f.write_str(match tail {
            Tail::Clean => "",
            Tail::Torn => "; the last frame was not complete",
            Tail::Damaged => "; the journal is damaged before its end: verify the bucket",
        })
    }
}

/// A journal without frames, and how it came to be so.
pub(super) struct Recovered {
    pub(super) report: Recovery,
    /// The files of the journal, by number; `None` where one is to be made at need.
    pub(super) segments: Vec<Option<Segment>>,
    /// Number for the next frame.
    pub(super) next_lsn: u64,
}

/// Recovers the bucket at `root`, whose journal is in `wal`.
pub(super) fn recover(
    wal: &NodeRef,
    root: &NodeRef,
    bucket_id: &[u8; 16],
    settings: &Settings,
    defects: Defects,
) -> io::Result<Recovered> {
    let mut segments =
        (0..MOST_SEGMENTS).map(|index| Segment::open(wal, index)).collect::<io::Result<Vec<_>>>()?;
    let log = Log::read(&segments, bucket_id, super::frame_unit(defects))?;
    let mut objects = Objects::of(&log)?;
    find::all(&mut objects, root)?;
    let dropped = replay::all(&log, &objects, defects)?;
    objects.sync()?;
    discard(&log, bucket_id, defects)?;
    remove_misfits(wal, &mut segments, settings)?;
    let report =
        Recovery { frames: log.frames.len() as u64, dropped, objects: objects.paths(), tail: log.tail };
    Ok(Recovered { report, segments, next_lsn: log.next_lsn })
}

/// Whether the journal in `wal` has nothing to replay. Changes nothing.
pub(super) fn has_nothing(wal: &NodeRef, bucket_id: &[u8; 16]) -> io::Result<bool> {
    let segments =
        (0..MOST_SEGMENTS).map(|index| Segment::open(wal, index)).collect::<io::Result<Vec<_>>>()?;
    let log = Log::read(&segments, bucket_id, super::frame_unit(Defects::default()))?;
    Ok(log.frames.is_empty())
}

/// Gives every segment in use a new salt. One after the other, each durable before the next: were the newest of two
/// segments discarded alone, the next recovery would replay the older one over it.
fn discard(log: &Log, bucket_id: &[u8; 16], defects: Defects) -> io::Result<()> {
    let mut order: Vec<_> = log.discard_order().collect();
    if defects.has(Defect::DiscardedNewestFirst) {
        order.reverse();
    }
    order.into_iter().try_for_each(|segment| {
        segment.put_header(&free_header(bucket_id, log.next_lsn)?)?;
        segment.file.sync_data()
    })
}

/// The header of a segment that is not in use.
pub(super) fn free_header(bucket_id: &[u8; 16], next_lsn: u64) -> io::Result<SegmentHeader> {
    let salt = crypto::random().map_err(io::Error::other)?;
    Ok(SegmentHeader { bucket_id: *bucket_id, seq: FREE, salt, first_lsn: next_lsn })
}

/// Removes files of another length or beyond the number that is wanted, and keeps places for those to come.
fn remove_misfits(wal: &NodeRef, segments: &mut Vec<Option<Segment>>, settings: &Settings) -> io::Result<()> {
    for (index, place) in segments.iter_mut().enumerate() {
        let fits = |segment: &Segment| segment.bytes == settings.segment_bytes && index < settings.segments;
        if place.as_ref().is_some_and(|segment| !fits(segment)) {
            wal.unlink(&segment::file_name(index))?;
            *place = None;
        }
    }
    segments.truncate(settings.segments);
    Ok(())
}

/// The most segments that a journal may have.
pub(in crate::store::journal) const MOST_SEGMENTS: usize = 4;
