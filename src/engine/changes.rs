//! Noticing that settings, policies, retention rules or keys of the store were changed, by this process or another.
//!
//! A change takes effect with the next operation, so every operation has to look. Where the system tells what happens in
//! the directories that hold these files, looking costs one cheap call for all of them; else the files are looked at.

use std::{
    io::ErrorKind,
    num::NonZeroU64,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Result, clock};
use crate::store::{NodeKey, NodeRef, Timestamp, Watcher, layout::fixed};

/// A state of the watched files. The same moment means that none of them has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(NonZeroU64);

/// Tells moments apart. Its lock is a leaf.
#[derive(Debug)]
pub(super) struct Changes {
    watcher: Option<Watcher>,
    /// Set when a directory cannot be watched: from then on every moment is another one.
    blind: AtomicBool,
    now: Mutex<Moment>,
}

impl Changes {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let watcher = Watcher::new();
        if let Err(error) = &watcher {
            log::debug!("changes are looked for file by file: {error}");
        }
        let blind = AtomicBool::new(watcher.is_err());
        Self { watcher: watcher.ok(), blind, now: Mutex::new(Moment(NonZeroU64::MIN)) }
    }

    /// Watches `dir` from now on.
    pub(super) fn watch(&self, dir: &NodeRef) {
        let Some(watcher) = &self.watcher else { return };
        if let Err(error) = dir.watch(watcher) {
            log::debug!("changes are looked for file by file, `{}`: {error}", dir.path().display());
            self.blind.store(true, Ordering::Release);
        }
    }

    /// The present moment.
    pub(super) fn now(&self) -> Moment {
        // Held while looking: who finds nothing new must not be ahead of who took the news and has not told yet.
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let watcher = self.watcher.as_ref().filter(|_| !self.blind.load(Ordering::Acquire));
        let same = watcher.is_some_and(|watcher| matches!(watcher.has_news(), Ok(false)));
        if !same {
            now.0 = now.0.checked_add(1).expect("no process lives for 2^64 operations");
        }
        *now
    }
}

/// A small file of a watched directory, read again when it is another one.
pub(super) struct Followed<T> {
    dir: NodeRef,
    name: &'static str,
    known: RwLock<Known<T>>,
}

struct Known<T> {
    value: T,
    /// When it was seen to be so, and in which file; `None` before it was looked at.
    seen: Option<(Moment, Seen)>,
}

/// A file as it was when it was read, if there was one.
#[derive(Debug, Clone, Copy)]
struct Seen {
    stamp: Option<Stamp>,
    /// Whether every later change is sure to give it another stamp.
    settled: bool,
}

/// What tells one content of a small file from the next: its file, size and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: NodeKey,
    size: u64,
    modified: Timestamp,
    changed: Timestamp,
}

impl<T: Clone> Followed<T> {
    /// The file `name` in `dir`, which `changes` watches from now on; `value` is good until it is looked at.
    pub(super) fn new(dir: NodeRef, name: &'static str, value: T, changes: &Changes) -> Self {
        changes.watch(&dir);
        Self { dir, name, known: RwLock::new(Known { value, seen: None }) }
    }

    /// The value as last read.
    pub(super) fn last(&self) -> T {
        self.known.read().unwrap_or_else(PoisonError::into_inner).value.clone()
    }

    /// The value at the moment `now`; `read` gets it anew, also of a file that is absent.
    pub(super) fn get(&self, now: Moment, read: impl FnOnce() -> Result<T>) -> Result<T> {
        let seen = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            match known.seen {
                Some((moment, _)) if moment == now => return Ok(known.value.clone()),
                seen => seen.map(|(_, seen)| seen),
            }
        };
        // Before the file is looked at: what changes meanwhile changes after this.
        let before = clock::now();
        let stamp = self.stamp()?;
        let settled = stamp.is_none_or(|stamp| clock::is_settled(stamp.changed, before));
        let same = seen.is_some_and(|seen| seen.settled && seen.stamp == stamp);
        let value = if same { None } else { Some(read()?) };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody who looked later may have been faster, and knows better.
        if known.seen.is_none_or(|(moment, _)| moment < now) {
            known.seen = Some((now, Seen { stamp, settled }));
            if let Some(value) = &value {
                known.value = value.clone();
            }
        }
        Ok(value.unwrap_or_else(|| known.value.clone()))
    }

    fn stamp(&self) -> Result<Option<Stamp>> {
        match self.dir.lookup(&fixed(self.name)) {
            Ok((_, stat)) => {
                let (file, size, modified, changed) = (stat.key, stat.size, stat.mtime, stat.ctime);
                Ok(Some(Stamp { file, size, modified, changed }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs};

    use super::*;
    use crate::store::LocalStore;

    /// A directory with the file `f`, watched by a `Changes` that is told to be blind or not.
    fn watched(blind: bool) -> (tempfile::TempDir, Changes, Followed<String>) {
        let dir = tempfile::tempdir().unwrap();
        let root = LocalStore::open(dir.path()).unwrap().root();
        let changes = Changes::new();
        changes.blind.fetch_or(blind, Ordering::Relaxed);
        let followed = Followed::new(root, "f", String::new(), &changes);
        (dir, changes, followed)
    }

    /// Waits until the clock that stamps files has gone on since the file was written.
    fn settle(followed: &Followed<String>) {
        let changed = followed.stamp().unwrap().unwrap().changed;
        while !clock::is_settled(changed, clock::now()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_change_is_seen_by_whoever_looks_after_it_and_read_once() {
        for blind in [false, true] {
            let (dir, changes, followed) = watched(blind);
            let reads = Cell::new(0);
            let get = || {
                let read = || {
                    reads.set(reads.get() + 1);
                    Ok(fs::read_to_string(dir.path().join("f")).unwrap_or_default())
                };
                followed.get(changes.now(), read).unwrap()
            };
            for (content, times) in [("", 1), ("one", 2), ("three", 3), ("", 4)] {
                if !content.is_empty() {
                    fs::write(dir.path().join("f"), content).unwrap();
                    settle(&followed);
                } else if times > 1 {
                    fs::remove_file(dir.path().join("f")).unwrap();
                }
                assert_eq!((get().as_str(), get().as_str()), (content, content), "blind: {blind}");
                assert_eq!(reads.get(), times, "blind: {blind}");
            }
        }
    }

    /// A policy that is written twice within a tick of the clock which stamps files, in place and with the same length, has
    /// the same stamp both times: the second was taken for the first.
    #[test]
    fn a_change_that_leaves_the_stamp_as_it_was_is_seen() {
        for blind in [false, true] {
            let (dir, changes, followed) = watched(blind);
            let file = dir.path().join("f");
            let get = || followed.get(changes.now(), || Ok(fs::read_to_string(&file).unwrap())).unwrap();
            fs::write(&file, "one").unwrap();
            assert_eq!(get(), "one");
            // The kernel's clock may go on between these two; what is remembered is put as if it had not.
            fs::write(&file, "two").unwrap();
            let stamp = followed.stamp().unwrap();
            if let Some((_, seen)) = &mut followed.known.write().unwrap().seen {
                assert!(!seen.settled, "it was read right after it was written");
                seen.stamp = stamp;
            }
            assert_eq!(get(), "two", "blind: {blind}");
        }
    }

    /// In a watched directory other files come and go.
    #[test]
    fn news_of_other_files_cost_no_reading_once_the_stamp_is_settled() {
        let (dir, changes, followed) = watched(false);
        let (file, reads) = (dir.path().join("f"), Cell::new(0));
        fs::write(&file, "one").unwrap();
        let get = || {
            let read = || {
                reads.set(reads.get() + 1);
                Ok(fs::read_to_string(&file).unwrap())
            };
            followed.get(changes.now(), read).unwrap()
        };
        settle(&followed);
        get();
        for other in ["a", "b"] {
            fs::write(dir.path().join(other), "x").unwrap();
            assert_eq!((get().as_str(), reads.get()), ("one", 1));
        }
    }

    #[test]
    fn while_nothing_changes_the_moment_is_the_same_unless_nobody_tells() {
        let (_dir, seeing, _) = watched(false);
        assert_eq!(seeing.now(), seeing.now());
        let (_dir, blind, _) = watched(true);
        assert_ne!(blind.now(), blind.now());
    }

    #[test]
    fn who_looked_earlier_does_not_take_back_what_is_known_since() {
        let (dir, changes, followed) = watched(false);
        let early = changes.now();
        fs::write(dir.path().join("f"), "x").unwrap();
        let late = changes.now();
        assert!(early < late);
        assert_eq!(followed.get(late, || Ok("new".to_owned())).unwrap(), "new");
        followed.get(early, || Ok("old".to_owned())).unwrap();
        assert_eq!(followed.last(), "new");
    }

    #[test]
    fn a_directory_that_cannot_be_watched_blinds() {
        let (_dir, changes, _) = watched(false);
        changes.watch(&crate::store::sim::SimDisk::new(crate::store::sim::Host::Ordered).root());
        assert_ne!(changes.now(), changes.now());
    }
}
