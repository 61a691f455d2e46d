//! Handles: the numbers under which the kernel speaks of open files and directories.
//!
//! A number is used once, so a late request with a stale one meets nothing instead of another file. The lock of a
//! shard is held only to find, add or remove the shared pointer, never during input or output.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Open things by handle number.
pub(super) struct Handles<T> {
    shards: Box<[Shard<T>]>,
    issued: AtomicU64,
    open: AtomicU64,
}

type Shard<T> = Mutex<HashMap<u64, Arc<T>>>;

impl<T> Handles<T> {
    /// No handles.
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, issued: AtomicU64::new(1), open: AtomicU64::new(0) }
    }

    /// Takes `value` in under a fresh number.
    pub(super) fn insert(&self, value: T) -> u64 {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        self.shard(number).insert(number, Arc::new(value));
        self.open.fetch_add(1, Ordering::Relaxed);
        number
    }

    /// What `number` stands for.
    pub(super) fn get(&self, number: u64) -> Option<Arc<T>> {
        self.shard(number).get(&number).cloned()
    }

    /// Gives `number` up. The value lives on while another request is still using it.
    pub(super) fn remove(&self, number: u64) -> Option<Arc<T>> {
        let removed = self.shard(number).remove(&number)?;
        self.open.fetch_sub(1, Ordering::Relaxed);
        Some(removed)
    }

    /// How many are open.
    pub(super) fn len(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        let index = usize::try_from(number % SHARDS).expect("a remainder of 32 fits");
        let shard = self.shards.get(index).expect("there are as many shards as remainders");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHARDS: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_number_means_nothing_and_is_not_given_again() {
        let handles = Handles::new();
        let first = handles.insert("a");
        assert_eq!(handles.get(first).as_deref(), Some(&"a"));
        assert!(handles.remove(first).is_some());
        assert!(handles.get(first).is_none());
        assert!(handles.remove(first).is_none());
        assert_ne!(handles.insert("b"), first);
        assert_eq!(handles.len(), 1);
    }

    #[test]
    fn a_value_in_use_outlives_its_number() {
        let handles = Handles::new();
        let number = handles.insert(String::from("busy"));
        let held = handles.get(number).unwrap();
        handles.remove(number);
        assert_eq!(*held, "busy");
    }
}
