//! An open file: an encrypted object, or a plain one passed through.

use std::{io::IoSlice, sync::Arc};

use super::{
    Allocate, Engine, EngineError, Item, OpenFlags, Result,
    live::{LiveObject, Sync},
};
use crate::store::FileRef;

/// An open file. Close it through [`Engine::close`] so that what is left unsaved is saved.
pub struct OpenFile {
    item: Item,
    flags: OpenFlags,
    content: Content,
    /// What the content may be used for.
    terms: Terms,
}

/// What an open file may be used for besides what it was opened for.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// It made the file.
    creating: bool,
    /// Who opened it may read what is there.
    readable: bool,
    /// What is there is retained.
    growing_only: bool,
}

/// Where the bytes are.
pub(super) enum Content {
    /// Stored as they are.
    Plain(FileRef),
    /// Sealed.
    Encrypted(Arc<LiveObject>),
}

impl OpenFile {
    pub(super) fn new(item: Item, flags: OpenFlags, content: Content) -> Self {
        if let Content::Plain(_) = content {
            item.plain_opened();
        }
        let terms = Terms { creating: false, readable: true, growing_only: false };
        Self { item, flags, content, terms }
    }

    /// The open that made the file.
    #[must_use]
    pub(super) fn creating(mut self) -> Self {
        self.terms.creating = true;
        self
    }

    /// Whether who opened it may read. Who may only write gets nothing from it, whatever it was opened for.
    #[must_use]
    pub(super) fn readable(mut self, readable: bool) -> Self {
        self.terms.readable = readable;
        self
    }

    /// Whether nothing of what is there may change.
    #[must_use]
    pub(super) fn growing_only(mut self, only: bool) -> Self {
        self.terms.growing_only = only;
        self
    }

    pub(super) fn is_creating(&self) -> bool {
        self.terms.creating
    }

    /// Whether the pages that others read may be shown to who opened it.
    pub fn is_readable(&self) -> bool {
        self.terms.readable
    }

    /// Refuses what is not writing at the end, where that is all that is allowed.
    pub(super) fn require_changeable(&self) -> Result<()> {
        if self.terms.growing_only { Err(EngineError::os(libc::EPERM)) } else { Ok(()) }
    }

    /// What was opened.
    pub fn item(&self) -> &Item {
        &self.item
    }

    /// How it was opened.
    pub fn flags(&self) -> OpenFlags {
        self.flags
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// Decrypts from `offset` into `buf`; the number of bytes, short only at the end of the file.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if !self.terms.readable {
            return Err(EngineError::os(libc::EACCES));
        }
        match &self.content {
            Content::Plain(file) => Ok(file.read_at(buf, offset)?),
            Content::Encrypted(object) => object.read_at(offset, buf),
        }
    }

    /// Writes `data`; the number of bytes, short only when the store refused the rest.
    /// With append access, at the current end instead of `offset`.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        match &self.content {
            Content::Plain(file) => {
                let offset = if self.flags.append { file.stat()?.size } else { offset };
                file.write_at(&[IoSlice::new(data)], offset)?;
                Ok(data.len())
            }
            Content::Encrypted(object) => object.write_at((!self.flags.append).then_some(offset), data),
        }
    }

    /// Hands everything written so far to the backing file system, without waiting for the disk.
    pub fn flush(&self) -> Result<()> {
        match &self.content {
            Content::Encrypted(object) if self.flags.write => object.commit(Sync::Store),
            _ => Ok(()),
        }
    }

    /// Makes the content durable; `data_only` leaves out attributes that reading does not need.
    pub fn sync(&self, data_only: bool) -> Result<()> {
        match (&self.content, data_only) {
            (Content::Plain(file), true) => Ok(file.sync_data()?),
            (Content::Plain(file), false) => Ok(file.sync_all()?),
            (Content::Encrypted(object), true) => object.commit(Sync::Data),
            (Content::Encrypted(object), false) => object.commit(Sync::All),
        }
    }

    /// `fallocate`.
    pub fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Result<()> {
        self.require_changeable()?;
        let end = offset.checked_add(len).ok_or(EngineError::TooLarge)?;
        match &self.content {
            Content::Plain(file) => allocate_plain(file, how, offset, len, end),
            Content::Encrypted(object) => {
                match how {
                    Allocate::Reserve { .. } => object.reserve(offset, len)?,
                    Allocate::Punch | Allocate::Zero { .. } => object.punch(offset, len)?,
                }
                let grow = !matches!(
                    how,
                    Allocate::Punch
                        | Allocate::Reserve { keep_size: true }
                        | Allocate::Zero { keep_size: true }
                );
                if grow { object.grow_to(end) } else { Ok(()) }
            }
        }
    }

    /// The next data (`true`) or hole (`false`) at or after `offset`; `None` past the end.
    pub fn seek(&self, offset: u64, data: bool) -> Result<Option<u64>> {
        match &self.content {
            Content::Plain(file) => Ok(file.seek(offset, data)?),
            Content::Encrypted(object) => object.seek(offset, data),
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Content::Plain(_) = self.content {
            self.item.plain_closed();
        }
    }
}

fn allocate_plain(file: &FileRef, how: Allocate, offset: u64, len: u64, end: u64) -> Result<()> {
    match how {
        Allocate::Reserve { .. } => file.reserve(offset, len)?,
        Allocate::Punch | Allocate::Zero { .. } => file.punch(offset, len)?,
    }
    let keep = !matches!(how, Allocate::Reserve { keep_size: false } | Allocate::Zero { keep_size: false });
    if !keep && file.stat()?.size < end {
        file.set_len(end)?;
    }
    Ok(())
}

impl Engine {
    /// Copies between open files of the mount, in steps of at most 1 MiB; the number of bytes copied.
    pub fn copy_range(
        &self,
        from: &OpenFile,
        from_offset: u64,
        to: &OpenFile,
        to_offset: u64,
        len: u64,
    ) -> Result<u64> {
        let step = usize::try_from(len.min(COPY_STEP)).expect("at most 1 MiB");
        super::scratch::with_plain(step, |buf| {
            let mut done = 0;
            while done < len.min(COPY_MOST) {
                let want = usize::try_from((len - done).min(step as u64)).expect("at most 1 MiB");
                let piece = buf.get_mut(..want).expect("a step at most");
                let got = from.read_at(from_offset + done, piece)?;
                let piece = piece.get(..got).expect("reads are within the buffer");
                let written = if got == 0 { 0 } else { to.write_at(to_offset + done, piece)? };
                done += written as u64;
                if written < want {
                    break;
                }
            }
            Ok(done)
        })
    }
}

const COPY_STEP: u64 = 1 << 20;
/// A request is answered after this much, so that it does not hold a worker for long.
const COPY_MOST: u64 = 64 << 20;
