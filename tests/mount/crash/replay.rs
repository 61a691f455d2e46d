//! Power cuts of a recorded disk: the store lies on a file system in an image, and the image is rebuilt as it was at each
//! flush, without some of what came after it. `STRONGROOM_CUTS` sets how many cuts are tried.

use std::{sync::atomic::Ordering, thread};

use super::{
    history::{History, Random},
    recorder::{Event, Image, Mounted, Recorder},
    writers::{Manner, Writer, recovered},
};
use crate::fixture::{Drive, ok, run};

fn cuts() -> usize {
    std::env::var("STRONGROOM_CUTS").map_or(40, |text| text.parse().expect("STRONGROOM_CUTS is a number"))
}

/// A workload that was recorded.
struct Recording {
    /// Before the image, which goes away first.
    drive: Drive,
    recorder: Recorder,
    histories: Vec<History>,
    /// Flushes that preceded the workload.
    begun: u64,
}

/// Lets everybody write to a drive on a fresh file system.
fn record(size: u64, make: &[&str], steps: usize) -> Recording {
    let recorder = Recorder::new(size);
    let disk = Mounted::new(&recorder.image(), Some(make));
    let mut drive = Drive::with_store_at(&disk.path().join("store"));
    drive.mount(&[]);
    ok(&mut crate::fixture::shell(20, disk.path(), "sync -f ."));
    let (dir, begun) = (drive.dir(), recorder.tape.flushes.load(Ordering::SeqCst));
    let histories = thread::scope(|scope| {
        let work = |manner: Manner| {
            let steps = if manner == Manner::Bulk { steps.div_ceil(4) } else { steps };
            let writer = Writer::new(manner, &dir, None, manner as u64, &recorder.tape.flushes);
            scope.spawn(move || writer.run(steps))
        };
        let writers = Manner::ALL.map(work);
        let done = writers.map(|writer| writer.join().unwrap());
        done.into_iter().flat_map(|(ended, histories)| ended.map(|()| histories).unwrap()).collect()
    });
    drive.unmount();
    drop(disk);
    Recording { drive, recorder, histories, begun }
}

#[test]
fn a_power_cut_on_ext4_loses_nothing_that_was_acknowledged() {
    cut_everywhere(128 << 20, EXT4);
}

#[test]
fn a_power_cut_on_xfs_loses_nothing_that_was_acknowledged() {
    cut_everywhere(320 << 20, XFS);
}

fn cut_everywhere(size: u64, make: &[&str]) {
    let recording = record(size, make, 12);
    let total = recording.recorder.tape.flushes.load(Ordering::SeqCst);
    let most = u64::try_from(cuts()).unwrap();
    let every = (total - recording.begun).div_ceil(most).max(1);
    let (mut image, mut flush, mut random) = (Image::default(), 0, Random::new(size));
    let (mut tried, mut later) = (0, Vec::new());
    let events = std::mem::take(&mut *recording.recorder.tape.events.lock().unwrap());
    for event in events {
        match event {
            Event::Write { at, data } => later.push((at, data)),
            Event::Flush => {
                if flush >= recording.begun && (flush - recording.begun).is_multiple_of(every) {
                    // Half of the time nothing of what came later is there.
                    let cut = if tried % 2 == 0 { image.clone() } else { torn(&image, &later, &mut random) };
                    try_cut(&recording, &cut, size, flush);
                    tried += 1;
                }
                later.drain(..).for_each(|(at, data)| image.write(at, &data));
                flush += 1;
            }
        }
    }
    assert!(tried > 10, "only {tried} cuts were tried");
    eprintln!("{tried} cuts of {} flushes held", total - recording.begun);
}

/// The disk with some sectors of some of the writes since the last flush, in any order.
fn torn(image: &Image, later: &[(u64, Vec<u8>)], random: &mut Random) -> Image {
    let mut image = image.clone();
    let (mut order, odds) = ((0..later.len()).collect::<Vec<_>>(), 1 + random.below(4));
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at + 1));
    }
    for index in order {
        let (at, data) = &later[index];
        let whole = random.below(4) > 0;
        let there = random.below(odds + 1) > 0;
        for (number, sector) in (0..).zip(data.chunks(SECTOR)) {
            if if whole { there } else { random.below(2) == 0 } {
                image.write(at + number * SECTOR as u64, sector);
            }
        }
    }
    image
}

/// Recovers from a cut after flush number `flush` and looks at everything.
fn try_cut(recording: &Recording, image: &Image, size: u64, flush: u64) {
    let scratch = tempfile::Builder::new().prefix("strongroom-cut-").tempdir_in("/dev/shm").unwrap();
    let path = scratch.path().join("disk.img");
    image.save(&path, size);
    let disk = Mounted::new(&path, None);
    let mut drive = recording.drive.at_store(&disk.path().join("store"));
    drive.mount(&[]);
    for history in &recording.histories {
        if let Err(broken) = recovered(&drive.dir(), history, flush) {
            panic!("cut after flush {flush}: {broken}");
        }
    }
    drive.unmount();
    let ran = run(&mut drive.on_store(["verify"], []));
    for line in ran.stdout.lines().filter_map(|line| line.strip_prefix("DAMAGED data/")) {
        let name = line.split(':').next().unwrap();
        let history = recording.histories.iter().find(|history| history.name == name);
        assert!(history.is_none_or(|history| !history.is_promised(flush)), "cut after flush {flush}: {line}");
    }
}

/// Bytes that reach a disk together: ext4 does not survive a superblock torn in itself.
const SECTOR: usize = 4096;

/// How the file systems are made.
pub(super) const EXT4: &[&str] = &["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
/// The same.
pub(super) const XFS: &[&str] = &["mkfs.xfs", "-q"];
