//! What a power cut does to everything that was not synced.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::{
    content::{Bytes, LEN, PAGE, Sector},
    versions::{Stamp, Versions},
};

/// How a power cut treats what is in flight. Lengths, attributes and names end as any version in the modes that tear
/// or destroy, each independently of the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CrashMode {
    /// Every sector ends as any of its versions.
    Tear512,
    /// Every page of 4 KiB ends as it was at some moment since the sync.
    Tear4096,
    /// As `Tear512`, and each sector in flight becomes garbage with this probability.
    DestroySector(f64),
    /// As `Tear512`, and each page with anything in flight becomes garbage, all of it, with this probability.
    DestroyPage(f64),
    /// Everything sent before some moment is there and nothing after it.
    Prefix,
    /// Nothing in flight is there.
    DropAll,
    /// Everything in flight is there.
    KeepAll,
}

/// A power cut at some moment.
pub(super) struct Cut {
    mode: CrashMode,
    /// For [`CrashMode::Prefix`]: the last operation that counts.
    last: Stamp,
}

impl Cut {
    /// A cut of a disk that did `operations`.
    pub(super) fn new(mode: CrashMode, operations: Stamp, rng: &mut impl Rng) -> Self {
        Self { mode, last: rng.random_range(0..=operations) }
    }

    /// Whether everything that was sent until a moment survives, and if so which; `None` where it is up to chance.
    pub(super) fn moment(&self) -> Option<Stamp> {
        match self.mode {
            CrashMode::Prefix => Some(self.last),
            CrashMode::DropAll => Some(0),
            CrashMode::KeepAll => Some(Stamp::MAX),
            _ => None,
        }
    }

    /// What becomes of something that is never torn.
    pub(super) fn pick<T: Clone>(&self, versions: &Versions<T>, rng: &mut impl Rng) -> T {
        match self.moment() {
            Some(last) => versions.until(last).clone(),
            None => versions.any(rng).clone(),
        }
    }

    /// What becomes of the sectors in flight of one page, and of those that they take along.
    pub(super) fn page(&self, page: &[(u64, &Versions<Sector>)], rng: &mut impl Rng) -> Vec<(u64, Sector)> {
        match self.mode {
            CrashMode::Tear4096 => at_one_moment(page, rng),
            CrashMode::DestroyPage(chance) if rng.random_bool(chance) => destroyed(page, rng),
            CrashMode::DestroySector(chance) => each(page, rng, |data, rng| {
                if rng.random_bool(chance) { Some(garbage(rng)) } else { data.any(rng).clone() }
            }),
            _ => each(page, rng, |data, rng| self.pick(data, rng)),
        }
    }
}

fn each<R: Rng>(
    page: &[(u64, &Versions<Sector>)],
    rng: &mut R,
    fate: impl Fn(&Versions<Sector>, &mut R) -> Sector,
) -> Vec<(u64, Sector)> {
    page.iter().map(|(at, data)| (*at, fate(data, rng))).collect()
}

fn at_one_moment(page: &[(u64, &Versions<Sector>)], rng: &mut impl Rng) -> Vec<(u64, Sector)> {
    let mut moments: Vec<_> = page.iter().flat_map(|(_, data)| data.stamps()).collect();
    moments.push(0);
    moments.sort_unstable();
    moments.dedup();
    let moment = moments[rng.random_range(0..moments.len())];
    page.iter().map(|(at, data)| (*at, data.until(moment).clone())).collect()
}

fn destroyed(page: &[(u64, &Versions<Sector>)], rng: &mut impl Rng) -> Vec<(u64, Sector)> {
    let first = page.first().map_or(0, |(at, _)| at / PAGE * PAGE);
    (first..first + PAGE).map(|at| (at, Some(garbage(rng)))).collect()
}

fn garbage(rng: &mut impl Rng) -> Bytes {
    let mut bytes = [0; LEN];
    rng.fill_bytes(&mut bytes);
    Arc::new(bytes)
}
