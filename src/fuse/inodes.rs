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
//!
//! The kernel remembers nodes until it needs memory itself, which is not when this process does. So the table says when
//! there are many ([`Inodes::new`]) and which of them were not used lately.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
};

use super::inode::Inode;
use crate::store::NodeKey;

/// The node number of the mount root, fixed by the protocol.
pub(super) const ROOT: u64 = 1;

/// All items the kernel knows.
pub(super) struct Inodes<I> {
    root: Arc<Inode<I>>,
    shards: Box<[Mutex<Shard<I>>]>,
    issued: AtomicU64,
    count: AtomicUsize,
    /// From this many on, each new one is reported.
    many: AtomicUsize,
    reports: SyncSender<()>,
    /// The shard to be searched next for idle nodes.
    next: AtomicU64,
}

struct Shard<I> {
    by_id: HashMap<u64, Arc<Inode<I>>>,
    /// Those whose number is not that of the backing file.
    odd: HashMap<NodeKey, u64>,
}

impl<I> Shard<I> {
    fn find(&self, key: NodeKey) -> Option<&Arc<Inode<I>>> {
        let natural = self.by_id.get(&key.ino).filter(|inode| inode.key() == key);
        natural.or_else(|| self.by_id.get(self.odd.get(&key)?))
    }
}

impl<I> Inodes<I> {
    /// A table with the root alone, which is never forgotten, and what hears when there are `many`; it ends with the table.
    pub(super) fn new(key: NodeKey, root: I, many: usize) -> (Self, Receiver<()>) {
        let empty = || Mutex::new(Shard { by_id: HashMap::new(), odd: HashMap::new() });
        let (reports, heard) = mpsc::sync_channel(1);
        let table = Self {
            root: Arc::new(Inode::new(ROOT, key, root, 0)),
            shards: (0..SHARDS).map(|_| empty()).collect(),
            issued: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            many: AtomicUsize::new(many),
            reports,
            next: AtomicU64::new(0),
        };
        (table, heard)
    }

    /// How many there are, the root left out.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Reports again only from `many` nodes on.
    pub(super) fn report_from(&self, many: usize) {
        self.many.store(many, Ordering::Relaxed);
    }

    /// Some `wanted` nodes or more, if there are as many, that nothing here uses: those that the kernel did not ask for
    /// since they were last passed over, or else since now.
    pub(super) fn idle(&self, wanted: usize) -> Vec<Arc<Inode<I>>> {
        let mut idle = Vec::new();
        for _ in 0..2 * SHARDS {
            if idle.len() >= wanted {
                break;
            }
            let shard = self.shard(self.next.fetch_add(1, Ordering::Relaxed));
            let unused = |inode: &&Arc<Inode<I>>| {
                // Whoever works with a node, or has it open, holds it besides the table.
                Arc::strong_count(inode) == 1 && !inode.take_use()
            };
            idle.extend(shard.by_id.values().filter(unused).cloned());
        }
        idle
    }

    /// The inode of a node number.
    pub(super) fn get(&self, id: u64) -> Option<Arc<Inode<I>>> {
        if id == ROOT {
            return Some(Arc::clone(&self.root));
        }
        let inode = self.shard(id).by_id.get(&id).cloned();
        inode.inspect(|inode| inode.note_use())
    }

    /// The numbers of all nodes that the kernel knows, the root left out.
    pub(super) fn ids(&self) -> Vec<u64> {
        let lock = |shard: &Mutex<Shard<I>>| -> Vec<u64> {
            shard.lock().unwrap_or_else(PoisonError::into_inner).by_id.keys().copied().collect()
        };
        self.shards.iter().flat_map(lock).collect()
    }

    /// The inode of an item of the store, if the kernel knows it.
    pub(super) fn find(&self, key: NodeKey) -> Option<Arc<Inode<I>>> {
        if key == self.root.key() {
            return Some(Arc::clone(&self.root));
        }
        self.shard(key.ino).find(key).cloned()
    }

    /// Adds one reference of the kernel, with `item` if it was unknown. The flag tells whether it was known.
    pub(super) fn reference(&self, key: NodeKey, item: I, place: u64) -> (Arc<Inode<I>>, bool) {
        let mut shard = self.shard(key.ino);
        let known = shard.find(key).cloned();
        let was_known = known.is_some();
        let inode = known.unwrap_or_else(|| {
            let id = self.number(key, &shard);
            let inode = Arc::new(Inode::new(id, key, item, place));
            if id != key.ino {
                shard.odd.insert(key, id);
            }
            shard.by_id.insert(id, Arc::clone(&inode));
            self.count_one();
            inode
        });
        inode.add_reference();
        inode.note_use();
        (inode, was_known)
    }

    fn count_one(&self) {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.many.load(Ordering::Relaxed) {
            // One report that was not heard yet is enough, and nobody may be there to hear.
            let _ = self.reports.try_send(());
        }
    }

    /// Takes `count` references back. The item is dropped, outside the lock, with the last one.
    pub(super) fn forget(&self, id: u64, count: u64) {
        drop(self.released(id, count));
    }

    fn released(&self, id: u64, count: u64) -> Option<Arc<Inode<I>>> {
        let mut shard = self.shard(id);
        let inode = shard.by_id.get(&id)?;
        if inode.take_references(count) > 0 {
            return None;
        }
        let inode = shard.by_id.remove(&id)?;
        if id != inode.key().ino {
            shard.odd.remove(&inode.key());
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(inode)
    }

    fn number(&self, key: NodeKey, shard: &Shard<I>) -> u64 {
        let natural = key.dev == self.root.key().dev && key.ino > ROOT && key.ino < ARTIFICIAL;
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
        Inodes::new(key(1, 2), "root", usize::MAX).0
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
    fn what_was_not_used_since_the_last_look_is_idle() {
        let table = table();
        let ids = |nodes: &[Arc<Inode<_>>]| nodes.iter().map(|inode| inode.id()).collect::<Vec<_>>();
        for ino in 10..20 {
            table.reference(key(1, ino), "x", 0);
        }
        let open = table.get(13);
        assert_eq!(ids(&table.idle(8)), [10, 11, 12, 14, 15, 16, 17, 18], "all are new, one is open");
        assert!(table.get(15).is_some());
        let idle = ids(&table.idle(8));
        assert_eq!(idle, [19, 10, 11, 12, 14, 16, 17, 18], "one is open, one was asked for");
        drop(open);
    }

    #[test]
    fn many_nodes_are_reported_once_until_it_is_heard() {
        let (table, heard) = Inodes::new(key(1, 2), "root", 3);
        for ino in 10..20 {
            table.reference(key(1, ino), "x", 0);
            assert_eq!(table.len() > 3, heard.try_recv().is_ok(), "{ino}");
        }
        table.report_from(11);
        table.reference(key(1, 20), "x", 0);
        assert!(heard.try_recv().is_err());
        drop(table);
        assert_eq!(heard.recv(), Err(mpsc::RecvError));
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
                prop_assert_eq!(table.len(), model.len());
                for (key, (id, _)) in &model {
                    prop_assert_eq!(table.get(*id).map(|inode| inode.key()), Some(*key));
                    prop_assert_eq!(table.find(*key).map(|inode| inode.id()), Some(*id));
                }
            }
        }
    }
}
