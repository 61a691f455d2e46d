//! Reading the journal: which frames count, in order.

use std::io;

use super::{
    super::{
        fault,
        frame::PAGE,
        segment::{FREE, Found, Segment, SegmentHeader, StoredFrame},
    },
    Tail,
};

/// The frames that count, the oldest first, by where they stand.
pub(super) struct Log {
    /// Segments in use, the oldest first.
    used: Vec<(Segment, SegmentHeader)>,
    /// How many of `used` were read; those after them follow a break.
    read: usize,
    pub(super) frames: Vec<Place>,
    pub(super) tail: Tail,
    pub(super) next_lsn: u64,
    unit: u64,
}

/// Where a frame stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    segment: usize,
    position: u64,
    pub(super) lsn: u64,
}

impl Log {
    /// Reads all `segments`, whose frames start on multiples of `unit`.
    pub(super) fn read(segments: &[Option<Segment>], bucket_id: &[u8; 16], unit: u64) -> io::Result<Self> {
        let mut used = Vec::new();
        let mut next_lsn = 1;
        for segment in segments.iter().flatten() {
            let Some(header) = segment.header()? else { continue };
            if header.bucket_id != *bucket_id {
                return Err(fault(
                    "the journal is of another bucket; remove it, or bring back its own bucket",
                ));
            }
            next_lsn = next_lsn.max(header.first_lsn);
            if header.seq != FREE {
                used.push((segment.clone(), header));
            }
        }
        used.sort_by_key(|(_, header)| header.seq);
        let mut log = Self { used, read: 0, frames: Vec::new(), tail: Tail::Clean, next_lsn, unit };
        log.read_used()?;
        Ok(log)
    }

    /// The frame at `place`, read once more.
    pub(super) fn frame(&self, place: Place) -> io::Result<StoredFrame> {
        let changed = || fault("the journal changed while it was read; end the program that writes to it");
        let (segment, header) = self.used.get(place.segment).ok_or_else(changed)?;
        match segment.frame_at(place.position, &header.salt, self.unit)? {
            Found::Frame(frame) if frame.header.lsn == place.lsn => Ok(frame),
            _ => Err(changed()),
        }
    }

    /// The segments in use, in an order that leaves a sound journal wherever a crash ends it: what was not read
    /// must not become the beginning, and of the rest always the newest remain.
    pub(super) fn discard_order(&self) -> impl Iterator<Item = &Segment> {
        let (read, unread) = self.used.split_at(self.read);
        unread.iter().rev().chain(read).map(|(segment, _)| segment)
    }

    /// Each segment must begin where the one before it ended.
    fn read_used(&mut self) -> io::Result<()> {
        let mut expected = None;
        for index in 0..self.used.len() {
            let Some((segment, header)) = self.used.get(index).cloned() else { break };
            if expected.is_some_and(|lsn| lsn != header.first_lsn) {
                self.tail = Tail::Damaged;
                break;
            }
            self.read += 1;
            self.tail = Tail::Clean;
            expected = Some(self.read_segment(index, &segment, &header)?);
        }
        // Also beyond frames that do not count, so that no number is given twice.
        self.next_lsn = self.next_lsn.max(expected.unwrap_or(1));
        Ok(())
    }

    /// The number that the next frame would have.
    fn read_segment(&mut self, index: usize, segment: &Segment, header: &SegmentHeader) -> io::Result<u64> {
        let (mut position, mut lsn) = (PAGE, header.first_lsn);
        loop {
            match segment.frame_at(position, &header.salt, self.unit)? {
                Found::Frame(frame) if frame.header.lsn == lsn => {
                    self.frames.push(Place { segment: index, position, lsn });
                    position += u64::from(frame.header.len);
                    lsn = lsn.saturating_add(1);
                }
                Found::End => return Ok(lsn),
                Found::Frame(_) | Found::Torn => {
                    self.tail = Tail::Torn;
                    return Ok(lsn);
                }
            }
        }
    }
}
