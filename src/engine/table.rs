//! The table of open encrypted objects: every open of a file shares one [`LiveObject`].
//!
//! Those that were closed lately stay for a while, with their keys and what their headers say, for who opens them again
//! ([`super::closed`]). They count as neither open nor known.
//!
//! Lock order: a shard's lock is taken before an object's own and never held across store or key calls. The list of
//! closed objects is a leaf.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{
    Result,
    closed::{Closed, ClosingOrder},
    live::LiveObject,
};
use crate::store::NodeKey;

const SHARDS: usize = 32;

/// Open objects by the identity of their stored file.
pub(super) struct ObjectTable {
    shards: [Shard; SHARDS],
    closing: ClosingOrder,
}

#[derive(Default)]
struct Shard {
    slots: Mutex<HashMap<NodeKey, Slot>>,
    opened: Condvar,
}

enum Slot {
    /// One thread is opening it; others wait, if `awaited`.
    Opening {
        awaited: bool,
    },
    Open {
        object: Arc<LiveObject>,
        opens: usize,
    },
    /// Nobody has it open, and nothing of it is unsaved.
    Closed(Closed),
}

impl ObjectTable {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::default()), closing: ClosingOrder::default() }
    }

    /// The open object with this identity, counted as opened once more, or the one that `open` yields.
    ///
    /// `open` runs without any lock held; meanwhile other opens of the same object wait.
    pub(super) fn acquire(
        &self,
        key: NodeKey,
        open: impl FnOnce() -> Result<LiveObject>,
    ) -> Result<Arc<LiveObject>> {
        let shard = self.shard(key);
        let mut slots = shard.lock();
        loop {
            match slots.get_mut(&key) {
                Some(Slot::Open { object, opens }) => {
                    *opens += 1;
                    return Ok(object.clone());
                }
                Some(Slot::Opening { awaited }) => {
                    *awaited = true;
                    slots = shard.opened.wait(slots).unwrap_or_else(PoisonError::into_inner);
                }
                Some(Slot::Closed(_)) | None => break,
            }
        }
        let before = slots.insert(key, Slot::Opening { awaited: false });
        drop(slots);
        let mut landing = Landing { shard, key, object: None };
        let kept = match before {
            Some(Slot::Closed(closed)) => closed.reopened(),
            _ => None,
        };
        let object = kept.map_or_else(|| open().map(Arc::new), Ok)?;
        landing.object = Some(object.clone());
        Ok(object)
    }

    /// The open object with this identity, not counted.
    pub(super) fn peek(&self, key: NodeKey) -> Option<Arc<LiveObject>> {
        match self.shard(key).lock().get(&key) {
            Some(Slot::Open { object, .. }) => Some(object.clone()),
            _ => None,
        }
    }

    /// Whether anybody has the object with this identity open.
    pub(super) fn is_open(&self, key: NodeKey) -> bool {
        match self.shard(key).lock().get(&key) {
            Some(Slot::Open { opens, .. }) => *opens > 0,
            Some(Slot::Opening { .. }) => true,
            Some(Slot::Closed(_)) | None => false,
        }
    }

    /// Whether the object with this identity is kept although it is closed.
    #[cfg(test)]
    pub(super) fn is_closed(&self, key: NodeKey) -> bool {
        matches!(self.shard(key).lock().get(&key), Some(Slot::Closed(_)))
    }

    /// Ends one open. The last one closes the object, provided `settled` finds nothing unsaved in it.
    pub(super) fn release(&self, key: NodeKey, settled: impl FnOnce(&LiveObject) -> bool) {
        if let Some(object) = self.released(key, settled)
            && let Some(closed) = self.closing.close(object)
        {
            let number = closed.number();
            if let Entry::Vacant(slot) = self.shard(key).lock().entry(key) {
                slot.insert(Slot::Closed(closed));
            }
            if let Some((oldest, number)) = self.closing.note(key, number) {
                self.take_closed(oldest, |closed| closed.number() == number);
            }
        }
    }

    /// The object, if this was the last open of it.
    fn released(&self, key: NodeKey, settled: impl FnOnce(&LiveObject) -> bool) -> Option<Arc<LiveObject>> {
        let mut slots = self.shard(key).lock();
        let Some(Slot::Open { object, opens }) = slots.get_mut(&key) else { return None };
        *opens = opens.saturating_sub(1);
        if *opens > 0 || !settled(object) {
            return None;
        }
        let object = object.clone();
        slots.remove(&key);
        Some(object)
    }

    /// Lets go of the object with this identity, if it is kept although it is closed.
    pub(super) fn forget_closed(&self, key: NodeKey) {
        self.take_closed(key, |_| true);
    }

    /// Lets go of all that are kept although they are closed, and of their keys.
    pub(super) fn forget_all_closed(&self) {
        for shard in &self.shards {
            shard.lock().retain(|_, slot| !matches!(slot, Slot::Closed(_)));
        }
    }

    fn take_closed(&self, key: NodeKey, which: impl FnOnce(&Closed) -> bool) {
        let mut slots = self.shard(key).lock();
        let taken = match slots.get(&key) {
            Some(Slot::Closed(closed)) if which(closed) => slots.remove(&key),
            _ => None,
        };
        // It is closed for good with no lock held.
        drop(slots);
        drop(taken);
    }

    /// Keeps everybody from opening the object until the claim ends; they wait. `None` where more than `mine` opens have
    /// it, or something of it is not in place.
    pub(super) fn claim(&self, key: NodeKey, mine: usize) -> Option<Claim<'_>> {
        let shard = self.shard(key);
        let mut slots = shard.lock();
        let object = match slots.get(&key) {
            Some(Slot::Closed(_)) | None => None,
            Some(Slot::Open { object, opens }) if *opens <= mine && object.is_settled() => {
                (*opens > 0).then(|| object.clone())
            }
            Some(_) => return None,
        };
        slots.insert(key, Slot::Opening { awaited: false });
        Some(Claim(Landing { shard, key, object }))
    }

    /// Every object that is open or has something unsaved.
    pub(super) fn all(&self) -> Vec<Arc<LiveObject>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.lock().values().filter_map(|slot| match slot {
                Slot::Open { object, .. } => Some(object.clone()),
                Slot::Opening { .. } | Slot::Closed(_) => None,
            }));
        }
        all
    }

    /// Forgets objects that nobody has open and that have nothing unsaved, or are `lost`, or were closed long ago.
    pub(super) fn sweep(&self, lost: &HashSet<NodeKey>) {
        for shard in &self.shards {
            shard.lock().retain(|key, slot| match slot {
                Slot::Open { opens, .. } if *opens > 0 => true,
                Slot::Open { object, .. } if lost.contains(key) => {
                    object.give_up();
                    false
                }
                Slot::Open { object, .. } => !object.is_settled(),
                Slot::Opening { .. } => true,
                Slot::Closed(closed) => closed.is_recent(),
            });
        }
    }

    fn shard(&self, key: NodeKey) -> &Shard {
        let index = usize::try_from(key.ino % SHARDS as u64).expect("below the number of shards");
        self.shards.get(index).expect("below the number of shards")
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeKey, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An object that nobody else can open ([`ObjectTable::claim`]). Dropped, it is as open as before.
pub(super) struct Claim<'a>(Landing<'a>);

impl Claim<'_> {
    /// Forgets the object: what is opened from now on is opened anew.
    pub(super) fn forget(mut self) {
        self.0.object = None;
    }
}

/// Ends the `Opening` state however the open ended.
struct Landing<'a> {
    shard: &'a Shard,
    key: NodeKey,
    object: Option<Arc<LiveObject>>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let mut slots = self.shard.lock();
        let before = match self.object.take() {
            Some(object) => slots.insert(self.key, Slot::Open { object, opens: 1 }),
            None => slots.remove(&self.key),
        };
        // Waking is a system call, and nearly always nobody waits.
        if matches!(before, Some(Slot::Opening { awaited: true })) {
            self.shard.opened.notify_all();
        }
    }
}
