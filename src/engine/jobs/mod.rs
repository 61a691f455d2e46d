//! Jobs: work on all objects of a bucket or store, one after the other.
//!
//! A job may be cut off at any moment and is then simply run again: what is left to do is seen in the objects
//! themselves, and no record of a job is kept or trusted. It may run while others use the store through the same engine:
//! every change of an object goes the way that other changes go, through its one open state, or replaces it as a whole.
//! One job at a time works on a bucket.
//! It must never change what a policy denies, never touch content in place, never keep a list of the objects.

mod attributes;
mod content;
mod description;
mod draft;
mod filter;
mod inventory;
mod objects;
mod octets;
mod pace;
mod recorded;
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
pub use replicate::{Answer, Beginning, Receiver, Replica, Replicas, Replicate, Settled};
pub use report::{Done, Line, Outcome, Totals, Watch};
pub use rewrap::Rewrap;

#[cfg(test)]
pub(super) use content::digest_of as replicate_digest;

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Engine, EngineError, Result};
use crate::name::BucketName;

/// The buckets that jobs work on. Its lock is a leaf.
#[derive(Default)]
pub(super) struct Jobs(Mutex<BTreeSet<BucketName>>);

/// The right to work on some buckets, until dropped.
struct Turn<'a> {
    of: &'a Jobs,
    buckets: Vec<BucketName>,
}

impl Turn<'_> {
    /// Whether `bucket` is one of them.
    fn covers(&self, bucket: &BucketName) -> bool {
        self.buckets.contains(bucket)
    }
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<BucketName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.of.lock().retain(|name| !self.buckets.contains(name));
    }
}

impl Engine {
    /// Whether a job runs.
    pub fn has_jobs(&self) -> bool {
        !self.shared.jobs.lock().is_empty()
    }

    /// The right to run a job on `buckets`, unless another one works on one of them.
    fn job_turn(&self, buckets: &[BucketName]) -> Result<Turn<'_>> {
        let jobs = &self.shared.jobs;
        let mut taken = jobs.lock();
        if let Some(bucket) = buckets.iter().find(|bucket| taken.contains(*bucket)) {
            return Err(EngineError::JobRuns { bucket: bucket.to_string() });
        }
        taken.extend(buckets.iter().cloned());
        Ok(Turn { of: jobs, buckets: buckets.to_vec() })
    }
}
