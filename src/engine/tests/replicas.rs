//! The target's side of a replication against a source that says what it likes, and against others who use the target.

use serde_json::{Value, json};

use super::*;
use crate::{
    engine::jobs::replicate_digest,
    keys::KeyName,
    policy::LockMode,
    store::{SetTime, Timestamp},
};

fn bucket() -> BucketName {
    BucketName::parse("data").unwrap()
}

fn receiver(engine: &Engine) -> Receiver<'_> {
    let mut receiver = Receiver::new(engine, Caller::this_process());
    let (buckets, replica_key) = (vec![bucket()], None::<KeyName>);
    receiver.begin(&Beginning { buckets, replica_key, dry_run: false }).unwrap();
    assert!(receiver.bucket(&bucket(), &bucket()).unwrap());
    receiver
}

/// As it comes over the wire.
fn replica(path: &str, what: &Value) -> Replica {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let time = json!({ "sec": 1_000_000_000, "nsec": 7 });
    let attributes =
        json!({ "mode": 0o640, "uid": uid, "gid": gid, "atime": time, "mtime": time, "xattrs": [] });
    let text = json!({ "path": { "text": path }, "attributes": attributes, "what": what }).to_string();
    serde_json::from_str(&text).unwrap()
}

fn object(path: &str, size: u64, version: &str, file: &Value) -> Replica {
    let object = json!({ "size": size, "version": version, "encryption": "unnamed", "file": file });
    replica(path, &json!({ "object": object }))
}

/// Sends an object of this content.
fn send(receiver: &mut Receiver<'_>, replica: &Replica, content: &[u8]) -> Result<()> {
    receiver.start(replica).unwrap()?;
    receiver.data(0, content).unwrap();
    receiver.end(Some(replicate_digest(content))).unwrap()
}

fn nothing_is_left(fixture: &Fixture) {
    assert_eq!(std::fs::read_dir(fixture.store().join("data/.eob/tmp")).unwrap().count(), 0);
}

#[test]
fn paths_that_leave_the_bucket_or_are_reserved_are_refused_whatever_stands_there() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let mut receiver = receiver(&engine);
    let outside = fixture.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, fixture.store().join("data/away")).unwrap();
    let link = json!({ "link": { "text": "/etc/passwd" } });
    for path in [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/x",
        "a//b",
        "a/./b",
        "a/",
        ".eob",
        ".eob/policy.json",
        ".eob/kek/x",
        "away/x",
        "a\0b",
    ] {
        let of = |what: &Value| replica(path, what);
        for refused in [
            receiver.offer(&of(&link)).unwrap().err(),
            receiver.offer(&of(&json!("directory"))).unwrap().err(),
            receiver.start(&object(path, 1, "v", &Value::Null)).unwrap().err().or_else(|| {
                let digest = replicate_digest(b"x");
                receiver.data(0, b"x").unwrap();
                receiver.end(Some(digest)).unwrap().unwrap();
                receiver.settle().unwrap().pop().and_then(|settled| match settled {
                    Settled::Failed(error) => Some(error),
                    _ => None,
                })
            }),
        ] {
            assert!(refused.is_some(), "{path:?}");
        }
    }
    for kind in ["File", "Directory", "Symlink"] {
        let odd = replica("odd", &json!({ "special": [kind, 0] }));
        assert!(receiver.offer(&odd).unwrap().is_err(), "{kind}");
    }
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    assert!(!fixture.store().join("data/.eob/policy.json").exists());
    nothing_is_left(&fixture);
}

#[test]
fn content_that_arrives_altered_or_too_long_leaves_nothing_and_what_was_there_stays() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "a", b"before");
    let mut receiver = receiver(&engine);
    let of = |size| object("a", size, "v", &Value::Null);
    receiver.start(&of(7)).unwrap().unwrap();
    receiver.data(0, b"altered").unwrap();
    let refused = receiver.end(Some(replicate_digest(b"content"))).unwrap().unwrap_err();
    assert!(matches!(refused, EngineError::Store(error) if error.raw_os_error() == Some(libc::EIO)));
    for (at, bytes) in [(1, &b"content"[..]), (u64::MAX, b"x"), (8192, b"")] {
        receiver.start(&of(7)).unwrap().unwrap();
        assert!(!receiver.data(at, bytes).unwrap(), "no more is wanted");
        assert!(receiver.end(Some([0; 32])).unwrap().is_err());
    }
    receiver.start(&of(7)).unwrap().unwrap();
    receiver.data(0, b"con").unwrap();
    receiver.end(None).unwrap().unwrap();
    assert!(receiver.settle().unwrap().is_empty());
    receiver.finish(false).unwrap();
    assert_eq!(get(&engine, "a"), b"before");
    nothing_is_left(&fixture);
}

#[test]
fn steps_that_come_out_of_order_end_the_job_and_harm_nothing() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let mut early = Receiver::new(&engine, Caller::this_process());
    let it = object("a", 1, "v", &Value::Null);
    assert!(early.bucket(&bucket(), &bucket()).is_err());
    assert!(early.offer(&it).is_err() && early.data(0, b"x").is_err() && early.end(None).is_err());
    assert!(early.finish(false).is_err());
    drop(early);
    let mut receiver = receiver(&engine);
    let other = BucketName::parse("other").unwrap();
    assert!(receiver.bucket(&other, &bucket()).is_err(), "not a bucket of this job");
    assert!(!fixture.store().join("other").exists());
    let second = Receiver::new(&engine, Caller::this_process()).begin(&Beginning {
        buckets: vec![bucket()],
        replica_key: None,
        dry_run: false,
    });
    assert!(matches!(second, Err(EngineError::JobRuns { .. })));
    receiver.start(&it).unwrap().unwrap();
    assert!(receiver.start(&it).is_err(), "one at a time");
    drop(receiver);
    assert!(!engine.has_jobs());
    nothing_is_left(&fixture);
}

#[test]
fn what_is_queued_is_bounded() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let mut receiver = receiver(&engine);
    let taken = (0..2000)
        .take_while(|n| send(&mut receiver, &object(&format!("{n}"), 1, "v", &Value::Null), b"x").is_ok());
    assert_eq!(taken.count(), 512);
    assert_eq!(receiver.settle().unwrap().len(), 512);
}

#[test]
fn a_source_that_goes_away_leaves_what_is_complete_and_nothing_else() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let mut receiver = receiver(&engine);
    send(&mut receiver, &object("dir/whole", 5, "v", &Value::Null), b"whole").unwrap();
    receiver.start(&object("part", 9, "v", &Value::Null)).unwrap().unwrap();
    receiver.data(0, b"part").unwrap();
    let settled = receiver.abandon(false).unwrap();
    assert!(matches!(&settled[..], [Settled::Done(Done(Outcome::Succeeded, _))]), "{settled:?}");
    let (dir, _) = engine.lookup(&data(&engine), OsStr::new("dir")).unwrap();
    assert_eq!(engine.lookup(&dir, OsStr::new("whole")).unwrap().1.size, 5);
    assert!(engine.lookup(&data(&engine), OsStr::new("part")).is_err());
    assert!(!engine.has_jobs());
    nothing_is_left(&fixture);
}

#[test]
fn further_names_are_links_and_names_that_others_took_meanwhile_are_copied_again() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let mut receiver = receiver(&engine);
    let file = json!({ "key": [1, 77], "names": 4 });
    let named = |path: &str| object(path, 5, "v", &file);
    assert!(matches!(receiver.offer(&named("one")).unwrap(), Ok(Answer::Wanted)));
    send(&mut receiver, &named("one"), b"whole").unwrap();
    assert!(
        matches!(receiver.offer(&named("two")).unwrap(), Ok(Answer::Queued)),
        "before the first is placed"
    );
    assert_eq!(receiver.settle().unwrap().len(), 2);
    put(&engine, "three", b"in the way");
    assert!(matches!(receiver.offer(&named("three")).unwrap(), Ok(Answer::Queued)));
    let open_there = open(&engine, "three", READ).unwrap();
    assert!(matches!(receiver.settle().unwrap()[..], [Settled::Kept(Kept::Open)]));
    engine.close(open_there);
    assert!(matches!(receiver.offer(&named("three")).unwrap(), Ok(Answer::Queued)));
    assert!(matches!(&receiver.settle().unwrap()[..], [Settled::Done(_)]));
    let key = |name: &str| engine.lookup(&data(&engine), OsStr::new(name)).unwrap().1.key;
    assert_eq!((key("one"), key("two")), (key("three"), key("three")));
    // Somebody puts another file in the place of the only name that is known.
    put(&engine, "other", b"other");
    let mode = crate::store::RenameMode::Replace;
    engine
        .rename(&caller(), (&data(&engine), OsStr::new("other")), (&data(&engine), OsStr::new("one")), mode)
        .unwrap();
    assert!(matches!(receiver.offer(&named("four")).unwrap(), Ok(Answer::Wanted)), "not a link to the other");
    receiver.finish(false).unwrap();
    nothing_is_left(&fixture);
}

#[test]
fn what_is_retained_is_not_replaced_by_anything() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    for name in ["object", "link", "fifo"] {
        put(&engine, name, b"before");
    }
    let rule = Retention { mode: LockMode::Governance, days: 1, append_only: false, except: Vec::new() };
    engine.put_retention(&caller(), &bucket(), Some(&rule), false).unwrap();
    drop(engine);
    // What somebody has not finished is forgotten with the engine.
    let engine = fixture.engine();
    let mut receiver = receiver(&engine);
    let refused = |answer: Result<Answer>| matches!(answer, Err(EngineError::Retained { .. }));
    assert!(refused(receiver.offer(&object("object", 1, "v", &Value::Null)).unwrap()));
    send(&mut receiver, &object("object", 1, "v", &Value::Null), b"x").unwrap();
    let settled = receiver.settle().unwrap();
    assert!(matches!(settled[..], [Settled::Failed(EngineError::Retained { .. })]), "nor without an offer");
    assert!(refused(receiver.offer(&replica("link", &json!({ "link": { "text": "away" } }))).unwrap()));
    assert!(refused(receiver.offer(&replica("fifo", &json!({ "special": ["Fifo", 0] }))).unwrap()));
    for name in ["object", "link", "fifo"] {
        assert_eq!(get(&engine, name), b"before");
    }
    nothing_is_left(&fixture);
}

#[test]
fn a_current_replica_is_not_touched_and_one_with_other_attributes_gets_those_alone() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let mut receiver = receiver(&engine);
    let it = object("a", 5, "v1", &Value::Null);
    send(&mut receiver, &it, b"whole").unwrap();
    receiver.settle().unwrap();
    let (item, before) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    assert_eq!(before.mtime, Timestamp { sec: 1_000_000_000, nsec: 7 });
    assert!(matches!(receiver.offer(&it).unwrap(), Ok(Answer::Done(Done(Outcome::Skipped, _)))));
    assert_eq!(engine.attr(&item).unwrap().ctime, before.ctime, "not even its change time");
    item.node().set_mode(0o600).unwrap();
    let Ok(Answer::Done(done)) = receiver.offer(&it).unwrap() else { panic!("it is current") };
    assert_eq!(done, Done(Outcome::Succeeded, "attributes".into()));
    assert_eq!(engine.attr(&item).unwrap().mode, 0o640);
    let other = object("a", 5, "v2", &Value::Null);
    assert!(matches!(receiver.offer(&other).unwrap(), Ok(Answer::Wanted)), "of another version");
    item.node().set_times(SetTime::Keep, SetTime::Now).unwrap();
    assert!(matches!(receiver.offer(&it).unwrap(), Ok(Answer::Wanted)), "changed here");
}
