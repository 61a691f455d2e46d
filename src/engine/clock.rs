//! The one door for wall-clock time.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::store::Timestamp;

/// The current time.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nsec: since.subsec_nanos() }
}

/// The current time in seconds since the Unix epoch.
pub(super) fn now_secs() -> u64 {
    u64::try_from(now().sec).unwrap_or(0)
}

/// The current time in nanoseconds since the Unix epoch.
pub(super) fn now_nanos() -> u64 {
    now_secs().saturating_mul(1_000_000_000).saturating_add(now().nsec.into())
}
