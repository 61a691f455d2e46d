//! The one door for wall-clock time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::store::Timestamp;

/// The current time.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nsec: since.subsec_nanos() }
}

/// Whether every change of a file from `now` on is sure to give it another stamp than `stamp`, its last one. File systems
/// stamp by a clock that ticks a few milliseconds apart, and some in whole seconds: of two changes within a tick the
/// second is not seen.
pub(super) fn is_settled(stamp: Timestamp, now: Timestamp) -> bool {
    let since_epoch = |time: Timestamp| Duration::new(u64::try_from(time.sec).unwrap_or(0), time.nsec);
    let tick = if stamp.nsec == 0 { WHOLE_SECONDS } else { TICK };
    since_epoch(now).checked_sub(since_epoch(stamp)).is_some_and(|age| age >= tick)
}

/// Longer than any tick of the clock that stamps files.
const TICK: Duration = Duration::from_millis(20);
/// The same where that does not count fractions of a second.
const WHOLE_SECONDS: Duration = Duration::from_secs(2);

/// The current time in seconds since the Unix epoch.
pub(super) fn now_secs() -> u64 {
    u64::try_from(now().sec).unwrap_or(0)
}

/// The current time in nanoseconds since the Unix epoch.
pub(super) fn now_nanos() -> u64 {
    now_secs().saturating_mul(1_000_000_000).saturating_add(now().nsec.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_settled_once_the_clock_of_files_has_gone_on() {
        let at = |sec, nsec| Timestamp { sec, nsec };
        for (stamp, now, settled) in [
            (at(10, 1), at(10, 19_000_000), false),
            (at(10, 1), at(10, 20_000_001), true),
            (at(10, 990_000_000), at(11, 10_000_000), true),
            (at(10, 0), at(11, 999_999_999), false),
            (at(10, 0), at(12, 0), true),
            (at(10, 5), at(10, 5), false),
            (at(99, 5), at(10, 5), false),
            (at(-5, 5), at(10, 5), true),
        ] {
            assert_eq!(is_settled(stamp, now), settled, "{stamp:?} {now:?}");
        }
    }
}
