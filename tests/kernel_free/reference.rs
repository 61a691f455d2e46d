//! The independent implementation of the format in Python (`eob1_ref.py`): each reads what the other wrote.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use strongroom::{
    crypto::Secret,
    envelope::{DataKeys, Id},
    object::{
        Accumulator, BlockSize, Geometry, Header, Identity, KeySection, Nonces, ObjectKeys, ObjectState,
        Segment, SseMode,
    },
};

/// The data keys of an object of one or two layers.
fn data_keys(dual: bool) -> DataKeys {
    let second = dual.then(|| Secret::copy_from(&[0xa5; 32]));
    DataKeys { first: Secret::copy_from(&[0x5a; 32]), second }
}

/// Nothing, part of a block, several segments, and a size that ends on a border.
const SIZES: [usize; 5] = [0, 100, 4096 * 54, 300_000, 1_500_001];

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| u8::try_from(i * i % 251).unwrap()).collect()
}

fn index(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

/// Runs `code` with the reference as module `ref`, `input` on its stdin; what it prints as hex.
fn python(code: &str, input: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel_free");
    let script = format!(
        "import sys, os\nsys.path.insert(0, '{}')\nsys.dont_write_bytecode = True\nimport eob1_ref as ref\n\
         data = sys.stdin.buffer.read()\nkey, outer = b'\\x5a' * 32, b'\\xa5' * 32\n{code}",
        path.display()
    );
    // Debian's own, which has its packages.
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the reference failed");
    hex::decode(String::from_utf8(output.stdout).unwrap().trim()).unwrap()
}

/// Writes a whole object as the engine does, with fresh random nonces and salts.
fn write(plain: &[u8], log2: u8, dual: bool) -> Vec<u8> {
    let geometry = Geometry::new(BlockSize::from_log2(log2).unwrap(), dual);
    let mode = if dual { SseMode::DualKms } else { SseMode::S3 };
    let mut identity = Identity::fresh(geometry, mode, Id::random().unwrap(), 1).unwrap();
    let keys = ObjectKeys::create(&data_keys(dual), &mut identity);
    let size = plain.len() as u64;
    let mut out = vec![0; index(geometry.stored_len(size))];
    let mut state = ObjectState { generation: 1, size, birth: false, ..ObjectState::new() };
    let mut segment0 = Segment::empty(&geometry, 0).unwrap();
    for g in 0..geometry.segments(size) {
        let mut segment = Segment::empty(&geometry, g).unwrap();
        segment.generation = 1;
        let cipher = keys.segment_cipher(g, &segment.salt);
        let blocks = usize::try_from(geometry.slots(g)).unwrap();
        let mut nonces = Nonces::draw(blocks).unwrap();
        let first = geometry.first_block(g);
        for i in first..geometry.blocks(size).min(first + geometry.slots(g)) {
            let (start, at) = (index(i * geometry.block_size()), index(geometry.block_offset(i)));
            let len = index(geometry.block_len(i, size));
            let target = &mut out[at..at + len];
            let block = &plain[start..start + len];
            segment.set_stamp(index(i - first), cipher.seal(i, &mut nonces, block, target).unwrap());
            segment.writes += 1;
        }
        if g == 0 {
            segment0 = segment;
            continue;
        }
        let page = keys.seal_segment(&segment);
        state.accumulator.add(&keys.accumulator_term(g, &page));
        let at = index(geometry.tag_page_offset(g));
        out[at..at + 4096].copy_from_slice(page.as_slice());
    }
    let header = Header { identity, state, keys: KeySection::default(), segment0 };
    out[..4096].copy_from_slice(keys.seal_header(&header).unwrap().as_slice());
    out
}

/// Reads a whole object, checking everything.
fn read(stored: &[u8]) -> Vec<u8> {
    let header = Header::decode(stored).unwrap();
    let keys = ObjectKeys::open(&data_keys(header.identity.is_dual()), &header.identity).unwrap();
    keys.check_header(stored.first_chunk().unwrap(), &header).unwrap();
    header.check_length(stored.len() as u64).unwrap();
    let geometry = header.identity.geometry;
    let mut plain = vec![0; index(header.state.size)];
    let mut sum = Accumulator::default();
    for g in 0..geometry.segments(header.state.size) {
        let segment = if g == 0 {
            header.segment0.clone()
        } else {
            let page = stored[index(geometry.tag_page_offset(g))..].first_chunk().unwrap();
            sum.add(&keys.accumulator_term(g, page));
            keys.open_segment(&header.identity, g, page).unwrap()
        };
        let cipher = keys.segment_cipher(g, &segment.salt);
        for slot in segment.present().collect::<Vec<_>>() {
            let i = geometry.first_block(g) + slot as u64;
            let (start, at) = (index(i * geometry.block_size()), index(geometry.block_offset(i)));
            let len = index(geometry.block_len(i, header.state.size));
            let target = &mut plain[start..start + len];
            cipher.open(i, &segment.stamp(slot), &stored[at..at + len], target).unwrap();
        }
    }
    assert_eq!(sum, header.state.accumulator);
    plain
}

/// Every size, block size and number of layers.
fn cases() -> impl Iterator<Item = (usize, u8, bool)> {
    let with_blocks = SIZES.into_iter().flat_map(|size| [(size, 12), (size, 16)]);
    with_blocks.flat_map(|(size, log2)| [(size, log2, false), (size, log2, true)])
}

#[test]
fn the_reference_reads_what_this_implementation_wrote() {
    for (size, log2, dual) in cases() {
        let plain = content(size);
        let second = if dual { "outer" } else { "None" };
        let code = format!("print(ref.decode(data, key, {second}).hex())");
        assert!(python(&code, &write(&plain, log2, dual)) == plain, "{size} bytes, two layers: {dual}");
    }
}

#[test]
fn this_implementation_reads_what_the_reference_wrote() {
    for (size, log2, dual) in cases() {
        let plain = content(size);
        let ids = "os.urandom(16), os.urandom(16), os.urandom(32)";
        let second = if dual { "outer" } else { "None" };
        let code = format!("print(ref.encode(data, key, {ids}, {log2}, os.urandom, dek2={second})[0].hex())");
        assert!(read(&python(&code, &plain)) == plain, "{size} bytes, two layers: {dual}");
    }
}
