//! Directory entries: what programs see, what is durable, and the events between the two.
//!
//! An event is a change of one or two names that happens whole or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
};

use rand::{Rng, RngExt};

use super::{crash::Cut, versions::Stamp};

/// In which order the host keeps changes of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// As journaling file systems: of the changes in a directory, the first ones survive.
    Ordered,
    /// Any changes survive, as long as each finds the names it changes as it found them when it was made.
    Wild,
}

/// The inode number of a directory and a name in it.
pub(super) type Place = (u64, OsString);

/// A name that leads somewhere else than before; `None` is nowhere.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) place: Place,
    pub(super) old: Option<u64>,
    pub(super) new: Option<u64>,
}

#[derive(Clone)]
struct Event {
    stamp: Stamp,
    changes: Vec<Change>,
    /// The inode that was created by it, if any.
    born: Option<u64>,
}

/// All names of a disk.
pub(super) struct Names {
    host: Host,
    now: BTreeMap<Place, (u64, i64)>,
    /// By directory and position, for listings that go on while names come and go.
    order: BTreeMap<(u64, i64), OsString>,
    last_position: i64,
    durable: BTreeMap<Place, u64>,
    pending: Vec<Event>,
}

impl Names {
    /// Names that are all durable.
    pub(super) fn durable(host: Host, durable: BTreeMap<Place, u64>) -> Self {
        let (now, order) = (BTreeMap::new(), BTreeMap::new());
        let mut names = Self { host, now, order, last_position: 0, durable, pending: Vec::new() };
        for (place, ino) in names.durable.clone() {
            names.point(place, Some(ino));
        }
        names
    }

    pub(super) fn host(&self) -> Host {
        self.host
    }

    pub(super) fn get(&self, dir: u64, name: &OsStr) -> Option<u64> {
        self.now.get(&(dir, name.to_owned())).map(|(ino, _)| *ino)
    }

    /// The first entry of a directory after a position: its position, name and inode number.
    pub(super) fn after_position(&self, dir: u64, position: i64) -> Option<(i64, &OsStr, u64)> {
        let from = position.checked_add(1)?;
        let ((_, at), name) = self.order.range((dir, from)..=(dir, i64::MAX)).next()?;
        Some((*at, name, self.get(dir, name)?))
    }

    /// Every name and where it leads.
    pub(super) fn all(&self) -> Vec<(Place, u64)> {
        self.now.iter().map(|(place, (ino, _))| (place.clone(), *ino)).collect()
    }

    /// A name that leads to `ino`.
    pub(super) fn place_of(&self, ino: u64) -> Option<Place> {
        self.now.iter().find(|(_, (to, _))| *to == ino).map(|(place, _)| place.clone())
    }

    pub(super) fn is_empty(&self, dir: u64) -> bool {
        self.after_position(dir, 0).is_none()
    }

    /// Does an event, to be durable later.
    pub(super) fn change(&mut self, stamp: Stamp, changes: Vec<Change>, born: Option<u64>) {
        for change in &changes {
            self.point(change.place.clone(), change.new);
        }
        self.pending.push(Event { stamp, changes, born });
    }

    /// Makes the names in a directory durable, and what must have happened before them.
    pub(super) fn sync_dir(&mut self, dir: u64) {
        self.settle(|event| event.dirs().any(|touched| touched == dir));
    }

    /// Makes all names durable.
    pub(super) fn sync_all(&mut self) {
        self.settle(|_| true);
    }

    /// Makes the name durable under which an inode was created, and what must have happened before it.
    pub(super) fn sync_birth(&mut self, ino: u64) {
        self.settle(|event| event.born == Some(ino));
    }

    /// The names that a power cut leaves, some perhaps in directories that it does not.
    pub(super) fn after(&self, cut: &Cut, rng: &mut impl Rng) -> BTreeMap<Place, u64> {
        let mut chance = Survival::draw(self, cut, rng);
        let mut names = self.durable.clone();
        for event in &self.pending {
            if chance.of(event, rng) && event.fits(&names) && !event.closes_a_loop(&names) {
                event.apply(&mut names);
            } else {
                chance.is_lost(event);
            }
        }
        names
    }

    fn point(&mut self, place: Place, ino: Option<u64>) {
        if let Some((_, position)) = self.now.remove(&place) {
            self.order.remove(&(place.0, position));
        }
        if let Some(ino) = ino {
            self.last_position += 1;
            self.order.insert((place.0, self.last_position), place.1.clone());
            self.now.insert(place, (ino, self.last_position));
        }
    }

    fn settle(&mut self, wanted: impl Fn(&Event) -> bool) {
        let (mut ties, mut left, mut done) = (BTreeSet::new(), Vec::new(), Vec::new());
        for event in std::mem::take(&mut self.pending).into_iter().rev() {
            if wanted(&event) || event.ties(self.host).any(|tie| ties.contains(&tie)) {
                ties.extend(event.ties(self.host));
                done.push(event);
            } else {
                left.push(event);
            }
        }
        for event in done.iter().rev() {
            event.apply(&mut self.durable);
        }
        left.reverse();
        self.pending = left;
    }
}

impl Event {
    fn dirs(&self) -> impl Iterator<Item = u64> {
        self.changes.iter().map(|change| change.place.0)
    }

    /// What it has in common with the earlier events that the host makes durable before it.
    fn ties(&self, host: Host) -> impl Iterator<Item = Place> {
        self.changes.iter().map(move |change| match host {
            Host::Ordered => (change.place.0, OsString::new()),
            Host::Wild => change.place.clone(),
        })
    }

    fn fits(&self, names: &BTreeMap<Place, u64>) -> bool {
        self.changes.iter().all(|change| names.get(&change.place).copied() == change.old)
    }

    fn apply(&self, names: &mut BTreeMap<Place, u64>) {
        for change in &self.changes {
            match change.new {
                Some(ino) => names.insert(change.place.clone(), ino),
                None => names.remove(&change.place),
            };
        }
    }

    /// Whether it would move a directory into itself, because an earlier move was lost.
    fn closes_a_loop(&self, names: &BTreeMap<Place, u64>) -> bool {
        let moves = self.born.is_none() && self.changes.len() > 1;
        moves
            && self
                .changes
                .iter()
                .any(|change| change.new.is_some_and(|ino| stands_in(names, change.place.0, ino)))
    }
}

/// Whether the directory `dir` is `other` or stands somewhere in it.
fn stands_in(names: &BTreeMap<Place, u64>, dir: u64, other: u64) -> bool {
    let parent = |of: &u64| names.iter().find(|(_, ino)| *ino == of).map(|((dir, _), _)| *dir);
    std::iter::successors(Some(dir), parent).any(|at| at == other)
}

/// Which events survive.
enum Survival {
    /// Those until a moment.
    Until(Stamp),
    /// So many of each directory.
    First(BTreeMap<u64, usize>),
    /// Each by chance.
    Any,
}

impl Survival {
    fn draw(names: &Names, cut: &Cut, rng: &mut impl Rng) -> Self {
        match (cut.moment(), names.host) {
            (Some(last), _) => Self::Until(last),
            (None, Host::Wild) => Self::Any,
            (None, Host::Ordered) => {
                let mut first = BTreeMap::new();
                for dir in names.pending.iter().flat_map(Event::dirs) {
                    *first.entry(dir).or_insert(0) += 1;
                }
                for count in first.values_mut() {
                    *count = rng.random_range(0..=*count);
                }
                Self::First(first)
            }
        }
    }

    fn of(&mut self, event: &Event, rng: &mut impl Rng) -> bool {
        match self {
            Self::Until(last) => event.stamp <= *last,
            Self::Any => rng.random_bool(0.5),
            Self::First(left) => {
                let survives = event.dirs().all(|dir| left.get(&dir).is_some_and(|left| *left > 0));
                event.dirs().for_each(|dir| {
                    left.entry(dir).and_modify(|left| *left = left.saturating_sub(1));
                });
                survives
            }
        }
    }

    /// What comes after it in its directories is lost too, on a host that keeps order.
    fn is_lost(&mut self, event: &Event) {
        if let Self::First(left) = self {
            left.extend(event.dirs().map(|dir| (dir, 0)));
        }
    }
}
