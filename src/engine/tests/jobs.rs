//! Jobs over a real directory: what they change, what they must leave, and who else is at work meanwhile.

use std::{
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::{
    envelope::RecordType,
    object::{Header, SseMode},
    store::{SetTime, Timestamp},
};

/// Keeps the lines of a job.
#[derive(Default)]
struct Seen {
    lines: Vec<(String, Outcome, String)>,
    stop_after: Option<usize>,
}

impl Watch for Seen {
    fn note(&mut self, line: &Line<'_>) -> std::io::Result<()> {
        self.lines.push((line.key.display().to_string(), line.outcome, line.reason.clone()));
        Ok(())
    }

    fn is_cancelled(&mut self) -> bool {
        self.stop_after.is_some_and(|most| self.lines.len() >= most)
    }
}

impl Seen {
    fn of(&self, key: &str) -> (Outcome, &str) {
        let found: Vec<_> = self.lines.iter().filter(|(name, ..)| name == key).collect();
        assert_eq!(found.len(), 1, "`{key}` in {:?}", self.lines);
        (found[0].1, &found[0].2)
    }
}

fn deep() -> Rewrap {
    Rewrap { deep: true, ..Rewrap::default() }
}

fn rewrap(engine: &Engine, job: &Rewrap) -> (Totals, Seen) {
    let mut seen = Seen::default();
    let totals = engine.rewrap(job, &mut seen).unwrap();
    (totals, seen)
}

fn reencrypt(engine: &Engine, job: &Reencrypt) -> (Totals, Seen) {
    let mut seen = Seen::default();
    let totals = engine.reencrypt(job, &mut seen).unwrap();
    (totals, seen)
}

fn rotate(fixture: &Fixture) {
    let unlock = Unlock::KeyFile(fixture.key_file());
    Keyring::open(&fixture.store().join(STORE_DIR), &unlock).unwrap().rotate_service_key().unwrap();
}

fn stored(fixture: &Fixture, name: &str) -> Vec<u8> {
    std::fs::read(fixture.store().join("data").join(name)).unwrap()
}

fn header(fixture: &Fixture, name: &str) -> Header {
    Header::decode(&stored(fixture, name)).unwrap()
}

fn embedded_version(fixture: &Fixture, name: &str) -> u32 {
    header(fixture, name).keys.find(RecordType::EmbeddedBucketKey).unwrap().key_version
}

#[test]
fn rewrap_after_a_rotation_touches_the_records_of_the_bucket_and_no_object() {
    let fixture = Fixture::with_bucket(4096);
    put(&fixture.engine(), "a", b"content");
    let before = stored(&fixture, "a");
    rotate(&fixture);
    let engine = fixture.engine();
    let (totals, seen) = rewrap(&engine, &Rewrap::default());
    assert_eq!((totals.succeeded, totals.failed), (2, 0), "{:?}", seen.lines);
    assert_eq!(seen.of(".eob/bucket"), (Outcome::Succeeded, "from version 1 to 2 of `service`"));
    assert_eq!(rewrap(&engine, &Rewrap::default()).0.succeeded, 0, "the second time there is nothing to do");
    // New objects carry the new wrap of the bucket key, without opening the store anew.
    put(&engine, "b", b"new");
    drop(engine);
    assert_eq!(stored(&fixture, "a"), before);
    assert_eq!([embedded_version(&fixture, "a"), embedded_version(&fixture, "b")], [1, 2]);
    let engine = fixture.engine();
    assert_eq!(get(&engine, "a"), b"content");
    assert_eq!(get(&engine, "b"), b"new");
}

#[test]
fn a_deep_rewrap_changes_the_header_page_alone_and_nothing_that_the_drive_shows() {
    let fixture = Fixture::with_bucket(4096);
    let content = b"content".repeat(50_000);
    let then = Timestamp { sec: 1_000_000_000, nsec: 77 };
    let engine = fixture.engine();
    put(&engine, "a", &content);
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    item.node().set_times(SetTime::Keep, SetTime::At(then)).unwrap();
    drop(item);
    drop(engine);
    rotate(&fixture);
    let (bytes, old) = (stored(&fixture, "a"), header(&fixture, "a"));
    let engine = fixture.engine();
    let (item, attr) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    let (_, seen) = rewrap(&engine, &deep());
    assert_eq!(seen.of("a"), (Outcome::Succeeded, "rewrap 1"));
    let after = engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1;
    assert_eq!((after.key, after.size, after.mtime), (attr.key, attr.size, then));
    assert_eq!(after.ctime, attr.ctime, "the change time that backup programs look at");
    item.node().set_mode(0o600).unwrap();
    let changed = engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1;
    assert!(changed.ctime > attr.ctime, "a real change shows");
    assert_eq!(
        engine.xattrs(&item).unwrap(),
        Vec::<std::ffi::OsString>::new(),
        "the drive shows nothing of it"
    );
    assert_eq!(rewrap(&engine, &deep()).1.of("a"), (Outcome::Skipped, "already wrapped by the newest key"));
    drop(engine);
    let (now, new) = (stored(&fixture, "a"), header(&fixture, "a"));
    assert_eq!(bytes[4096..], now[4096..]);
    assert_eq!((new.identity, new.keys.rewraps), (old.identity, 1), "the same data key and id");
    assert_eq!(embedded_version(&fixture, "a"), 2);
    assert_eq!(get(&fixture.engine(), "a"), content);
}

#[test]
fn an_object_is_found_by_its_key_prefix_mode_and_age() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    for name in ["a1", "a2", "b"] {
        put(&engine, name, b"content");
    }
    let chosen = |filter: Filter| {
        let selection = Selection { filter, dry_run: true, ..Selection::default() };
        let job = Reencrypt { selection, force: true, ..Reencrypt::default() };
        reencrypt(&engine, &job).0.planned
    };
    assert_eq!(chosen(Filter::default()), 3);
    assert_eq!(chosen(Filter { prefix: "a".into(), ..Filter::default() }), 2);
    assert_eq!(chosen(Filter { key: Some("service".into()), ..Filter::default() }), 3);
    assert_eq!(chosen(Filter { key: Some("other".into()), ..Filter::default() }), 0);
    let stored = |stored| chosen(Filter { stored: Some(stored), ..Filter::default() });
    assert_eq!(stored(Stored::Encrypted(SseMode::S3)), 3);
    assert_eq!(stored(Stored::Encrypted(SseMode::Kms)) + stored(Stored::Plain), 0);
    let older = |age| chosen(Filter { older_than: Some(age), ..Filter::default() });
    assert_eq!(older(std::time::Duration::ZERO), 3);
    assert_eq!(older(std::time::Duration::from_hours(1)), 0);
}

#[test]
fn reencryption_gives_a_new_key_and_id_and_keeps_everything_else_that_is_asked() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let (content, then) = (b"content".repeat(50_000), Timestamp { sec: 1_000_000_000, nsec: 77 });
    let file = create(&engine, "a");
    file.write_at(10 << 20, &content).unwrap();
    file.sync(false).unwrap();
    let node = file.item().node().clone();
    node.set_mode(0o4751).unwrap();
    node.set_xattr(OsStr::new("user.note"), b"kept", crate::store::XattrMode::Set).unwrap();
    node.set_times(SetTime::At(then), SetTime::At(then)).unwrap();
    engine.close(file);
    let old = header(&fixture, "a");
    assert_eq!(
        reencrypt(&engine, &Reencrypt::default()).1.of("a").0,
        Outcome::Skipped,
        "nothing would change"
    );
    let job = Reencrypt { force: true, preserve: true, ..Reencrypt::default() };
    let (totals, seen) = reencrypt(&engine, &job);
    assert_eq!(seen.of("a"), (Outcome::Succeeded, "AES256"));
    assert_eq!(totals.bytes, (10 << 20) + content.len() as u64);
    let (item, attr) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    assert_eq!((attr.mode, attr.mtime, attr.size), (0o4751, then, totals.bytes));
    assert!(attr.blocks * 512 < 2 << 20, "the hole stays one");
    assert_eq!(item.node().xattr(OsStr::new("user.note")).unwrap(), b"kept");
    let file = open(&engine, "a", READ).unwrap();
    let mut back = vec![0; content.len()];
    file.read_at(10 << 20, &mut back).unwrap();
    engine.close(file);
    assert_eq!(back, content);
    let new = header(&fixture, "a");
    assert_ne!(new.identity.object, old.identity.object);
    assert_ne!(new.identity.commitment, old.identity.commitment);
    let (_, seen) = reencrypt(&engine, &Reencrypt { force: true, ..Reencrypt::default() });
    assert_eq!(seen.of("a").0, Outcome::Succeeded);
    assert!(
        engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1.mtime > then,
        "a new time without --preserve"
    );
    assert_eq!(std::fs::read_dir(fixture.store().join("data/.eob/tmp")).unwrap().count(), 0);
}

#[test]
fn plain_objects_of_an_adopted_directory_are_encrypted() {
    let fixture = Fixture::new();
    std::fs::create_dir_all(fixture.store().join("data/deep")).unwrap();
    std::fs::write(fixture.store().join("data/deep/plain"), b"content").unwrap();
    std::fs::write(fixture.store().join("data/empty"), b"").unwrap();
    let engine = fixture.engine();
    engine.create_bucket(&BucketName::parse("data").unwrap(), bucket_of(4096), true).unwrap();
    let (totals, seen) = reencrypt(&engine, &Reencrypt::default());
    assert_eq!((totals.succeeded, totals.failed), (2, 0), "{:?}", seen.lines);
    assert_eq!(get(&engine, "empty"), b"");
    assert!(crate::object::is_object(&stored(&fixture, "deep/plain")));
    assert!(crate::object::is_object(&stored(&fixture, "empty")));
    assert_eq!(reencrypt(&engine, &Reencrypt::default()).0.skipped, 2);
}

#[test]
fn objects_with_hard_links_and_open_objects_are_left_as_they_are() {
    let mut fixture = Fixture::with_bucket(4096);
    fixture.encryption = aes256();
    let engine = fixture.engine();
    for name in ["linked", "open"] {
        put(&engine, name, b"content");
    }
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("linked")).unwrap();
    engine.link(&caller(), &item, &data(&engine), OsStr::new("again")).unwrap();
    let file = open(&engine, "open", WRITE).unwrap();
    let job = Reencrypt { force: true, ..Reencrypt::default() };
    let (totals, seen) = reencrypt(&engine, &job);
    assert_eq!((totals.succeeded, totals.failed, totals.skipped), (0, 0, 3), "{:?}", seen.lines);
    file.write_at(0, b"CONTENT").unwrap();
    engine.close(file);
    assert_eq!(get(&engine, "open"), b"CONTENT");
    assert_eq!(reencrypt(&engine, &job).0.succeeded, 1, "it is closed now");
    assert_eq!(get(&engine, "open"), b"CONTENT");
}

#[test]
fn an_open_plain_file_is_left_as_it_is() {
    let mut fixture = Fixture::new();
    let new = NewBucket { default_encryption: DefaultEncryption::None, ..bucket_of(4096) };
    fixture.engine().create_bucket(&BucketName::parse("data").unwrap(), new, false).unwrap();
    fixture.encryption = Encryption::Unnamed;
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    let refused = engine.reencrypt(&Reencrypt::default(), &mut Seen::default()).unwrap_err();
    assert!(refused.to_string().contains("--sse"), "{refused}");
    let job = Reencrypt { encryption: aes256(), ..Reencrypt::default() };
    let file = open(&engine, "a", WRITE).unwrap();
    assert_eq!(reencrypt(&engine, &job).1.of("a").0, Outcome::Skipped);
    engine.close(file);
    assert_eq!(reencrypt(&engine, &job).1.of("a").0, Outcome::Succeeded);
    assert_eq!(get(&engine, "a"), b"content");
}

#[test]
fn a_stale_item_of_a_replaced_object_is_not_opened_again() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    let (old, _) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    old.pin().unwrap();
    reencrypt(&engine, &Reencrypt { force: true, ..Reencrypt::default() });
    let refused = engine.open(&caller(), &old, WRITE).err().unwrap();
    assert!(matches!(refused, EngineError::Store(e) if e.raw_os_error() == Some(libc::ESTALE)));
    assert_eq!(get(&engine, "a"), b"content");
}

#[test]
fn a_policy_that_denies_the_put_keeps_the_object() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Sid":"NoPut","Effect":"Deny","Principal":"*",
        "Action":"s3:PutObject","Resource":"arn:aws:s3:::data/*"}]}"#;
    PolicyFile::of(&fixture.store(), &BucketName::parse("data").unwrap()).unwrap().put(policy).unwrap();
    let before = stored(&fixture, "a");
    let (totals, seen) = reencrypt(&engine, &Reencrypt { force: true, ..Reencrypt::default() });
    assert_eq!((totals.failed, totals.succeeded), (1, 0));
    assert!(seen.of("a").1.contains("NoPut"), "{:?}", seen.lines);
    assert_eq!(stored(&fixture, "a"), before);
}

#[test]
fn a_job_that_is_stopped_leaves_the_rest_for_the_next_run() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    for i in 0..20 {
        put(&engine, &format!("{i}"), b"content");
    }
    let job = Reencrypt { force: true, ..Reencrypt::default() };
    let mut seen = Seen { stop_after: Some(7), ..Seen::default() };
    let totals = engine.reencrypt(&job, &mut seen).unwrap();
    assert!(totals.cancelled);
    assert_eq!(totals.succeeded, 7);
    rotate(&fixture);
    let engine = {
        drop(engine);
        fixture.engine()
    };
    let mut seen = Seen { stop_after: Some(2), ..Seen::default() };
    assert!(engine.rewrap(&deep(), &mut seen).unwrap().cancelled);
    let (totals, _) = rewrap(&engine, &deep());
    assert_eq!((totals.failed, totals.cancelled), (0, false));
    drop(engine);
    for i in 0..20 {
        assert_eq!(embedded_version(&fixture, &format!("{i}")), 2);
    }
}

#[test]
fn two_jobs_do_not_run_at_once() {
    struct Nested<'a>(&'a Engine, bool);
    impl Watch for Nested<'_> {
        fn note(&mut self, _: &Line<'_>) -> std::io::Result<()> {
            let refused = self.0.rewrap(&Rewrap::default(), &mut Seen::default()).unwrap_err();
            self.1 = matches!(refused, EngineError::JobRuns { bucket } if bucket == "data");
            Ok(())
        }
    }
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let mut nested = Nested(&engine, false);
    engine.rewrap(&Rewrap::default(), &mut nested).unwrap();
    assert!(nested.1);
}

/// Readers and writers at work on the objects that jobs go over again and again.
#[test]
fn nothing_is_lost_and_nothing_is_stale_while_jobs_run() {
    const OBJECTS: usize = 8;
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    for i in 0..OBJECTS {
        put(&engine, &format!("{i}"), &0u64.to_be_bytes().repeat(2000));
    }
    let done = AtomicBool::new(false);
    let renewed = std::thread::scope(|scope| {
        for i in 0..OBJECTS {
            let (engine, done) = (&engine, &done);
            scope.spawn(move || {
                let name = format!("{i}");
                let mut last = 0u64;
                while !done.load(Ordering::Relaxed) {
                    let file = match open(engine, &name, WRITE) {
                        // As the kernel does: it looks the name up again.
                        Err(EngineError::Store(e)) if e.raw_os_error() == Some(libc::ESTALE) => continue,
                        opened => opened.unwrap(),
                    };
                    let content = read_all(&file, 20_000).unwrap();
                    assert_eq!(content, last.to_be_bytes().repeat(2000), "what was written last");
                    last += 1;
                    file.write_at(0, &last.to_be_bytes().repeat(2000)).unwrap();
                    if last.is_multiple_of(3) {
                        file.sync(true).unwrap();
                    }
                    engine.close(file);
                    std::thread::yield_now();
                }
            });
        }
        let mut renewed = 0;
        for round in 0..60 {
            if round % 3 == 0 {
                let job = Reencrypt { force: true, ..Reencrypt::default() };
                let (totals, seen) = reencrypt(&engine, &job);
                assert_eq!(totals.failed, 0, "{:?}", seen.lines);
                renewed += totals.succeeded;
            } else {
                let (totals, seen) = rewrap(&engine, &Rewrap { new_bucket_key: true, ..deep() });
                assert_eq!(totals.failed, 0, "{:?}", seen.lines);
                renewed += totals.succeeded;
            }
        }
        done.store(true, Ordering::Relaxed);
        renewed
    });
    assert!(renewed > 0);
    drop(engine);
    let report = fixture.read_only().verify(None, &mut |_| ()).unwrap();
    assert_eq!((report.objects, report.damaged.len()), (OBJECTS as u64, 0));
}

#[test]
fn the_inventory_tells_how_each_object_is_encrypted_without_a_key() {
    let mut fixture = Fixture::new();
    let new = NewBucket { default_encryption: DefaultEncryption::None, ..bucket_of(4096) };
    fixture.engine().create_bucket(&BucketName::parse("data").unwrap(), new, false).unwrap();
    put(&fixture.engine(), "plain", b"content");
    fixture.encryption = aes256();
    put(&fixture.engine(), "sealed", b"content, sealed");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Sid":"OnlyAes256","Effect":"Deny","Principal":"*",
        "Action":"s3:PutObject","Resource":"arn:aws:s3:::data/*",
        "Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}}}]}"#;
    PolicyFile::of(&fixture.store(), &BucketName::parse("data").unwrap()).unwrap().put(policy).unwrap();
    std::fs::remove_file(fixture.store().join(STORE_DIR).join("keyring")).unwrap();
    let inventory =
        Inventory::open(&fixture.store(), &Access::default(), crate::keys::KeyScope::default()).unwrap();
    let mut entries = Vec::new();
    let unseen = inventory.list(None, &Filter::default(), &mut |entry| {
        entries.push(entry.clone());
        Ok(())
    });
    assert_eq!(unseen.unwrap(), 0);
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let [plain, sealed] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((plain.encryption_status, plain.size, plain.kms_key.as_deref()), ("NOT-SSE", 7, None));
    assert!(plain.policy.starts_with("denied") && plain.policy.contains("OnlyAes256"), "{}", plain.policy);
    assert_eq!((sealed.encryption_status, sealed.size), ("SSE-S3", 15));
    assert_eq!((sealed.kms_key.as_deref(), sealed.key_version), (Some("service"), Some(1)));
    assert_eq!((sealed.bucket_key_status, sealed.rewraps), (Some("ENABLED"), Some(0)));
    assert_eq!(sealed.policy, "allowed");
    assert!(std::fs::metadata(fixture.store().join("data/sealed")).unwrap().size() > 4096);
}

/// A key of the key service, called `alias`.
fn kms_key(fixture: &Fixture, alias: &str) -> crate::keys::KeyId {
    let unlock = Unlock::KeyFile(fixture.key_file());
    let keyring = Keyring::open(&fixture.store().join(STORE_DIR), &unlock).unwrap();
    let new = crate::keys::NewKey { alias: Some(alias.parse().unwrap()), ..crate::keys::NewKey::random() };
    keyring.create_key(&new).unwrap()
}

fn asking(encryption: &str, key: &str, bucket_key: bool) -> Encryption {
    EncryptionHeaders {
        encryption: Some(encryption.into()),
        kms_key: Some(key.into()),
        bucket_key: (encryption == "aws:kms").then_some(bucket_key),
        context: [("team".to_owned(), "blue".to_owned())].into(),
        ..EncryptionHeaders::default()
    }
    .check()
    .unwrap()
}

#[test]
fn row_l3_a_rewrap_moves_objects_to_a_kms_key_and_from_one_to_another_without_a_new_data_key() {
    let mut fixture = Fixture::with_bucket(4096);
    put(&fixture.engine(), "s3", b"content");
    let (one, two) = (kms_key(&fixture, "alias/one"), kms_key(&fixture, "alias/two"));
    for (name, bucket_key) in [("kms", true), ("direct", false)] {
        fixture.encryption = asking("aws:kms", "alias/one", bucket_key);
        put(&fixture.engine(), name, b"content");
    }
    let before: Vec<_> = ["s3", "kms", "direct"].map(|name| header(&fixture, name)).into();
    let engine = fixture.engine();
    let job = Rewrap { to_key: Some("alias/two".parse().unwrap()), ..deep() };
    let (totals, seen) = rewrap(&engine, &job);
    assert_eq!(totals.failed, 0, "{:?}", seen.lines);
    assert_eq!(
        rewrap(&engine, &job).1.of("kms").0,
        Outcome::Skipped,
        "the second time there is nothing to do"
    );
    for (name, before) in ["s3", "kms", "direct"].into_iter().zip(&before) {
        assert_eq!(seen.of(name).0, Outcome::Succeeded, "{name}");
        let after = header(&fixture, name);
        assert_eq!(after.identity.mode, SseMode::Kms);
        assert_eq!(after.identity.object, before.identity.object);
        assert_eq!(after.identity.commitment, before.identity.commitment, "the same data key");
        assert_eq!(after.identity.bucket_key, before.identity.bucket_key, "{name}");
        let context = |header: &Header| header.keys.find(RecordType::DataKey1).unwrap().context.clone();
        assert_eq!(context(&after), context(before));
        assert_eq!(get(&engine, name), b"content");
    }
    let off = Rewrap { to_bucket_key: Some(false), ..deep() };
    assert_eq!(rewrap(&engine, &off).1.of("kms").0, Outcome::Succeeded);
    assert!(!header(&fixture, "kms").identity.bucket_key);
    assert_eq!(rewrap(&engine, &off).1.of("kms").0, Outcome::Skipped);
    let to_s3 = Rewrap { to_key: Some("service".parse().unwrap()), ..deep() };
    assert!(engine.rewrap(&to_s3, &mut Seen::default()).is_err(), "not to SSE-S3");
    let entries = |key: &str| {
        let mut keys = Vec::new();
        let filter = Filter { key: Some(key.to_owned()), ..Filter::default() };
        let inventory =
            Inventory::open(&fixture.store(), &Access::default(), crate::keys::KeyScope::default()).unwrap();
        inventory
            .list(None, &filter, &mut |entry| {
                keys.push(entry.key.clone());
                Ok(())
            })
            .unwrap();
        keys.sort();
        keys
    };
    assert_eq!(entries(two.as_str()), ["direct", "kms", "s3"]);
    assert!(entries(one.as_str()).is_empty());
    drop(engine);
    for name in ["s3", "kms", "direct"] {
        assert_eq!(get(&fixture.engine(), name), b"content", "{name}");
    }
}

#[test]
fn a_rotated_kms_key_is_followed_with_and_without_bucket_keys() {
    let mut fixture = Fixture::with_bucket(4096);
    let key = kms_key(&fixture, "alias/one");
    for (name, bucket_key) in [("kms", true), ("direct", false)] {
        fixture.encryption = asking("aws:kms", "alias/one", bucket_key);
        put(&fixture.engine(), name, b"content");
    }
    let unlock = Unlock::KeyFile(fixture.key_file());
    Keyring::open(&fixture.store().join(STORE_DIR), &unlock).unwrap().rotate_key(&key).unwrap();
    let engine = fixture.engine();
    let (totals, seen) = rewrap(&engine, &deep());
    assert_eq!(
        (totals.failed, totals.succeeded),
        (0, 3),
        "the bucket key of `one`, and two objects: {:?}",
        seen.lines
    );
    assert_eq!(rewrap(&engine, &deep()).0.succeeded, 0);
    assert_eq!(header(&fixture, "direct").keys.find(RecordType::DataKey1).unwrap().key_version, 2);
    assert_eq!(embedded_version(&fixture, "kms"), 2);
}

#[test]
fn row_k3_reencryption_to_other_settings_is_a_copy_and_to_the_same_a_no_op() {
    let fixture = Fixture::with_bucket(4096);
    kms_key(&fixture, "alias/one");
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    let job = Reencrypt { encryption: asking("aws:kms", "alias/one", true), ..Reencrypt::default() };
    assert_eq!(reencrypt(&engine, &job).1.of("a"), (Outcome::Succeeded, "aws:kms"));
    assert_eq!(reencrypt(&engine, &job).1.of("a").0, Outcome::Skipped);
    let other = Reencrypt { encryption: asking("aws:kms", "alias/one", false), ..Reencrypt::default() };
    assert_eq!(
        reencrypt(&engine, &other).1.of("a").0,
        Outcome::Succeeded,
        "without a bucket key is another setting"
    );
    let back = Reencrypt { encryption: aes256(), ..Reencrypt::default() };
    assert_eq!(reencrypt(&engine, &back).1.of("a"), (Outcome::Succeeded, "AES256"));
    assert_eq!(get(&engine, "a"), b"content");
}

#[test]
fn row_m2_kms_objects_are_replicated_with_a_replica_key_only_and_row_m3_that_is_tried_first() {
    let (mut source, target) = (Fixture::with_bucket(4096), Fixture::with_bucket(4096));
    kms_key(&source, "alias/one");
    let replica = kms_key(&target, "alias/replica");
    source.encryption = asking("aws:kms", "alias/one", false);
    let (from, to) = (source.engine(), target.engine());
    put(&from, "a", b"content");
    let (_, seen) = replicate(&from, &to, &Replicate::default());
    assert_eq!(seen.of("a"), (Outcome::Skipped, "kms opt-in: name a replica key"));
    let wrong = Replicate { replica_key: Some("alias/one".parse().unwrap()), ..Replicate::default() };
    assert!(from.replicate(&to, &wrong, &mut Seen::default()).is_err());
    let job = Replicate { replica_key: Some("alias/replica".parse().unwrap()), ..Replicate::default() };
    assert_eq!(replicate(&from, &to, &job).1.of("a"), (Outcome::Succeeded, "aws:kms"));
    let record = header(&target, "a").keys.find(RecordType::DataKey1).unwrap().clone();
    assert_eq!(record.key_id, replica.as_str().as_bytes());
    assert_eq!(record.context.pairs().collect::<Vec<_>>(), [("team", "blue")]);
    assert_eq!(get(&to, "a"), b"content");
    assert_eq!(replicate(&from, &to, &job).1.of("a").0, Outcome::Skipped);
}

fn replicate(from: &Engine, to: &Engine, job: &Replicate) -> (Totals, Seen) {
    let mut seen = Seen::default();
    let totals = from.replicate(to, job, &mut seen).unwrap();
    (totals, seen)
}

#[test]
fn a_replica_has_keys_of_its_own_and_everything_else_of_its_source() {
    let (source, target) = (Fixture::with_bucket(4096), Fixture::with_bucket(65536));
    let from = source.engine();
    let (bucket, me) = (data(&from), caller());
    from.make_dir(&me, &bucket, OsStr::new("deep"), 0o751).unwrap();
    put(&from, "a", &b"content".repeat(50_000));
    let (item, _) = from.lookup(&bucket, OsStr::new("a")).unwrap();
    let (deep, _) = from.lookup(&bucket, OsStr::new("deep")).unwrap();
    from.link(&me, &item, &deep, OsStr::new("again")).unwrap();
    from.make_symlink(&me, &deep, OsStr::new("soft"), OsStr::new("/nowhere")).unwrap();
    item.node().set_xattr(OsStr::new("user.note"), b"kept", crate::store::XattrMode::Set).unwrap();
    let then = Timestamp { sec: 1_000_000_000, nsec: 77 };
    for item in [&item, &deep] {
        item.node().set_times(SetTime::At(then), SetTime::At(then)).unwrap();
    }
    let to = target.engine();
    let (totals, seen) = replicate(&from, &to, &Replicate::default());
    assert_eq!((totals.failed, totals.succeeded), (0, 3), "{:?}", seen.lines);
    assert_eq!(get(&to, "a"), b"content".repeat(50_000));
    let (copy, attr) = to.lookup(&data(&to), OsStr::new("a")).unwrap();
    assert_eq!((attr.mtime, attr.nlink, attr.mode), (then, 2, 0o644));
    assert_eq!(to.xattrs(&copy).unwrap(), [OsStr::new("user.note")]);
    let (copied, attr) = to.lookup(&data(&to), OsStr::new("deep")).unwrap();
    assert_eq!((attr.mtime, attr.mode), (then, 0o751));
    let (soft, _) = to.lookup(&copied, OsStr::new("soft")).unwrap();
    assert_eq!(to.read_link(&soft).unwrap(), "/nowhere");
    assert_ne!(header(&source, "a").identity.object, header(&target, "a").identity.object);
    let (totals, seen) = replicate(&from, &to, &Replicate::default());
    assert_eq!((totals.succeeded, totals.failed, totals.bytes), (0, 0, 0), "{:?}", seen.lines);
}

#[test]
fn a_changed_source_or_replica_is_copied_again_and_a_rewrapped_one_is_not() {
    let (source, target) = (Fixture::with_bucket(4096), Fixture::with_bucket(4096));
    let (from, to) = (source.engine(), target.engine());
    for name in ["same", "rewrapped", "changed", "replica", "mode"] {
        put(&from, name, b"content");
    }
    assert_eq!(replicate(&from, &to, &Replicate::default()).0.succeeded, 5);
    let prefix = Filter { prefix: "rewrapped".into(), ..Filter::default() };
    let selection = Selection { filter: prefix, ..Selection::default() };
    rewrap(&from, &Rewrap { selection, new_bucket_key: true, ..deep() });
    for (engine, name) in [(&from, "changed"), (&to, "replica")] {
        let file = open(engine, name, WRITE).unwrap();
        file.write_at(0, b"CONTENT").unwrap();
        engine.close(file);
    }
    from.lookup(&data(&from), OsStr::new("mode")).unwrap().0.node().set_mode(0o600).unwrap();
    let (totals, seen) = replicate(&from, &to, &Replicate::default());
    assert_eq!((totals.failed, totals.bytes), (0, 14), "{:?}", seen.lines);
    for name in ["same", "rewrapped"] {
        assert_eq!(seen.of(name).0, Outcome::Skipped, "{name}");
    }
    assert_eq!(seen.of("mode"), (Outcome::Succeeded, "attributes"));
    assert_eq!(get(&to, "changed"), b"CONTENT");
    assert_eq!(get(&to, "replica"), b"content");
}

#[test]
fn a_plain_source_takes_the_default_of_the_target_and_a_missing_bucket_is_made() {
    let (mut source, target) = (Fixture::new(), Fixture::new());
    let new = NewBucket { default_encryption: DefaultEncryption::None, ..bucket_of(4096) };
    source.engine().create_bucket(&BucketName::parse("data").unwrap(), new, false).unwrap();
    source.encryption = Encryption::Unnamed;
    let (from, to) = (source.engine(), target.engine());
    put(&from, "plain", b"content");
    let (totals, seen) = replicate(&from, &to, &Replicate::default());
    assert_eq!((totals.failed, totals.succeeded), (0, 1), "{:?}", seen.lines);
    assert!(crate::object::is_object(&stored(&target, "plain")));
    assert_eq!(get(&to, "plain"), b"content");
    assert_eq!(replicate(&from, &to, &Replicate::default()).0.skipped, 1);
}
