//! The audit log: append-only JSON lines with the names of `CloudTrail`, chained by MACs whose keys are erased after use.
//!
//! Line `i` carries `h_i = HMAC-SHA-256(k_i, h_(i-1) ‖ line)`, and `k_(i+1) = SHA-256("evolve" ‖ k_i)`. Only `k_0`
//! verifies, and it follows from a secret that opening the keyring yields and serving forgets; what the state file and
//! a serving process hold is the key of the *next* line. So nobody who takes them can change a line that was written.
//!
//! Writers of several processes take turns under a lock of the state file. This room may assume nothing about the
//! files of a log; it knows no engine, no policy and no key, and must never write a secret into a line.

mod append;
mod aside;
mod batch;
mod chain;
mod error;
mod event;
mod journald;
mod place;
mod read;
mod state;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use append::Appender;
pub use chain::carry_root;
pub use error::AuditError;
pub use event::{Actor, Decision, Details, Event, EventName, Failure, Parameters, SseApplied};
pub use read::{Filter, Follow, Record, records};
pub use verify::{Noted, Problem, ProblemKind, Report, verify};
pub use writer::{AuditLog, Role};

use std::path::{Path, PathBuf};

/// How a log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The directory of its files, made if it is missing.
    pub dir: PathBuf,
    /// When written lines are handed to the disk.
    pub sync: Sync,
    /// What happens to requests whose event cannot be written.
    pub fail: Fail,
    /// A file is closed and the next one begun from this many bytes on.
    pub file_size: u64,
    /// How many files stay, the one being written included; at least 1.
    pub keep_files: u32,
    /// The socket of the system journal that gets every line, too.
    pub journal: Option<PathBuf>,
}

/// When written lines are handed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After each batch, before the state of the chain is saved (`fdatasync`).
    Batch,
    /// When the system likes: a power cut may take the last lines.
    Never,
}

/// What happens to requests whose event cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fail {
    /// They go on. Events wait in memory while there is room, and those lost after that are counted in the log.
    Open,
    /// They fail; and every request waits until its event is written.
    Closed,
}

/// Whether a log was begun in `dir`.
pub fn exists(dir: &Path) -> bool {
    place::Place::new(dir).exists()
}

impl Options {
    /// The defaults, for a log in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, sync: Sync::Never, fail: Fail::Open, file_size: 64 << 20, keep_files: 32, journal: None }
    }
}
