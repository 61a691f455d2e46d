//! Keeps names from being removed faster than nodes are forgotten.
//!
//! What lost its last name is kept, with a descriptor, until the kernel forgets it. Over `/dev/fuse` the kernel mixes the two
//! kinds of messages fairly; beside rings, the one thread that hears of the forgotten can fall behind without anybody
//! noticing until descriptors run out. So whoever is about to remove a name waits while a long list is being worked off.

use std::sync::{
    Condvar, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// Whether a long list of forgotten nodes is being worked off.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    busy: AtomicBool,
    lock: Mutex<()>,
    done: Condvar,
}

impl Backlog {
    /// Works off a list of `count` nodes.
    pub(super) fn work_off(&self, count: usize, work: impl FnOnce()) {
        if count < LONG {
            return work();
        }
        self.busy.store(true, Ordering::Release);
        let _done = Done(self);
        work();
    }

    /// Waits until no long list is being worked off. Must be called without any lock that forgetting may need.
    pub(super) fn wait(&self) {
        if !self.busy.load(Ordering::Acquire) {
            return;
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.busy.load(Ordering::Acquire) {
            guard = self.done.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Lets the waiting go on every way out.
struct Done<'a>(&'a Backlog);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        let _guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.busy.store(false, Ordering::Release);
        self.0.done.notify_all();
    }
}

/// A list this long means that the thread is behind.
const LONG: usize = 256;

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn nobody_waits_for_a_short_list() {
        let backlog = Backlog::default();
        backlog.work_off(LONG - 1, || backlog.wait());
    }

    #[test]
    fn a_long_list_is_waited_for_and_a_panic_in_it_lets_go() {
        let backlog = Backlog::default();
        let (begun, waiting) = mpsc::channel();
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                backlog.work_off(LONG, || {
                    begun.send(()).unwrap();
                    ended.store(true, Ordering::SeqCst);
                    panic!("on purpose");
                });
            });
            waiting.recv().unwrap();
            backlog.wait();
            assert!(ended.load(Ordering::SeqCst));
            assert!(worker.join().is_err());
        });
        backlog.wait();
    }
}
