//! Salvage gives every block that authenticates, says exactly what is lost, and never touches the store.

use std::fs;

use super::*;
use crate::{object::Geometry, store::LocalStore};

const BLOCK: u64 = 4096;
const SIZE: usize = 300_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// A store whose bucket has the object `dir/victim` of two segments, and a sound neighbour.
fn store() -> Fixture {
    let fixture = Fixture::with_bucket(BLOCK);
    let engine = fixture.engine();
    let (dir, _) = engine.make_dir(&caller(), &data(&engine), OsStr::new("dir"), 0o755).unwrap();
    for (parent, name) in [(&dir, "victim"), (&data(&engine), "sound")] {
        let (_, _, file) = engine.create(&caller(), parent, OsStr::new(name), 0o644, WRITE).unwrap();
        file.write_at(0, &content()).unwrap();
        file.sync(true).unwrap();
        engine.close(file);
    }
    fixture
}

fn geometry() -> Geometry {
    Geometry::new(BlockSize::DEFAULT, false)
}

/// Where block `i` is stored.
fn place(i: u64) -> usize {
    usize::try_from(geometry().block_offset(i)).unwrap()
}

fn tag_page() -> usize {
    usize::try_from(geometry().tag_page_offset(1)).unwrap()
}

fn alter(fixture: &Fixture, change: impl FnOnce(&mut Vec<u8>)) {
    let path = fixture.store().join("data/dir/victim");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, &bytes).unwrap();
}

/// Salvages into a new directory; the copy of the victim, if there is one.
fn salvage(fixture: &Fixture) -> (Report, Salvage, Option<Vec<u8>>) {
    let before = fs::read(fixture.store().join("data/dir/victim")).unwrap();
    let target = tempfile::tempdir().unwrap();
    let root = LocalStore::open(target.path()).unwrap().root();
    let (report, salvage) = fixture.read_only().salvage(None, &root, &mut |_| {}).unwrap();
    assert_eq!(fs::read(fixture.store().join("data/dir/victim")).unwrap(), before, "the store was changed");
    (report, salvage, fs::read(target.path().join("data/dir/victim")).ok())
}

/// Checks the copy: what is lost is zeros, everything else as it was written.
fn check(salvaged: &Salvaged, copy: &[u8]) {
    let mut expected = content();
    expected.resize(copy.len(), 0);
    for range in &salvaged.lost {
        expected[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].fill(0);
    }
    assert!(copy == expected, "{salvaged:?}");
    let lost: u64 = salvaged.lost.iter().map(|range| range.end - range.start).sum();
    assert_eq!(salvaged.recovered + lost, copy.len() as u64);
}

#[test]
fn a_sound_store_gives_nothing() {
    let (report, salvage, copy) = salvage(&store());
    assert_eq!((report.objects, report.damaged, salvage, copy), (2, vec![], Salvage::default(), None));
}

#[test]
fn altered_blocks_are_lost_and_no_others() {
    let fixture = store();
    alter(&fixture, |bytes| {
        for block in [0, 1, 60] {
            bytes[place(block) + 5] ^= 1;
        }
    });
    let (report, salvage, copy) = salvage(&fixture);
    assert_eq!((report.objects, report.damaged.len()), (2, 1));
    let [victim] = &salvage.objects[..] else { panic!("{salvage:?}") };
    assert_eq!(
        (victim.object.as_str(), victim.saved_as.as_deref()),
        ("data/dir/victim", Some("data/dir/victim"))
    );
    assert_eq!(victim.lost, [0..2 * BLOCK, 60 * BLOCK..61 * BLOCK]);
    assert!(victim.certain);
    check(victim, &copy.unwrap());
}

#[test]
fn a_spoilt_tag_page_costs_its_segment() {
    let fixture = store();
    alter(&fixture, |bytes| bytes[tag_page() + 600] ^= 1);
    let (_, salvage, copy) = salvage(&fixture);
    assert_eq!(salvage.objects[0].lost, vec![54 * BLOCK..SIZE as u64]);
    check(&salvage.objects[0], &copy.unwrap());
}

#[test]
fn a_header_whose_mac_fails_costs_no_block() {
    // The accumulator, the MAC, and a reserved byte that makes the whole sector unreadable.
    for at in [530, 1000, 512 + 100] {
        let fixture = store();
        alter(&fixture, |bytes| bytes[at] ^= 1);
        let (report, salvage, copy) = salvage(&fixture);
        assert_eq!(report.damaged.len(), 1, "byte {at}");
        let victim = &salvage.objects[0];
        assert!(!victim.certain && victim.reason.contains("not certain"), "byte {at}: {}", victim.reason);
        assert_eq!((victim.size, victim.lost.len()), (SIZE as u64, 0), "byte {at}");
        check(victim, &copy.unwrap());
    }
}

#[test]
fn a_lying_size_in_a_header_is_not_believed() {
    let fixture = store();
    alter(&fixture, |bytes| bytes[520..528].copy_from_slice(&u64::MAX.to_be_bytes()));
    let (_, salvage, copy) = salvage(&fixture);
    assert_eq!(salvage.objects[0].size, SIZE as u64);
    check(&salvage.objects[0], &copy.unwrap());
}

#[test]
fn a_truncated_object_gives_what_is_there() {
    let fixture = store();
    alter(&fixture, |bytes| bytes.truncate(place(60) + 100));
    let (_, salvage, copy) = salvage(&fixture);
    assert_eq!(salvage.objects[0].lost, vec![60 * BLOCK..SIZE as u64]);
    check(&salvage.objects[0], &copy.unwrap());
}

#[test]
fn without_identity_or_keys_all_is_lost_and_nothing_is_written() {
    for at in [20, 60, 1100] {
        let fixture = store();
        alter(&fixture, |bytes| bytes[at] ^= 1);
        let (_, salvage, copy) = salvage(&fixture);
        let victim = &salvage.objects[0];
        assert_eq!((&victim.saved_as, copy), (&None, None), "byte {at}");
        assert_eq!(victim.lost, vec![0..SIZE as u64], "byte {at}");
    }
}

#[test]
fn a_bucket_without_its_settings_is_read_by_its_headers() {
    for settings in [None, Some("{}")] {
        let fixture = store();
        let path = fixture.store().join("data/.eob/bucket");
        match settings {
            None => fs::remove_file(path).unwrap(),
            Some(text) => fs::write(path, text).unwrap(),
        }
        fs::write(fixture.store().join("data/foreign"), "no object").unwrap();
        let (report, salvage, copy) = salvage(&fixture);
        assert_eq!(report.damaged.len(), 3);
        assert!(salvage.notes[0].contains("settings"), "{:?}", salvage.notes);
        let foreign = salvage.objects.iter().find(|it| it.object == "data/foreign").unwrap();
        assert_eq!(foreign.saved_as, None);
        let victim = salvage.objects.iter().find(|it| it.object == "data/dir/victim").unwrap();
        assert!(victim.certain && victim.lost.is_empty());
        check(victim, &copy.unwrap());
    }
}

#[test]
fn holes_stay_holes() {
    let fixture = store();
    let engine = fixture.engine();
    let file = create(&engine, "sparse");
    file.write_at(1 << 30, b"end").unwrap();
    file.write_at(0, b"start").unwrap();
    engine.close(file);
    drop(engine);
    let path = fixture.store().join("data/sparse");
    let stored = fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&stored, &[0xFF; 16], geometry().block_offset(0)).unwrap();
    let (_, salvage, _) = salvage(&fixture);
    let sparse = &salvage.objects[0];
    assert_eq!((sparse.size, sparse.recovered), ((1 << 30) + 3, 3));
    assert_eq!(sparse.lost, vec![0..BLOCK]);
}

#[test]
fn a_journal_that_was_not_replayed_is_noted_and_left_alone() {
    let fixture = store();
    let engine = fixture.engine();
    let file = open(&engine, "sound", WRITE).unwrap();
    file.write_at(0, b"newer").unwrap();
    file.sync(false).unwrap();
    // As after a power cut: the journal as it is now, beside files that lack what it holds.
    let cut = fixture.dir.path().join("cut");
    let copied = std::process::Command::new("cp").arg("-a").arg(fixture.store()).arg(&cut).status();
    assert!(copied.unwrap().success());
    engine.close(file);
    drop(engine);
    fs::remove_dir_all(fixture.store()).unwrap();
    fs::rename(cut, fixture.store()).unwrap();
    let journal = || fs::read(fixture.store().join("data/.eob/wal/00000000.wal")).unwrap();
    let before = journal();
    let (report, salvage, _) = salvage(&fixture);
    assert!(salvage.notes[0].contains("--repair"), "{:?}", salvage.notes);
    assert_eq!(report.objects, 2);
    assert!(journal() == before, "the journal was changed");
}
