//! An attacker changes the store: every change is found, nothing wrong is ever served, nothing panics.

use super::*;
use crate::{name::BucketName, object::Geometry};

const BLOCK: u64 = 4096;
const SIZE: usize = 300_000;

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// A store with the object `victim`, and its stored bytes.
fn victim() -> (Fixture, Vec<u8>) {
    let fixture = Fixture::with_bucket(BLOCK);
    let engine = fixture.engine();
    let file = create(&engine, "victim");
    file.write_at(0, &content()).unwrap();
    engine.close(file);
    drop(engine);
    let stored = std::fs::read(fixture.store().join("data/victim")).unwrap();
    (fixture, stored)
}

/// Puts `bytes` in place of the object; what reading each block gives.
fn read_blocks(fixture: &Fixture, bytes: &[u8]) -> Result<Vec<Result<Vec<u8>>>> {
    std::fs::write(fixture.store().join("data/victim"), bytes).unwrap();
    let engine = fixture.engine();
    let file = open(&engine, "victim", READ)?;
    let blocks = (0..SIZE as u64).step_by(BLOCK as usize).map(|offset| {
        let mut block = vec![0; BLOCK as usize];
        let got = file.read_at(offset, &mut block)?;
        block.truncate(got);
        Ok(block)
    });
    let blocks = blocks.collect();
    engine.close(file);
    Ok(blocks)
}

/// Reads after a change; panics if any block differs from what was written. How many blocks failed, or `None` when the
/// object could not be opened.
fn damage(fixture: &Fixture, bytes: &[u8], what: &str) -> Option<usize> {
    let blocks = read_blocks(fixture, bytes).ok()?;
    let expected = content();
    let mut failed = 0;
    for (block, expected) in blocks.iter().zip(expected.chunks(BLOCK as usize)) {
        match block {
            Ok(block) => assert_eq!(block, expected, "{what}: wrong plaintext was served"),
            Err(error) => {
                assert!(matches!(error, EngineError::Integrity { .. }), "{what}: {error}");
                failed += 1;
            }
        }
    }
    Some(failed)
}

#[test]
fn a_flipped_bit_costs_its_block_and_no_other() {
    let (fixture, stored) = victim();
    let geometry = Geometry::new(crate::object::BlockSize::DEFAULT, false);
    for block in [0, 1, 53, 54, 60, 73] {
        let mut altered = stored.clone();
        altered[geometry.block_offset(block) as usize + 17] ^= 0x20;
        assert_eq!(damage(&fixture, &altered, "a flipped bit"), Some(1), "block {block}");
    }
}

#[test]
fn a_flipped_bit_in_any_header_field_or_tag_page_is_refused() {
    let (fixture, stored) = victim();
    let geometry = Geometry::new(crate::object::BlockSize::DEFAULT, false);
    let tag_page = geometry.tag_page_offset(1) as usize;
    let header = (0..1024).step_by(7).chain((2560..4096).step_by(61));
    for at in header.chain((tag_page..tag_page + 4096).step_by(97)) {
        let mut altered = stored.clone();
        altered[at] ^= 1;
        assert_eq!(damage(&fixture, &altered, "a header bit"), None, "byte {at}");
    }
}

#[test]
fn damage_to_the_wrapped_keys_never_gives_plaintext() {
    let (fixture, stored) = victim();
    for at in (1024..1400).step_by(3) {
        let mut altered = stored.clone();
        altered[at] ^= 1;
        assert!(matches!(damage(&fixture, &altered, "a wrapped key"), None | Some(0)), "byte {at}");
    }
}

#[test]
fn every_truncation_is_found() {
    let (fixture, stored) = victim();
    for len in [0, 1, 511, 512, 1024, 4095, 4096, 8192, stored.len() - 4096, stored.len() - 1] {
        assert_eq!(damage(&fixture, &stored[..len], "a truncation"), None, "{len} bytes");
    }
}

/// What a crash leaves empty, a later attacker must not be able to feign.
#[test]
fn a_file_cut_to_nothing_after_the_last_crash_is_damage() {
    let (fixture, _) = victim();
    std::fs::write(fixture.store().join("data/.eob/open"), "").unwrap();
    drop(fixture.engine());
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(damage(&fixture, &[], "a cut to nothing"), None);
    let forged = "99999999999 00\n";
    std::fs::write(fixture.store().join("data/.eob/crashed"), forged).unwrap();
    assert_eq!(damage(&fixture, &[], "a forged crash"), None);
}

#[test]
fn bytes_past_the_end_of_an_object_are_damage_but_after_a_crash_they_are_cut_off() {
    let (fixture, stored) = victim();
    let extended = [stored.as_slice(), &[7; 5000]].concat();
    assert_eq!(damage(&fixture, &extended, "an extension"), None);
    std::fs::write(fixture.store().join("data/.eob/open"), "").unwrap();
    assert_eq!(damage(&fixture, &extended, "an append that a crash interrupted"), Some(0));
    assert_eq!(std::fs::metadata(fixture.store().join("data/victim")).unwrap().len(), stored.len() as u64);
}

#[test]
fn swapped_and_zeroed_blocks_are_found() {
    let (fixture, stored) = victim();
    let geometry = Geometry::new(crate::object::BlockSize::DEFAULT, false);
    let range = |i| geometry.block_offset(i) as usize..(geometry.block_offset(i) + BLOCK) as usize;
    let mut swapped = stored.clone();
    swapped[range(3)].copy_from_slice(&stored[range(4)]);
    swapped[range(4)].copy_from_slice(&stored[range(3)]);
    assert_eq!(damage(&fixture, &swapped, "a swap"), Some(2));
    let mut zeroed = stored.clone();
    zeroed[range(9)].fill(0);
    assert_eq!(damage(&fixture, &zeroed, "a zeroed block"), Some(1));
}

#[test]
fn headers_and_bodies_of_two_objects_cannot_be_mixed() {
    let (fixture, stored) = victim();
    let engine = fixture.engine();
    let file = create(&engine, "other");
    file.write_at(0, &vec![7; SIZE]).unwrap();
    engine.close(file);
    drop(engine);
    let other = std::fs::read(fixture.store().join("data/other")).unwrap();
    let mut mixed = stored.clone();
    mixed[..4096].copy_from_slice(&other[..4096]);
    assert!(matches!(damage(&fixture, &mixed, "another header"), None | Some(74)));
    let mut keys = stored.clone();
    keys[1024..2560].copy_from_slice(&other[1024..2560]);
    assert_eq!(damage(&fixture, &keys, "another key section"), None);
}

#[test]
fn an_object_of_another_bucket_is_refused() {
    let (fixture, stored) = victim();
    let engine = fixture.engine();
    engine.create_bucket(&BucketName::parse("other").unwrap(), bucket_of(BLOCK), false).unwrap();
    std::fs::write(fixture.store().join("other/moved"), &stored).unwrap();
    let (bucket, _) = engine.lookup(&engine.root(), OsStr::new("other")).unwrap();
    let (item, _) = engine.lookup(&bucket, OsStr::new("moved")).unwrap();
    assert!(matches!(engine.open(&caller(), &item, READ), Err(EngineError::Integrity { .. })));
}

#[test]
fn a_foreign_file_is_refused_but_can_be_written_anew() {
    let fixture = Fixture::with_bucket(BLOCK);
    std::fs::write(fixture.store().join("data/victim"), "not an object at all").unwrap();
    let engine = fixture.engine();
    assert!(matches!(open(&engine, "victim", READ), Err(EngineError::Integrity { .. })));
    let file = open(&engine, "victim", OpenFlags { truncate: true, ..WRITE }).unwrap();
    file.write_at(0, b"mine").unwrap();
    engine.close(file);
    let file = open(&engine, "victim", READ).unwrap();
    assert_eq!(read_all(&file, 10).unwrap(), b"mine");
    engine.close(file);
}

#[test]
fn verification_names_the_object_and_the_lost_range() {
    let (fixture, mut stored) = victim();
    let geometry = Geometry::new(crate::object::BlockSize::DEFAULT, false);
    stored[geometry.block_offset(60) as usize] ^= 1;
    std::fs::write(fixture.store().join("data/victim"), &stored).unwrap();
    let report = fixture.engine().verify(None, &mut |_| {}).unwrap();
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].object, "data/victim");
    assert_eq!(report.damaged[0].ranges, vec![60 * BLOCK..61 * BLOCK]);
}

#[test]
fn altered_settings_are_refused() {
    let (fixture, _) = victim();
    let path = fixture.store().join("data/.eob/bucket");
    let text = std::fs::read_to_string(&path).unwrap();
    let weaker = text.replace("\"plaintext_allowed\": false", "\"plaintext_allowed\": true");
    assert_ne!(text, weaker);
    std::fs::write(&path, weaker).unwrap();
    let engine = fixture.engine();
    let refused = engine.lookup(&engine.root(), OsStr::new("data")).err().unwrap();
    assert!(refused.to_string().contains("altered"), "{refused}");
}
