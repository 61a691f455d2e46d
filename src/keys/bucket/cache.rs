//! Unwrapped bucket keys, kept for a while so that opening a file rarely asks a master key.
//!
//! A key is fresh for 1 h. After that one caller loads it again while the others go on with the old one; if the
//! provider cannot be reached, the old one serves until it is 24 h old, and no longer. Any other answer (disabled,
//! rejected, ...) ends its use at once. A failed load is remembered for 5 s. Many callers that miss the same key
//! wait for one load. No lock is held while a key is loaded.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::BucketKey;
use crate::{
    envelope::Id,
    keys::{BucketKeyError, Clock, KeyError},
};

/// A cache of unwrapped bucket keys, by their ids or by whatever else tells them apart.
pub struct BucketKeys<K = Id> {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner<K>>,
    landed: Condvar,
}

impl<K: Hash + Eq + Clone> BucketKeys<K> {
    /// An empty cache that ages by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, inner: Mutex::new(Inner { entries: HashMap::new(), epoch: 0 }), landed: Condvar::new() }
    }

    /// The key known as `id`, from the cache or else from `load` (read its file, then [`SealedBucketKey::open`]).
    ///
    /// `load` may take seconds and runs without a lock held; at most one load per key runs at a time, so it
    /// must not ask for the same key here.
    ///
    /// [`SealedBucketKey::open`]: crate::keys::SealedBucketKey::open
    pub fn get(
        &self,
        id: K,
        load: impl FnOnce() -> Result<BucketKey, BucketKeyError>,
    ) -> Result<Arc<BucketKey>, BucketKeyError> {
        self.get_shared(id, || load().map(Arc::new))
    }

    /// Like [`BucketKeys::get`], for a `load` that may hand out a key which others have too.
    pub fn get_shared(
        &self,
        id: K,
        load: impl FnOnce() -> Result<Arc<BucketKey>, BucketKeyError>,
    ) -> Result<Arc<BucketKey>, BucketKeyError> {
        let flight = match self.look_up(id) {
            Found::Known(answer) => return answer,
            Found::Missing(flight) => flight,
        };
        flight.land(load())
    }

    /// Whether the key known as `id` is here, so that [`BucketKeys::get`] asks no master key.
    pub fn has(&self, id: &K) -> bool {
        let now = self.clock.steady();
        let answer = self.lock().entries.get(id).map(|entry| entry.answer(now));
        matches!(answer, Some(Answer::Ready(Ok(_))))
    }

    /// Forgets one key, unless it is just being loaded.
    pub fn forget(&self, id: &K) {
        let mut inner = self.lock();
        if !matches!(inner.entries.get(id), Some(Entry::Loading { .. })) {
            inner.entries.remove(id);
        }
    }

    /// Forgets everything, at once: after a key was disabled, scheduled for deletion or rotated away.
    ///
    /// A load that is under way still answers its own callers but is not kept.
    pub fn purge(&self) {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.entries.clear();
        drop(inner);
        self.landed.notify_all();
    }

    fn look_up(&self, id: K) -> Found<'_, K> {
        let mut inner = self.lock();
        loop {
            let now = self.clock.steady();
            match inner.entries.get_mut(&id).map_or(Answer::Load(None), |entry| entry.answer(now)) {
                Answer::Ready(answer) => return Found::Known(answer),
                Answer::Wait => inner = self.landed.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Answer::Load(old) => {
                    inner.entries.insert(id.clone(), Entry::Loading { old: old.clone() });
                    return Found::Missing(Flight { keys: self, id, epoch: inner.epoch, old, done: false });
                }
            }
        }
    }
}

impl BucketKeys {
    /// Adds a key that was just created.
    pub fn insert(&self, key: BucketKey) -> Arc<BucketKey> {
        let key = Arc::new(key);
        let now = self.clock.steady();
        self.lock().entries.insert(key.id(), Entry::kept(key.clone(), now));
        key
    }
}

impl<K> BucketKeys<K> {
    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> std::fmt::Debug for BucketKeys<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketKeys").field("entries", &self.lock().entries.len()).finish_non_exhaustive()
    }
}

struct Inner<K> {
    entries: HashMap<K, Entry>,
    /// Counts purges: a load that began before one must not be kept after it.
    epoch: u64,
}

/// A key and when it was loaded.
#[derive(Clone)]
struct Kept {
    key: Arc<BucketKey>,
    loaded: Duration,
}

enum Entry {
    /// Someone loads it; meanwhile `old` serves, if there is one.
    Loading { old: Option<Kept> },
    /// Loaded; `ask_after` is when to load it again.
    Kept { kept: Kept, ask_after: Duration },
    /// The load failed a moment ago.
    Failed { error: BucketKeyError, until: Duration },
}

enum Answer {
    Ready(Result<Arc<BucketKey>, BucketKeyError>),
    Wait,
    Load(Option<Kept>),
}

enum Found<'a, K: Hash + Eq> {
    Known(Result<Arc<BucketKey>, BucketKeyError>),
    Missing(Flight<'a, K>),
}

impl Entry {
    fn kept(key: Arc<BucketKey>, now: Duration) -> Self {
        Self::Kept { kept: Kept { key, loaded: now }, ask_after: now + SOFT_TTL }
    }

    fn answer(&self, now: Duration) -> Answer {
        match self {
            Self::Loading { old: Some(kept) } if kept.serves(now) => Answer::Ready(Ok(kept.key.clone())),
            Self::Loading { .. } => Answer::Wait,
            Self::Kept { kept, ask_after } if kept.serves(now) && now < *ask_after => {
                Answer::Ready(Ok(kept.key.clone()))
            }
            Self::Kept { kept, .. } => Answer::Load(kept.serves(now).then(|| kept.clone())),
            Self::Failed { error, until } if now < *until => Answer::Ready(Err(error.clone())),
            Self::Failed { .. } => Answer::Load(None),
        }
    }

    fn is_spent(&self, now: Duration) -> bool {
        matches!(self, Self::Failed { until, .. } if now >= *until)
    }
}

impl Kept {
    fn serves(&self, now: Duration) -> bool {
        now.saturating_sub(self.loaded) < HARD_TTL
    }
}

/// One load under way. Dropped without landing (the loader panicked), it lets the next caller try.
struct Flight<'a, K: Hash + Eq> {
    keys: &'a BucketKeys<K>,
    id: K,
    epoch: u64,
    old: Option<Kept>,
    done: bool,
}

impl<K: Hash + Eq + Clone> Flight<'_, K> {
    fn land(
        mut self,
        loaded: Result<Arc<BucketKey>, BucketKeyError>,
    ) -> Result<Arc<BucketKey>, BucketKeyError> {
        self.done = true;
        let now = self.keys.clock.steady();
        let (entry, answer) = self.outcome(loaded, now);
        let mut inner = self.keys.lock();
        if inner.epoch == self.epoch {
            inner.entries.retain(|_, entry| !entry.is_spent(now));
            inner.entries.insert(self.id.clone(), entry);
        }
        drop(inner);
        self.keys.landed.notify_all();
        answer
    }

    fn outcome(
        &mut self,
        loaded: Result<Arc<BucketKey>, BucketKeyError>,
        now: Duration,
    ) -> (Entry, Result<Arc<BucketKey>, BucketKeyError>) {
        match (loaded, self.old.take().filter(|old| old.serves(now))) {
            (Ok(key), _) => (Entry::kept(key.clone(), now), Ok(key)),
            (Err(BucketKeyError::Key(KeyError::Unavailable { .. })), Some(old)) => {
                let key = old.key.clone();
                (Entry::Kept { kept: old, ask_after: now + NEGATIVE_TTL }, Ok(key))
            }
            (Err(error), _) => {
                (Entry::Failed { error: error.clone(), until: now + NEGATIVE_TTL }, Err(error))
            }
        }
    }
}

impl<K: Hash + Eq> Drop for Flight<'_, K> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut inner = self.keys.lock();
        if inner.epoch == self.epoch {
            inner.entries.remove(&self.id);
        }
        drop(inner);
        self.keys.landed.notify_all();
    }
}

/// Age at which a key is loaded again.
const SOFT_TTL: Duration = Duration::from_hours(1);
/// Age at which a key that could not be loaded again is forgotten.
const HARD_TTL: Duration = Duration::from_hours(24);
/// How long a failure is remembered.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    };

    use super::*;
    use crate::{envelope::EncryptionContext, keys::fake::FakeMaster};

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn unix_seconds(&self) -> u64 {
            self.0.load(SeqCst)
        }
        fn steady(&self) -> Duration {
            Duration::from_secs(self.0.load(SeqCst))
        }
    }

    /// A bucket key on "disk", its master key, and a cache with a clock that the test moves.
    struct Bench {
        master: FakeMaster,
        clock: Arc<Hand>,
        cache: BucketKeys,
        made: BucketKey,
    }

    impl Bench {
        fn new() -> Self {
            let master = FakeMaster::new();
            let clock = Arc::new(Hand::default());
            let made = BucketKey::create(
                &master,
                "service",
                Id::random().unwrap(),
                &EncryptionContext::default(),
                0,
            )
            .unwrap();
            master.calls.store(0, SeqCst);
            Self { master, cache: BucketKeys::new(clock.clone()), clock, made }
        }

        fn get(&self) -> Result<Arc<BucketKey>, BucketKeyError> {
            self.cache.get(self.made.id(), || {
                let sealed = crate::keys::SealedBucketKey::decode(&self.made.encode_record())?;
                sealed.open(self.made.id(), self.made.record().bucket, &self.master)
            })
        }

        fn calls(&self) -> usize {
            self.master.calls.load(SeqCst)
        }

        fn wait(&self, seconds: u64) {
            self.clock.0.fetch_add(seconds, SeqCst);
        }
    }

    fn unavailable() -> KeyError {
        KeyError::Unavailable { key: "service".into(), why: "timeout".into() }
    }

    #[test]
    fn a_key_is_asked_for_once_an_hour() {
        let bench = Bench::new();
        for _ in 0..10 {
            bench.get().unwrap();
        }
        bench.wait(3599);
        bench.get().unwrap();
        assert_eq!(bench.calls(), 1);
        bench.wait(1);
        bench.get().unwrap();
        assert_eq!(bench.calls(), 2);
    }

    #[test]
    fn an_unreachable_provider_is_bridged_for_a_day_and_no_longer() {
        let bench = Bench::new();
        bench.get().unwrap();
        bench.master.fail_with(Some(unavailable()));
        bench.wait(24 * 3600 - 1);
        bench.get().unwrap();
        bench.get().unwrap();
        assert_eq!(bench.calls(), 2, "the failure is remembered for 5 s");
        bench.wait(1);
        assert_eq!(bench.get().unwrap_err(), BucketKeyError::Key(unavailable()));
    }

    #[test]
    fn a_disabled_key_stops_serving_when_it_is_asked_again() {
        let bench = Bench::new();
        bench.get().unwrap();
        let disabled = KeyError::Disabled { key: "service".into() };
        bench.master.fail_with(Some(disabled.clone()));
        bench.wait(3600);
        assert_eq!(bench.get().unwrap_err(), BucketKeyError::Key(disabled));
    }

    #[test]
    fn a_failure_is_remembered_for_five_seconds() {
        let bench = Bench::new();
        bench.master.fail_with(Some(unavailable()));
        assert!(bench.get().is_err());
        bench.master.fail_with(None);
        bench.wait(4);
        assert!(bench.get().is_err());
        bench.wait(1);
        assert!(bench.get().is_ok());
        assert_eq!(bench.calls(), 2);
    }

    #[test]
    fn a_purge_takes_effect_at_once() {
        let bench = Bench::new();
        bench.get().unwrap();
        bench.cache.purge();
        bench.master.fail_with(Some(KeyError::Disabled { key: "service".into() }));
        assert!(bench.get().is_err());
    }

    #[test]
    fn a_load_that_began_before_a_purge_is_not_kept() {
        let bench = Bench::new();
        let id = bench.made.id();
        bench
            .cache
            .get(id, || {
                bench.cache.purge();
                bench.made.rewrapped(&bench.master, "service").map_err(Into::into)
            })
            .unwrap();
        let before = bench.calls();
        bench.get().unwrap();
        assert_eq!(bench.calls(), before + 1);
    }

    #[test]
    fn many_misses_at_once_share_one_load() {
        let bench = Bench::new();
        let (id, loads, start) = (bench.made.id(), AtomicUsize::new(0), Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let load = || {
                        loads.fetch_add(1, SeqCst);
                        bench.made.rewrapped(&bench.master, "service").map_err(Into::into)
                    };
                    assert_eq!(bench.cache.get(id, load).unwrap().id(), id);
                });
            }
        });
        assert_eq!(loads.load(SeqCst), 1);
    }

    #[test]
    fn a_loader_that_panics_does_not_block_the_next_one() {
        let bench = Bench::new();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            bench.cache.get(bench.made.id(), || panic!("loader"))
        }));
        assert!(caught.is_err());
        assert!(bench.get().is_ok());
    }
}
