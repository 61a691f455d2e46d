//! What is recorded: operation by operation, on a live drive. Rows P1, C2 to C4 and J ("FUSE op to action") of
//! s3-semantics.md.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use super::by_programs;
use crate::fixture::{Drive, eventually, ok, python, run};

/// A bucket where `denied` may not be touched and `seen` may not be listed.
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Sid": "NoTouch", "Effect": "Deny", "Principal": "*", "Action": "s3:*Object", "Resource": "arn:aws:s3:::data/denied*"},
    {"Sid": "NoList", "Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::data",
     "Condition": {"StringLike": {"s3:prefix": "unseen/*"}}}]}"#;

/// What is there before anything is recorded: one file for each operation that needs one.
const BEFORE: &str = r"
import os
for name in ['mark', 'a', 'b', 'c', 'd', 'denied', 'kept']: open(name, 'w').write('content')
os.mkdir('unseen'); os.mkdir('dir')
";

/// Each Python statement with what the log has to say about it: the event, the object or bucket that it is about, how it was
/// opened, the decision, and the error code.
const OPERATIONS: &[(&str, &[&str])] = &[
    // A PUT, however it comes about.
    ("open('new', 'w').write('x')", &["PutObject new Allow"]),
    ("os.mknod('node', 0o100644)", &["PutObject node Allow"]),
    ("open('a', 'w').write('over')", &["PutObject a w Allow"]),
    ("open('a', 'a').write('more')", &["PutObject a w Allow"]),
    ("open('a', 'r+b').read()", &["PutObject a rw Allow"]),
    ("os.truncate('a', 0)", &["PutObject a w Allow"]),
    ("os.truncate('a', 9)", &["PutObject a w Allow"]),
    ("f = open('b', 'r+b'); f.truncate(0); f.close()", &["PutObject b rw Allow", "PutObject b Allow"]),
    ("os.symlink('a', 'link')", &["PutObject link Allow"]),
    ("os.mkfifo('fifo')", &["PutObject fifo Allow"]),
    // A GET.
    ("open('c').read()", &["GetObject c r Allow"]),
    ("open('link').read()", &["GetObject a r Allow"]),
    // What an open file is used for is covered by its opening.
    (
        "f = open('c', 'r+b'); f.seek(0, os.SEEK_HOLE); f.write(b'z'); os.posix_fallocate(f.fileno(), 0, 99); \
         f.truncate(3); os.fsync(f.fileno()); f.close()",
        &["PutObject c rw Allow"],
    ),
    (
        "f = open('c', 'rb'); t = open('copy', 'wb'); os.copy_file_range(f.fileno(), t.fileno(), 3); t.close()",
        &["GetObject c r Allow", "PutObject copy Allow"],
    ),
    // Names.
    ("os.rename('copy', 'moved')", &["RenameObject moved<copy Allow"]),
    ("os.replace('moved', 'new')", &["RenameObject new<moved Allow"]),
    ("os.rename('dir', 'tree')", &["RenameObject tree<dir Allow"]),
    ("os.link('d', 'e')", &["CopyObject e<d Allow"]),
    ("os.unlink('e')", &["DeleteObject e Allow"]),
    // Owners, modes and attributes: ACLs and tags.
    ("os.chmod('d', 0o640)", &["PutObjectAcl d Allow"]),
    ("os.chown('d', 1, 2)", &["PutObjectAcl d Allow"]),
    ("os.setxattr('d', 'user.colour', b'blue')", &["PutObjectTagging d Allow"]),
    ("os.removexattr('d', 'user.colour')", &["DeleteObjectTagging d Allow"]),
    ("os.removexattr('d', 'user.none')", &["DeleteObjectTagging d Allow InternalError"]),
    ("os.setxattr('tree', 'user.s3.server-side-encryption', b'AES256')", &["PutObjectTagging tree Allow"]),
    ("os.setxattr('node', 'user.s3.server-side-encryption', b'AES256')", &["PutObjectTagging node Allow"]),
    (
        "os.setxattr('d', 'user.s3.server-side-encryption', b'aws:kms')",
        &["PutObjectTagging d Allow AccessDenied"],
    ),
    ("os.chmod('.', 0o750)", &["PutBucketAcl data Allow"]),
    ("os.setxattr('.', 'user.colour', b'red')", &["PutBucketTagging data Allow"]),
    ("os.removexattr('.', 'user.colour')", &["DeleteBucketTagging data Allow"]),
    // S3 has no directories, and looking at names is not recorded.
    ("os.mkdir('plain'); os.listdir('.'); os.stat('a'); os.readlink('link'); os.rmdir('plain')", &[]),
    ("os.utime('d', (1, 2)); os.getxattr('d', 'user.s3.server-side-encryption'); os.statvfs('.')", &[]),
    // Buckets.
    ("os.mkdir('../photos')", &["CreateBucket photos Allow"]),
    ("os.rmdir('../photos')", &["DeleteBucket photos Allow"]),
    ("os.rmdir('../data')", &["DeleteBucket data Allow BucketNotEmpty"]),
    // Refusals.
    ("open('denied')", &["GetObject denied r Deny AccessDenied"]),
    ("open('denied', 'a')", &["PutObject denied w Deny AccessDenied"]),
    ("os.truncate('denied', 0)", &["PutObject denied w Deny AccessDenied"]),
    ("open('denied2', 'w')", &["PutObject denied2 Deny AccessDenied"]),
    ("os.symlink('a', 'denied3')", &["PutObject denied3 Deny AccessDenied"]),
    ("os.link('a', 'denied4')", &["CopyObject denied4<a Deny AccessDenied"]),
    ("os.rename('a', 'denied5')", &["RenameObject denied5<a Deny AccessDenied"]),
    ("os.rename('denied', 'f')", &["RenameObject f<denied Deny AccessDenied"]),
    ("os.unlink('denied')", &["DeleteObject denied Deny AccessDenied"]),
    ("os.listdir('unseen')", &["ListBucket unseen Deny AccessDenied"]),
    ("os.rename('a', '../a')", &["RenameObject a<a Allow InvalidRequest"]),
];

#[test]
fn every_operation_leaves_the_lines_that_it_should() {
    let mut drive = Drive::unmounted();
    drive.mount(&[]);
    ok(&mut python(30, &drive.dir(), BEFORE));
    put_policy(&drive, POLICY);
    drive.remount_with(&["--audit", "on"]);
    let statements: Vec<_> = OPERATIONS.iter().map(|(statement, _)| *statement).collect();
    let recorded = perform(&drive, &statements);
    let found = recorded.iter().map(|events| events.iter().map(told).collect::<Vec<_>>());
    let wrong = OPERATIONS.iter().zip(found).filter(|((_, expected), found)| found != expected);
    let wrong: Vec<_> = wrong.map(|((statement, _), found)| format!("{statement}: {found:?}")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn c2_c3_c4_a_key_that_cannot_be_used_is_named_with_the_code_of_kms() {
    let mut drive = Drive::unmounted();
    for alias in ["off", "pending", "gone"] {
        ok(&mut drive.on_store(["key", "create"], ["--alias", &format!("alias/{alias}")]));
    }
    drive.mount(&[]);
    ok(&mut python(30, &drive.dir(), KEYED));
    ok(&mut drive.on_store(["key", "disable"], ["alias/off"]));
    ok(&mut drive.on_store(["key", "schedule-deletion"], ["alias/pending", "--force"]));
    ok(&mut drive.on_store(["key", "alias", "remove"], ["alias/gone"]));
    drive.remount_with(&["--audit", "on"]);
    let statements = [
        "open('off/f')",
        "open('off/g', 'w')",
        "open('pending/f')",
        "open('pending/g', 'w')",
        "open('gone/g', 'w')",
    ];
    let recorded = perform(&drive, &statements);
    let found: Vec<_> = recorded.iter().flatten().map(told).collect();
    let expected = [
        "GetObject off/f r Allow KMS.DisabledException",
        "PutObject off/g Allow KMS.DisabledException",
        "GetObject pending/f r Allow KMS.KMSInvalidStateException",
        "PutObject pending/g Allow KMS.KMSInvalidStateException",
        "PutObject gone/g Allow KMS.NotFoundException",
    ];
    assert_eq!(found, expected);
    let arns: Vec<_> =
        recorded.iter().flatten().map(|event| event["additionalEventData"]["keyArn"].as_str()).collect();
    assert!(arns[..4].iter().all(Option::is_some), "the key is named: {arns:?}");
    assert_ne!(arns[0], arns[2]);
    let services = super::events(&drive);
    let codes: Vec<_> = services
        .iter()
        .filter(|event| event["eventSource"] == "kms.amazonaws.com" && event["errorCode"].is_string())
        .map(|event| (event["eventName"].as_str().unwrap(), event["errorCode"].as_str().unwrap()))
        .collect();
    assert!(codes.contains(&("Decrypt", "DisabledException")), "{codes:?}");
}

const KEYED: &str = r"
import os
for key in ['off', 'pending', 'gone']:
    os.mkdir(key)
    os.setxattr(key, 'user.s3.server-side-encryption', b'aws:kms')
    os.setxattr(key, 'user.s3.server-side-encryption-aws-kms-key-id', b'alias/' + key.encode())
    open(key + '/f', 'w').write('content')
open('mark', 'w').close()
";

/// Row C15: before a key is deleted for good, the log tells whether anybody still needs it.
#[test]
fn c15_usage_tells_when_a_key_was_used_by_whom_and_who_tried_while_it_waits_for_its_deletion() {
    let mut drive = Drive::unmounted();
    ok(&mut drive.on_store(["key", "create"], ["--alias", "alias/tenant"]));
    let usage = |drive: &Drive| -> Value {
        serde_json::from_str(&ok(&mut drive.on_store(["key", "usage"], ["alias/tenant", "--json"]))).unwrap()
    };
    assert_eq!(usage(&drive)["log"], Value::Null, "there is no log yet");
    drive.mount(&["--audit", "on", "--sse", "aws:kms", "--sse-kms-key", "alias/tenant"]);
    fs::write(drive.dir().join("f"), "content").unwrap();
    fs::read(drive.dir().join("f")).unwrap();
    ok(&mut drive.on_store(["key", "schedule-deletion"], ["alias/tenant", "--force"]));
    let before = by_programs(&drive).len();
    fs::read(drive.dir().join("f")).unwrap_err();
    fs::write(drive.dir().join("g"), "content").unwrap_err();
    eventually("the attempts are recorded", || by_programs(&drive).len() >= before + 2);
    let told = usage(&drive);
    let log = &told["log"];
    let root = &log["principals"]["arn:aws:iam::000000000000:user/root"];
    assert_eq!((&root["allowed"], &root["refused"]), (&2.into(), &2.into()), "{told:#}");
    assert!(log["pending_deletion"].as_u64().unwrap() >= 2, "{told:#}");
    let time = |name: &str| log[name].as_str().unwrap().to_owned();
    assert!(time("first_use") <= time("last_use") && time("last_use") < time("last_refused"), "{told:#}");
    let shown = ok(&mut drive.on_store(["key", "usage"], ["alias/tenant"]));
    assert!(shown.contains("user/root, 2 requests, 2 refused, last at 20"), "{shown}");
    assert!(shown.contains("while the key waits for its deletion"), "{shown}");
}

/// What administrators do, in the order in which they do it, with what the log has to say. `PATH` stands for a directory.
const ADMINISTRATION: &[(&str, &[&str])] = &[
    ("bucket create STORE photos", &["CreateBucket photos Allow"]),
    ("bucket delete STORE photos", &["DeleteBucket photos Allow"]),
    ("key create STORE --alias alias/tenant", &["CreateKey Allow"]),
    ("key alias set STORE alias/other alias/tenant", &["UpdateAlias alias/tenant Allow"]),
    ("key rotate STORE alias/tenant", &["RotateKeyOnDemand alias/tenant Allow"]),
    ("key rotate STORE alias/tenant --every 100", &["EnableKeyRotation alias/tenant Allow"]),
    ("key rotate STORE alias/tenant --never", &["DisableKeyRotation alias/tenant Allow"]),
    (
        "key disable STORE alias/tenant --revoke",
        &["RefreshKeys Allow", "RevokeKey KEY Allow", "DisableKey alias/tenant Allow"],
    ),
    ("key enable STORE alias/tenant", &["RefreshKeys Allow", "EnableKey alias/tenant Allow"]),
    (
        "key export-backup STORE alias/tenant PATH/backup --new-key-file PATH/backup-key",
        &["ExportKeyBackup alias/tenant Allow"],
    ),
    (
        "key schedule-deletion STORE alias/tenant",
        &["RefreshKeys Allow", "ScheduleKeyDeletion alias/tenant Allow"],
    ),
    (
        "key cancel-deletion STORE alias/tenant",
        &["RefreshKeys Allow", "CancelKeyDeletion alias/tenant Allow"],
    ),
    ("key alias remove STORE alias/other", &["DeleteAlias alias/other Allow"]),
    ("key import STORE --material PATH/material", &["ImportKeyMaterial Allow"]),
    (
        "key customer add STORE --bucket data --prefix c/ --ttl 8h PATH/material",
        &["AddCustomerKeys data Allow"],
    ),
    ("key customer remove STORE --bucket data --prefix c/", &["RemoveCustomerKeys data Allow"]),
    ("passwd STORE add --new-key-file PATH/second", &["AddUnlockSlot Allow"]),
    ("passwd STORE change 2 --new-key-file PATH/third", &["ChangeUnlockSlot Allow"]),
    ("passwd STORE remove 2", &["RemoveUnlockSlot Allow"]),
    ("bucket encryption block STORE data SSE-C", &["PutBucketEncryption data Allow"]),
    (
        "put PATH/material PATH/drive/data/f --sse AES256",
        &["PutObjectTagging .upload Allow", "PutObject .upload/f Allow", "RenameObject f<.upload/f Allow"],
    ),
];

/// The same for what needs the store unmounted.
const UNMOUNTED: &[(&str, &[&str])] = &[
    (
        "bucket retention put STORE data --days 9 --mode governance",
        &["PutObjectLockConfiguration data Allow"],
    ),
    ("bucket retention delete STORE data", &["PutObjectLockConfiguration data Deny AccessDenied"]),
    ("bucket retention delete STORE data --bypass-governance", &["PutObjectLockConfiguration data Allow"]),
    (
        "bucket retention delete STORE data",
        &["PutObjectLockConfiguration data Allow ObjectLockConfigurationNotFoundError"],
    ),
];

/// Nothing of a key may be in the log.
#[test]
fn administration_is_recorded_with_who_did_it_and_never_with_a_key() {
    let mut drive = Drive::unmounted();
    drive.mount(&["--audit", "on"]);
    let secret: Vec<_> = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let secret = secret.concat();
    let material = drive.path("material");
    fs::write(&material, hex_bytes(&secret)).unwrap();
    fs::set_permissions(&material, fs::Permissions::from_mode(0o600)).unwrap();
    for (step, (words, expected)) in ADMINISTRATION.iter().chain(UNMOUNTED).enumerate() {
        if step == ADMINISTRATION.len() {
            drive.unmount();
        }
        if words.contains("customer add") {
            fs::write(&material, &secret).unwrap();
        }
        let before = by_programs(&drive).len();
        administer(&drive, words);
        let found = || by_programs(&drive).split_off(before);
        eventually(words, || found().len() >= expected.len());
        // The command and the daemon write when it suits them.
        let (mut told, mut expected): (Vec<_>, _) = (found().iter().map(told).collect(), expected.to_vec());
        told.sort();
        expected.sort_unstable();
        assert_eq!(told, expected, "{words}");
        let programs = found();
        let ours = |event: &Value| event["userIdentity"]["exe"].as_str().unwrap().ends_with("/strongroom");
        assert!(programs.iter().all(ours), "{words}: {programs:?}");
        assert!(programs.iter().all(|event| !event.to_string().contains(&secret)), "{words}");
    }
    let events = by_programs(&drive);
    let of = |name: &str| events.iter().find(|event| event["eventName"] == name).unwrap().clone();
    let arn = of("CreateKey")["additionalEventData"]["keyArn"].clone();
    assert!(arn.as_str().is_some_and(|arn| arn.starts_with("arn:aws:kms:")), "{arn}");
    for name in ["DisableKey", "RevokeKey", "ExportKeyBackup", "ScheduleKeyDeletion"] {
        assert_eq!(of(name)["additionalEventData"]["keyArn"], arn, "{name}");
    }
    let locked = &of("PutObjectLockConfiguration")["requestParameters"]["ObjectLockConfiguration"]["Rule"];
    assert_eq!(locked["DefaultRetention"], serde_json::json!({"Mode": "GOVERNANCE", "Days": 9}));
    let bypassed = |event: &&Value| event["requestParameters"]["x-amz-bypass-governance-retention"] == true;
    assert_eq!(events.iter().filter(bypassed).count(), 1);
    ok(&mut drive.on_store(["audit", "verify"], []));
}

fn administer(drive: &Drive, words: &str) {
    let base = drive.path("").to_str().unwrap().trim_end_matches('/').to_owned();
    let words = words.split(' ').map(|word| match word {
        "STORE" => drive.store().to_str().unwrap().to_owned(),
        word => word.replace("PATH", &base),
    });
    // What is refused is recorded as well.
    run(drive.strongroom([]).args(words));
}

fn hex_bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn put_policy(drive: &Drive, policy: &str) {
    fs::write(drive.path("policy.json"), policy).unwrap();
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy.json")));
}

/// Performs `statements` one by one, whether they fail or not, and tells what the log has about each. An opened file,
/// `mark`, parts one from the next.
fn perform(drive: &Drive, statements: &[&str]) -> Vec<Vec<Value>> {
    let before = by_programs(drive).len();
    let program = format!(
        "import os\nfor statement in {}:\n  try: exec(statement, {{'os': os}})\n  except OSError: pass\n  \
         open('mark').close()",
        serde_json::to_string(statements).unwrap()
    );
    ok(&mut python(60, &drive.dir(), &program));
    let is_mark = |event: &Value| event["requestParameters"]["key"] == "mark";
    let recorded = || by_programs(drive).split_off(before);
    eventually("everything is recorded", || {
        recorded().iter().filter(|event| is_mark(event)).count() == statements.len()
    });
    recorded().split(is_mark).take(statements.len()).map(<[Value]>::to_vec).collect()
}

/// An event as the tables have it.
fn told(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let request = &event["requestParameters"];
    let about = [&request["key"], &request["bucketName"], &request["keyId"]];
    let mut about = about.into_iter().map(text).find(|text| !text.is_empty()).unwrap_or_default();
    if event["eventName"] == "RevokeKey" {
        about = "KEY".to_owned();
    }
    let source = text(&request["x-amz-copy-source"]);
    if !source.is_empty() {
        about = format!("{about}<{source}");
    }
    let access = text(&event["additionalEventData"]["access"]);
    let words =
        [text(&event["eventName"]), about, access, text(&event["decision"]), text(&event["errorCode"])];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    // The directory of an upload carries the number of its process.
    let pid = event["userIdentity"]["pid"].to_string();
    words.join(" ").replace(&format!(".upload-{pid}"), ".upload")
}
