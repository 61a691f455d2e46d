//! One mapped region of memory for secrets of up to 32 bytes: locked against swapping and left out of core dumps.
//!
//! The region is mapped and locked when the first secret is made. `fork` does not carry the lock over: a daemon
//! that goes to the background must do so before it makes or reads its first secret. (`MADV_WIPEONFORK` is not set:
//! where that order is broken, keys should become swappable, not vanish.)
//! Where `RLIMIT_MEMLOCK` permits no lock the region is used unlocked ([`secrets_locked`] tells); when it is full,
//! [`allocate`] gives `None` and the caller uses the heap.
//! This is the only file with `unsafe` code, because the region is shared out by raw pointers.
#![allow(unsafe_code, reason = "mapped memory is shared out as exclusive cells; each block argues its case")]

use std::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use rustix::mm::{Advice, MapFlags, ProtFlags};
use zeroize::Zeroize;

/// Bytes of a cell.
pub(super) const CELL_LEN: usize = 32;

type Cell = [u8; CELL_LEN];

/// A cell of the arena, owned alone; zeroed and given back when dropped.
pub(super) struct Slot {
    arena: &'static Arena,
    index: usize,
}

/// Takes a zeroed cell, or `None` when there is none.
pub(super) fn allocate() -> Option<Slot> {
    global()?.allocate()
}

/// Whether the memory for secrets is locked, so that it cannot reach a swap device.
///
/// When it is not, raise `RLIMIT_MEMLOCK` (`ulimit -l`, systemd `LimitMEMLOCK=`) to at least 16 KiB, or use no swap or
/// an encrypted one.
pub fn secrets_locked() -> bool {
    global().is_some_and(|arena| arena.locked)
}

fn global() -> Option<&'static Arena> {
    static ARENA: OnceLock<Option<Arena>> = OnceLock::new();
    ARENA.get_or_init(|| Arena::locked().or_else(|| Arena::map(UNLOCKED_CELLS))).as_ref()
}

/// A mapped region, cut into cells.
struct Arena {
    cells: NonNull<Cell>,
    count: usize,
    locked: bool,
    free: Mutex<Free>,
}

/// The cells that nobody owns: those given back, and all from `untouched` on.
#[derive(Default)]
struct Free {
    returned: Vec<usize>,
    untouched: usize,
}

// SAFETY: `cells` points to memory that lives as long as the arena and is reached through `Slot`s only, each of which
// owns its cell alone; which cell belongs to whom is decided under the mutex.
unsafe impl Send for Arena {}
// SAFETY: as above; the arena itself never reads or writes a cell.
unsafe impl Sync for Arena {}

impl Arena {
    /// The largest region that can be locked.
    fn locked() -> Option<Self> {
        LOCKED_CELLS.into_iter().find_map(|count| {
            let mut arena = Self::map(count)?;
            // SAFETY: the range is exactly the mapping that `arena` owns; locking does not change its content.
            unsafe { rustix::mm::mlock(arena.start(), arena.len()) }.ok()?;
            arena.locked = true;
            Some(arena)
        })
    }

    /// Maps `count` zeroed cells that core dumps leave out.
    fn map(count: usize) -> Option<Self> {
        let len = count.checked_mul(CELL_LEN)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null hint without MAP_FIXED makes a new mapping and touches no existing memory.
        let start =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE).ok()? };
        let cells = NonNull::new(start.cast::<Cell>())?;
        let arena = Self { cells, count, locked: false, free: Mutex::default() };
        // SAFETY: the range is exactly the new mapping; DONTDUMP does not change its content.
        unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontDump) }.ok()?;
        Some(arena)
    }

    fn start(&self) -> *mut c_void {
        self.cells.as_ptr().cast()
    }

    fn len(&self) -> usize {
        self.count * CELL_LEN
    }

    fn allocate(&'static self) -> Option<Slot> {
        let mut free = self.free();
        let index = match free.returned.pop() {
            Some(index) => index,
            None if free.untouched < self.count => {
                free.untouched += 1;
                free.untouched - 1
            }
            None => return None,
        };
        Some(Slot { arena: self, index })
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of cell `index`.
    fn cell(&self, index: usize) -> NonNull<Cell> {
        debug_assert!(index < self.count);
        // SAFETY: `index < count` (only `allocate` makes indices), so the cell lies inside the mapping.
        unsafe { self.cells.add(index) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: `Slot`s hold a `'static` borrow, so none exists for an arena that is dropped; the range is its own.
        // A failure leaves the memory mapped, which harms nobody.
        let _ = unsafe { rustix::mm::munmap(self.start(), self.len()) };
    }
}

impl Slot {
    /// The cell.
    pub(super) fn bytes(&self) -> &Cell {
        // SAFETY: the cell is inside a mapping that lives forever, initialised (anonymous mappings are zero), aligned
        // (bytes), and owned by this slot alone; the borrow of `self` keeps writers out.
        unsafe { self.arena.cell(self.index).as_ref() }
    }

    /// The cell, to be filled.
    pub(super) fn bytes_mut(&mut self) -> &mut Cell {
        // SAFETY: as in `bytes`; the exclusive borrow of `self` makes this the only reference.
        unsafe { self.arena.cell(self.index).as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Zeroed before it is given back: the next owner may be on another thread at once.
        self.bytes_mut().zeroize();
        self.arena.free().returned.push(self.index);
    }
}

/// Cells to try to lock, largest first: 512 KiB, 64 KiB (the limit of older systems), 16 KiB.
const LOCKED_CELLS: [usize; 3] = [512 * 1024 / CELL_LEN, 64 * 1024 / CELL_LEN, 16 * 1024 / CELL_LEN];
/// Cells when nothing can be locked: still zeroed on drop and left out of core dumps.
const UNLOCKED_CELLS: usize = 64 * 1024 / CELL_LEN;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaked(count: usize) -> &'static Arena {
        Box::leak(Box::new(Arena::map(count).unwrap()))
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take(u8),
        Drop(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![(1..=255u8).prop_map(Step::Take), (0..64usize).prop_map(Step::Drop)];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn cells_are_exclusive_zeroed_and_all_reused(steps in steps()) {
            const CELLS: usize = 8;
            let arena = leaked(CELLS);
            let mut held: Vec<(u8, Slot)> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(fill) => {
                        let slot = arena.allocate();
                        prop_assert_eq!(slot.is_some(), held.len() < CELLS);
                        if let Some(mut slot) = slot {
                            prop_assert_eq!(slot.bytes(), &[0; CELL_LEN]);
                            slot.bytes_mut().fill(fill);
                            held.push((fill, slot));
                        }
                    }
                    Step::Drop(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                    Step::Drop(_) => {}
                }
                for (fill, slot) in &held {
                    prop_assert_eq!(slot.bytes(), &[*fill; CELL_LEN]);
                }
            }
        }
    }

    #[test]
    fn threads_never_share_a_cell() {
        let arena = leaked(16);
        std::thread::scope(|scope| {
            for fill in 1..=4u8 {
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let mut slots: Vec<_> = (0..4).filter_map(|_| arena.allocate()).collect();
                        assert_eq!(slots.len(), 4);
                        for slot in &mut slots {
                            assert_eq!(slot.bytes(), &[0; CELL_LEN]);
                            slot.bytes_mut().fill(fill);
                        }
                        assert!(slots.iter().all(|slot| slot.bytes() == &[fill; CELL_LEN]));
                    }
                });
            }
        });
    }

    #[test]
    fn the_region_for_secrets_is_locked_where_permitted_and_not_dumped() {
        let arena = global().unwrap();
        if !arena.locked {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
            assert!(limit.is_some_and(|bytes| bytes < 16 * 1024), "16 KiB could have been locked");
            return;
        }
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let address = arena.start() as usize;
        let flags = flags_of(&smaps, address);
        assert!(flags.contains(" lo") && flags.contains(" dd"), "{flags}");
    }

    /// The `VmFlags` of the mapping around `address`.
    fn flags_of(smaps: &str, address: usize) -> &str {
        let mut inside = false;
        for line in smaps.lines() {
            if let Some((range, _)) = line.split_once(' ')
                && let Some((start, end)) = range.split_once('-')
                && let (Ok(start), Ok(end)) =
                    (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
            {
                inside = (start..end).contains(&address);
            }
            if inside && line.starts_with("VmFlags") {
                return line;
            }
        }
        ""
    }
}
