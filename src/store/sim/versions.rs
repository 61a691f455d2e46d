//! One piece of state as the disk has it and as programs see it.

use rand::{Rng, RngExt};

/// Order of the changes of a disk: the number of the operation that made one.
pub(super) type Stamp = u64;

/// A value with the history that a power cut chooses from: what is durable, and every version since the last sync.
#[derive(Clone)]
pub(super) struct Versions<T> {
    durable: T,
    since: Vec<(Stamp, T)>,
    /// What programs still see after a failed sync, though it is no longer on its way to the disk.
    stranded: Option<T>,
}

impl<T: Clone> Versions<T> {
    pub(super) fn durable(durable: T) -> Self {
        Self { durable, since: Vec::new(), stranded: None }
    }

    /// What programs see.
    pub(super) fn now(&self) -> &T {
        self.since.last().map(|(_, value)| value).or(self.stranded.as_ref()).unwrap_or(&self.durable)
    }

    pub(super) fn set(&mut self, stamp: Stamp, value: T) {
        self.since.push((stamp, value));
    }

    /// A sync that succeeded. What a failed one stranded stays so: it is not dirty.
    pub(super) fn settle(&mut self) {
        if let Some((_, value)) = self.since.pop() {
            self.durable = value;
            self.since.clear();
            self.stranded = None;
        }
    }

    /// A sync that failed: the disk keeps what it has, and nothing is dirty any more.
    pub(super) fn strand(&mut self) {
        if let Some((_, value)) = self.since.pop() {
            self.stranded = Some(value);
            self.since.clear();
        }
    }

    pub(super) fn stamps(&self) -> impl Iterator<Item = Stamp> {
        self.since.iter().map(|(stamp, _)| *stamp)
    }

    /// What is on the disk when nothing is.
    pub(super) fn oldest(&self) -> &T {
        &self.durable
    }

    /// What is on the disk when everything sent until `stamp` is, and nothing else.
    pub(super) fn until(&self, stamp: Stamp) -> &T {
        let sent = self.since.iter().rev().find(|(at, _)| *at <= stamp);
        sent.map_or(&self.durable, |(_, value)| value)
    }

    /// Any version that can be on the disk.
    pub(super) fn any(&self, rng: &mut impl Rng) -> &T {
        match rng.random_range(0..=self.since.len()) {
            0 => &self.durable,
            number => self.since.get(number - 1).map_or(&self.durable, |(_, value)| value),
        }
    }
}
