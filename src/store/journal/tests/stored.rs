//! The bytes in the journal: read back as written, refused when changed.

use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::{
    super::{
        frame::FrameHeader,
        op::{self, Action},
        recovery::Tail,
        segment::{Found, Segment, SegmentHeader},
    },
    *,
};

fn subject() -> Subject {
    Subject { object_id: [7; 16], inode: 0x0102, path: b"dir/name".to_vec() }
}

fn full_frame() -> Frame {
    let mut frame = Frame::new(&subject());
    frame
        .superseded(&[6; 16])
        .truncate(9000)
        .direct(4096, 100)
        .write(5, b"bytes")
        .punch(8192, 50)
        .path(b"new");
    frame.about(&Subject { object_id: [8; 16], inode: 3, path: vec![] }).write(0, &[1; 16]);
    frame
}

fn segment_with(bucket: &Bucket, frame: &Frame) -> Segment {
    let segment = Segment::create(&bucket.wal, 0, SMALL.segment_bytes).unwrap();
    let header = SegmentHeader { bucket_id: BUCKET, seq: 1, salt: [5; 16], first_lsn: 40 };
    segment.put_header(&header).unwrap();
    segment.put_frame(frame, 4096, 40, &[5; 16], 4096).unwrap();
    segment
}

#[test]
fn a_frame_reads_back_as_it_was_built() {
    let bucket = bucket();
    let segment = segment_with(&bucket, &full_frame());
    let Found::Frame(stored) = segment.frame_at(4096, &[5; 16], 4096).unwrap() else { panic!("no frame") };
    assert_eq!((stored.header.lsn, stored.header.len), (40, 4096));
    let ops = stored.ops().unwrap();
    assert_eq!(ops.iter().map(|op| op.object).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 0, 0, 1, 1]);
    let expected = [
        Action::Object { id: [7; 16], inode: 0x0102, path: b"dir/name" },
        Action::Object { id: [6; 16], inode: 0, path: b"" },
        Action::Truncate { len: 9000 },
        Action::Direct { offset: 4096, len: 100 },
        Action::Write { offset: 5, bytes: b"bytes" },
        Action::Punch { offset: 8192, len: 50 },
        Action::Path(b"new"),
        Action::Object { id: [8; 16], inode: 3, path: b"" },
        Action::Write { offset: 0, bytes: &[1; 16] },
    ];
    assert_eq!(ops.iter().map(|op| op.action).collect::<Vec<_>>(), expected);
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let bucket = bucket();
    let mut frame = Frame::new(&subject());
    frame.write(0x1000, b"xyz");
    segment_with(&bucket, &frame);
    let bytes = bucket.bytes(".eob/wal/00000000.wal");
    assert_eq!(bytes.len() as u64, SMALL.segment_bytes);
    let head = "454f4257414c0001".to_owned()
        + &"b0".repeat(16)
        + "0000000000000001"
        + &"05".repeat(16)
        + "0000000000000028"
        + "00000001";
    assert_eq!(hex::encode(&bytes[..60]), head);
    assert_eq!(bytes[60..64], crate::crypto::crc32c(&bytes[..60]).to_be_bytes());
    assert!(bytes[64..4096].iter().all(|byte| *byte == 0));
    let body = "05000000".to_owned()
        + "00000000"
        + "0000000000000000"
        + "0000000000000022"
        + "0000000000000000"
        + &"07".repeat(16)
        + "0000000000000102"
        + "0008"
        + &hex::encode("dir/name")
        + "000000000000"
        + "01000000"
        + "00000000"
        + "0000000000001000"
        + "0000000000000003"
        + "0000000000000000"
        + &hex::encode("xyz")
        + "0000000000";
    let head = "454f4246".to_owned()
        + "00001000"
        + "0000000000000028"
        + &"05".repeat(16)
        + "00000002"
        + "00000000"
        + "0000000000000070";
    let frame = &bytes[4096..8192];
    assert_eq!(hex::encode(&frame[..48]), head);
    assert_eq!(hex::encode(&frame[64..64 + 112]), body);
    assert_eq!(frame[48..64], crate::crypto::frame_digest(&[&frame[..48], &frame[64..176]]));
    assert!(frame[176..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_frame_with_any_byte_changed_does_not_count() {
    let bucket = bucket();
    let frame = full_frame();
    let segment = segment_with(&bucket, &frame);
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(bucket.dir.path().join(".eob/wal/00000000.wal"))
        .unwrap();
    for at in 0..(64 + frame.body().len()) as u64 {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 4096 + at).unwrap();
        for change in [1, 0x80, 0xFF] {
            file.write_all_at(&[byte[0] ^ change], 4096 + at).unwrap();
            let found = segment.frame_at(4096, &[5; 16], 4096).unwrap();
            assert!(!matches!(found, Found::Frame(_)), "byte {at}");
        }
        file.write_all_at(&byte, 4096 + at).unwrap();
    }
    assert!(matches!(segment.frame_at(4096, &[5; 16], 4096).unwrap(), Found::Frame(_)));
}

#[test]
fn a_segment_header_with_any_byte_changed_is_none() {
    let bucket = bucket();
    let segment = segment_with(&bucket, &full_frame());
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(bucket.dir.path().join(".eob/wal/00000000.wal"))
        .unwrap();
    let before = segment.header().unwrap().unwrap();
    for at in 0..4096 {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        assert_eq!(segment.header().unwrap(), None, "byte {at}");
        file.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(segment.header().unwrap(), Some(before));
}

#[test]
fn whole_frames_that_say_what_we_do_not_know_end_recovery_with_an_error() {
    let spoil: [fn(&mut Vec<u8>); 9] = [
        |body| body[0] = 7,
        |body| body[0] = 0,
        |body| body[1] = 1,
        |body| body[7] = 1,
        |body| body[31] = 1,
        |body| body[8] = 1,
        |body| body[57] = 9,
        |body| body[16] = 0x80,
        |body| body.extend([0; 8]),
    ];
    for (nth, spoil) in spoil.iter().enumerate() {
        let mut body = Frame::new(&subject()).body().to_vec();
        assert!(op::parse(&body, 1).is_some());
        spoil(&mut body);
        assert_eq!(op::parse(&body, 1), None, "{nth}");
    }
}

#[test]
fn a_journal_of_a_later_version_or_another_bucket_is_refused() {
    let bucket = bucket();
    segment_with(&bucket, &full_frame());
    let foreign = Journal::open(bucket.wal.clone(), &bucket.root, [1; 16], SMALL).err().unwrap();
    assert!(foreign.to_string().contains("another bucket"), "{foreign}");
    let path = bucket.dir.path().join(".eob/wal/00000000.wal");
    for (at, value) in [(59, 2), (48, 0xFF)] {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] = value;
        let crc = crate::crypto::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_be_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let refused = Journal::open(bucket.wal.clone(), &bucket.root, BUCKET, SMALL).err().unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData);
    }
}

#[test]
fn a_frame_with_a_flag_that_we_do_not_know_is_refused() {
    let bucket = bucket();
    segment_with(&bucket, &full_frame());
    let path = bucket.dir.path().join(".eob/wal/00000000.wal");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 39] = 1;
    let end = 4096 + 64 + full_frame().body().len();
    let digest = crate::crypto::frame_digest(&[&bytes[4096..4096 + 48], &bytes[4096 + 64..end]]);
    bytes[4096 + 48..4096 + 64].copy_from_slice(&digest);
    std::fs::write(&path, &bytes).unwrap();
    let refused = Journal::open(bucket.wal.clone(), &bucket.root, BUCKET, SMALL).err().unwrap();
    assert!(refused.to_string().contains("flags"), "{refused}");
}

#[test]
fn a_segment_that_does_not_follow_the_one_before_it_ends_the_journal() {
    let bucket = bucket();
    let object = bucket.object("a", 1, 1);
    let frame = |fill| object.frame().write(4096, &[fill; 4096]).clone();
    segment_with(&bucket, &frame(b'1'));
    let second = Segment::create(&bucket.wal, 1, SMALL.segment_bytes).unwrap();
    second.put_header(&SegmentHeader { bucket_id: BUCKET, seq: 2, salt: [6; 16], first_lsn: 42 }).unwrap();
    second.put_frame(&frame(b'2'), 4096, 42, &[6; 16], 4096).unwrap();
    let recovery = bucket.recover();
    assert_eq!((recovery.frames, recovery.tail), (1, Tail::Damaged));
    assert!(recovery.to_string().ends_with("verify the bucket"));
    assert_eq!(pages(&bucket.bytes("a")[4096..]), "1");
    assert!(bucket.recover().is_idle(), "the segment behind the break never comes back");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_of_operations_panic(body: Vec<u8>, count: u32) {
        let _ = op::parse(&body, count);
        let _ = op::parse(&body, u32::try_from(body.len() / 32).unwrap());
    }

    #[test]
    fn no_spoiled_operation_makes_the_reader_panic(at: prop::sample::Index, value: u8, cut: prop::sample::Index) {
        let mut body = full_frame().body().to_vec();
        let at = at.index(body.len());
        body[at] = value;
        let _ = op::parse(&body, 9);
        let _ = op::parse(&body[..cut.index(body.len())], 9);
    }

    #[test]
    fn no_frame_header_makes_the_reader_panic(len: u32, body_len: u64, ops: u32, seq: u64, position in 0..40_u64) {
        let bucket = bucket();
        let segment = segment_with(&bucket, &full_frame());
        let header = SegmentHeader { bucket_id: BUCKET, seq, salt: [5; 16], first_lsn: 40 };
        segment.put_header(&header).unwrap();
        let head = FrameHeader { len, lsn: 40, salt: [5; 16], ops, flags: 0, body_len, digest: [0; 16] }.encode();
        segment.file.write_at(&[IoSlice::new(&head)], position * 4096).unwrap();
        let _ = Journal::open(bucket.wal.clone(), &bucket.root, BUCKET, SMALL);
    }
}
