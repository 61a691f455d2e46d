//! A power cut in the middle of each job: no object is lost, and running the job again finishes it.

use rand::{SeedableRng, rngs::StdRng};

use super::{
    crash::{EMPTY, start},
    *,
};
use crate::{
    engine::{defects::Defect, live::read_header},
    object::Header,
    store::{
        Access,
        sim::{CrashMode, SimDisk},
    },
};

const OBJECTS: usize = 6;
const MODES: [CrashMode; 4] =
    [CrashMode::Tear512, CrashMode::DestroyPage(0.3), CrashMode::DropAll, CrashMode::Prefix];

struct Silent;

impl Watch for Silent {
    fn note(&mut self, line: &Line<'_>) -> std::io::Result<()> {
        // With the power off everything fails; the job then ends, as a program does that is killed.
        match line.error {
            Some(EngineError::Store(error)) => Err(std::io::Error::other(error.to_string())),
            _ => Ok(()),
        }
    }
}

fn content(object: usize) -> Vec<u8> {
    format!("object {object} ").into_bytes().repeat(400 * (object + 1))
}

/// A durable store with some objects in it.
fn filled(rng: &mut StdRng, journal: JournalMode) -> SimDisk {
    let disk = EMPTY.power_cycle(rng, CrashMode::KeepAll);
    let engine = start(&disk, Defects::default()).unwrap();
    if journal == JournalMode::Off {
        let name = BucketName::parse("data").unwrap();
        engine.delete_bucket(&name).unwrap();
        engine.create_bucket(&name, NewBucket { journal, ..bucket_of(4096) }, false).unwrap();
    }
    for object in 0..OBJECTS {
        let file = create(&engine, &object.to_string());
        file.write_at(0, &content(object)).unwrap();
        file.sync(false).unwrap();
        engine.close(file);
    }
    data(&engine).node().sync_dir().unwrap();
    drop(engine);
    disk.power_cycle(rng, CrashMode::KeepAll)
}

fn header(engine: &Engine, object: usize) -> Header {
    let (item, _) = engine.lookup(&data(engine), OsStr::new(&object.to_string())).unwrap();
    read_header(&item.node().open(Access::Read).unwrap()).unwrap().unwrap().1
}

fn require_whole(engine: &Engine, when: &str) {
    for object in 0..OBJECTS {
        let file =
            open(engine, &object.to_string(), READ).unwrap_or_else(|e| panic!("{when}: {object}: {e}"));
        assert_eq!(read_all(&file, 1 << 20).unwrap(), content(object), "{when}: {object}");
        engine.close(file);
    }
}

/// Cuts the power at every moment of `job`, in every way, and lets `finish` end it after recovery.
fn survives(
    journal: JournalMode,
    defects: Defects,
    job: impl Fn(&Engine) -> Result<Totals>,
    finish: impl Fn(&Engine),
) {
    let mut rng = StdRng::seed_from_u64(3);
    let disk = filled(&mut rng, journal);
    let run = |cut: Option<u64>, mode: CrashMode, rng: &mut StdRng| {
        let disk = disk.power_cycle(rng, CrashMode::KeepAll);
        let engine = start(&disk, defects).unwrap();
        let before = disk.operations();
        if let Some(cut) = cut {
            disk.crash_after(cut);
        }
        let ended = job(&engine);
        assert!(cut.is_some() || ended.is_ok_and(|totals| totals.failed == 0));
        let operations = disk.operations() - before;
        let after = disk.power_cycle(rng, mode);
        disk.crash_after(1);
        drop(engine);
        let when = format!("cut at {cut:?}, {mode:?}");
        let engine = start(&after, Defects::default()).unwrap();
        require_whole(&engine, &when);
        finish(&engine);
        require_whole(&engine, &format!("{when}, after the second run"));
        operations
    };
    let operations = run(None, CrashMode::KeepAll, &mut rng);
    assert!(operations > 30, "only {operations} operations");
    for cut in 1..=operations {
        run(Some(cut), MODES[usize::try_from(cut).unwrap() % MODES.len()], &mut rng);
    }
}

#[test]
fn a_power_cut_during_a_deep_rewrap_loses_nothing_and_the_next_run_finishes_it() {
    deep_rewrap_survives(JournalMode::On, Defects::default());
}

/// The header of each object is overwritten in place, and a page may be torn: there has to be a second copy meanwhile.
#[test]
fn a_power_cut_during_a_deep_rewrap_tears_no_header_of_a_bucket_without_a_journal() {
    deep_rewrap_survives(JournalMode::Off, Defects::default());
}

#[test]
#[should_panic(expected = "cut at")]
fn the_same_cuts_do_tear_headers_that_have_no_second_copy() {
    deep_rewrap_survives(JournalMode::Off, Defects { on: Some(Defect::NoJournal) });
}

fn deep_rewrap_survives(journal: JournalMode, defects: Defects) {
    let job = Rewrap { deep: true, new_bucket_key: true, ..Rewrap::default() };
    survives(
        journal,
        defects,
        |engine| engine.rewrap(&job, &mut Silent),
        |engine| {
            let again = Rewrap { new_bucket_key: false, ..job.clone() };
            assert_eq!(engine.rewrap(&again, &mut Silent).unwrap().failed, 0);
            let newest = engine
                .bucket(&BucketName::parse("data").unwrap())
                .unwrap()
                .wraps()
                .service_wrapping_key()
                .unwrap();
            for object in 0..OBJECTS {
                let keys = header(engine, object).keys;
                let record = keys.find(crate::envelope::RecordType::DataKey1).unwrap();
                assert_eq!(crate::keys::BucketKey::named_by(record), Some(newest.id()), "{object}");
            }
        },
    );
}

#[test]
fn a_power_cut_during_a_reencryption_loses_nothing_and_leaves_nothing_behind() {
    let job = Reencrypt { force: true, ..Reencrypt::default() };
    survives(
        JournalMode::On,
        Defects::default(),
        |engine| engine.reencrypt(&job, &mut Silent),
        |engine| {
            let before: Vec<_> = (0..OBJECTS).map(|object| header(engine, object).identity.object).collect();
            let totals = engine.reencrypt(&job, &mut Silent).unwrap();
            assert_eq!((totals.succeeded, totals.failed), (OBJECTS as u64, 0));
            for (object, before) in before.into_iter().enumerate() {
                assert_ne!(header(engine, object).identity.object, before);
            }
            let tmp = engine.bucket(&BucketName::parse("data").unwrap()).unwrap();
            let (tmp, _) = tmp.private().lookup(&crate::store::layout::fixed("tmp")).unwrap();
            assert!(tmp.entries().unwrap().next().unwrap().is_none());
        },
    );
}

#[test]
fn a_power_cut_of_the_target_during_a_replication_leaves_whole_replicas_or_none() {
    let mut rng = StdRng::seed_from_u64(4);
    let source = start(&filled(&mut rng, JournalMode::On), Defects::default()).unwrap();
    let run = |cut: Option<u64>, mode: CrashMode, rng: &mut StdRng| {
        let disk = EMPTY.power_cycle(rng, CrashMode::KeepAll);
        let target = start(&disk, Defects::default()).unwrap();
        let before = disk.operations();
        if let Some(cut) = cut {
            disk.crash_after(cut);
        }
        let ended = source.replicate(&target, &Replicate::default(), &mut Silent);
        assert!(cut.is_some() || ended.is_ok_and(|totals| totals.succeeded == OBJECTS as u64));
        let operations = disk.operations() - before;
        let after = disk.power_cycle(rng, mode);
        disk.crash_after(1);
        drop(target);
        let target = start(&after, Defects::default()).unwrap();
        for object in 0..OBJECTS {
            if let Ok(file) = open(&target, &object.to_string(), READ) {
                assert_eq!(read_all(&file, 1 << 20).unwrap(), content(object), "cut at {cut:?}, {mode:?}");
                target.close(file);
            }
        }
        assert_eq!(source.replicate(&target, &Replicate::default(), &mut Silent).unwrap().failed, 0);
        require_whole(&target, &format!("cut at {cut:?}, {mode:?}"));
        operations
    };
    let operations = run(None, CrashMode::KeepAll, &mut rng);
    for cut in (1..=operations).step_by(3) {
        run(Some(cut), MODES[usize::try_from(cut).unwrap() % MODES.len()], &mut rng);
    }
}
