//! Asking again: exponential pauses with full jitter, until an answer comes or the time is over.
//!
//! Full jitter (a pause between zero and the bound) keeps many clients of a recovering service apart.
//! <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>

use std::time::{Duration, Instant};

use crate::{crypto, keys::KeyError};

/// How one try failed.
#[derive(Debug)]
pub(super) enum Attempt<E = KeyError> {
    /// For good: another try would get the same answer.
    Final(E),
    /// The service was busy, away or silent; the reason, one line.
    Again(String),
}

/// Tries until `attempt` succeeds, fails for good, or `total` is over; then [`KeyError::Unavailable`].
///
/// `attempt` is told how long it may take: half of the time for one try, so that a lost connection is not the end.
#[cfg(any(feature = "aws-kms", feature = "pkcs11", feature = "transit"))]
pub(super) fn insist<T>(
    key: &str,
    total: Duration,
    attempt: impl FnMut(Duration) -> Result<T, Attempt>,
) -> Result<T, KeyError> {
    let unavailable = |why| KeyError::Unavailable { key: key.to_owned(), why };
    insist_on(&format!("key `{key}`"), total, unavailable, attempt)
}

/// The same for `what` else there is, with the error for when the time is over.
pub(super) fn insist_on<T, E>(
    what: &str,
    total: Duration,
    gave_up: impl FnOnce(String) -> E,
    attempt: impl FnMut(Duration) -> Result<T, Attempt<E>>,
) -> Result<T, E> {
    let start = Instant::now();
    insist_by(what, total, gave_up, (&|| start.elapsed(), &mut std::thread::sleep), attempt)
}

fn insist_by<T, E>(
    what: &str,
    total: Duration,
    gave_up: impl FnOnce(String) -> E,
    (elapsed, sleep): (&dyn Fn() -> Duration, &mut dyn FnMut(Duration)),
    mut attempt: impl FnMut(Duration) -> Result<T, Attempt<E>>,
) -> Result<T, E> {
    let mut tries = 0;
    loop {
        let left = total.saturating_sub(elapsed());
        let why = match attempt(left.min(total / 2)) {
            Ok(value) => return Ok(value),
            Err(Attempt::Final(error)) => return Err(error),
            Err(Attempt::Again(why)) => why,
        };
        let pause = pause(tries);
        tries += 1;
        if elapsed() + pause >= total {
            return Err(gave_up(format!("{why}; tried {tries} times in {} s", total.as_secs_f32())));
        }
        log::debug!("{what}: {why}; trying again in {} ms", pause.as_millis());
        sleep(pause);
    }
}

/// A random pause before try `tries + 2`: at most 50 ms, doubled each time, never above 2 s.
fn pause(tries: u32) -> Duration {
    let bound = LEAST.saturating_mul(1 << tries.min(10)).min(MOST);
    // Without randomness the full pause still keeps the bound.
    let random = crypto::random::<4>().map_or(u32::MAX, u32::from_be_bytes);
    bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// The bound of the first pause.
const LEAST: Duration = Duration::from_millis(50);
/// The bound of every pause.
const MOST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn busy<T>() -> Result<T, Attempt> {
        Err(Attempt::Again("busy".into()))
    }

    /// Runs with a clock that only pauses and tries move; returns the outcome, the tries and the pauses.
    fn run<T>(
        each: Duration,
        mut attempt: impl FnMut(u32) -> Result<T, Attempt>,
    ) -> (Result<T, KeyError>, u32, Vec<Duration>) {
        let (now, tries, pauses) = (Cell::new(Duration::ZERO), Cell::new(0), RefCell::new(Vec::new()));
        let mut sleep = |pause| {
            pauses.borrow_mut().push(pause);
            now.set(now.get() + pause);
        };
        let unavailable = |why| KeyError::Unavailable { key: "k".into(), why };
        let clock: (&dyn Fn() -> _, &mut dyn FnMut(_)) = (&|| now.get(), &mut sleep);
        let outcome = insist_by("k", Duration::from_secs(10), unavailable, clock, |allowed| {
            assert!(allowed <= Duration::from_secs(5), "one try leaves time for another");
            now.set(now.get() + each);
            tries.set(tries.get() + 1);
            attempt(tries.get())
        });
        assert!(now.get() <= Duration::from_secs(10) + each);
        (outcome, tries.get(), pauses.into_inner())
    }

    #[test]
    fn a_busy_service_is_asked_again_until_it_answers() {
        let (outcome, tries, _) =
            run(Duration::from_millis(1), |try_| if try_ < 4 { busy() } else { Ok(try_) });
        assert_eq!((outcome.unwrap(), tries), (4, 4));
    }

    #[test]
    fn a_final_answer_ends_it_at_once() {
        let gone = KeyError::Disabled { key: "k".into() };
        let (outcome, tries, _) = run(Duration::ZERO, |_| Err::<(), _>(Attempt::Final(gone.clone())));
        assert_eq!((outcome.unwrap_err(), tries), (gone.clone(), 1));
    }

    #[test]
    fn an_outage_ends_in_time_and_says_why() {
        let (outcome, tries, pauses) = run(Duration::from_millis(100), |_| busy::<()>());
        assert!(tries > 4, "{tries}");
        assert!(pauses.iter().all(|pause| *pause <= MOST));
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains("busy; tried") && message.contains("in 10 s"), "{message}");
    }

    #[test]
    fn pauses_grow_and_are_never_alike() {
        let at = |tries| (0..64).map(|_| pause(tries)).collect::<Vec<_>>();
        let (first, late) = (at(0), at(30));
        assert!(first.iter().all(|pause| *pause <= LEAST) && late.iter().all(|pause| *pause <= MOST));
        assert!(late.iter().any(|pause| *pause > LEAST));
        assert!(first.iter().any(|pause| *pause != first[0]), "no jitter");
    }
}
