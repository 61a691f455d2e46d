//! A disk in memory that can lose its power, for tests of everything that must survive it.
//!
//! Keeps the contract of the store. Remembers of every sector, length, attribute and name what is durable and what
//! was sent since the last sync; [`SimDisk::power_cycle`] draws from that what a power cut leaves:
//! - every sector, length and attribute ends as the durable or any later version, independently of the others (on a
//!   real disk a punch or a cut is less torn than that);
//! - a change of names happens whole or not at all. [`Node::sync_dir`](super::Node::sync_dir) makes the names in the
//!   directory durable, a sync of a file also the name it was created under, but nothing makes the name of a
//!   directory durable but a sync of its parent.
//!
//! The disk is the same for the same seed. It says nothing about time: syncs are instant, threads take turns.

mod content;
mod crash;
mod directory;
mod disk;
mod entries;
mod file;
mod inode;
mod names;
mod node;
#[cfg(test)]
mod tests;
mod versions;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::Rng;

use self::{disk::Disk, node::SimNode};
use super::NodeRef;

pub(crate) use self::{crash::CrashMode, names::Host};

/// A simulated disk with one file system on it.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Disk>>);

impl SimDisk {
    /// An empty disk of a host that keeps names as `host` says.
    pub(crate) fn new(host: Host) -> Self {
        Self(Arc::new(Mutex::new(Disk::new(host))))
    }

    /// The root directory.
    pub(crate) fn root(&self) -> NodeRef {
        Arc::new(SimNode::root(self.clone()))
    }

    /// How many operations there were that may change the disk, syncs among them, successful or not.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations()
    }

    /// Takes the power away at the `nth` operation from now on that may change the disk (1 is the next): it has no
    /// effect and fails, and so does everything after it, reading too. What it would have left half done is what the
    /// cut at the operation after it draws from.
    pub(crate) fn crash_after(&self, nth: u64) {
        self.lock().cut_power_at(nth, 0);
    }

    /// As [`Self::crash_after`], but if that operation is a write, its first `pages` pages are written: what
    /// `kill -9` does to a process, when everything in flight is kept.
    pub(crate) fn kill_after(&self, nth: u64, pages: u64) {
        self.lock().cut_power_at(nth, pages);
    }

    /// Whether the power is off.
    pub(crate) fn is_off(&self) -> bool {
        self.lock().check_power().is_err()
    }

    /// The disk as found after a power cut now, or when the power went off. It has power, no faults, and all that is
    /// on it is durable; this one stays as it is, so that other cuts of it can be tried.
    pub(crate) fn power_cycle(&self, rng: &mut impl Rng, mode: CrashMode) -> Self {
        Self(Arc::new(Mutex::new(self.lock().after_power_cut(rng, mode))))
    }

    /// Leaves space for `bytes` (in sectors of 512) beyond what is allocated now; `ENOSPC` after it. Cutting,
    /// punching and unlinking give space back.
    pub(crate) fn full_after(&self, bytes: u64) {
        self.lock().limit_space(bytes);
    }

    /// Makes the `nth` sync of a file from now on (1 is the next) fail with `EIO`. As on Linux the data of that file
    /// that were not durable are lost but remain readable until the power goes, and the next sync succeeds.
    pub(crate) fn fsync_fails_and_drops(&self, nth: u64) {
        self.lock().fail_sync_at(nth);
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an operation failed because the power is off.
pub(crate) fn is_power_off(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<PowerIsOff>)
}

#[derive(Debug, thiserror::Error)]
#[error("power is off")]
struct PowerIsOff;

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}
