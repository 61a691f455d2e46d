//! What a file was, and what may be found of it after the end.

use std::{cell::RefCell, rc::Rc};

use rand::{RngExt, rngs::StdRng};

use crate::store::sim::{CrashMode, SimDisk};

/// The contents that a file had.
#[derive(Default)]
pub(super) struct History {
    pub(super) versions: Vec<Vec<u8>>,
    /// Index of the oldest content that may come back; `None` while it was never synced.
    pub(super) synced: Option<usize>,
    /// The same when only the daemon dies; `None` while it was never saved.
    pub(super) saved: Option<usize>,
    /// It was opened after it was made.
    pub(super) reopened: bool,
    /// It got its name by a rename, which only a sync of the directory makes durable.
    pub(super) renamed: bool,
}

impl History {
    pub(super) fn fits(&self, content: &[u8], end: End) -> bool {
        let oldest = if end == End::Kill { self.saved.max(self.synced) } else { self.synced };
        self.versions.iter().skip(oldest.unwrap_or(0)).any(|version| version == content)
    }

    /// Whether each block of `content` stood in its place at some time, as is to be expected of a file that was never
    /// synced.
    pub(super) fn had(&self, content: &[u8]) -> bool {
        let had = |start: usize, block: &[u8]| {
            let range = start..start + block.len();
            self.versions.iter().any(|version| version.get(range.clone()) == Some(block))
        };
        self.synced.is_none()
            && (0..).step_by(4096).zip(content.chunks(4096)).all(|(at, block)| had(at, block))
    }

    /// Whether it was made in this use, never synced, and not opened again.
    pub(super) fn is_new(&self) -> bool {
        self.synced.is_none() && !self.reopened
    }

    pub(super) fn note_saved(&mut self) {
        self.saved = self.versions.len().checked_sub(1);
    }
}

pub(super) type Past = Rc<RefCell<History>>;

/// How a use of the store ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum End {
    /// The power fails.
    Cut(CrashMode),
    /// The daemon is killed; the system goes on.
    Kill,
}

impl End {
    /// The end of `disk` comes at the `nth` operation from now on.
    pub(super) fn comes_after(self, disk: &SimDisk, nth: u64, rng: &mut StdRng) {
        match self {
            Self::Cut(_) => disk.crash_after(nth),
            Self::Kill => disk.kill_after(nth, rng.random_range(0..6)),
        }
    }

    /// Whether it may take the header of an object that is written in place.
    pub(super) fn tears_pages(self) -> bool {
        use CrashMode::{DestroyPage, DestroySector, Tear512};
        matches!(self, Self::Cut(Tear512 | DestroySector(_) | DestroyPage(_)))
    }

    pub(super) fn mode(self) -> CrashMode {
        match self {
            Self::Cut(mode) => mode,
            Self::Kill => CrashMode::KeepAll,
        }
    }
}

/// A name: the file that it has, and all that a crash may show under it.
#[derive(Default)]
pub(super) struct Named {
    pub(super) now: Option<Past>,
    pub(super) possible: Vec<Option<Past>>,
}

impl Named {
    pub(super) fn becomes(&mut self, file: Option<Past>) {
        self.possible.push(file.clone());
        self.now = file;
    }

    /// Whether only a file that was synced can have this content.
    pub(super) fn synced_as(&self, content: &[u8], end: End) -> bool {
        let mut fitting =
            self.possible.iter().flatten().filter(|past| past.borrow().fits(content, end)).peekable();
        fitting.peek().is_some() && fitting.all(|past| past.borrow().synced.is_some())
    }

    pub(super) fn settles(&mut self) {
        self.possible = vec![self.now.clone()];
    }
}
