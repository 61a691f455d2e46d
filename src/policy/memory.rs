//! What a policy was found to say about kinds of requests, kept as long as the policy itself: another version of it is
//! another policy and remembers nothing.
//!
//! Of a fixed size: what comes new takes the place of what has been there longest. Whoever reads holds up nobody who reads.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use super::{forecast::Forecast, kind::Kind};

/// Forecasts by the kind of requests that they are about.
#[derive(Default)]
pub(super) struct Memory(OnceLock<Table>);

struct Table {
    hasher: RandomState,
    sets: Box<[RwLock<Set>]>,
}

/// Where the kinds with some hashes are kept.
#[derive(Default)]
struct Set {
    known: [Option<Arc<Known>>; TOGETHER],
    oldest: usize,
}

struct Known {
    hash: u64,
    kind: Kind<'static>,
    forecast: Forecast,
}

/// Sets of a memory, and kinds in a set: as many as users at work have directories at work, times two or three actions.
const SETS: usize = 64;
const TOGETHER: usize = 4;

impl Memory {
    /// Does `work` with the forecast for `kind`; `make` makes it where it is not known.
    pub(super) fn with<T>(
        &self,
        kind: Kind<'_>,
        make: impl FnOnce() -> Forecast,
        work: impl FnOnce(&Forecast) -> T,
    ) -> T {
        let table = self.0.get_or_init(Table::new);
        let hash = table.hasher.hash_one(&kind);
        let set = table.set(hash);
        let found = set.read().unwrap_or_else(PoisonError::into_inner).find(hash, &kind);
        let known = found.unwrap_or_else(|| {
            let known = Arc::new(Known { hash, kind: kind.into_owned(), forecast: make() });
            set.write().unwrap_or_else(PoisonError::into_inner).keep(known.clone());
            known
        });
        work(&known.forecast)
    }
}

impl Table {
    fn new() -> Self {
        Self { hasher: RandomState::new(), sets: (0..SETS).map(|_| RwLock::default()).collect() }
    }

    fn set(&self, hash: u64) -> &RwLock<Set> {
        let at = usize::try_from(hash % SETS as u64).expect("there are few sets");
        self.sets.get(at).expect("a remainder is less")
    }
}

impl Set {
    fn find(&self, hash: u64, kind: &Kind<'_>) -> Option<Arc<Known>> {
        self.known.iter().flatten().find(|known| known.hash == hash && known.kind == *kind).cloned()
    }

    fn keep(&mut self, known: Arc<Known>) {
        if let Some(place) = self.known.get_mut(self.oldest) {
            *place = Some(known);
        }
        self.oldest = (self.oldest + 1) % TOGETHER;
    }
}

/// A copy remembers nothing.
impl Clone for Memory {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::SystemTime};

    use super::*;
    use crate::{
        name::{BucketName, ObjectName},
        policy::{AccountId, Action, Context, PolicyDocument, Principal, Request, Resource},
    };

    const DENY: &str = r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::docs/*"}}"#;

    #[test]
    fn what_is_remembered_stays_bounded_and_is_found_out_again() {
        let (bucket, memory, made) = (BucketName::parse("docs").unwrap(), Memory::default(), Cell::new(0));
        let policy = PolicyDocument::parse(DENY, &bucket).unwrap();
        let principal = Principal::new(AccountId::default(), 1, vec![1], None);
        let ask = |directory: usize| {
            let object = ObjectName::parse(format!("{directory}/x").as_ref()).unwrap();
            let request = Request {
                principal: &principal,
                action: Action::PutObject,
                resource: Resource::Object(&bucket, &object),
                context: Context::at(SystemTime::UNIX_EPOCH),
            };
            let make = || {
                made.set(made.get() + 1);
                Forecast::new(&policy, &request)
            };
            let kind = Kind::of(&request).unwrap();
            assert!(memory.with(kind, make, |forecast| forecast.answer(&policy, &request)).denied);
        };
        for directory in 0..10_000 {
            ask(directory);
            ask(directory);
        }
        assert_eq!(made.get(), 10_000, "each is remembered at least until the next one comes");
        let table = memory.0.get().unwrap();
        let kept: usize =
            table.sets.iter().map(|set| set.read().unwrap().known.iter().flatten().count()).sum();
        assert_eq!(kept, SETS * TOGETHER);
        ask(0);
        assert!(made.get() > 10_000, "the first has made room for others");
        assert!(memory.clone().0.get().is_none());
    }
}
