//! Replay, from the newest operation to the oldest.

use std::io::{self, IoSlice};

use super::{
    super::{
        defects::{Defect, Defects},
        op::{Action, Op},
        ranges::RangeSet,
    },
    objects::Objects,
    scan::{Log, Place},
};
use crate::store::{Access, FileRef};

/// Brings the frames of `log` into the files that were found; the number of frames that had none.
/// Nothing is durable yet.
pub(super) fn all(log: &Log, objects: &Objects, defects: Defects) -> io::Result<u64> {
    let mut replay = Replay {
        log,
        objects,
        done: objects.all.iter().map(|_| Done::default()).collect(),
        defects,
        open: None,
    };
    let mut order = log.frames.clone();
    if !defects.has(Defect::OldestFirst) {
        order.reverse();
    }
    let mut dropped = 0;
    for place in order {
        dropped += u64::from(!replay.frame(place)?);
    }
    Ok(dropped)
}

struct Replay<'a> {
    log: &'a Log,
    objects: &'a Objects,
    /// By object.
    done: Vec<Done>,
    defects: Defects,
    /// The file in hand and its object: frames of one object often follow each other.
    open: Option<(usize, FileRef)>,
}

/// What newer operations have said of a file.
#[derive(Default)]
struct Done {
    covered: RangeSet,
    /// A truncation was among them: the length is final.
    has_length: bool,
}

impl Replay<'_> {
    /// `false` when none of the frame's objects is there.
    fn frame(&mut self, place: Place) -> io::Result<bool> {
        let frame = self.log.frame(place)?;
        let mut ops = frame.ops()?;
        let indices = self.objects.of_frame(&ops);
        if !self.defects.has(Defect::OldestFirst) {
            ops.reverse();
        }
        let mut any = false;
        for op in ops {
            any |= self.op(&op, &indices)?;
        }
        Ok(any)
    }

    /// `false` when its object is not there.
    fn op(&mut self, op: &Op<'_>, indices: &[Option<usize>]) -> io::Result<bool> {
        let number = usize::try_from(op.object).unwrap_or(usize::MAX);
        let Some(index) = indices.get(number).copied().flatten() else { return Ok(false) };
        let Some(file) = self.file(index)? else { return Ok(false) };
        let Some(done) = self.done.get_mut(index) else { return Ok(false) };
        if self.defects.has(Defect::OldestFirst) {
            *done = Done::default();
        }
        let ignored = matches!(op.action, Action::Direct { .. }) && self.defects.has(Defect::DirectIgnored);
        if !ignored {
            done.apply(&file, &op.action)?;
        }
        Ok(true)
    }

    fn file(&mut self, index: usize) -> io::Result<Option<FileRef>> {
        if let Some((_, file)) = self.open.as_ref().filter(|(of, _)| *of == index) {
            return Ok(Some(file.clone()));
        }
        let node = self.objects.all.get(index).and_then(|object| object.node.as_ref());
        let Some(node) = node else { return Ok(None) };
        let file = node.open(Access::ReadWrite)?;
        self.open = Some((index, file.clone()));
        Ok(Some(file))
    }
}

impl Done {
    fn apply(&mut self, file: &FileRef, action: &Action<'_>) -> io::Result<()> {
        match *action {
            Action::Write { offset, bytes } => self.write(file, offset, bytes),
            Action::Direct { offset, len } => {
                self.covered.insert(offset..offset.saturating_add(len));
                Ok(())
            }
            Action::Truncate { len } => self.truncate(file, len),
            Action::Punch { offset, len } => self.clear(file, offset, offset.saturating_add(len)),
            Action::Object { .. } | Action::Path(_) => Ok(()),
        }
    }

    fn write(&mut self, file: &FileRef, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = offset..offset.saturating_add(bytes.len() as u64);
        for gap in self.covered.gaps(range.clone()) {
            let within = as_index(gap.start - offset)..as_index(gap.end - offset);
            let part = bytes.get(within).expect("gaps lie inside the range asked for");
            file.write_at(&[IoSlice::new(part)], gap.start)?;
        }
        self.covered.insert(range);
        Ok(())
    }

    /// The newest truncation gives the file its length. What an older one cut off, and nothing newer has written,
    /// is zeros.
    fn truncate(&mut self, file: &FileRef, len: u64) -> io::Result<()> {
        if !self.has_length {
            file.set_len(len)?;
            self.has_length = true;
        }
        let end = file.stat()?.size.max(len);
        self.clear(file, len, end)?;
        self.covered.insert(len..u64::MAX);
        Ok(())
    }

    /// Makes zeros of what is not covered.
    fn clear(&mut self, file: &FileRef, start: u64, end: u64) -> io::Result<()> {
        for gap in self.covered.gaps(start..end) {
            file.punch(gap.start, gap.end - gap.start)?;
        }
        self.covered.insert(start..end);
        Ok(())
    }
}

/// Of a distance within a frame, which is in memory.
fn as_index(distance: u64) -> usize {
    usize::try_from(distance).expect("a distance within a slice")
}
