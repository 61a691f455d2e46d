//! The thread that saves what has been unsaved for too long, so that a crash of the daemon loses little.

use std::{
    collections::HashSet,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Shared, live::Sync};
use crate::store::journal::Journal;

/// The saving thread.
pub(super) struct Committer {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread; it looks four times per interval.
    pub(super) fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (signal, shared) = (stop.clone(), Arc::downgrade(shared));
        let thread =
            std::thread::Builder::new().name("committer".into()).spawn(move || run(&signal, &shared))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the saving thread ended in a panic");
        }
    }
}

fn run((stopped, wake): &(Mutex<bool>, Condvar), shared: &Weak<Shared>) {
    let (mut interval, mut upkeep) = (Duration::ZERO, None::<Instant>);
    loop {
        let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = wake
            .wait_timeout_while(guard, interval / 4, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *guard {
            return;
        }
        drop(guard);
        let Some(shared) = shared.upgrade() else { return };
        interval = shared.options.limits.commit_interval;
        shared.save_older_than(interval);
        if upkeep.is_none_or(|last| last.elapsed() >= UPKEEP) {
            shared.keep_keys_up();
            upkeep = Some(Instant::now());
        }
    }
}

impl Shared {
    /// Rotates, destroys and expires the keys for which it is time.
    fn keep_keys_up(&self) {
        if self.options.read_only {
            return;
        }
        match self.buckets.keys().keyring().maintain() {
            Ok(done) => {
                for upkeep in &done {
                    log::info!("{upkeep}");
                }
                self.record_upkeep(&done);
            }
            Err(error) => log::warn!("rotations and deletions of keys that are due wait: {error}"),
        }
    }

    /// Saves objects whose changes are older than `age`, and forgets closed ones. All are logged first, so that one
    /// flush serves those of a bucket. What cannot be saved and has lost its last name is given up once nobody has it
    /// open: on a full disk, deleting must give space back.
    pub(super) fn save_older_than(&self, age: Duration) {
        let mut due = self.objects.all();
        due.retain(|object| object.unsettled_since().is_some_and(|since| since.elapsed() >= age));
        let mut lost = HashSet::new();
        for sync in [Sync::Store, Sync::Settled] {
            for object in &due {
                let Err(error) = object.commit(sync) else { continue };
                if object.stat().is_ok_and(|stat| stat.nlink == 0) {
                    lost.insert(object.key());
                } else {
                    log::error!("could not save an object, trying again later: {error}");
                }
            }
        }
        drop(due);
        self.objects.sweep(&lost);
        for bucket in self.buckets.loaded() {
            let due = |journal: &&Journal| journal.wants_checkpoint() || journal.is_idle_for(IDLE);
            if let Some(Err(error)) = bucket.journal().filter(due).map(Journal::checkpoint) {
                log::error!("bucket `{}`: the journal could not be emptied: {error}", bucket.name());
            }
            if !lost.is_empty() {
                bucket.give_space_back();
            }
        }
    }
}

/// A journal that took nothing for this long is emptied, so that files it holds are let go.
const IDLE: Duration = Duration::from_secs(30);
/// How often keys are looked at.
const UPKEEP: Duration = Duration::from_mins(10);
