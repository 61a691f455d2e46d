//! The rate limit of a job: so many objects a second, evenly.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// Lets one object after the other pass, no faster than told.
pub(super) struct Pace {
    gap: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// At most `rate` objects a second; without one, as fast as it goes.
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        Self { gap: rate.map(|rate| Duration::from_secs(1) / rate.get()), next: Instant::now() }
    }

    /// Whether the next object has to wait.
    pub(super) fn is_early(&self) -> bool {
        self.gap.is_some() && Instant::now() < self.next
    }

    /// Waits until the next object may pass. Time that was lost is not made up for.
    pub(super) fn wait(&mut self) {
        let Some(gap) = self.gap else { return };
        let now = Instant::now();
        if now < self.next {
            std::thread::sleep(self.next - now);
        }
        self.next = self.next.max(now) + gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_pass_no_faster_than_told() {
        let begun = Instant::now();
        let mut pace = Pace::new(NonZeroU32::new(100));
        for _ in 0..6 {
            pace.wait();
        }
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert!(pace.is_early());
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let mut pace = Pace::new(None);
        pace.wait();
        assert!(!pace.is_early());
    }
}
