//! Each rule of recovery.

use std::{io::IoSlice, os::unix::fs::FileExt};

use super::{super::Tail, *};
use crate::store::{
    RenameMode,
    faulty::{Call, Faults},
};

const PAGE: u64 = 4096;

fn page(fill: u8) -> Vec<u8> {
    vec![fill; 4096]
}

/// The data pages of `path`: all but the first.
fn data(bucket: &Bucket, path: &str) -> String {
    pages(&bucket.bytes(path)[4096..])
}

#[test]
fn an_overwrite_that_was_flushed_is_there_after_a_crash() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 2);
    let (journal, first) = bucket.open();
    assert!(first.is_idle());
    log(&journal, object.frame().write(0, &header(1, b'1')).write(2 * PAGE, &page(b'1')), &object);
    drop(journal);
    let recovery = bucket.recover();
    assert_eq!(recovery.to_string(), "replayed 1 frames to 1 objects");
    assert_eq!(recovery.objects, [std::path::PathBuf::from("a")]);
    assert_eq!(data(&bucket, "a"), "01");
    assert_eq!(bucket.bytes("a")[4000], b'1', "the header page, too");
    assert!(bucket.recover().is_idle(), "the journal is empty now");
}

#[test]
fn the_newest_write_of_a_range_wins() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 3);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().write(PAGE, &vec![b'1'; 3 * 4096]), &object);
    log(&journal, object.frame().write(2 * PAGE, &page(b'2')), &object);
    drop(journal);
    bucket.recover();
    assert_eq!(data(&bucket, "a"), "121");
}

#[test]
fn a_truncation_cuts_and_what_comes_after_it_is_kept() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 4);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().truncate(2 * PAGE), &object);
    log(&journal, object.frame().truncate(5 * PAGE - 96).write(3 * PAGE, &page(b'2')), &object);
    drop(journal);
    bucket.recover();
    assert_eq!(data(&bucket, "a"), "0.2.");
    assert_eq!(bucket.bytes("a").len(), 5 * 4096 - 96);
}

#[test]
fn an_old_truncation_spares_what_was_written_in_place_after_it() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 3);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().truncate(2 * PAGE).write(PAGE, &page(b'1')), &object);
    object.file.write_at(&[IoSlice::new(&[page(b'2'), page(b'2')].concat())], 2 * PAGE).unwrap();
    log(&journal, object.frame().truncate(4 * PAGE).direct(2 * PAGE, 2 * PAGE), &object);
    drop(journal);
    bucket.recover();
    assert_eq!(data(&bucket, "a"), "122");
}

#[test]
fn a_write_in_place_hides_older_frames() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 2);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().write(PAGE, &[page(b'1'), page(b'1')].concat()), &object);
    object.file.write_at(&[IoSlice::new(&page(b'2'))], PAGE).unwrap();
    log(&journal, object.frame().direct(PAGE, PAGE), &object);
    drop(journal);
    bucket.recover();
    assert_eq!(data(&bucket, "a"), "21");
}

#[test]
fn a_punched_range_is_a_hole_unless_written_later() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 4);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().write(PAGE, &page(b'1')), &object);
    log(&journal, object.frame().punch(PAGE, 3 * PAGE), &object);
    log(&journal, object.frame().write(3 * PAGE, &page(b'3')), &object);
    drop(journal);
    bucket.recover();
    assert_eq!(data(&bucket, "a"), "..30");
}

#[test]
fn a_renamed_object_is_found_by_its_inode_number() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().write(PAGE, &page(b'1')), &object);
    drop(journal);
    let deeper = make_dir(&make_dir(&bucket.root, "x"), "y");
    bucket.root.rename(&name("a"), &deeper, &name("b"), RenameMode::Replace).unwrap();
    bucket.object("a", 2, 1);
    assert_eq!(bucket.recover().objects, [std::path::PathBuf::from("x/y/b")]);
    assert_eq!((data(&bucket, "x/y/b"), data(&bucket, "a")), ("1".into(), "0".into()));
}

#[test]
fn a_rename_that_was_announced_is_followed_and_one_that_did_not_happen_is_not() {
    for happened in [true, false] {
        let bucket = bucket();
        let object = bucket.object("a", 1, 1);
        let (journal, _) = bucket.open();
        log(&journal, object.frame().write(PAGE, &page(b'1')), &object);
        log(&journal, object.frame().path(b"b"), &object);
        drop(journal);
        if happened {
            bucket.root.rename(&name("a"), &bucket.root, &name("b"), RenameMode::Replace).unwrap();
        }
        // Looking at the whole bucket would show here: a copy of the bucket has other inode numbers.
        let recovery = bucket.recover();
        assert_eq!((recovery.frames, recovery.dropped), (2, 0));
        assert_eq!(data(&bucket, if happened { "b" } else { "a" }), "1");
    }
}

#[test]
fn frames_of_an_unlinked_object_are_dropped() {
    let bucket = bucket();
    let (gone, kept) = (bucket.object("gone", 1, 1), bucket.object("kept", 2, 1));
    let (journal, _) = bucket.open();
    log(&journal, gone.frame().write(PAGE, &page(b'1')), &gone);
    log(&journal, kept.frame().write(PAGE, &page(b'1')), &kept);
    drop(journal);
    bucket.root.unlink(&name("gone")).unwrap();
    bucket.object("gone", 3, 1);
    let recovery = bucket.recover();
    assert_eq!(recovery.to_string(), "replayed 1 frames to 1 objects, dropped 1 of objects that are gone");
    assert_eq!((data(&bucket, "gone"), data(&bucket, "kept")), ("0".into(), "1".into()));
}

#[test]
fn in_a_copied_store_objects_are_found_by_path_and_by_id() {
    let bucket = bucket();
    let (stays, moved) = (bucket.object("stays", 1, 1), bucket.object("moved", 2, 1));
    let (journal, _) = bucket.open();
    for object in [&stays, &moved] {
        log(&journal, object.frame().write(PAGE, &page(b'1')), object);
    }
    drop(journal);
    for (from, to) in [("stays", "stays"), ("moved", "elsewhere")] {
        let content = bucket.bytes(from);
        std::fs::rename(bucket.dir.path().join(from), bucket.dir.path().join(".eob").join(from)).unwrap();
        std::fs::write(bucket.dir.path().join(to), content).unwrap();
    }
    assert_eq!(bucket.recover().objects.len(), 2);
    assert_eq!((data(&bucket, "stays"), data(&bucket, "elsewhere")), ("1".into(), "1".into()));
    assert_eq!(data(&bucket, ".eob/moved"), "0", "nothing below `.eob` is an object");
}

#[test]
fn an_object_copied_behind_our_back_does_not_take_the_changes_of_the_other() {
    let bucket = bucket();
    let (a, b) = (bucket.object("a", 1, 1), bucket.object("b", 1, 1));
    let (journal, _) = bucket.open();
    log(&journal, a.frame().write(PAGE, &page(b'1')), &a);
    log(&journal, b.frame().write(PAGE, &page(b'2')), &b);
    drop(journal);
    bucket.root.rename(&name("a"), &bucket.root, &name("b"), RenameMode::Exchange).unwrap();
    bucket.recover();
    assert_eq!((data(&bucket, "a"), data(&bucket, "b")), ("2".into(), "1".into()));
}

#[test]
fn a_file_is_accepted_under_the_id_that_a_frame_replaced_and_under_the_new_one() {
    for applied in [false, true] {
        let bucket = bucket();
        let mut object = bucket.object("a", 1, 2);
        let (journal, _) = bucket.open();
        log(&journal, object.frame().write(PAGE, &[page(b'1'), page(b'1')].concat()), &object);
        object.subject.object_id = [2; 16];
        let mut frame = object.frame();
        frame.superseded(&[1; 16]).truncate(2 * PAGE).write(0, &header(2, b'2')).write(PAGE, &page(b'2'));
        log(&journal, &frame, &object);
        log(&journal, object.frame().truncate(3 * PAGE).write(2 * PAGE, &page(b'3')), &object);
        drop(journal);
        if applied {
            object.file.write_at(&[IoSlice::new(&header(2, b'2'))], 0).unwrap();
        }
        bucket.recover();
        assert_eq!(data(&bucket, "a"), "23");
        assert_eq!(bucket.bytes("a")[..4096], header(2, b'2'));
    }
}

#[test]
fn a_destroyed_header_page_is_written_anew() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().write(0, &header(1, b'1')), &object);
    drop(journal);
    object.file.write_at(&[IoSlice::new(&page(0xEE))], 0).unwrap();
    assert_eq!(bucket.recover().dropped, 0);
    assert_eq!(bucket.bytes("a")[..4096], header(1, b'1'));
}

#[test]
fn a_destroyed_header_page_belongs_to_the_last_owner_of_its_inode_number() {
    let bucket = bucket();
    let object = bucket.object("a", 2, 2);
    let earlier = Subject { object_id: [1; 16], ..object.subject.clone() };
    let (journal, _) = bucket.open();
    log(&journal, Frame::new(&earlier).write(0, &header(1, b'1')).write(PAGE, &page(b'1')), &object);
    log(&journal, object.frame().write(0, &header(2, b'2')), &object);
    drop(journal);
    object.file.write_at(&[IoSlice::new(&page(0xEE))], 0).unwrap();
    assert_eq!(bucket.recover().dropped, 1);
    assert_eq!(bucket.bytes("a")[..4096], header(2, b'2'));
    assert_eq!(data(&bucket, "a"), "00", "the earlier object is gone");
}

#[test]
fn a_file_too_short_for_an_object_is_none_even_under_the_inode_number() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().write(0, &header(1, b'1')), &object);
    drop(journal);
    object.file.set_len(0).unwrap();
    assert_eq!(bucket.recover().dropped, 1);
    assert_eq!(bucket.bytes("a"), b"");
}

#[test]
fn one_frame_may_hold_several_objects() {
    let bucket = bucket();
    let (a, b) = (bucket.object("a", 1, 1), bucket.object("b", 2, 1));
    let (journal, _) = bucket.open();
    let mut frame = a.frame();
    frame.write(PAGE, &page(b'1')).about(&b.subject).write(PAGE, &page(b'2'));
    log(&journal, &frame, &a);
    drop(journal);
    assert_eq!(bucket.recover().objects.len(), 2);
    assert_eq!((data(&bucket, "a"), data(&bucket, "b")), ("1".into(), "2".into()));
}

#[test]
fn no_path_in_a_frame_leads_out_of_the_bucket_or_below_its_own_directory() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    std::fs::write(&victim, [header(1, b'0'), page(b'0')].concat()).unwrap();
    let bucket = bucket();
    std::fs::write(bucket.dir.path().join(".eob/kek"), [header(1, b'0'), page(b'0')].concat()).unwrap();
    std::os::unix::fs::symlink(&victim, bucket.dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path(), bucket.dir.path().join("dir")).unwrap();
    let absolute = victim.to_str().unwrap().to_owned();
    let up = format!("..{}", "/..".repeat(12)) + &absolute;
    let object = bucket.object("a", 9, 1);
    for path in ["link", "dir/victim", ".eob/kek", &absolute, &up, "./link", "a/b", "", "/", "\0"] {
        let (journal, _) = bucket.open();
        let subject = Subject { object_id: [1; 16], inode: 0, path: path.into() };
        log(&journal, Frame::new(&subject).write(PAGE, &page(b'X')), &object);
        drop(journal);
        assert_eq!(bucket.recover().dropped, 1, "{path}");
    }
    assert_eq!(pages(&std::fs::read(&victim).unwrap()[4096..]), "0");
    assert_eq!(data(&bucket, ".eob/kek"), "0");
}

#[test]
fn a_crash_inside_recovery_leaves_it_to_the_next() {
    for (call, last) in
        [(Call::Write, 5), (Call::SetLen, 1), (Call::Sync, 2), (Call::Open, 9), (Call::Read, 16)]
    {
        for nth in 1..=last {
            let bucket = bucket();
            let object = bucket.object("a", 1, 4);
            let (journal, _) = bucket.open();
            log(&journal, object.frame().write(PAGE, &[page(b'1'), page(b'1')].concat()), &object);
            log(&journal, object.frame().truncate(3 * PAGE).write(PAGE, &page(b'2')), &object);
            log(&journal, object.frame().write(0, &header(1, b'3')), &object);
            drop(journal);
            let faults = Faults::default();
            let (wal, root) = (faults.wrap(bucket.wal.clone()), faults.wrap(bucket.root.clone()));
            faults.arm(call, nth, libc::ENOSPC);
            let failed = Journal::open(wal, &root, BUCKET, SMALL).is_err();
            assert_eq!(failed, !faults.is_armed(call), "{call:?} {nth}");
            bucket.recover();
            assert_eq!(data(&bucket, "a"), "21", "{call:?} {nth}");
            assert!(bucket.recover().is_idle());
        }
    }
}

#[test]
fn a_torn_last_frame_is_as_if_it_never_was() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    log(&journal, object.frame().write(PAGE, &page(b'1')), &object);
    log(&journal, object.frame().write(PAGE, &page(b'2')), &object);
    drop(journal);
    let wal =
        std::fs::File::options().write(true).open(bucket.dir.path().join(".eob/wal/00000000.wal")).unwrap();
    wal.write_all_at(&[0xFF], 4096 + 8192 + 4096).unwrap();
    let recovery = bucket.recover();
    assert_eq!((recovery.frames, recovery.tail), (1, Tail::Torn));
    assert_eq!(recovery.to_string(), "replayed 1 frames to 1 objects; the last frame was not complete");
    assert_eq!(data(&bucket, "a"), "1");
}

#[test]
fn each_defect_of_replay_that_the_crash_tests_build_in_does_harm() {
    for (defect, wrong) in [(Defect::DirectIgnored, "1"), (Defect::OldestFirst, "1")] {
        let bucket = bucket();
        let object = bucket.object("a", 1, 1);
        let (journal, _) = bucket.open();
        log(&journal, object.frame().write(PAGE, &page(b'1')), &object);
        object.file.write_at(&[IoSlice::new(&page(b'2'))], PAGE).unwrap();
        log(&journal, object.frame().direct(PAGE, PAGE), &object);
        drop(journal);
        let defects = Defects { on: Some(defect) };
        Journal::open_with(bucket.wal.clone(), &bucket.root, BUCKET, SMALL, defects).unwrap();
        assert_eq!(data(&bucket, "a"), wrong, "{defect:?}");
    }
}
