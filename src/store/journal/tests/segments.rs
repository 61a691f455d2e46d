//! The life of segments: made, filled, retired, used again.

use super::*;
use crate::store::{
    contract::errno,
    faulty::{Call, Faults},
};

/// Changes the one page of `object` to `fill`: to the journal, then in place.
fn change(journal: &Journal, object: &Object, fill: u8) -> std::io::Result<()> {
    let page = [fill; 4096];
    let lsn = journal.append(object.frame().write(4096, &page), object.node.clone())?;
    journal.flush(lsn)?;
    object.file.write_at(&[IoSlice::new(&page)], 4096)?;
    journal.applied(lsn);
    Ok(())
}

#[test]
fn a_bucket_without_changes_has_no_journal_file() {
    let bucket = bucket();
    let (journal, _) = bucket.open();
    journal.checkpoint().unwrap();
    journal.close().unwrap();
    assert!(bucket.wal_files().is_empty());
}

#[test]
fn a_few_changes_make_one_segment_of_full_length() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    for _ in 0..50 {
        change(&journal, &object, b'1').unwrap();
        journal.checkpoint().unwrap();
    }
    assert_eq!(bucket.wal_files(), ["00000000.wal"]);
    assert_eq!(bucket.bytes(".eob/wal/00000000.wal").len() as u64, SMALL.segment_bytes);
}

#[test]
fn segments_go_round_and_the_last_change_survives() {
    let bucket = bucket();
    let (a, b) = (bucket.object("a", 1, 1), bucket.object("b", 2, 1));
    let (journal, _) = bucket.open();
    for n in 0..100 {
        change(&journal, if n % 3 == 0 { &a } else { &b }, b'0' + n % 10).unwrap();
    }
    assert!(journal.wants_checkpoint());
    assert_eq!(bucket.wal_files(), ["00000000.wal", "00000001.wal", "00000002.wal"]);
    drop(journal);
    for object in [&a, &b] {
        object.file.write_at(&[IoSlice::new(&[b'X'; 4096])], 4096).unwrap();
    }
    let recovery = bucket.recover();
    assert!(recovery.frames > 14, "more than one segment: {recovery}");
    assert_eq!(
        (pages(&bucket.bytes("a")[4096..]), pages(&bucket.bytes("b")[4096..])),
        ("9".into(), "8".into())
    );
}

#[test]
fn numbers_go_on_after_recovery_and_after_a_clean_end() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let mut last = None;
    for clean in [true, false, true, false] {
        let (journal, _) = bucket.open();
        let lsn = log(&journal, &object.frame(), &object);
        assert!(Some(lsn) > last);
        last = Some(lsn);
        journal.applied(lsn);
        if clean {
            journal.close().unwrap();
        }
    }
}

#[test]
fn a_frame_must_fit_a_segment() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    let room = journal.max_frame() - object.frame().write(0, &[0]).stored_len();
    let mut frame = object.frame();
    frame.write(0, &vec![b'1'; usize::try_from(room).unwrap() + 3072]);
    assert_eq!(frame.stored_len(), journal.max_frame());
    log(&journal, &frame, &object);
    frame.write(0, &[b'1'; 4096]);
    assert_eq!(errno(journal.append(&frame, object.node.clone())), libc::EFBIG);
    assert!(bucket.wal_files().len() == 1);
}

#[test]
fn a_journal_full_of_unapplied_frames_says_so_until_they_are_applied() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    let first = log(&journal, &object.frame(), &object);
    assert_eq!(journal.oldest_unapplied(), Some(first));
    let full = loop {
        if let Err(error) = change(&journal, &object, b'1') {
            break error;
        }
    };
    assert_eq!(full.raw_os_error(), Some(libc::EBUSY));
    assert_eq!(errno(change(&journal, &object, b'2')), libc::EBUSY);
    journal.applied(first);
    assert_eq!(journal.oldest_unapplied(), None);
    change(&journal, &object, b'3').unwrap();
    let left = log(&journal, &object.frame(), &object);
    assert_eq!(errno(journal.close()), libc::EBUSY);
    assert_eq!(bucket.recover().frames, 2, "the rest was checkpointed except the segment of {left}");
}

#[test]
fn after_a_clean_end_nothing_is_replayed() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    for _ in 0..20 {
        change(&journal, &object, b'1').unwrap();
    }
    journal.close().unwrap();
    object.file.write_at(&[IoSlice::new(&[b'X'; 4096])], 4096).unwrap();
    assert!(bucket.recover().is_idle());
    assert_eq!(pages(&bucket.bytes("a")[4096..]), "X");
}

#[test]
fn an_object_that_cannot_be_flushed_keeps_the_journal() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    let faults = Faults::default();
    let node = faults.wrap(object.node.clone());
    let faulty = Object { node, file: object.file.clone(), subject: object.subject.clone() };
    change(&journal, &faulty, b'1').unwrap();
    faults.arm(Call::Sync, 1, libc::EIO);
    assert_eq!(errno(journal.checkpoint()), libc::EIO);
    assert_eq!(errno(change(&journal, &faulty, b'2')), libc::EIO);
    assert_eq!(bucket.recover().frames, 1);
}

#[test]
fn an_unlinked_object_does_not_keep_the_journal() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    change(&journal, &object, b'1').unwrap();
    std::fs::remove_file(bucket.dir.path().join("a")).unwrap();
    journal.close().unwrap();
    assert!(bucket.recover().is_idle());
}

#[test]
fn a_segment_that_cannot_be_made_leaves_the_journal_as_it_was() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let faults = Faults::default();
    let (journal, _) = Journal::open(faults.wrap(bucket.wal.clone()), &bucket.root, BUCKET, SMALL).unwrap();
    for call in [Call::Create, Call::Write] {
        faults.arm(call, 1, libc::ENOSPC);
        assert_eq!(errno(change(&journal, &object, b'1')), libc::ENOSPC);
        assert!(bucket.wal_files().is_empty());
    }
    change(&journal, &object, b'1').unwrap();
    faults.arm(Call::TornWrite, 1, libc::EIO);
    assert_eq!(errno(change(&journal, &object, b'2')), libc::EIO);
    change(&journal, &object, b'3').unwrap();
    drop(journal);
    assert_eq!(bucket.recover().frames, 2, "the frame whose write failed was overwritten");
}

#[test]
fn segments_of_another_length_or_number_are_emptied_and_replaced() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let larger = Settings { segment_bytes: 2 * SMALL.segment_bytes, segments: 2 };
    let (journal, _) = bucket.open();
    for _ in 0..20 {
        change(&journal, &object, b'1').unwrap();
    }
    drop(journal);
    let (journal, recovery) = Journal::open(bucket.wal.clone(), &bucket.root, BUCKET, larger).unwrap();
    assert_eq!((recovery.frames, bucket.wal_files().len()), (20, 0));
    change(&journal, &object, b'2').unwrap();
    drop(journal);
    let fewer = Settings { segments: 2, ..SMALL };
    let (_journal, recovery) = Journal::open(bucket.wal.clone(), &bucket.root, BUCKET, fewer).unwrap();
    assert_eq!((recovery.frames, bucket.wal_files().len()), (1, 0));
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let bucket = bucket();
    for settings in [
        Settings { segments: 1, ..SMALL },
        Settings { segments: 5, ..SMALL },
        Settings { segment_bytes: 4096, ..SMALL },
        Settings { segment_bytes: 10_000, ..SMALL },
        Settings { segment_bytes: (64 << 20) + 4096, ..SMALL },
    ] {
        let refused = Journal::open(bucket.wal.clone(), &bucket.root, BUCKET, settings).err().unwrap();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL), "{settings:?}");
    }
    Settings::default().check().unwrap();
}

#[test]
fn many_threads_and_checkpoints_get_along() {
    const THREADS: u8 = 4;
    let bucket = bucket();
    let objects: Vec<_> = (0..THREADS).map(|n| bucket.object(&format!("o{n}"), n + 1, 1)).collect();
    let (journal, _) = bucket.open();
    std::thread::scope(|scope| {
        for object in &objects {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..60 {
                    while let Err(error) = change(journal, object, b'0' + n % 10) {
                        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
                        std::thread::yield_now();
                    }
                }
            });
        }
        scope.spawn(|| (0..20).for_each(|_| journal.checkpoint().unwrap()));
    });
    for object in &objects {
        object.file.write_at(&[IoSlice::new(&[b'X'; 4096])], 4096).unwrap();
    }
    let last = &objects[0];
    change(&journal, last, b'L').unwrap();
    drop(journal);
    last.file.write_at(&[IoSlice::new(&[b'X'; 4096])], 4096).unwrap();
    assert!(bucket.recover().frames >= 1);
    assert_eq!(pages(&bucket.bytes("o0")[4096..]), "L");
}

#[test]
fn a_checkpoint_leaves_open_what_was_appended_meanwhile() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let (journal, _) = bucket.open();
    change(&journal, &object, b'1').unwrap();
    let lsn = log(&journal, object.frame().write(4096, &[b'2'; 4096]), &object);
    journal.checkpoint().unwrap();
    assert_eq!(journal.oldest_unapplied(), Some(lsn));
    drop(journal);
    assert_eq!(bucket.recover().frames, 2);
    assert_eq!(pages(&bucket.bytes("a")[4096..]), "2");
    assert_eq!(reopened(&bucket.root, "a").stat().unwrap().size, 8192);
}
