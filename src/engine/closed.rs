//! Objects that were closed lately. Opening one of them again needs neither its header nor its keys derived anew.
//!
//! It is taken for the same only if its stored file has the times and the length that it had when it was closed: what
//! others changed meanwhile, also in its name or owner, is read and authenticated anew. Whether its key may still be used
//! is asked at each open, as of all objects. Kept are small objects, whose tags are all in the header, and only those under
//! a bucket key: a customer key is not to stay longer than it is used, and a key service sees each open without bucket keys.
//! An object is kept when it is closed a second time within a while: most are opened once, and keeping each of those would cost
//! every open of a large tree some microseconds.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::live::LiveObject;
use crate::store::{NodeKey, Stat, Timestamp};

/// A closed object.
pub(super) struct Closed {
    object: Arc<LiveObject>,
    number: u64,
    since: Instant,
    seen: Seen,
}

/// What tells that a stored file is as it was.
#[derive(PartialEq, Eq)]
struct Seen {
    len: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl Seen {
    /// Of a file that has no name any more there is nothing to be kept.
    fn of(stat: &Stat) -> Option<Self> {
        (stat.nlink > 0).then_some(Self { len: stat.size, mtime: stat.mtime, ctime: stat.ctime })
    }
}

impl Closed {
    /// Which closing of all this is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it was closed not long ago.
    pub(super) fn is_recent(&self) -> bool {
        self.since.elapsed() < KEPT_FOR
    }

    /// The object, if its file is as it was.
    pub(super) fn reopened(self) -> Option<Arc<LiveObject>> {
        let now = self.object.stat().ok().as_ref().and_then(Seen::of);
        (now.as_ref() == Some(&self.seen)).then_some(self.object)
    }
}

/// In which order objects were closed, so that the oldest go when there are many.
pub(super) struct ClosingOrder {
    /// The file closed last of those that share a place here, by inode number.
    once: [AtomicU64; PLACES],
    issued: AtomicU64,
    order: Mutex<VecDeque<(NodeKey, u64)>>,
}

impl Default for ClosingOrder {
    fn default() -> Self {
        let once = std::array::from_fn(|_| AtomicU64::default());
        Self { once, issued: AtomicU64::default(), order: Mutex::default() }
    }
}

impl ClosingOrder {
    /// The closed form of `object`, if it is worth keeping.
    pub(super) fn close(&self, object: Arc<LiveObject>) -> Option<Closed> {
        if !self.is_again(object.key()) || !object.is_light() {
            return None;
        }
        let seen = Seen::of(&object.stat().ok()?)?;
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        Some(Closed { object, number, since: Instant::now(), seen })
    }

    /// Whether this file was closed lately before now. Mistakes cost time only.
    fn is_again(&self, key: NodeKey) -> bool {
        let place = usize::try_from(key.ino % PLACES as u64).ok().and_then(|at| self.once.get(at));
        place.is_some_and(|place| place.swap(key.ino, Ordering::Relaxed) == key.ino)
    }

    /// Notes closing `number`, of `key`; the one that has to go for it.
    pub(super) fn note(&self, key: NodeKey, number: u64) -> Option<(NodeKey, u64)> {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.push_back((key, number));
        if order.len() > MOST { order.pop_front() } else { None }
    }
}

/// How many files are remembered to have been closed.
const PLACES: usize = 1024;
/// How many are kept; each holds a descriptor.
const MOST: usize = 256;
const KEPT_FOR: Duration = Duration::from_mins(5);
