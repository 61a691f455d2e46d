//! Repair takes out what was never synced and cannot be read, keeps all of it, and leaves everything else alone.

use std::fs;

use super::*;

const BLOCK: usize = 4096;

/// A store whose bucket has the objects `synced` and `unsynced`, four blocks each.
fn store() -> Fixture {
    let fixture = Fixture::with_bucket(BLOCK as u64);
    let engine = fixture.engine();
    for name in ["synced", "unsynced"] {
        let file = create(&engine, name);
        file.write_at(0, &[7; 4 * BLOCK]).unwrap();
        if name == "synced" {
            file.sync(false).unwrap();
            file.write_at(0, &[7; BLOCK]).unwrap();
            file.sync(false).unwrap();
        }
        engine.close(file);
    }
    fixture
}

fn repair(fixture: &Fixture) -> (Report, Repairs) {
    fixture.engine().repair(None, &mut |_| {}).unwrap()
}

/// Changes a stored file.
fn alter(fixture: &Fixture, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let path = fixture.store().join("data").join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, &bytes).unwrap();
    bytes
}

fn flip(bytes: &mut [u8], at: usize) {
    bytes[at] ^= 1;
}

#[test]
fn a_sound_store_is_left_as_it_is() {
    let fixture = store();
    let (report, repairs) = repair(&fixture);
    assert_eq!((report.objects, report.damaged, repairs), (2, vec![], Repairs::default()));
    assert!(!fixture.store().join(".strongroom/lost+found").exists());
}

#[test]
fn a_damaged_object_that_was_never_synced_is_moved_whole() {
    let fixture = store();
    let bytes = alter(&fixture, "unsynced", |bytes| bytes[2 * BLOCK..3 * BLOCK].fill(0));
    let (report, repairs) = repair(&fixture);
    assert_eq!((report.objects, report.damaged), (1, vec![]));
    let moved = &repairs.set_aside[0];
    assert_eq!(moved.from, "data/unsynced");
    assert_eq!(moved.to, ".strongroom/lost+found/data/1/files/unsynced");
    assert_eq!(moved.reason, "never synced: block 1 failed authentication");
    assert_eq!(fs::read(fixture.store().join(&moved.to)).unwrap(), bytes);
    assert!(!fixture.store().join("data/unsynced").exists());
}

#[test]
fn an_object_that_lost_its_end_before_its_first_sync_is_moved() {
    let fixture = store();
    alter(&fixture, "unsynced", |bytes| bytes.truncate(2 * BLOCK));
    let (report, repairs) = repair(&fixture);
    assert_eq!((report.damaged, repairs.set_aside.len()), (vec![], 1));
}

/// The birth flag stays until the commit after the first sync, so an altered block may be one that was synced.
#[test]
fn an_altered_object_is_not_moved_however_new_it_is() {
    let fixture = store();
    alter(&fixture, "unsynced", |bytes| flip(bytes, 2 * BLOCK + 9));
    let (report, repairs) = repair(&fixture);
    assert_eq!((report.damaged.len(), repairs.set_aside), (1, vec![]));
}

#[test]
fn a_damaged_object_that_was_synced_is_reported_and_not_touched() {
    for at in [3, 530, 1100, 2 * BLOCK + 9] {
        let fixture = store();
        let bytes = alter(&fixture, "synced", |bytes| flip(bytes, at));
        let (report, repairs) = repair(&fixture);
        assert_eq!(report.damaged.len(), 1, "byte {at}");
        assert_eq!(repairs.set_aside, [], "byte {at}");
        assert_eq!(fs::read(fixture.store().join("data/synced")).unwrap(), bytes, "byte {at}");
    }
}

#[test]
fn a_synced_object_with_a_blank_block_is_not_moved() {
    let fixture = store();
    alter(&fixture, "synced", |bytes| bytes[2 * BLOCK..3 * BLOCK].fill(0));
    let (report, repairs) = repair(&fixture);
    assert_eq!((report.damaged.len(), repairs.set_aside), (1, vec![]));
}

#[test]
fn files_without_a_header_are_moved_only_if_nothing_was_ever_in_it() {
    let fixture = store();
    let data = fixture.store().join("data");
    fs::create_dir(data.join("deep")).unwrap();
    fs::write(data.join("deep/empty"), "").unwrap();
    let hole = fs::File::create(data.join("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    fs::write(data.join("foreign"), "somebody's own text").unwrap();
    let (report, repairs) = repair(&fixture);
    let mut from: Vec<_> = repairs.set_aside.iter().map(|it| it.from.as_str()).collect();
    from.sort_unstable();
    assert_eq!(from, ["data/deep/empty", "data/hole"]);
    assert!(fixture.store().join(".strongroom/lost+found/data/1/files/deep/empty").exists());
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].object, "data/foreign");
    assert!(data.join("foreign").exists());
}

#[test]
fn bytes_past_the_end_are_kept_apart_and_cut_off() {
    let fixture = store();
    let before = fs::read(fixture.store().join("data/synced")).unwrap();
    alter(&fixture, "synced", |bytes| bytes.extend([9; 6000]));
    // As a crash leaves it.
    std::fs::write(fixture.store().join("data/.eob/open"), "").unwrap();
    let (report, repairs) = repair(&fixture);
    assert_eq!((report.objects, report.damaged), (2, vec![]));
    let [tail] = &repairs.set_aside[..] else { panic!("{repairs:?}") };
    assert_eq!(tail.to, ".strongroom/lost+found/data/1/tails/synced");
    assert_eq!(fs::read(fixture.store().join(&tail.to)).unwrap(), [9; 6000]);
    let after = fs::read(fixture.store().join("data/synced")).unwrap();
    assert_eq!(after.len(), before.len());
    let engine = fixture.engine();
    let file = open(&engine, "synced", READ).unwrap();
    assert_eq!(super::read_all(&file, 5 * BLOCK).unwrap(), [7; 4 * BLOCK]);
    engine.close(file);
}

#[test]
fn unfinished_files_of_the_reserved_directories_are_moved() {
    let fixture = store();
    let left = ["data/.eob/tmp/half", "data/.eob/.tmp-1-1", "data/.eob/kek/.tmp-1-2", ".strongroom/.tmp-1-3"];
    for path in left {
        fs::write(fixture.store().join(path), "half").unwrap();
    }
    let (report, repairs) = repair(&fixture);
    assert_eq!(report.damaged, []);
    let mut moved: Vec<_> = repairs.set_aside.iter().map(|it| it.from.as_str()).collect();
    moved.sort_unstable();
    let mut expected = left;
    expected.sort_unstable();
    assert_eq!(moved, expected);
    for it in &repairs.set_aside {
        assert_eq!(fs::read(fixture.store().join(&it.to)).unwrap(), b"half", "{}", it.to);
    }
}

#[test]
fn a_second_run_has_nothing_to_do_and_a_later_one_a_directory_of_its_own() {
    let fixture = store();
    fs::write(fixture.store().join("data/empty"), "").unwrap();
    assert_eq!(repair(&fixture).1.set_aside.len(), 1);
    assert_eq!(repair(&fixture).1, Repairs::default());
    fs::write(fixture.store().join("data/empty"), "").unwrap();
    assert_eq!(repair(&fixture).1.set_aside[0].to, ".strongroom/lost+found/data/2/files/empty");
}

#[test]
fn a_key_that_cannot_be_used_is_no_reason_to_move_anything() {
    let fixture = store();
    fs::remove_dir_all(fixture.store().join("data/.eob/kek")).unwrap();
    fs::create_dir(fixture.store().join("data/.eob/kek")).unwrap();
    // Without its key file an object is read by the copy of the key in its header; spoil that as well.
    for name in ["synced", "unsynced"] {
        alter(&fixture, name, |bytes| bytes[1024..2560].fill(0));
    }
    let (report, repairs) = repair(&fixture);
    assert_eq!((report.damaged.len(), repairs.set_aside), (2, vec![]));
}

#[test]
fn what_was_replayed_is_told() {
    let fixture = store();
    let engine = fixture.engine();
    let file = open(&engine, "synced", WRITE).unwrap();
    file.write_at(0, &[8; BLOCK]).unwrap();
    file.sync(false).unwrap();
    // As after a power cut: the journal as it is now, beside files that lack what it holds.
    let copy = tempfile::tempdir().unwrap();
    let cut = copy.path().join("store");
    assert!(
        std::process::Command::new("cp").arg("-a").arg(fixture.store()).arg(&cut).status().unwrap().success()
    );
    engine.close(file);
    drop(engine);
    fs::remove_dir_all(fixture.store()).unwrap();
    fs::rename(cut, fixture.store()).unwrap();
    let (report, repairs) = repair(&fixture);
    assert_eq!(report.damaged, []);
    let [recovered] = &repairs.recovered[..] else { panic!("{repairs:?}") };
    assert_eq!((recovered.bucket.as_str(), recovered.frames, recovered.tail), ("data", 1, "clean"));
    assert_eq!(recovered.objects, ["data/synced"]);
}
