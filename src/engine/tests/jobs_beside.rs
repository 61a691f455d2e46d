//! Jobs beside changes of the same objects, jobs on their way to another process, and what the inventory judges.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    keys::{KeyScope, NewKey},
    policy::LockMode,
    store::{RenameMode, XattrMode},
};

struct Silent;

impl Watch for Silent {
    fn note(&mut self, _: &Line<'_>) -> std::io::Result<()> {
        Ok(())
    }
}

/// As the kernel does: after `ESTALE` it looks the name up again.
fn by_name<T>(engine: &Engine, name: &str, act: impl Fn(&Item) -> Result<T>) -> T {
    loop {
        let (item, _) = engine.lookup(&data(engine), OsStr::new(name)).unwrap();
        match act(&item) {
            Err(EngineError::Store(error)) if error.raw_os_error() == Some(libc::ESTALE) => {}
            done => return done.unwrap(),
        }
    }
}

#[test]
fn no_change_of_attributes_or_names_is_lost_while_objects_are_replaced() {
    const OBJECTS: u32 = 6;
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    for i in 0..OBJECTS {
        put(&engine, &format!("{i}"), b"content");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for i in 0..OBJECTS {
            let (engine, done) = (&engine, &done);
            scope.spawn(move || {
                let (here, there) = (format!("{i}"), format!("{i} moved"));
                let mut round = 0;
                while !done.load(Ordering::Relaxed) {
                    round += 1;
                    let mode = 0o600 + round % 0o100;
                    let set = SetAttr { mode: Some(mode), ..SetAttr::NOTHING };
                    by_name(engine, &here, |item| engine.set_attr(&caller(), item, None, &set));
                    let value = round.to_string().into_bytes();
                    let (note, how) = (OsStr::new("user.note"), XattrMode::Set);
                    by_name(engine, &here, |item| engine.set_xattr(&caller(), item, note, &value, how));
                    let (dir, names) = (data(engine), [OsStr::new(&here), OsStr::new(&there)]);
                    let replace = RenameMode::Replace;
                    engine.rename(&caller(), (&dir, names[0]), (&dir, names[1]), replace).unwrap();
                    assert_eq!(by_name(engine, &there, |item| engine.attr(item)).mode, mode);
                    assert_eq!(by_name(engine, &there, |item| engine.xattr(&caller(), item, note)), value);
                    engine.rename(&caller(), (&dir, names[1]), (&dir, names[0]), replace).unwrap();
                    // What never rests is never replaced: a copy begins from a stamp that a tick has passed.
                    if round % 8 == 0 {
                        std::thread::sleep(Duration::from_millis(60));
                    }
                }
            });
        }
        let mut renewed = 0;
        for _ in 0..40 {
            let job = Reencrypt { force: true, ..Reencrypt::default() };
            let totals = engine.reencrypt(&job, &mut Silent).unwrap();
            renewed += totals.succeeded;
        }
        done.store(true, Ordering::Relaxed);
        assert!(renewed > 0);
    });
    assert_eq!(
        engine.reencrypt(&Reencrypt { force: true, ..Reencrypt::default() }, &mut Silent).unwrap().succeeded,
        6
    );
}

/// Cutting a plain file to nothing was done before it was looked at whether it still stood in its place: what was then written
/// into it was lost with it.
#[test]
fn who_cuts_a_plain_file_whose_place_another_took_is_told_to_look_again() {
    let fixture = Fixture::new();
    let new = NewBucket { default_encryption: DefaultEncryption::None, ..bucket_of(4096) };
    let engine = fixture.engine();
    engine.create_bucket(&BucketName::parse("data").unwrap(), new, false).unwrap();
    let cutting = OpenFlags { truncate: true, ..WRITE };
    put(&engine, "plain", b"content");
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("plain")).unwrap();
    // As a replacement does.
    item.pin().unwrap();
    std::fs::write(fixture.store().join("data/new"), "newer").unwrap();
    std::fs::rename(fixture.store().join("data/new"), fixture.store().join("data/plain")).unwrap();
    for flags in [cutting, WRITE, READ] {
        let outcome = engine.open(&caller(), &item, flags);
        assert!(
            matches!(&outcome, Err(EngineError::Store(error)) if error.raw_os_error() == Some(libc::ESTALE)),
            "{flags:?}: {:?}",
            outcome.err()
        );
    }
    assert_eq!(std::fs::read(fixture.store().join("data/plain")).unwrap(), b"newer");
    // One that lost its name while it is open may be cut, as through `/proc/self/fd`.
    let held = open(&engine, "plain", WRITE).unwrap();
    let item = held.item().clone();
    item.pin().unwrap();
    engine.unlink(&caller(), &data(&engine), OsStr::new("plain")).unwrap();
    let cut = engine.open(&caller(), &item, cutting).unwrap();
    assert_eq!(engine.attr_open(&held).unwrap().size, 0);
    engine.close(cut);
    engine.close(held);
}

#[test]
fn a_job_reads_back_as_it_was_sent() {
    let context = [("dept", "red"), ("aws:s3:arn", "arn:aws:s3:::data/x")];
    let context = context.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let kms = EncryptionHeaders {
        encryption: Some("aws:kms".into()),
        kms_key: Some("alias/one".into()),
        context,
        bucket_key: Some(false),
        customer: false,
    };
    let customer = EncryptionHeaders { customer: true, ..EncryptionHeaders::default() };
    for encryption in [
        Encryption::Unnamed,
        Encryption::BucketDefault,
        aes256(),
        kms.check().unwrap(),
        customer.check().unwrap(),
    ] {
        let text = serde_json::to_string(&encryption).unwrap();
        assert_eq!(serde_json::from_str::<Encryption>(&text).unwrap(), encryption, "{text}");
    }
    let prefix: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', 0xff]);
    let filter = Filter { prefix, stored: Some(Stored::Plain), ..Filter::default() };
    let text = serde_json::to_string(&filter).unwrap();
    assert_eq!(format!("{:?}", serde_json::from_str::<Filter>(&text).unwrap()), format!("{filter:?}"));
    let senseless = r#"{"named":{"encryption":"AES256","kms_key":"alias/one","context":{},"bucket_key":null,"customer":false}}"#;
    assert!(serde_json::from_str::<Encryption>(senseless).is_err());
}

#[test]
fn the_inventory_judges_conditions_on_the_key_by_its_arn() {
    let mut fixture = Fixture::with_bucket(4096);
    let unlock = Unlock::KeyFile(fixture.key_file());
    let keyring = Keyring::open(&fixture.store().join(STORE_DIR), &unlock).unwrap();
    let [good, other] = [0, 1].map(|_| keyring.create_key(&NewKey::random()).unwrap());
    drop(keyring);
    let arn = KeyScope::default().key_arn(&good);
    for (name, key) in [("good", &good), ("other", &other)] {
        fixture.encryption = EncryptionHeaders {
            encryption: Some("aws:kms".into()),
            kms_key: Some(key.as_str().into()),
            ..EncryptionHeaders::default()
        }
        .check()
        .unwrap();
        put(&fixture.engine(), name, b"content");
    }
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"OneKey","Effect":"Deny","Principal":"*",
        "Action":"s3:PutObject","Resource":"arn:aws:s3:::data/*","Condition":{{"StringNotEquals":
        {{"s3:x-amz-server-side-encryption-aws-kms-key-id":"{arn}"}}}}}}]}}"#
    );
    PolicyFile::of(&fixture.store(), &BucketName::parse("data").unwrap()).unwrap().put(&policy).unwrap();
    let listed = |key: Option<&str>| {
        let inventory = Inventory::open(&fixture.store(), &Access::default(), KeyScope::default()).unwrap();
        let filter = Filter { key: key.map(str::to_owned), ..Filter::default() };
        let mut seen = BTreeMap::new();
        let unseen = inventory.list(None, &filter, &mut |entry| {
            seen.insert(entry.key.clone(), (entry.kms_key.clone(), entry.policy.clone()));
            Ok(())
        });
        assert_eq!(unseen.unwrap(), 0);
        seen
    };
    let all = listed(None);
    assert_eq!(all["good"], (Some(arn.clone()), "allowed".to_owned()));
    assert!(all["other"].1.starts_with("denied") && all["other"].1.contains("OneKey"), "{all:?}");
    assert_eq!(listed(Some(&arn)).into_keys().collect::<Vec<_>>(), ["good"]);
}

/// Keeps the last words about each object.
#[derive(Default)]
struct Words(BTreeMap<String, (Outcome, String)>);

impl Watch for Words {
    fn note(&mut self, line: &Line<'_>) -> std::io::Result<()> {
        self.0.insert(line.key.display().to_string(), (line.outcome, line.reason.clone()));
        Ok(())
    }
}

#[test]
fn row_l3_governance_retention_is_bypassed_for_who_says_so_and_may_and_compliance_for_nobody() {
    let fixture = Fixture::with_bucket(4096);
    let (engine, bucket) = (fixture.engine(), BucketName::parse("data").unwrap());
    for name in ["free", "kept", "secret"] {
        put(&engine, name, b"content");
    }
    let rule = |mode| Retention { mode, days: 1, append_only: false, except: vec!["free".into()] };
    engine.put_retention(&caller(), &bucket, Some(&rule(LockMode::Governance)), false).unwrap();
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Sid":"NotThat","Effect":"Deny","Principal":"*",
        "Action":"s3:BypassGovernanceRetention","Resource":"arn:aws:s3:::data/secret",
        "Condition":{"StringEquals":{"s3:object-lock-mode":"GOVERNANCE"}}}]}"#;
    PolicyFile::of(&fixture.store(), &bucket).unwrap().put(policy).unwrap();
    drop(engine);
    let engine = fixture.engine();
    let run = |bypass_governance, dry_run| {
        let selection = Selection { dry_run, ..Selection::default() };
        let job = Reencrypt { selection, force: true, bypass_governance, ..Reencrypt::default() };
        let mut words = Words::default();
        engine.reencrypt(&job, &mut words).unwrap();
        words.0
    };
    let is = |words: &BTreeMap<String, (Outcome, String)>, name: &str, outcome, says: &str| {
        assert!(words[name].0 == outcome && words[name].1.contains(says), "{name}: {words:?}");
    };
    let planned = run(false, true);
    is(&planned, "kept", Outcome::Skipped, "is retained until");
    is(&run(true, true), "kept", Outcome::Planned, "AES256");
    let without = run(false, false);
    is(&without, "free", Outcome::Succeeded, "AES256");
    for name in ["kept", "secret"] {
        is(&without, name, Outcome::Failed, "is retained until");
    }
    let with = run(true, false);
    is(&with, "kept", Outcome::Succeeded, "AES256");
    is(&with, "secret", Outcome::Failed, "NotThat");
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("kept")).unwrap();
    let refused = engine.open(&caller(), &item, WRITE).err().unwrap();
    assert!(matches!(refused, EngineError::Retained { .. }), "the new object is retained, too");
    drop(item);
    engine.put_retention(&caller(), &bucket, Some(&rule(LockMode::Compliance)), false).unwrap();
    is(&run(true, false), "kept", Outcome::Failed, "is retained until");
    is(&run(true, true), "kept", Outcome::Skipped, "is retained until");
}

/// A rule that is put while a copy waits for its turn holds for it.
#[test]
fn a_rule_that_comes_while_a_copy_waits_for_its_place_keeps_the_old_object() {
    struct Ruler<'a>(&'a Engine, bool);
    impl Watch for Ruler<'_> {
        fn note(&mut self, line: &Line<'_>) -> std::io::Result<()> {
            assert!(line.error.is_some(), "{line:?}");
            Ok(())
        }
        fn is_cancelled(&mut self) -> bool {
            // Asked before each object, and before what is ready is placed.
            let rule = Retention { mode: LockMode::Compliance, days: 1, append_only: false, except: vec![] };
            let bucket = BucketName::parse("data").unwrap();
            if std::mem::replace(&mut self.1, true) {
                self.0.put_retention(&caller(), &bucket, Some(&rule), false).unwrap();
            }
            false
        }
    }
    let fixture = Fixture::with_bucket(4096);
    put(&fixture.engine(), "a", b"content");
    let engine = fixture.engine();
    let before = engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1.key;
    let job = Reencrypt { force: true, ..Reencrypt::default() };
    let totals = engine.reencrypt(&job, &mut Ruler(&engine, false)).unwrap();
    assert_eq!((totals.succeeded, totals.failed), (0, 1));
    assert_eq!(engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1.key, before);
}
