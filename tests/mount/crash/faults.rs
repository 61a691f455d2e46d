//! A disk that fails to flush, and one that is full: what was acknowledged stays.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::{
    history::{History, bytes},
    kills::kill,
    recorder::{Event, Image, Mounted, Recorder},
    replay::{EXT4, XFS},
    writers::{Manner, Writer, recovered},
};
use crate::fixture::{Drive, ok, shell};

/// Lets everybody write until a call fails or there was enough.
fn write(
    dir: &Path,
    bases: &[History],
    seed: u64,
    flushes: &AtomicU64,
) -> Vec<(io::Result<()>, Vec<History>)> {
    let manners = [Manner::Overwrite, Manner::Append, Manner::Synchronous, Manner::Bulk, Manner::Replace];
    thread::scope(|scope| {
        let writers = manners.map(|manner| {
            let name = format!("{manner:?}").to_lowercase();
            let known = bases.iter().any(|history| history.name == name);
            let base = known.then(|| fs::read(dir.join(&name)).unwrap());
            let writer = Writer::new(manner, dir, base, seed + manner as u64, flushes);
            scope.spawn(move || writer.run(STEPS))
        });
        writers.map(|writer| writer.join().unwrap()).into()
    })
}

#[track_caller]
fn check(dir: &Path, histories: &[History], cut: u64) {
    for history in histories {
        recovered(dir, history, cut).unwrap_or_else(|broken| panic!("{broken}"));
    }
}

#[test]
fn a_failed_flush_on_ext4_is_reported_and_a_new_mount_recovers() {
    fail_a_flush(128 << 20, EXT4);
}

#[test]
fn a_failed_flush_on_xfs_is_reported_and_a_new_mount_recovers() {
    fail_a_flush(320 << 20, XFS);
}

fn fail_a_flush(size: u64, make: &[&str]) {
    let recorder = Recorder::new(size);
    let tape = &recorder.tape;
    let disk = Mounted::new(&recorder.image(), Some(make));
    let mut drive = Drive::with_store_at(&disk.path().join("store"));
    drive.mount(&[]);
    ok(&mut shell(20, disk.path(), "sync -f ."));
    let histories: Vec<_> = write(&drive.dir(), &[], 1, &tape.flushes)
        .into_iter()
        .flat_map(|(ended, histories)| ended.map(|()| histories).unwrap())
        .collect();
    tape.failing.store(true, Ordering::SeqCst);
    let mut waiter = File::options().write(true).open(drive.dir().join("append")).unwrap();
    waiter.write_all(b"never acknowledged").unwrap();
    assert_eq!(waiter.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
    tape.failing.store(false, Ordering::SeqCst);
    // That flushes work again is no reason to go on: what the failed one covered may be gone.
    assert!(waiter.sync_data().is_err(), "a failed flush is not forgotten");
    let refused = fs::write(drive.dir().join("new"), "x").unwrap_err();
    assert!([libc::EROFS, libc::EIO].map(Some).contains(&refused.raw_os_error()), "{refused}");
    assert!(drive.log().contains("is read-only from now on"), "{}", drive.log());
    // The writer of this one is beyond its last acknowledgement.
    check_but(&drive.dir(), &histories, "append");
    drop(waiter);
    kill(&mut drive);
    drop(disk);
    for dropped in [true, false] {
        let scratch = tempfile::Builder::new().prefix("strongroom-cut-").tempdir_in("/dev/shm").unwrap();
        let path = scratch.path().join("disk.img");
        image(&recorder, dropped).save(&path, size);
        let disk = Mounted::new(&path, None);
        let mut drive = drive.at_store(&disk.path().join("store"));
        drive.mount(&[]);
        check_but(&drive.dir(), &histories, "append");
        let append = fs::read(drive.dir().join("append")).unwrap();
        let synced = histories.iter().find(|history| history.name == "append").unwrap();
        let taken = append.starts_with(b"never acknowledged");
        assert!(taken || synced.check(Some(&append), u64::MAX).is_ok(), "`append` lost something");
        fs::write(drive.dir().join("new"), "x").unwrap();
        drive.unmount();
    }
}

fn check_but(dir: &Path, histories: &[History], name: &str) {
    let others: Vec<_> = histories.iter().filter(|history| history.name != name).cloned().collect();
    check(dir, &others, u64::MAX);
}

/// The recorded disk with everything, or without what came after its last good flush.
fn image(recorder: &Recorder, dropped: bool) -> Image {
    let events = recorder.tape.events.lock().unwrap();
    let last = events.iter().rposition(|event| matches!(event, Event::Flush)).unwrap();
    let mut image = Image::default();
    for event in events.iter().take(if dropped { last } else { usize::MAX }) {
        if let Event::Write { at, data } = event {
            image.write(*at, data);
        }
    }
    image
}

#[test]
fn a_disk_that_fills_up_in_the_middle_of_commits_loses_nothing() {
    const SIZE: u64 = 110 << 20;
    let recorder = Recorder::new(SIZE);
    let mut disk = Some(Mounted::new(&recorder.image(), Some(EXT4)));
    let store = disk.as_ref().unwrap().path().join("store");
    let mut drive = Drive::with_store_at(&store);
    drive.mount(&[]);
    let flushes = AtomicU64::new(0);
    let mut histories: Vec<_> =
        write(&drive.dir(), &[], 1, &flushes).into_iter().flat_map(|(_, histories)| histories).collect();
    let dir = drive.dir();
    let full = thread::scope(|scope| {
        let filling = scope.spawn(|| fill(&dir.join("filler")));
        let mut room = true;
        while room && !filling.is_finished() {
            let round = write(&dir, &histories, 100, &flushes);
            for error in round.iter().filter_map(|(ended, _)| ended.as_ref().err()) {
                assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{error}");
                room = false;
            }
            histories = round.into_iter().flat_map(|(_, histories)| histories).collect();
        }
        filling.join().unwrap()
    });
    assert_eq!(full.raw_os_error(), Some(libc::ENOSPC), "{full}");
    check(&dir, &histories, u64::MAX);
    fs::remove_file(dir.join("filler")).unwrap();
    kill(&mut drive);
    disk.take();
    let disk = Mounted::new(&recorder.image(), None);
    let mut again = drive.at_store(&disk.path().join("store"));
    again.mount(&[]);
    check(&again.dir(), &histories, u64::MAX);
    fs::write(again.dir().join("new"), bytes(1_000_000, 7)).unwrap();
    again.unmount();
}

/// Appends to a file and syncs until that fails.
fn fill(path: &Path) -> io::Error {
    let (mut file, piece) = (File::create(path).unwrap(), vec![7; 300_000]);
    loop {
        if let Err(error) = file.write_all(&piece).and_then(|()| file.sync_data()) {
            return error;
        }
    }
}

/// What each writer does, unless the disk is full before.
const STEPS: usize = 40;
