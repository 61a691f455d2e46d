//! The one door for time in this room.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time: dates for records, and a steady clock for ages.
pub trait Clock: Send + Sync {
    /// Seconds since 1970 (UTC). May jump when the system clock is set.
    fn unix_seconds(&self) -> u64;

    /// Time since some fixed moment. Never goes back.
    fn steady(&self) -> Duration;
}

/// The clocks of the system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// A clock whose steady time begins now.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }
}
