//! Jobs: work on all objects of a bucket or store, one after the other.
//!
//! A job may be cut off at any moment and is then simply run again: what is left to do is seen in the objects
//! themselves, and no record of a job is kept or trusted. It may run while others use the store through the same engine:
//! every change of an object goes the way that other changes go, through its one open state. One job runs at a time.
//! It must never change what a policy denies, never touch content in place, never keep a list of the objects.

mod attributes;
mod description;
mod draft;
mod filter;
mod inventory;
mod objects;
mod pace;
mod records;
mod reencrypt;
mod replicate;
mod report;
mod rewrap;
mod version;
mod walk;

pub use filter::{Filter, Selection, Stored};
pub use inventory::{Each, Entry, Inventory};
pub use reencrypt::Reencrypt;
pub use replicate::Replicate;
pub use report::{Line, Outcome, Totals, Watch};
pub use rewrap::Rewrap;

use std::sync::{MutexGuard, TryLockError};

use super::{Engine, Result};

impl Engine {
    /// The right to run a job; `EBUSY` while another has it.
    fn job_turn(&self) -> Result<MutexGuard<'_, ()>> {
        match self.shared.job.try_lock() {
            Ok(turn) => Ok(turn),
            Err(TryLockError::Poisoned(turn)) => Ok(turn.into_inner()),
            Err(TryLockError::WouldBlock) => Err(std::io::Error::from_raw_os_error(libc::EBUSY).into()),
        }
    }
}
