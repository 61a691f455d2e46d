//! The bounded set of open handles: a clock (second-chance) over the nodes that hold one.
//!
//! Locks: a node's own handle lock ([`Handle`]) and the clock's lock ([`Handles`]) are never held together, and no
//! system call (not even the close of an evicted handle) happens under either. Every operation is O(1).

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use rustix::io::Errno;

/// An open `O_PATH` descriptor, kept open by whoever uses it even while it is being evicted.
pub(super) type SharedFd = Arc<OwnedFd>;

/// The place of one node's handle.
pub(super) struct Handle {
    state: Mutex<State>,
    /// Used since the hand last passed.
    used: AtomicBool,
    /// Index in the ring, or `NOWHERE`; read and written only under the clock's lock.
    slot: AtomicUsize,
}

#[derive(Default)]
struct State {
    fd: Option<SharedFd>,
    pinned: bool,
}

impl Handle {
    /// A handle that is not open yet.
    pub(super) fn closed() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            used: AtomicBool::new(false),
            slot: AtomicUsize::new(NOWHERE),
        })
    }

    /// The descriptor, where it is open.
    pub(super) fn get(&self) -> Option<SharedFd> {
        let fd = lock(&self.state).fd.clone();
        if fd.is_some() && !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
        fd
    }

    /// Takes `fd`, unless another thread was faster: the descriptor in place, and whether it is the new one.
    fn install(&self, fd: SharedFd) -> (SharedFd, bool) {
        let mut state = lock(&self.state);
        match &state.fd {
            Some(earlier) => (earlier.clone(), false),
            None => (state.fd.insert(fd).clone(), true),
        }
    }

    fn evict(&self) -> Option<SharedFd> {
        let mut state = lock(&self.state);
        if state.pinned { None } else { state.fd.take() }
    }
}

/// All handles of a store that may be closed when others need the room.
pub(super) struct Handles {
    limit: usize,
    clock: Mutex<Clock>,
}

#[derive(Default)]
struct Clock {
    ring: Vec<Arc<Handle>>,
    hand: usize,
    pinned: usize,
}

impl Handles {
    /// Room for `limit` open handles.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), clock: Mutex::default() }
    }

    /// Gives `handle` the freshly opened `fd` and closes another when there are too many.
    pub(super) fn keep(&self, handle: &Arc<Handle>, fd: OwnedFd) -> SharedFd {
        let (fd, fresh) = handle.install(Arc::new(fd));
        if fresh {
            self.enter(handle);
        }
        fd
    }

    /// Keeps `handle` open for good; `false` when it is not open (any more).
    pub(super) fn pin(&self, handle: &Handle) -> bool {
        let mut state = lock(&handle.state);
        if state.fd.is_none() || state.pinned {
            return state.fd.is_some();
        }
        state.pinned = true;
        drop(state);
        let mut clock = lock(&self.clock);
        clock.pinned += 1;
        clock.remove(handle);
        true
    }

    /// Ends a [`Self::pin`].
    pub(super) fn unpin(&self, handle: &Arc<Handle>) {
        if std::mem::take(&mut lock(&handle.state).pinned) {
            lock(&self.clock).pinned -= 1;
            self.enter(handle);
        }
    }

    /// Forgets `handle`, whose node is gone.
    pub(super) fn forget(&self, handle: &Handle) {
        let State { fd, pinned } = std::mem::take(&mut *lock(&handle.state));
        if fd.is_some() {
            let mut clock = lock(&self.clock);
            clock.pinned -= usize::from(pinned);
            clock.remove(handle);
        }
    }

    /// Runs `open`; once more when there were too many open files and some handles could be closed.
    pub(super) fn with_room<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(error) if is_too_many(&error) && self.shed() > 0 => open(),
            outcome => outcome,
        }
    }

    /// Closes a few handles before their time; how many.
    fn shed(&self) -> usize {
        let victims: Vec<_> = {
            let mut clock = lock(&self.clock);
            (0..SHED).map_while(|_| clock.take_victim()).collect()
        };
        victims.iter().filter_map(|victim| victim.evict()).count()
    }

    /// Handles that are open and may be evicted.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        lock(&self.clock).ring.len()
    }

    fn enter(&self, handle: &Arc<Handle>) {
        let evicted = lock(&self.clock).add(handle, self.limit);
        for victim in evicted.into_iter().flatten() {
            drop(victim.evict());
        }
    }
}

impl Clock {
    /// Takes `handle` in and gives out who must go for it. Two at most: after a pin has narrowed the room, each
    /// newcomer wins back one place.
    fn add(&mut self, handle: &Arc<Handle>, limit: usize) -> [Option<Arc<Handle>>; 2] {
        if handle.slot.load(Relaxed) != NOWHERE {
            return [None, None];
        }
        let room = limit.saturating_sub(self.pinned).max(1);
        let surplus = if self.ring.len() > room { self.take_victim() } else { None };
        [surplus, self.settle(handle, room)]
    }

    /// The newcomer stands where its victim stood, so that the hand comes to it last.
    fn settle(&mut self, handle: &Arc<Handle>, room: usize) -> Option<Arc<Handle>> {
        let victim = if self.ring.len() >= room { self.next_victim() } else { None };
        let slot = victim.as_ref().map_or(self.ring.len(), |victim| victim.slot.swap(NOWHERE, Relaxed));
        handle.slot.store(slot, Relaxed);
        match self.ring.get_mut(slot) {
            Some(place) => *place = handle.clone(),
            None => self.ring.push(handle.clone()),
        }
        self.hand += usize::from(victim.is_some());
        victim
    }

    fn remove(&mut self, handle: &Handle) {
        let slot = handle.slot.swap(NOWHERE, Relaxed);
        if slot < self.ring.len() {
            self.ring.swap_remove(slot);
            if let Some(moved) = self.ring.get(slot) {
                moved.slot.store(slot, Relaxed);
            }
        }
    }

    fn take_victim(&mut self) -> Option<Arc<Handle>> {
        let victim = self.next_victim()?;
        self.remove(&victim);
        Some(victim)
    }

    /// Advances the hand to the next handle that was not used since the last round.
    fn next_victim(&mut self) -> Option<Arc<Handle>> {
        for _ in 0..SECOND_CHANCES {
            if !self.under_hand()?.used.swap(false, Relaxed) {
                break;
            }
            self.hand += 1;
        }
        self.under_hand().cloned()
    }

    fn under_hand(&mut self) -> Option<&Arc<Handle>> {
        if self.hand >= self.ring.len() {
            self.hand = 0;
        }
        self.ring.get(self.hand)
    }
}

fn is_too_many(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).map(Some).contains(&error.raw_os_error())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const NOWHERE: usize = usize::MAX;
/// How many used handles the hand passes before it takes one all the same; bounds the time under the lock.
const SECOND_CHANCES: usize = 16;
/// Handles to close when the process runs out of descriptors: room for what runs at the same time.
const SHED: usize = 64;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/").unwrap().into()
    }

    fn opened(handles: &Handles) -> Arc<Handle> {
        let handle = Handle::closed();
        drop(handles.keep(&handle, fd()));
        handle
    }

    #[test]
    fn the_limit_holds() {
        let handles = Handles::new(4);
        let all: Vec<_> = (0..100).map(|_| opened(&handles)).collect();
        assert_eq!(handles.open(), 4);
        assert_eq!(all.iter().filter(|handle| handle.get().is_some()).count(), 4);
    }

    #[test]
    fn a_handle_in_use_gets_a_second_chance() {
        let handles = Handles::new(4);
        let busy = opened(&handles);
        for _ in 0..100 {
            assert!(busy.get().is_some());
            opened(&handles);
        }
        for _ in 0..5 {
            opened(&handles);
        }
        assert!(busy.get().is_none(), "idle handles do go");
    }

    #[test]
    fn of_idle_handles_the_oldest_goes() {
        let handles = Handles::new(4);
        let all: Vec<_> = (0..10).map(|_| opened(&handles)).collect();
        let open: Vec<_> = all.iter().map(|handle| handle.get().is_some()).collect();
        assert_eq!(open, [[false; 6].as_slice(), &[true; 4]].concat());
    }

    #[test]
    fn eviction_does_not_close_a_descriptor_under_its_user() {
        let handles = Handles::new(1);
        let handle = Handle::closed();
        let in_use = handles.keep(&handle, fd());
        opened(&handles);
        assert!(handle.get().is_none());
        rustix::fs::fstat(&*in_use).unwrap();
    }

    #[test]
    fn a_pinned_handle_stays_and_narrows_the_room() {
        let handles = Handles::new(4);
        let pinned = opened(&handles);
        assert!(handles.pin(&pinned));
        assert!(handles.pin(&pinned), "twice is once");
        let _others: Vec<_> = (0..20).map(|_| opened(&handles)).collect();
        assert!(pinned.get().is_some());
        assert_eq!(handles.open(), 3);
        handles.unpin(&pinned);
        let _others: Vec<_> = (0..20).map(|_| opened(&handles)).collect();
        assert!(pinned.get().is_none());
        assert_eq!(handles.open(), 4);
        assert!(!handles.pin(&pinned), "a closed handle cannot be pinned");
    }

    #[test]
    fn a_pin_is_in_time_until_the_very_close() {
        let handles = Handles::new(4);
        let handle = opened(&handles);
        let victim = lock(&handles.clock).take_victim().unwrap();
        assert!(handles.pin(&handle));
        assert!(victim.evict().is_none());
        assert!(handle.get().is_some());
    }

    #[test]
    fn forgotten_handles_free_their_room() {
        let handles = Handles::new(4);
        let all: Vec<_> = (0..4).map(|_| opened(&handles)).collect();
        assert!(handles.pin(&all[1]));
        for handle in &all {
            handles.forget(handle);
        }
        assert_eq!(handles.open(), 0);
        let again: Vec<_> = (0..4).map(|_| opened(&handles)).collect();
        assert!(again.iter().all(|handle| handle.get().is_some()));
    }

    #[test]
    fn running_out_of_descriptors_closes_some_and_tries_again() {
        let handles = Handles::new(200);
        let all: Vec<_> = (0..100).map(|_| opened(&handles)).collect();
        let attempts = Cell::new(0);
        let open = || {
            attempts.set(attempts.get() + 1);
            if handles.open() == 100 { Err(Errno::MFILE.into()) } else { Ok("opened") }
        };
        assert_eq!(handles.with_room(open).unwrap(), "opened");
        assert_eq!((attempts.get(), handles.open()), (2, 100 - SHED));
        assert_eq!(all.iter().filter(|handle| handle.get().is_some()).count(), 100 - SHED);
    }

    #[test]
    fn with_nothing_to_close_running_out_is_an_error() {
        let handles = Handles::new(4);
        let error = handles.with_room(|| Err::<(), _>(Errno::MFILE.into())).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
        opened(&handles);
        handles.with_room(|| Err::<(), _>(Errno::NOENT.into())).unwrap_err();
        assert_eq!(handles.open(), 1, "another error closes nothing");
    }

    #[test]
    fn the_first_of_two_racing_opens_wins() {
        let handles = Handles::new(4);
        let handle = Handle::closed();
        let first = handles.keep(&handle, fd());
        let second = handles.keep(&handle, fd());
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(handles.open(), 1);
    }
}
