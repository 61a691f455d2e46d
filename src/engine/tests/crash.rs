//! Power cuts at every moment, on a simulated disk: what was synced is read back, what was not is never wrong.
//!
//! The oracle is the promise of `docs/semantics.md`. Each file has a history of contents, one after each operation. A
//! file that was synced must come back whole with that content or a later one; a file that never was may be missing,
//! short or of different ages, but each block of it must have stood there. When only the daemon dies, everything must be
//! readable, and new files that were closed have their content.

mod history;
mod world;

use std::sync::{Arc, LazyLock};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use self::{
    history::End,
    world::{Op, World},
};
use super::*;
use crate::{
    engine::defects::Defect,
    keys::KeyService,
    store::{
        journal::Settings as JournalSettings,
        layout,
        sim::{CrashMode, Host, SimDisk},
    },
};

/// One keyring serves every trace: opening one is slow, and it is not what is tested here.
static KEYS: LazyLock<Arc<KeyService>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    create_key_file(&key).unwrap();
    let id = crate::envelope::Id::random().unwrap();
    let slot = NewSlot::new("test", Unlock::KeyFile(key));
    Arc::new(Keyring::create(dir.path(), id, &[slot]).unwrap().into())
});

/// A fresh store with an empty bucket `data`, all of it durable.
pub(super) static EMPTY: LazyLock<SimDisk> = LazyLock::new(|| {
    let disk = SimDisk::new(Host::Ordered);
    layout::create_store(&disk.root(), layout::StoreId::from_bytes([1; 16])).unwrap();
    let engine = start(&disk, Defects::default()).unwrap();
    engine.create_bucket(&BucketName::parse("data").unwrap(), bucket_of(4096), false).unwrap();
    drop(engine);
    disk.power_cycle(&mut StdRng::seed_from_u64(0), CrashMode::KeepAll)
});

pub(super) fn start(disk: &SimDisk, defects: Defects) -> std::io::Result<Engine> {
    let limits = Limits {
        bulk: 96 << 10,
        dirty_per_object: 1 << 20,
        commit_interval: std::time::Duration::from_hours(1),
        journal: JournalSettings { segment_bytes: 512 << 10, segments: 2 },
        defects,
        ..Limits::default()
    };
    let options = Options {
        read_only: false,
        encryption: Encryption::Unnamed,
        customer_keys: Arc::default(),
        new_bucket: bucket_of(4096),
        access: Access::default(),
        limits,
        audit: None,
    };
    Engine::assemble(disk.root(), KEYS.clone(), None, options)
}

/// A random trace of up to three crashes.
fn trace(seed: u64, end: End, defects: Defects) -> std::result::Result<(), String> {
    let _ = env_logger::builder().is_test(true).try_init();
    let mut rng = StdRng::seed_from_u64(seed);
    let disk = EMPTY.power_cycle(&mut rng, CrashMode::KeepAll);
    let mut world = World::start(disk, defects);
    for _ in 0..rng.random_range(1..4) {
        end.comes_after(&world.disk, rng.random_range(1..250), &mut rng);
        for _ in 0..rng.random_range(1..30) {
            let op = Op::random(&mut rng);
            log::debug!("{op:?}");
            if world.apply(&op).is_err() || world.disk.is_off() {
                break;
            }
        }
        world = world.crash(&mut rng, end, defects)?;
    }
    Ok(())
}

/// Traces per crash mode; more for a long run by hand.
fn traces() -> u64 {
    std::env::var("STRONGROOM_CRASH_TRACES").ok().and_then(|n| n.parse().ok()).unwrap_or(150)
}

fn survives(end: End) {
    let only = std::env::var("STRONGROOM_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..traces(), |seed| seed..seed + 1) {
        if let Err(what) = trace(seed, end, Defects::default()) {
            panic!("{end:?}, seed {seed}: {what}");
        }
    }
}

#[test]
fn torn_sectors_lose_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::Tear512));
}

#[test]
fn torn_pages_lose_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::Tear4096));
}

#[test]
fn destroyed_sectors_lose_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::DestroySector(0.15)));
}

#[test]
fn destroyed_pages_lose_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::DestroyPage(0.15)));
}

#[test]
fn a_disk_that_stops_at_some_moment_loses_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::Prefix));
    survives(End::Cut(CrashMode::DropAll));
    survives(End::Cut(CrashMode::KeepAll));
}

#[test]
fn kills_lose_nothing_that_was_closed_and_leave_nothing_unreadable() {
    survives(End::Kill);
}

#[test]
fn a_cut_at_every_single_operation_loses_nothing_that_was_synced() {
    let short = [
        Op::Write { file: 0, offset: 0, len: 70_000 },
        Op::Fsync { file: 0 },
        Op::Write { file: 0, offset: 4000, len: 5000 },
        Op::Fsync { file: 0 },
        Op::Resize { file: 0, size: 6000 },
        Op::Write { file: 0, offset: 8192, len: 131_072 },
        Op::Fsync { file: 0 },
        Op::Empty { file: 0 },
        Op::Write { file: 0, offset: 0, len: 100 },
        Op::Fsync { file: 0 },
        Op::Replace { file: 0, len: 5000 },
    ];
    let mut rng = StdRng::seed_from_u64(7);
    let operations = end_at(&short, None, End::Cut(CrashMode::KeepAll), &mut rng).unwrap();
    assert!(operations > 20, "only {operations} operations");
    for cut in 1..=operations {
        for mode in [CrashMode::Tear512, CrashMode::DestroyPage(0.3), CrashMode::DropAll, CrashMode::Prefix] {
            end_at(&short, Some((cut, 0)), End::Cut(mode), &mut rng)
                .unwrap_or_else(|what| panic!("cut at {cut}, {mode:?}: {what}"));
        }
    }
}

/// A write that `kill -9` interrupts stops at a page boundary.
#[test]
fn a_kill_at_every_single_page_of_every_save_leaves_a_readable_file() {
    let saves = [
        Op::Write { file: 0, offset: 0, len: 12_824 },
        Op::Settle,
        Op::Write { file: 0, offset: 8000, len: 5000 },
        Op::Settle,
        Op::Resize { file: 0, size: 6000 },
        Op::Settle,
        Op::Write { file: 0, offset: 4096, len: 131_072 },
        Op::Write { file: 0, offset: 135_168, len: 131_072 },
        Op::Settle,
        Op::Punch { file: 0, offset: 0, len: 20_000 },
        Op::Write { file: 0, offset: 262_000, len: 10_000 },
        Op::Close { file: 0 },
        Op::Write { file: 0, offset: 300_000, len: 70_000 },
        Op::Close { file: 0 },
        Op::Write { file: 1, offset: 0, len: 131_072 },
        Op::Settle,
        Op::Empty { file: 1 },
        Op::Write { file: 1, offset: 4096, len: 8192 },
        Op::Settle,
        Op::Fsync { file: 1 },
        Op::Write { file: 1, offset: 0, len: 5000 },
        Op::Close { file: 1 },
    ];
    let mut rng = StdRng::seed_from_u64(8);
    let operations = end_at(&saves, None, End::Kill, &mut rng).unwrap();
    assert!(operations > 50, "only {operations} operations");
    for nth in 1..=operations {
        for pages in 0..6 {
            end_at(&saves, Some((nth, pages)), End::Kill, &mut rng)
                .unwrap_or_else(|what| panic!("killed at operation {nth} after {pages} pages: {what}"));
        }
    }
}

#[test]
fn a_power_cut_after_a_clean_end_loses_nothing_at_all() {
    let mut rng = StdRng::seed_from_u64(9);
    let world = World::start(EMPTY.power_cycle(&mut rng, CrashMode::KeepAll), Defects::default());
    let file = create(&world.engine, "never synced");
    let content = vec![7; 300_000];
    file.write_at(0, &content).unwrap();
    world.engine.close(file);
    drop(world.engine);
    let after = world.disk.power_cycle(&mut rng, CrashMode::DropAll);
    let engine = start(&after, Defects::default()).unwrap();
    let file = open(&engine, "never synced", READ).unwrap();
    assert_eq!(read_all(&file, 300_001).unwrap(), content);
}

/// Does `ops` on an empty store; the `nth` operation of the disk, of which some pages come through, ends it.
fn end_at(
    ops: &[Op],
    at: Option<(u64, u64)>,
    end: End,
    rng: &mut StdRng,
) -> std::result::Result<u64, String> {
    let mut world = World::start(EMPTY.power_cycle(rng, CrashMode::KeepAll), Defects::default());
    if let Some((nth, pages)) = at {
        world.disk.kill_after(nth, pages);
    }
    let before = world.disk.operations();
    for op in ops {
        if world.apply(op).is_err() {
            break;
        }
    }
    let operations = world.disk.operations() - before;
    world.crash(rng, end, Defects::default()).map(|_| operations)
}

/// Runs until the defect is caught.
fn is_caught(defect: Defect, end: End) {
    let defects = Defects { on: Some(defect) };
    let caught = (0..3000).find(|seed| trace(*seed, end, defects).is_err());
    assert!(caught.is_some(), "{defect:?} was not caught");
}

#[test]
fn m1_freshness_judged_by_memory_is_caught() {
    is_caught(Defect::FreshByMemory, End::Cut(CrashMode::Tear512));
}

#[test]
fn m3_a_frame_before_its_data_is_caught() {
    is_caught(Defect::DataUnflushed, End::Cut(CrashMode::Tear512));
}

#[test]
fn m4_no_journal_is_caught() {
    is_caught(Defect::NoJournal, End::Cut(CrashMode::Tear512));
}

#[test]
fn an_overwrite_in_place_that_a_kill_interrupts_is_caught() {
    is_caught(Defect::NoJournal, End::Kill);
}

#[test]
fn m5_storing_in_place_before_the_frame_is_durable_is_caught() {
    is_caught(Defect::AppliedEarly, End::Cut(CrashMode::Tear512));
}

#[test]
fn m10_a_frame_without_the_identity_is_caught() {
    is_caught(Defect::NoIdentity, End::Cut(CrashMode::DestroyPage(0.15)));
}
