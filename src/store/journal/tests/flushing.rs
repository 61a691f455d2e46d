//! Group commit, and flushes that fail.

use std::{
    io,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
};

use super::*;
use crate::store::{
    File, Stat, Timestamp,
    contract::errno,
    faulty::{Call, Faults},
};

/// A file whose flushes are counted, and wait to be let through.
struct Gate {
    inner: FileRef,
    flushes: AtomicUsize,
    entered: Sender<()>,
    passes: Mutex<Receiver<()>>,
}

impl File for Gate {
    fn sync_data(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.entered.send(()).unwrap();
        self.passes.lock().unwrap().recv().unwrap();
        self.inner.sync_data()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.inner.write_at(parts, offset)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch(offset, len)
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.reserve(offset, len)
    }

    fn set_mtime(&self, mtime: Timestamp) -> io::Result<()> {
        self.inner.set_mtime(mtime)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn seek(&self, offset: u64, data: bool) -> io::Result<Option<u64>> {
        self.inner.seek(offset, data)
    }
}

/// Puts a gate before the current segment of `journal`.
fn gated(journal: &Journal) -> (Arc<Gate>, Receiver<()>, Sender<()>) {
    let ((entered, entries), (pass, passes)) = (mpsc::channel(), mpsc::channel());
    let mut state = journal.lock();
    let current = state.current.unwrap();
    let segment = state.slots[current].segment.as_mut().unwrap();
    let gate = Arc::new(Gate {
        inner: segment.file.clone(),
        flushes: AtomicUsize::new(0),
        entered,
        passes: Mutex::new(passes),
    });
    segment.file = gate.clone();
    (gate, entries, pass)
}

#[test]
fn those_who_come_during_a_flush_share_the_next() {
    const OTHERS: usize = 7;
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    log(&journal, &object.frame(), &object);
    let (gate, entries, pass) = gated(&journal);
    let appended = Barrier::new(OTHERS + 1);
    std::thread::scope(|scope| {
        scope.spawn(|| log(&journal, &object.frame(), &object));
        entries.recv().unwrap();
        for _ in 0..OTHERS {
            scope.spawn(|| {
                let lsn = journal.append(&object.frame(), object.node.clone()).unwrap();
                appended.wait();
                journal.flush(lsn).unwrap();
            });
        }
        appended.wait();
        pass.send(()).unwrap();
        pass.send(()).unwrap();
    });
    assert_eq!(gate.flushes.load(Ordering::SeqCst), 2);
    assert_eq!(journal.lock().durable, 2 + OTHERS as u64);
}

#[test]
fn a_flush_does_not_promise_what_was_appended_while_it_ran() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    log(&journal, &object.frame(), &object);
    let (gate, entries, pass) = gated(&journal);
    std::thread::scope(|scope| {
        scope.spawn(|| log(&journal, &object.frame(), &object));
        entries.recv().unwrap();
        let late = journal.append(&object.frame(), object.node.clone()).unwrap();
        pass.send(()).unwrap();
        pass.send(()).unwrap();
        journal.flush(late).unwrap();
    });
    assert_eq!(gate.flushes.load(Ordering::SeqCst), 2);
}

#[test]
fn what_is_durable_needs_no_flush() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    let first = log(&journal, &object.frame(), &object);
    let (gate, _entries, pass) = gated(&journal);
    pass.send(()).unwrap();
    let second = log(&journal, &object.frame(), &object);
    assert!(second > first);
    journal.flush(first).unwrap();
    journal.flush(second).unwrap();
    assert_eq!(gate.flushes.load(Ordering::SeqCst), 1);
}

#[test]
fn a_failed_flush_is_never_forgotten() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let faults = Faults::default();
    let (journal, _) = Journal::open(faults.wrap(bucket.wal.clone()), &bucket.root, BUCKET, SMALL).unwrap();
    let durable = log(&journal, object.frame().write(4096, &[b'1'; 4096]), &object);
    let lost = journal.append(&object.frame(), object.node.clone()).unwrap();
    faults.arm(Call::Sync, 1, libc::ENOSPC);
    assert_eq!(errno(journal.flush(lost)), libc::ENOSPC);
    assert!(!faults.is_armed(Call::Sync), "the next flush of the file would succeed");
    for lsn in [durable, lost] {
        assert_eq!(errno(journal.flush(lsn)), libc::EIO);
        journal.applied(lsn);
    }
    assert_eq!(errno(journal.append(&object.frame(), object.node.clone())), libc::EIO);
    assert_eq!(errno(journal.checkpoint()), libc::EIO);
    assert_eq!(errno(journal.close()), libc::EIO);
    assert!(bucket.recover().frames >= 1, "the journal was kept");
    assert_eq!(pages(&bucket.bytes("a")[4096..]), "1");
}

#[test]
fn those_who_wait_for_a_flush_that_fails_are_told() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    log(&journal, &object.frame(), &object);
    let (_gate, entries, pass) = gated(&journal);
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| journal.flush(journal.append(&object.frame(), object.node.clone())?));
        entries.recv().unwrap();
        let lsn = journal.append(&object.frame(), object.node.clone()).unwrap();
        let waiter = scope.spawn({
            let journal = &journal;
            move || journal.flush(lsn)
        });
        journal.fail();
        assert_eq!(errno(waiter.join().unwrap()), libc::EIO);
        pass.send(()).unwrap();
        leader.join().unwrap().unwrap();
    });
}

#[test]
fn a_number_from_elsewhere_is_refused() {
    let bucket = bucket();
    let (journal, _) = bucket.open();
    assert_eq!(errno(journal.flush(super::super::Lsn(5))), libc::EINVAL);
}

#[test]
fn a_flush_of_many_objects_at_once_that_fails_keeps_the_journal() {
    let (bucket, faults) = (bucket(), Faults::default());
    let settings = Settings { segment_bytes: 8 << 20, segments: 2 };
    let (journal, _) =
        Journal::open(faults.wrap(bucket.wal.clone()), &bucket.root, BUCKET, settings).unwrap();
    for n in 0..300 {
        let object = bucket.object(&n.to_string(), 1, 1);
        journal.applied(log(&journal, object.frame().write(4096, &[b'1'; 4096]), &object));
    }
    faults.arm(Call::SyncStore, 1, libc::EIO);
    assert_eq!(errno(journal.checkpoint()), libc::EIO);
    assert_eq!(errno(journal.checkpoint()), libc::EIO, "and it is not tried again");
    drop(journal);
    let (_, recovery) = Journal::open(bucket.wal.clone(), &bucket.root, BUCKET, settings).unwrap();
    assert_eq!(recovery.frames, 300);
}
