//! What a power cut left of objects that were never synced: a beginning of them, and never an error or a wrong byte.

use std::fs;

use super::*;
use crate::object::Geometry;

const BLOCK: usize = 4096;
/// Blocks of the object: segment 0 has 54, segment 1 has 128, and there is a third.
const BLOCKS: usize = 200;

/// What is done to a stored file.
type Change = fn(&mut Vec<u8>);

/// A store whose bucket has the object `file`, of which each block is full of its number; `synced` twice, so that its
/// header tells, or never.
fn store(synced: bool) -> Fixture {
    let fixture = Fixture::with_bucket(BLOCK as u64);
    let engine = fixture.engine();
    let file = create(&engine, "file");
    file.write_at(0, &content(0..BLOCKS)).unwrap();
    if synced {
        file.sync(false).unwrap();
        file.write_at(0, &content(0..1)).unwrap();
        file.sync(false).unwrap();
    }
    engine.close(file);
    fixture
}

fn content(blocks: std::ops::Range<usize>) -> Vec<u8> {
    blocks.flat_map(|i| [i as u8; BLOCK]).collect()
}

fn offset(block: u64) -> usize {
    Geometry::new(BlockSize::DEFAULT, false).block_offset(block) as usize
}

fn tag_page(segment: u64) -> usize {
    Geometry::new(BlockSize::DEFAULT, false).tag_page_offset(segment) as usize
}

/// Changes the stored file; with `crash`, as if the machine had gone down then.
fn alter(fixture: &Fixture, crash: bool, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let path = fixture.store().join("data/file");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    if crash {
        fs::write(fixture.store().join("data/.eob/open"), "").unwrap();
    }
    fs::write(path, &bytes).unwrap();
    bytes
}

/// The file as the mount shows it, and whether its size was shown rightly before it was opened.
fn read(engine: &Engine) -> Result<Vec<u8>> {
    let shown = engine.lookup(&data(engine), OsStr::new("file")).unwrap().1.size;
    let file = open(engine, "file", READ)?;
    let content = read_all(&file, (BLOCKS + 1) * BLOCK)?;
    engine.close(file);
    assert_eq!(shown, content.len() as u64);
    Ok(content)
}

#[test]
fn content_that_never_reached_the_disk_ends_the_object_after_a_crash() {
    let changes: [(&str, usize, Change); 7] = [
        ("a blank block", 7, |bytes| bytes[offset(7)..offset(8)].fill(0)),
        ("a blank block of a later segment", 100, |bytes| bytes[offset(100)..offset(101)].fill(0)),
        ("a blank tag page", 54, |bytes| bytes[tag_page(1)..][..BLOCK].fill(0)),
        ("a destroyed tag page", 54 + 128, |bytes| bytes[tag_page(2)..][..BLOCK].fill(0xa7)),
        ("a missing end", 100, |bytes| bytes.truncate(offset(100) + 5)),
        ("a missing tag page", 54, |bytes| bytes.truncate(tag_page(1))),
        ("nothing but a header", 0, |bytes| bytes.truncate(BLOCK)),
    ];
    for (what, left, change) in changes {
        let fixture = store(false);
        let stored = alter(&fixture, true, change);
        assert_eq!(read(&fixture.engine()).unwrap(), content(0..left), "{what}");
        assert_eq!(fs::read(fixture.store().join("data/file")).unwrap(), stored, "{what}: it was changed");
        // Also after another crash, and when it is written to.
        fs::write(fixture.store().join("data/.eob/open"), "").unwrap();
        let engine = fixture.engine();
        assert_eq!(read(&engine).unwrap(), content(0..left), "{what}");
        let file = open(&engine, "file", WRITE).unwrap();
        file.write_at((left * BLOCK) as u64, &content(left..BLOCKS)).unwrap();
        file.sync(false).unwrap();
        engine.close(file);
        drop(engine);
        let engine = fixture.engine();
        assert_eq!(read(&engine).unwrap(), content(0..BLOCKS), "{what}");
        assert_eq!(engine.verify(None, &mut |_| {}).unwrap().damaged, [], "{what}");
    }
}

/// An old tag page does not know the blocks that came later; they must not read as zeros.
#[test]
fn a_tag_page_that_is_older_than_the_header_is_believed_up_to_its_first_hole() {
    let fixture = Fixture::with_bucket(BLOCK as u64);
    let engine = fixture.engine();
    let file = create(&engine, "file");
    file.write_at(0, &content(0..100)).unwrap();
    file.flush().unwrap();
    let old = fs::read(fixture.store().join("data/file")).unwrap();
    file.write_at((100 * BLOCK) as u64, &content(100..BLOCKS)).unwrap();
    engine.close(file);
    drop(engine);
    alter(&fixture, true, |bytes| {
        let page = tag_page(1)..tag_page(1) + BLOCK;
        bytes[page.clone()].copy_from_slice(&old[page]);
    });
    assert_eq!(read(&fixture.engine()).unwrap(), content(0..100));
}

#[test]
fn verification_names_it_and_repair_moves_it_whole() {
    let fixture = store(false);
    let stored = alter(&fixture, true, |bytes| bytes.truncate(offset(100)));
    let report = fixture.engine().verify(None, &mut |_| {}).unwrap();
    assert_eq!(report.damaged.len(), 1);
    let repairs = fixture.engine().repair(None, &mut |_| {}).unwrap().1;
    let [moved] = &repairs.set_aside[..] else { panic!("{repairs:?}") };
    assert_eq!(fs::read(fixture.store().join(&moved.to)).unwrap(), stored);
}

#[test]
fn without_a_crash_or_once_it_was_synced_missing_content_is_damage() {
    for (synced, crash) in [(false, false), (true, false), (true, true)] {
        let fixture = store(synced);
        alter(&fixture, crash, |bytes| bytes.truncate(offset(100)));
        let engine = fixture.engine();
        let refused = open(&engine, "file", READ).err().unwrap();
        assert!(matches!(refused, EngineError::Integrity { .. }), "{synced} {crash}: {refused}");
    }
}

#[test]
fn an_altered_header_is_damage_even_after_a_crash() {
    for at in [3, 520, 700, 1100, 3000] {
        let fixture = store(false);
        alter(&fixture, true, |bytes| bytes[at] ^= 1);
        assert!(open(&fixture.engine(), "file", READ).is_err(), "byte {at}");
    }
}

#[test]
fn a_file_whose_header_was_never_stored_is_empty_after_a_crash() {
    for stored in [0, 100, BLOCK, 5 * BLOCK] {
        let fixture = store(false);
        alter(&fixture, true, |bytes| {
            bytes[..BLOCK].fill(0);
            bytes.truncate(stored);
        });
        let engine = fixture.engine();
        assert_eq!(read(&engine).unwrap(), Vec::<u8>::new(), "{stored} bytes");
        drop(engine);
        assert_eq!(fixture.engine().verify(None, &mut |_| {}).unwrap().damaged, []);
    }
}
