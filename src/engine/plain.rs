//! Who has plain files open: they are passed through, and have no open state of their own.

use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::store::NodeKey;

/// The plain files of a bucket that are open. Its lock is a leaf.
#[derive(Default)]
pub(super) struct PlainOpens {
    opens: Mutex<HashMap<NodeKey, Opens>>,
    freed: Condvar,
}

#[derive(Default)]
struct Opens {
    count: usize,
    claimed: bool,
}

/// A plain file that nobody can open until this is dropped; they wait.
pub(super) struct PlainClaim<'a> {
    of: &'a PlainOpens,
    key: NodeKey,
}

impl PlainOpens {
    /// Counts an open.
    pub(super) fn opened(&self, key: NodeKey) {
        let mut opens = self.lock();
        while opens.get(&key).is_some_and(|open| open.claimed) {
            opens = self.freed.wait(opens).unwrap_or_else(PoisonError::into_inner);
        }
        opens.entry(key).or_default().count += 1;
    }

    /// Ends an open.
    pub(super) fn closed(&self, key: NodeKey) {
        let mut opens = self.lock();
        if let Some(open) = opens.get_mut(&key) {
            open.count = open.count.saturating_sub(1);
        }
        forget_unused(&mut opens, key);
    }

    /// How many opens there are.
    pub(super) fn count(&self, key: NodeKey) -> usize {
        self.lock().get(&key).map_or(0, |open| open.count)
    }

    /// Keeps others than those who have it open, `mine` at most, from opening the file.
    pub(super) fn claim(&self, key: NodeKey, mine: usize) -> Option<PlainClaim<'_>> {
        let mut opens = self.lock();
        let open = opens.entry(key).or_default();
        let free = open.count <= mine && !open.claimed;
        open.claimed |= free;
        // Made only where it holds: its end takes the lock.
        free.then(|| PlainClaim { of: self, key })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeKey, Opens>> {
        self.opens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PlainClaim<'_> {
    fn drop(&mut self) {
        let mut opens = self.of.lock();
        if let Some(open) = opens.get_mut(&self.key) {
            open.claimed = false;
        }
        forget_unused(&mut opens, self.key);
        self.of.freed.notify_all();
    }
}

fn forget_unused(opens: &mut HashMap<NodeKey, Opens>, key: NodeKey) {
    if opens.get(&key).is_some_and(|open| open.count == 0 && !open.claimed) {
        opens.remove(&key);
    }
}
