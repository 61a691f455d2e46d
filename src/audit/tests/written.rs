//! What a line says, and how files follow each other.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt, sync::Arc};

use serde_json::{Value, json};

use super::{super::*, Log, event};
use crate::crypto::Secret;

#[test]
fn a_line_has_the_fields_and_names_of_cloudtrail() {
    let log = Log::new();
    let mut denied = event(1);
    denied.time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_763_700_000_123_456);
    let actor = Arc::make_mut(&mut denied.actor);
    actor.arn = Some("arn:aws:iam::000000000000:user/ann".to_owned());
    actor.pid = Some(77);
    actor.exe = Some("/usr/bin/cp".into());
    denied.request.encryption = Some("aws:kms");
    denied.request.kms_key = Some("alias/photos".to_owned());
    denied.keys.push("arn:aws:kms:local:000000000000:key/1".to_owned());
    denied.details = Details {
        applied: Some(SseApplied::SSE_KMS),
        bucket_key: Some(true),
        key_arn: Some("arn:aws:kms:local:000000000000:key/1".to_owned()),
        key_version: Some(3),
        context: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        object: Some([0xab; 16]),
        access: None,
        more: BTreeMap::new(),
    };
    denied.decision = Decision::Deny { statement: Some("OnlyAes".to_owned()) };
    denied.failure =
        Some(Failure { code: "AccessDenied", message: "denied \"so\"\n".to_owned(), errno: Some(13) });
    log.appender().append(&[denied]).unwrap();
    let line = log.lines(1).remove(1);
    let mut value: Value = serde_json::from_str(&line).unwrap();
    let id = value["eventID"].take();
    let id = id.as_str().unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");
    assert_eq!(value["chain"].take().as_str().unwrap().len(), 64);
    let expected = json!({
        "eventVersion": "1.11", "seq": 2, "eventTime": "2025-11-21T04:40:00.123456Z", "eventID": null,
        "eventSource": "s3.amazonaws.com", "eventName": "PutObject",
        "userIdentity": {
            "type": "IAMUser", "arn": "arn:aws:iam::000000000000:user/ann", "userName": "ann", "uid": 1000, "gid": 100,
            "pid": 77, "exe": "/usr/bin/cp"
        },
        "requestParameters": {
            "bucketName": "photos", "key": "file-1", "x-amz-server-side-encryption": "aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id": "alias/photos"
        },
        "resources": [
            {"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::photos/file-1"},
            {"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::photos"},
            {"type": "AWS::KMS::Key", "ARN": "arn:aws:kms:local:000000000000:key/1"}
        ],
        "additionalEventData": {
            "SSEApplied": "SSE_KMS", "bucketKeyEnabled": true, "keyArn": "arn:aws:kms:local:000000000000:key/1",
            "keyVersion": 3, "encryptionContext": {"team": "blue"}, "objectId": "ab".repeat(16)
        },
        "decision": "Deny", "sid": "OnlyAes", "errorCode": "AccessDenied", "errorMessage": "denied \"so\"\n",
        "errno": 13, "chain": null
    });
    assert_eq!(value, expected);
}

#[test]
fn a_new_log_is_for_its_owner_only_and_verifies() {
    let log = Log::new();
    log.append(1..=5);
    for path in [log.options.dir.clone(), log.path("state"), log.file(1)] {
        assert_eq!(path.metadata().unwrap().mode() & 0o077, 0, "{}", path.display());
    }
    let report = log.report();
    assert_eq!((report.files, report.lines, report.last, report.problem.clone()), (1, 6, 6, None));
    assert_eq!((report.unsaved, report.unfinished, report.lost), (0, 0, 0));
    assert!(log.lines(1)[5].ends_with(&format!("\"chain\":\"{}\"}}", report.head)));
}

#[test]
fn files_follow_each_other_by_size_and_old_ones_go() {
    let mut log = Log::new();
    (log.options.file_size, log.options.keep_files) = (1000, 3);
    log.append(1..=40);
    let files = log.files();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(!log.file(1).exists());
    let report = log.report();
    assert_eq!(report.problem, None);
    assert!(report.last > 40 && report.lines < report.last);
    // Keeping more from now on does not bring back what is gone, and is no problem.
    log.options.keep_files = 100;
    log.append(41..=60);
    assert_eq!(log.problem(), None);
}

#[test]
fn only_the_root_of_the_keyring_verifies_and_only_it_begins_a_log() {
    let log = Log::with(10);
    let other = Secret::copy_from(&[8; 32]);
    let report = verify(&log.options.dir, &other, None).unwrap();
    let problem = report.problem.unwrap();
    assert_eq!((problem.line, problem.kind), (1, ProblemKind::Altered));
    Appender::open(&log.options, None).unwrap().append(&[event(11)]).unwrap();
    assert_eq!(log.problem(), None);
    let empty = Log::new();
    assert!(matches!(Appender::open(&empty.options, None), Err(AuditError::NotBegun(_))));
    assert!(!empty.options.dir.exists());
    assert!(matches!(empty.verify(), Err(AuditError::NoLog(_))));
}

#[test]
fn a_log_stays_verifiable_when_the_keyring_changes_its_secret() {
    let log = Log::with(20);
    let [second, third] = [8, 9].map(|byte| Secret::copy_from(&[byte; 32]));
    carry_root(&log.options.dir, &log.root, &second).unwrap();
    carry_root(&log.options.dir, &second, &third).unwrap();
    log.append(21..=22);
    assert_eq!(verify(&log.options.dir, &third, None).unwrap().problem, None);
    assert!(matches!(verify(&log.options.dir, &second, None), Err(AuditError::ForeignRoot)));
    let none = Log::new();
    carry_root(&none.options.dir, &none.root, &second).unwrap();
    assert!(!none.options.dir.exists());
}

#[test]
fn processes_take_turns() {
    let mut log = Log::with(0);
    log.options.keep_files = 1000;
    let mut appenders: Vec<_> = (0..4).map(|_| log.appender()).collect();
    std::thread::scope(|scope| {
        for (at, appender) in appenders.iter_mut().enumerate() {
            scope.spawn(move || {
                for number in 0..50 {
                    appender.append(&[event(at as u64 * 100 + number), event(0)]).unwrap();
                }
            });
        }
    });
    let report = log.report();
    assert_eq!(report.problem, None);
    assert!(report.files > 10);
    assert_eq!(report.lines, 4 * 100 + report.files as u64);
}

#[test]
fn lines_are_read_filtered_and_followed() {
    let log = Log::with(30);
    let mut keys = Vec::new();
    let filter =
        Filter { key: Some("file-2*".to_owned()), user: Some("ann".to_owned()), ..Filter::default() };
    records(&log.options.dir, |record| {
        if filter.takes(&record) {
            keys.push(record.text(&["requestParameters", "key"]).to_owned());
        }
        Ok::<_, AuditError>(())
    })
    .unwrap();
    assert_eq!(keys.len(), 11);
    let (mut follow, last) = Follow::from_end(&log.options.dir, 2, |_| true).unwrap();
    assert_eq!(last.iter().map(Record::user).collect::<Vec<_>>(), ["ann", "ann"]);
    assert!(follow.next().unwrap().is_none());
    log.append(31..=60);
    let mut seen = 0;
    while let Some(record) = follow.next().unwrap() {
        seen += u64::from(record.text(&["eventName"]) == "PutObject");
    }
    assert_eq!(seen, 30);
}

#[test]
fn filters_look_at_time_event_and_outcome() {
    let log = Log::new();
    let mut failed = event(1);
    failed.failure = Some(Failure { code: "InternalError", message: String::new(), errno: Some(5) });
    failed.details.key_arn = Some("arn:key".to_owned());
    failed.decision = Decision::Deny { statement: None };
    Arc::make_mut(&mut failed.actor).arn = Some("arn:aws:iam::1:user/ann".to_owned());
    log.appender().append(&[failed, event(2)]).unwrap();
    let count = |filter: Filter| {
        let mut count = 0;
        let counted = records(&log.options.dir, |record| {
            count += u64::from(filter.takes(&record));
            Ok::<_, AuditError>(())
        });
        counted.map(|()| count).unwrap()
    };
    let now = jiff::Timestamp::now();
    let soon = now + jiff::SignedDuration::from_secs(60);
    assert_eq!(count(Filter::default()), 3);
    assert_eq!(count(Filter { since: Some(soon), ..Filter::default() }), 0);
    assert_eq!(count(Filter { until: Some(soon), ..Filter::default() }), 3);
    assert_eq!(count(Filter { failed: true, ..Filter::default() }), 1);
    assert_eq!(count(Filter { master_key: Some("arn:key".to_owned()), ..Filter::default() }), 1);
    assert_eq!(count(Filter { user: Some("1000".to_owned()), ..Filter::default() }), 2);
    assert_eq!(count(Filter { event: Some("CreateTrail".to_owned()), ..Filter::default() }), 1);
    assert_eq!(count(Filter { event: Some("Put*".to_owned()), ..Filter::default() }), 2);
    assert_eq!(count(Filter { user: Some("arn:aws:iam::1:user/ann".to_owned()), ..Filter::default() }), 1);
    assert_eq!(count(Filter { decision: Some("Allow"), ..Filter::default() }), 2);
    assert_eq!(count(Filter { decision: Some("Deny"), ..Filter::default() }), 1);
    assert_eq!(count(Filter { bucket: Some("other".to_owned()), ..Filter::default() }), 0);
}
