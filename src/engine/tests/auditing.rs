//! What the audit log says about requests.

use serde_json::Value;

use super::*;
use crate::{
    audit::{self, AuditError, AuditLog, Fail, Role},
    crypto::Secret,
};

/// A store with the bucket `data` whose requests are recorded.
struct Recorded {
    fixture: Fixture,
    options: audit::Options,
}

impl Recorded {
    fn new() -> Self {
        let fixture = Fixture::with_bucket(4096);
        let options = audit::Options::new(fixture.store().join(".strongroom/audit"));
        Self { fixture, options }
    }

    fn engine(&self) -> Engine {
        let log = AuditLog::start(&self.options, Some(&Secret::copy_from(&[1; 32])), Role::Command).unwrap();
        let mut options = self.fixture.options(false);
        options.audit = Some(std::sync::Arc::new(log));
        let store = self.fixture.store();
        let unlock = Unlock::KeyFile(self.fixture.key_file());
        let keyring = Keyring::open(&store.join(STORE_DIR), &unlock).unwrap();
        Engine::start(&store, keyring, "test", options).unwrap()
    }

    /// The events of users in `act`.
    fn events(&self, act: impl FnOnce(&Engine)) -> Vec<Value> {
        let before = self.all().len();
        let engine = self.engine();
        act(&engine);
        drop(engine);
        let mut events = self.all().split_off(before);
        events.retain(|event| event["userIdentity"]["type"] == "IAMUser");
        events
    }

    fn all(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let read = audit::records(&self.options.dir, |record| {
            all.push(serde_json::from_str(record.line()).unwrap());
            Ok::<_, AuditError>(())
        });
        assert!(matches!(read, Ok(()) | Err(AuditError::NoLog(_))));
        all
    }
}

fn said(events: &[Value], path: &[&str]) -> Vec<String> {
    let at = |event: &Value| path.iter().fold(event.clone(), |value, name| value[*name].clone());
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    events.iter().map(|event| text(at(event))).collect()
}

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn every_request_leaves_one_line_with_who_what_and_how() {
    let recorded = Recorded::new();
    let events = recorded.events(|engine| {
        engine.close(create(engine, "a"));
        engine.close(open(engine, "a", READ).unwrap());
        engine.close(open(engine, "a", WRITE).unwrap());
        let bucket = data(engine);
        let (item, _) = engine.lookup(&bucket, name("a")).unwrap();
        engine.link(&caller(), &item, &bucket, name("b")).unwrap();
        let mode = crate::store::RenameMode::Replace;
        engine.rename(&caller(), (&bucket, name("b")), (&bucket, name("c")), mode).unwrap();
        engine.unlink(&caller(), &bucket, name("c")).unwrap();
        engine.make_symlink(&caller(), &bucket, name("l"), name("a")).unwrap();
        engine.make_dir(&caller(), &bucket, name("dir"), 0o755).unwrap();
        engine.open_dir(&caller(), &bucket).unwrap();
        engine.make_dir(&caller(), &engine.root(), name("photos"), 0o755).unwrap();
        engine.remove_dir(&caller(), &engine.root(), name("photos")).unwrap();
        let other = BucketName::parse("other").unwrap();
        engine.create_bucket(&other, bucket_of(4096), false).unwrap();
        engine.delete_bucket(&other).unwrap();
    });
    assert_eq!(
        said(&events, &["eventName"]),
        [
            "PutObject",
            "GetObject",
            "PutObject",
            "CopyObject",
            "RenameObject",
            "DeleteObject",
            "PutObject",
            "CreateBucket",
            "DeleteBucket",
            "CreateBucket",
            "DeleteBucket"
        ]
    );
    let keys = said(&events[..7], &["requestParameters", "key"]);
    assert_eq!(keys, ["a", "a", "a", "b", "c", "c", "l"]);
    let sources = said(&events[3..5], &["requestParameters", "x-amz-copy-source"]);
    assert_eq!(sources, ["a", "b"]);
    assert_eq!(said(&events[..3], &["additionalEventData", "access"]), ["null", "r", "rw"]);
    let applied = said(&events[..3], &["additionalEventData", "SSEApplied"]);
    assert_eq!(applied, ["Default_SSE_S3", "null", "null"]);
    let ids = said(&events[..3], &["additionalEventData", "objectId"]);
    assert!(ids[0].len() == 32 && ids.iter().all(|id| *id == ids[0]));
    assert!(said(&events, &["decision"]).iter().all(|decision| decision == "Allow"));
    let uid = rustix::process::getuid().as_raw().to_string();
    assert!(said(&events, &["userIdentity", "uid"]).iter().all(|found| *found == uid));
    assert!(events[0]["userIdentity"]["arn"].as_str().unwrap().starts_with("arn:aws:iam::"));
    assert_eq!(events[0]["resources"][0]["ARN"], "arn:aws:s3:::data/a");
    assert_eq!(events[7]["requestParameters"]["bucketName"], "photos");
}

#[test]
fn a_denial_names_the_statement_and_a_failure_its_errno() {
    let recorded = Recorded::new();
    let policy = r#"{"Version": "2012-10-17", "Statement": {"Sid": "NoReading", "Effect": "Deny", "Principal": "*",
        "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::data/*", "arn:aws:s3:::data"]}}"#;
    let bucket = BucketName::parse("data").unwrap();
    PolicyFile::of(&recorded.fixture.store(), &bucket).unwrap().put(policy).unwrap();
    let events = recorded.events(|engine| {
        engine.close(create(engine, "a"));
        assert!(open(engine, "a", READ).is_err());
        assert!(engine.open_dir(&caller(), &data(engine)).is_err());
        assert!(engine.create(&caller(), &data(engine), name("a"), 0o644, WRITE).is_err());
        assert!(engine.remove_dir(&caller(), &engine.root(), name("data")).is_err());
    });
    assert_eq!(
        said(&events, &["eventName"]),
        ["PutObject", "GetObject", "ListBucket", "PutObject", "DeleteBucket"]
    );
    assert_eq!(said(&events, &["decision"]), ["Allow", "Deny", "Deny", "Allow", "Allow"]);
    assert_eq!(said(&events[1..3], &["sid"]), ["NoReading", "NoReading"]);
    assert_eq!(said(&events[1..3], &["errorCode"]), ["AccessDenied", "AccessDenied"]);
    assert!(events[1]["errorMessage"].as_str().unwrap().contains("NoReading"));
    assert_eq!(
        said(&events, &["errno"]),
        [
            "null".into(),
            libc::EACCES.to_string(),
            libc::EACCES.to_string(),
            libc::EEXIST.to_string(),
            libc::ENOTEMPTY.to_string()
        ]
    );
    assert_eq!(events[4]["errorCode"], "BucketNotEmpty");
}

#[test]
fn a_named_encryption_shows_as_such() {
    let mut recorded = Recorded::new();
    recorded.fixture.encryption = aes256();
    let events = recorded.events(|engine| {
        let file = create(engine, "a");
        file.write_at(0, b"x").unwrap();
        engine.close(file);
        engine.close(open(engine, "a", OpenFlags { truncate: true, ..WRITE }).unwrap());
    });
    for event in &events {
        assert_eq!(event["requestParameters"]["x-amz-server-side-encryption"], "AES256");
        assert_eq!(event["additionalEventData"]["SSEApplied"], "SSE_S3");
    }
    assert_eq!(events.len(), 2);
}

#[test]
fn kms_keys_show_with_every_object_and_with_every_use_of_their_own() {
    let mut recorded = Recorded::new();
    let headers = EncryptionHeaders {
        encryption: Some("aws:kms".into()),
        kms_key: Some("alias/aws/s3".into()),
        context: [("team".to_owned(), "blue".to_owned())].into(),
        ..EncryptionHeaders::default()
    };
    recorded.fixture.encryption = headers.check().unwrap();
    let objects = recorded.events(|engine| {
        for name in ["a", "b", "c"] {
            let file = create(engine, name);
            file.write_at(0, b"x").unwrap();
            engine.close(file);
            engine.close(open(engine, name, READ).unwrap());
        }
    });
    let arn = objects[0]["additionalEventData"]["keyArn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:kms:"), "{arn}");
    for event in &objects {
        let more = &event["additionalEventData"];
        assert_eq!((&more["keyArn"], &more["keyVersion"]), (&arn.into(), &1.into()));
        assert_eq!(
            (&more["bucketKeyEnabled"], &more["encryptionContext"]["team"]),
            (&true.into(), &"blue".into())
        );
        assert_eq!(event["resources"][2]["ARN"], arn);
    }
    assert_eq!(objects[0]["additionalEventData"]["SSEApplied"], "SSE_KMS");
    assert_eq!(
        objects[0]["requestParameters"]["x-amz-server-side-encryption-aws-kms-key-id"],
        "alias/aws/s3"
    );
    let uses: Vec<_> = recorded
        .all()
        .into_iter()
        .filter(|event| {
            event["eventSource"] == "kms.amazonaws.com" && event["additionalEventData"]["keyArn"] == arn
        })
        .collect();
    assert_eq!(said(&uses, &["eventName"]), ["GenerateDataKey", "Decrypt"], "one bucket key for all objects");
    assert!(
        uses[0]["requestParameters"]["encryptionContext"].as_object().is_some_and(|pairs| !pairs.is_empty())
    );
}

#[test]
fn a_closed_log_that_cannot_be_written_stops_requests_before_they_do_anything() {
    let mut recorded = Recorded::new();
    (recorded.options.fail, recorded.options.file_size) = (Fail::Closed, 1);
    let engine = recorded.engine();
    engine.close(create(&engine, "a"));
    let dir = &recorded.options.dir;
    let next = dir.join(format!("audit-{:08}.jsonl", std::fs::read_dir(dir).unwrap().count()));
    std::fs::create_dir(&next).unwrap();
    // The first request finds out, and may have been done.
    let first = engine.create(&caller(), &data(&engine), name("b"), 0o644, WRITE);
    assert!(matches!(first, Err(EngineError::Audit(_))));
    let second = engine.create(&caller(), &data(&engine), name("c"), 0o644, WRITE);
    assert!(matches!(second, Err(EngineError::Audit(AuditError::Unwritable(_)))));
    assert!(!recorded.fixture.store().join("data/c").exists());
    assert!(matches!(open(&engine, "a", READ), Err(EngineError::Audit(_))));
    assert!(matches!(engine.unlink(&caller(), &data(&engine), name("a")), Err(EngineError::Audit(_))));
    assert!(recorded.fixture.store().join("data/a").exists());
}
