//! The inode table: which item the kernel means by a node number, and how many references it holds.
//!
//! A node number is the inode number of the backing file where it can be (same device as the root, not taken), so that
//! `st_ino` is stable, equals what a listing says, and hard links are recognised; one number then serves as node number
//! and as `st_ino`. Everything else gets a number with the top bit set.
//! Numbers are never ambiguous: an item keeps its number until the kernel has forgotten it, and an item that lost its
//! last name is pinned, so the backing file system cannot give its number away meanwhile.
//!
//! Counting happens under the lock of the shard, together with insertion and removal: a lookup that meets the forget
//! of the same node either finds it before the count reaches zero or builds a new one, never half of each.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::store::NodeKey;

/// The node number of the mount root, fixed by the protocol.
pub(super) const ROOT: u64 = 1;

/// An item the kernel knows.
pub(super) struct Inode<I> {
    id: u64,
    key: NodeKey,
    item: I,
    /// References held by the kernel; changed only under the lock of the shard.
    lookups: AtomicU64,
    place: AtomicU64,
    plain: AtomicBool,
    bare: AtomicBool,
}

impl<I> Inode<I> {
    fn new(id: u64, key: NodeKey, item: I, place: u64) -> Self {
        let (lookups, place) = (AtomicU64::new(0), AtomicU64::new(place));
        let (plain, bare) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { id, key, item, lookups, place, plain, bare }
    }

    /// Its node number, which is also its `st_ino`.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Its identity in the store.
    pub(super) fn key(&self) -> NodeKey {
        self.key
    }

    /// What it stands for.
    pub(super) fn item(&self) -> &I {
        &self.item
    }

    /// Fingerprint of the directory and name under which the item was last seen.
    pub(super) fn place(&self) -> u64 {
        self.place.load(Ordering::Acquire)
    }

    /// Notes where the item was seen.
    pub(super) fn set_place(&self, place: u64) {
        self.place.store(place, Ordering::Release);
    }

    /// Whether the file is known to have neither set-user-id nor set-group-id, so that a write need not look.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::SeqCst)
    }

    /// Notes the same. Set it before looking at the mode and unset it after changing the mode: in every interleaving
    /// either the look finds the new bits or the note is gone.
    pub(super) fn set_plain(&self, plain: bool) {
        self.plain.store(plain, Ordering::SeqCst);
    }

    /// Whether it is known to have no `security.capability`: it was made here and has been given no attribute since.
    pub(super) fn is_bare(&self) -> bool {
        self.bare.load(Ordering::SeqCst)
    }

    /// Notes the same. Set it before the kernel hears of the file, and unset it before setting an attribute.
    pub(super) fn set_bare(&self, bare: bool) {
        self.bare.store(bare, Ordering::SeqCst);
    }
}

/// All items the kernel knows.
pub(super) struct Inodes<I> {
    root: Arc<Inode<I>>,
    shards: Box<[Mutex<Shard<I>>]>,
    issued: AtomicU64,
}

struct Shard<I> {
    by_id: HashMap<u64, Arc<Inode<I>>>,
    by_key: HashMap<NodeKey, u64>,
}

impl<I> Inodes<I> {
    /// A table with the root alone, which is never forgotten.
    pub(super) fn new(key: NodeKey, root: I) -> Self {
        let empty = || Mutex::new(Shard { by_id: HashMap::new(), by_key: HashMap::new() });
        Self {
            root: Arc::new(Inode::new(ROOT, key, root, 0)),
            shards: (0..SHARDS).map(|_| empty()).collect(),
            issued: AtomicU64::new(0),
        }
    }

    /// The inode of a node number.
    pub(super) fn get(&self, id: u64) -> Option<Arc<Inode<I>>> {
        if id == ROOT {
            return Some(Arc::clone(&self.root));
        }
        self.shard(id).by_id.get(&id).cloned()
    }

    /// The inode of an item of the store, if the kernel knows it.
    pub(super) fn find(&self, key: NodeKey) -> Option<Arc<Inode<I>>> {
        let shard = self.shard(key.ino);
        shard.by_key.get(&key).and_then(|id| shard.by_id.get(id)).cloned()
    }

    /// Adds one reference of the kernel, with `item` if it was unknown. The flag tells whether it was known.
    pub(super) fn reference(&self, key: NodeKey, item: I, place: u64) -> (Arc<Inode<I>>, bool) {
        let mut shard = self.shard(key.ino);
        let known = shard.by_key.get(&key).and_then(|id| shard.by_id.get(id)).cloned();
        let was_known = known.is_some();
        let inode = known.unwrap_or_else(|| {
            let id = self.number(key, &shard);
            let inode = Arc::new(Inode::new(id, key, item, place));
            shard.by_key.insert(key, id);
            shard.by_id.insert(id, Arc::clone(&inode));
            inode
        });
        inode.lookups.fetch_add(1, Ordering::Relaxed);
        (inode, was_known)
    }

    /// Takes `count` references back. The item is dropped, outside the lock, with the last one.
    pub(super) fn forget(&self, id: u64, count: u64) {
        drop(self.released(id, count));
    }

    fn released(&self, id: u64, count: u64) -> Option<Arc<Inode<I>>> {
        let mut shard = self.shard(id);
        let inode = shard.by_id.get(&id)?;
        let left = inode.lookups.load(Ordering::Relaxed).saturating_sub(count);
        inode.lookups.store(left, Ordering::Relaxed);
        if left > 0 {
            return None;
        }
        let inode = shard.by_id.remove(&id)?;
        shard.by_key.remove(&inode.key);
        Some(inode)
    }

    fn number(&self, key: NodeKey, shard: &Shard<I>) -> u64 {
        let natural = key.dev == self.root.key.dev && key.ino > ROOT && key.ino < ARTIFICIAL;
        if natural && !shard.by_id.contains_key(&key.ino) {
            return key.ino;
        }
        // The low bits of the inode number keep both indexes of an item in one shard.
        let issued = self.issued.fetch_add(1, Ordering::Relaxed);
        ARTIFICIAL | ((issued * SHARDS) & !ARTIFICIAL) | (key.ino % SHARDS)
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, Shard<I>> {
        let index = usize::try_from(number % SHARDS).expect("a remainder of 64 fits");
        let shard = self.shards.get(index).expect("there are as many shards as remainders");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SHARDS: u64 = 64;
const ARTIFICIAL: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, thread};

    use proptest::prelude::*;

    use super::*;

    fn key(dev: u64, ino: u64) -> NodeKey {
        NodeKey { dev, ino }
    }

    fn table() -> Inodes<&'static str> {
        Inodes::new(key(1, 2), "root")
    }

    #[test]
    fn the_root_survives_any_forget() {
        let table = table();
        table.forget(ROOT, u64::MAX);
        assert_eq!(*table.get(ROOT).unwrap().item(), "root");
    }

    #[test]
    fn the_node_number_is_the_inode_number_on_the_device_of_the_root() {
        assert_eq!(table().reference(key(1, 77), "a", 0).0.id(), 77);
    }

    #[test]
    fn another_device_or_an_unfit_number_gets_an_artificial_one() {
        let table = table();
        for odd in [key(9, 77), key(1, 0), key(1, 1), key(1, u64::MAX)] {
            let inode = table.reference(odd, "x", 0).0;
            assert!(inode.id() >= ARTIFICIAL, "{odd:?}");
            assert!(Arc::ptr_eq(&table.get(inode.id()).unwrap(), &table.find(odd).unwrap()));
        }
    }

    #[test]
    fn a_known_item_stays_the_one_that_was_there_first() {
        let table = table();
        assert!(!table.reference(key(1, 5), "first", 0).1);
        let (inode, known) = table.reference(key(1, 5), "second", 0);
        assert!(known);
        assert_eq!(*inode.item(), "first");
    }

    #[test]
    fn forgetting_more_than_was_referenced_removes_and_does_not_wrap() {
        let table = table();
        let id = table.reference(key(1, 5), "a", 0).0.id();
        table.forget(id, 10);
        assert!(table.get(id).is_none());
        assert!(table.find(key(1, 5)).is_none());
    }

    #[test]
    fn lookups_and_forgets_of_one_node_at_once_end_with_nothing_left() {
        let table = table();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let id = table.reference(key(1, 5), "a", 0).0.id();
                        assert!(table.get(id).is_some(), "a referenced node is there");
                        table.forget(id, 1);
                    }
                });
            }
        });
        assert!(table.find(key(1, 5)).is_none());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Lookup(NodeKey),
        Forget(NodeKey, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = (1..3_u64, 0..6_u64).prop_map(|(dev, ino)| key(dev, ino * 64));
        let step = prop_oneof![
            key.clone().prop_map(Step::Lookup),
            (key, 1..4_u64).prop_map(|(key, count)| Step::Forget(key, count)),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_count_per_item(steps in steps()) {
            let table = table();
            let mut model: BTreeMap<NodeKey, (u64, u64)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Lookup(key) => {
                        let (inode, known) = table.reference(key, "x", 0);
                        prop_assert_eq!(known, model.contains_key(&key));
                        let (id, count) = model.entry(key).or_insert((inode.id(), 0));
                        prop_assert_eq!(*id, inode.id(), "the number stays while it is referenced");
                        *count += 1;
                    }
                    Step::Forget(key, wanted) => {
                        let Some((id, count)) = model.get_mut(&key) else { continue };
                        // The kernel never takes back more than it holds.
                        let taken = wanted.min(*count);
                        table.forget(*id, taken);
                        *count -= taken;
                        if *count == 0 {
                            model.remove(&key);
                            prop_assert!(table.find(key).is_none());
                        }
                    }
                }
                let ids: std::collections::BTreeSet<u64> = model.values().map(|(id, _)| *id).collect();
                prop_assert_eq!(ids.len(), model.len(), "no number stands for two items");
                for (key, (id, _)) in &model {
                    prop_assert_eq!(table.get(*id).map(|inode| inode.key()), Some(*key));
                    prop_assert_eq!(table.find(*key).map(|inode| inode.id()), Some(*id));
                }
            }
        }
    }
}
