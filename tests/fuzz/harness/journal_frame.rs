//! Journal frames: the body of a frame whose digest is right, replayed to a bucket with one object.

use std::{fs, sync::LazyLock};

use strongroom::{
    crypto::{crc32c, frame_digest},
    store::{
        LocalStore, NodeRef,
        journal::{Journal, Settings},
    },
};

const PAGE: usize = 4096;
const SEGMENT: usize = 4 * PAGE;
const BUCKET: [u8; 16] = [2; 16];
const OBJECT: [u8; 16] = [1; 16];
const SALT: [u8; 16] = [3; 16];

struct Fixture {
    dir: tempfile::TempDir,
    root: NodeRef,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".eob/wal")).unwrap();
    let root = LocalStore::open_with_handles(dir.path(), 16).unwrap().root();
    Fixture { dir, root }
});

/// Replays a frame: `data` is the number of its operations (4 bytes), then its body.
pub fn run(data: &[u8]) -> bool {
    let Some((ops, body)) = data.split_first_chunk::<4>() else { return false };
    let body = &body[..body.len().min(SEGMENT - PAGE - 64)];
    let fixture = &*FIXTURE;
    let mut object = vec![0; 2 * PAGE];
    object[..8].copy_from_slice(b"\x89EOB\r\n\x1a\n");
    object[16..32].copy_from_slice(&OBJECT);
    fs::write(fixture.dir.path().join("a"), object).unwrap();
    fs::write(fixture.dir.path().join(".eob/wal/00000000.wal"), segment(*ops, body)).unwrap();
    let lookup = |dir: &NodeRef, name: &str| {
        dir.lookup(&strongroom::name::FileName::parse(name.as_ref()).unwrap()).unwrap().0
    };
    let wal = lookup(&lookup(&fixture.root, ".eob"), "wal");
    let settings = Settings { segment_bytes: SEGMENT as u64, segments: 2 };
    assert!(!Journal::has_nothing(&wal, &BUCKET).unwrap(), "the frame was not even read");
    Journal::open(wal, &fixture.root, BUCKET, settings).is_ok_and(|(_, report)| report.objects.len() == 1)
}

/// A segment in use with one frame, its checksums right (format section 10.8).
fn segment(ops: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = [
        b"EOBWAL\x00\x01".as_slice(),
        &BUCKET,
        &1_u64.to_be_bytes(),
        &SALT,
        &1_u64.to_be_bytes(),
        &1_u32.to_be_bytes(),
    ]
    .concat();
    bytes.extend(crc32c(&bytes).to_be_bytes());
    bytes.resize(PAGE, 0);
    let len = u32::try_from((64 + body.len()).next_multiple_of(PAGE)).unwrap();
    let head = [
        b"EOBF".as_slice(),
        &len.to_be_bytes(),
        &1_u64.to_be_bytes(),
        &SALT,
        &ops,
        &0_u32.to_be_bytes(),
        &(body.len() as u64).to_be_bytes(),
    ]
    .concat();
    let digest = frame_digest(&[&head, body]);
    bytes.extend([&head, digest.as_slice(), body].concat());
    bytes.resize(SEGMENT, 0);
    bytes
}

fn op(code: u8, offset: u64, len: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![code, 0, 0, 0];
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// A frame with an operation of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let subject = [&OBJECT[..], &0_u64.to_be_bytes(), &1_u16.to_be_bytes(), b"a"].concat();
    let ops = [
        op(5, 0, subject.len() as u64, &subject),
        op(3, 3 * PAGE as u64, 0, &[]),
        op(1, PAGE as u64, 100, &[9; 100]),
        op(2, 2 * PAGE as u64, 512, &[]),
        op(4, 5000, 100, &[]),
        op(6, 0, 3, b"b/c"),
    ];
    let count = u32::try_from(ops.len()).unwrap().to_be_bytes();
    vec![[count.to_vec(), ops.concat()].concat()]
}
