//! Whether requests have come in lately, at the price of one read of shared memory a request.

use std::sync::atomic::{AtomicBool, Ordering};

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

#[cfg(test)]
mod tests {
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
}
