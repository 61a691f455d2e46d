//! Replay, from the newest operation to the oldest.

use std::io::{self, IoSlice};

use super::{
    super::{
        defects::{Defect, Defects},
        frame::PAGE,
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
    replay.cut()?;
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
    /// The part of it that replay has written, and would write again.
    written: RangeSet,
    /// The length by the newest truncation, if there was one.
    length: Option<u64>,
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
            done.cut(&file)?;
            *done = Done::default();
        }
        let ignored = matches!(op.action, Action::Direct { .. }) && self.defects.has(Defect::DirectIgnored);
        if !ignored {
            done.apply(&file, &op.action)?;
        }
        Ok(true)
    }

    fn cut(&mut self) -> io::Result<()> {
        for index in 0..self.done.len() {
            if let (Some(file), Some(done)) = (self.file(index)?, self.done.get(index)) {
                done.cut(&file)?;
            }
        }
        Ok(())
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
            self.written.insert(gap);
        }
        self.covered.insert(range);
        Ok(())
    }

    /// What a truncation cut off, and nothing newer has written, is zeros. The newest gives the file its length.
    fn truncate(&mut self, file: &FileRef, len: u64) -> io::Result<()> {
        let size = file.stat()?.size;
        if self.length.is_none() {
            self.length = Some(len);
            if size < len {
                file.set_len(len)?;
            }
            self.covered.insert(len..u64::MAX);
        }
        self.clear(file, len, size.max(len))?;
        self.covered.insert(len..u64::MAX);
        Ok(())
    }

    /// Cuts off what is beyond the newest length. A cut inside a page makes the system write that page, and a crash
    /// may destroy it then: where the journal does not hold the rest of the page, the file stays longer instead.
    fn cut(&self, file: &FileRef) -> io::Result<()> {
        let Some(len) = self.length else { return Ok(()) };
        let rest = (len - len % PAGE)..len;
        let safe = if self.written.gaps(rest).is_empty() { len } else { len.next_multiple_of(PAGE) };
        if file.stat()?.size > safe { file.set_len(safe) } else { Ok(()) }
    }

    /// Makes zeros of what is not covered.
    fn clear(&mut self, file: &FileRef, start: u64, end: u64) -> io::Result<()> {
        for gap in self.covered.gaps(start..end) {
            file.punch(gap.start, gap.end - gap.start)?;
            self.written.insert(gap);
        }
        self.covered.insert(start..end);
        Ok(())
    }
}

/// Of a distance within a frame, which is in memory.
fn as_index(distance: u64) -> usize {
    usize::try_from(distance).expect("a distance within a slice")
}
