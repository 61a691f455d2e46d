//! Objects that are opened again shortly after they were closed.

use std::os::unix::fs::FileExt;

use super::*;
use crate::store::NodeKey;

fn opened(engine: &Engine, name: &str) -> Result<Vec<u8>> {
    let file = open(engine, name, READ)?;
    let content = read_all(&file, 1 << 20);
    engine.close(file);
    content
}

/// Makes an object, which is kept when it is closed the second time.
fn put(engine: &Engine, name: &str, content: &[u8]) {
    let file = create(engine, name);
    file.write_at(0, content).unwrap();
    engine.close(file);
    assert!(!engine.shared.objects.is_closed(key(engine, name)));
    engine.close(open(engine, name, READ).unwrap());
}

fn stored(fixture: &Fixture, name: &str) -> std::fs::File {
    let path = fixture.store().join("data").join(name);
    std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Waits until the clock of the file system shows another time.
fn another_tick(fixture: &Fixture) {
    let probe = fixture.dir.path().join("probe");
    let now = || {
        std::fs::write(&probe, "x").unwrap();
        std::fs::metadata(&probe).unwrap().modified().unwrap()
    };
    let begun = now();
    while now() == begun {}
}

#[test]
fn an_object_is_opened_again_without_its_header() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    assert!(engine.shared.objects.is_closed(key(&engine, "a")));
    for _ in 0..3 {
        assert_eq!(opened(&engine, "a").unwrap(), b"content");
        assert!(engine.shared.objects.is_closed(key(&engine, "a")));
    }
    let file = open(&engine, "a", WRITE).unwrap();
    assert!(!engine.shared.objects.is_closed(key(&engine, "a")));
    file.write_at(3, b"TENT").unwrap();
    engine.close(file);
    assert_eq!(opened(&engine, "a").unwrap(), b"conTENT");
    drop(engine);
    assert_eq!(opened(&fixture.engine(), "a").unwrap(), b"conTENT");
}

fn key(engine: &Engine, name: &str) -> NodeKey {
    engine.lookup(&data(engine), OsStr::new(name)).unwrap().0.key()
}

#[test]
fn what_was_done_to_a_closed_object_is_noticed_when_it_is_opened_again() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    for name in ["header", "cut", "other"] {
        put(&engine, name, &[7; 6000]);
    }
    put(&engine, "longer", &[8; 9000]);
    another_tick(&fixture);
    // A byte of the state in the header, the end, and all of another object under the same inode.
    stored(&fixture, "header").write_all_at(&[0xff], 520).unwrap();
    stored(&fixture, "cut").set_len(4096).unwrap();
    std::fs::copy(fixture.store().join("data/longer"), fixture.store().join("data/other")).unwrap();
    for name in ["header", "cut"] {
        assert!(matches!(opened(&engine, name), Err(EngineError::Integrity { .. })), "{name}");
    }
    assert_eq!(opened(&engine, "other").unwrap(), [8; 9000]);
    assert_eq!(engine.lookup(&data(&engine), OsStr::new("other")).unwrap().1.size, 9000);
}

#[test]
fn a_closed_object_shows_what_its_file_does() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "a", &[1; 5000]);
    stored(&fixture, "a").set_len(4096 + 100).unwrap();
    assert_eq!(engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1.size, 100);
}

#[test]
fn news_of_keys_lets_go_of_all_that_is_closed() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    engine.refresh_keys(&caller()).unwrap();
    assert!(engine.shared.objects.is_closed(key(&engine, "a")), "nothing has changed");
    let unlock = Unlock::KeyFile(fixture.key_file());
    let other = Keyring::open(&fixture.store().join(STORE_DIR), &unlock).unwrap();
    other.create_key(&crate::keys::NewKey::random()).unwrap();
    engine.refresh_keys(&caller()).unwrap();
    assert!(!engine.shared.objects.is_closed(key(&engine, "a")));
    assert_eq!(opened(&engine, "a").unwrap(), b"content");
}

#[test]
fn few_objects_are_kept_and_none_that_has_lost_its_name() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let kept = |names: std::ops::Range<u32>| {
        names.filter(|at| engine.shared.objects.is_closed(key(&engine, &at.to_string()))).count()
    };
    for at in 0..300 {
        put(&engine, &at.to_string(), b"x");
    }
    assert_eq!((kept(0..300), kept(0..44)), (256, 0), "the oldest have gone");
    let gone = key(&engine, "299");
    engine.unlink(&caller(), &data(&engine), OsStr::new("299")).unwrap();
    engine.lost_name(gone);
    assert!(!engine.shared.objects.is_closed(gone));
    let large = create(&engine, "large");
    large.write_at(0, &vec![1; 600_000]).unwrap();
    engine.close(large);
    engine.close(open(&engine, "large", READ).unwrap());
    assert!(!engine.shared.objects.is_closed(key(&engine, "large")), "its tags are not all in the header");
}
