//! Whether requests have come in lately, at the price of one read of shared memory a request.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// A flag that requests raise and the idle watch lowers.
#[derive(Default)]
pub(super) struct Activity(AtomicBool);

impl Activity {
    /// A request has come.
    pub(super) fn note(&self) {
        // Storing only on change keeps the cache line shared between the loop threads.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a request has come since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Calls `report` each time that nothing was `busy` for `timeout`, until it answers `false` or `stopped` says so.
pub(super) fn report_idleness(
    timeout: Duration,
    stopped: &Receiver<()>,
    busy: impl Fn() -> bool,
    report: impl Fn() -> bool,
) {
    let step = timeout.min(IDLE_STEP);
    let mut since = Instant::now();
    while stopped.recv_timeout(step) == Err(RecvTimeoutError::Timeout) {
        if busy() {
            since = Instant::now();
        } else if since.elapsed() >= timeout {
            if !report() {
                return;
            }
            since = Instant::now();
        }
    }
}

const IDLE_STEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::{atomic::AtomicUsize, mpsc};

    use super::*;

    #[test]
    fn activity_is_reported_once() {
        let activity = Activity::default();
        assert!(!activity.take());
        activity.note();
        activity.note();
        assert!(activity.take());
        assert!(!activity.take());
    }

    #[test]
    fn idleness_is_reported_only_while_nothing_is_busy() {
        let timeout = Duration::from_millis(1);
        let (_stop, stopped) = mpsc::channel();
        let asked = AtomicUsize::new(0);
        let busy = || asked.fetch_add(1, Ordering::Relaxed) < 5;
        // The report ends the watch: it must not come before the fifth busy answer.
        report_idleness(timeout, &stopped, busy, || false);
        assert!(asked.load(Ordering::Relaxed) > 5);
    }

    #[test]
    fn the_idle_watch_ends_with_its_session() {
        let (stop, stopped) = mpsc::channel();
        drop(stop);
        report_idleness(Duration::from_mins(1), &stopped, || false, || panic!("nobody is left to hear it"));
    }
}
