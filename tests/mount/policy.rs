//! Policies on a live drive: the two of the S3 guide, and further down what else they judge.

mod actions;
mod explained;
mod operators;
mod ready;
mod retention;
mod rows;
mod sources;
mod table;
mod tools;

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::fixture::{Drive, command, ok};

const OTHER: &str = "require-aes256";
const ABSENT: &str = "require-encryption-header";

/// A drive whose bucket `data` has the shipped policy `name`.
fn with_policy(name: &str, default: &str) -> Drive {
    let drive = Drive::unmounted();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/policies/{name}.json"));
    let text = fs::read_to_string(shipped).unwrap().replace("BUCKET", "data");
    fs::write(drive.path("policy.json"), text).unwrap();
    ok(&mut drive.on_store(["bucket", "delete"], ["data"]));
    ok(&mut drive.on_store(["bucket", "create"], ["data", "--default-encryption", default]));
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy.json")));
    drive
}

/// A drive for everybody whose bucket `data`, where everybody may write, has this policy; `DOCS` stands for its ARN.
fn shared_with(policy: &str, flags: &[&str]) -> Drive {
    let mut drive = Drive::unmounted();
    put(&drive, policy);
    drive.mount(&[&["--allow-other"], flags].concat());
    for dir in [drive.root(), drive.dir()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    drive
}

/// Directories by what their attribute asks for, besides the bucket itself, and the words of the commands for that.
const ASKING: [(&str, &[&str]); 4] = [
    ("none", &[]),
    ("aes", &["--sse", "AES256"]),
    ("kms", &["--sse", "aws:kms"]),
    ("default", &["--sse", "bucket-default"]),
];

const KMS_KEY: &str = "user.s3.server-side-encryption-aws-kms-key-id";

/// Makes the directories of [`ASKING`] with an object in each; the ARN of the key of SSE-KMS.
fn make_asking(drive: &Drive) -> String {
    for (name, words) in ASKING {
        let dir = drive.dir().join(name);
        fs::create_dir(&dir).unwrap();
        if !words.is_empty() {
            ok(drive.strongroom(["attr", "set"]).arg(&dir).args(words));
        }
        fs::write(dir.join("there"), "content").unwrap();
    }
    let mut key = [0; 128];
    let len = rustix::fs::getxattr(drive.dir().join("kms/there"), KMS_KEY, &mut key).unwrap();
    String::from_utf8(key[..len].to_vec()).unwrap()
}

/// Makes this the policy of the bucket `data`.
fn put(drive: &Drive, policy: &str) {
    fs::write(drive.path("policy.json"), policy.replace("DOCS", "arn:aws:s3:::data")).unwrap();
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy.json")));
}

/// One statement that denies `actions` on the objects that match `pattern`.
fn deny(sid: &str, actions: &str, pattern: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Sid": "{sid}", "Effect": "Deny", "Principal": "*",
            "Action": [{actions}], "Resource": "DOCS{pattern}"}}}}"#
    )
}

/// A script of the user and group `id`, with these supplementary groups, in the bucket.
pub(crate) fn as_user(drive: &Drive, id: u32, groups: &str, script: &str) -> Command {
    let mut user = command(30, "setpriv");
    user.args([format!("--reuid={id}"), format!("--regid={id}")]);
    user.arg(if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={groups}") });
    user.args(["bash", "-eu", "-o", "pipefail", "-c", script]).current_dir(drive.dir());
    user
}

#[track_caller]
pub(crate) fn assert_denied<T>(outcome: io::Result<T>) {
    assert_eq!(outcome.err().expect("the policy denies this").raw_os_error(), Some(libc::EACCES));
}

/// Tries to create in every way there is; nothing may be left behind.
fn assert_nothing_can_be_created(drive: &Drive) {
    let file = drive.dir().join("f");
    assert_denied(fs::File::create(&file));
    assert_denied(fs::File::create_new(&file));
    assert_denied(fs::copy("/etc/hostname", &file));
    let node = rustix::fs::mknodat(
        rustix::fs::CWD,
        &file,
        rustix::fs::FileType::RegularFile,
        rustix::fs::Mode::from(0o644),
        0,
    );
    assert_denied(node.map_err(io::Error::from));
    let touch = crate::fixture::fails(command(20, "touch").arg(&file), 1);
    assert!(touch.contains("Permission denied"), "{touch}");
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 0, "something was left behind");
    let left: Vec<_> =
        fs::read_dir(drive.stored("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".eob"], "something was left behind in the store");
}

#[track_caller]
pub(crate) fn assert_logged(drive: &Drive, facts: &[&str]) {
    let log = drive.log();
    let told = log.lines().any(|line| facts.iter().all(|fact| line.contains(fact)));
    assert!(told, "no line tells all of {facts:?}:\n{log}");
}

#[test]
fn a_creation_without_the_header_is_denied_whatever_the_bucket_default() {
    for (policy, sid) in
        [(OTHER, "DenyOtherEncryptionThanAES256"), (ABSENT, "DenyObjectsWithoutEncryptionHeader")]
    {
        for default in ["AES256", "none"] {
            let mut drive = with_policy(policy, default);
            drive.mount(&["--sse", "none"]);
            assert_nothing_can_be_created(&drive);
            assert_logged(&drive, &[sid, "s3:x-amz-server-side-encryption", "data/f", "--sse AES256"]);
        }
    }
}

#[test]
fn a_creation_that_asks_for_aes256_is_allowed_and_encrypted() {
    for policy in [OTHER, ABSENT] {
        for default in ["AES256", "none"] {
            let mut drive = with_policy(policy, default);
            drive.mount(&["--sse", "AES256"]);
            fs::write(drive.dir().join("f"), "content").unwrap();
            drive.remount_with(&["--sse", "AES256"]);
            assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"content");
            assert!(fs::read(drive.stored("f")).unwrap().starts_with(b"\x89EOB"));
        }
    }
}

#[test]
fn the_bucket_default_as_header_satisfies_the_policy_only_where_it_encrypts() {
    for policy in [OTHER, ABSENT] {
        let mut drive = with_policy(policy, "AES256");
        drive.mount(&["--sse", "bucket-default"]);
        fs::write(drive.dir().join("f"), "content").unwrap();
        drop(drive);
        let mut drive = with_policy(policy, "none");
        drive.mount(&["--sse", "bucket-default"]);
        assert_nothing_can_be_created(&drive);
    }
}

/// Starting over with `O_TRUNC` is a PUT too; what is there must stay when it is denied.
#[test]
fn a_denied_rewrite_leaves_the_old_content() {
    let mut drive = with_policy(OTHER, "AES256");
    drive.mount(&["--sse", "AES256"]);
    fs::write(drive.dir().join("f"), "old content").unwrap();
    drive.remount_with(&["--sse", "none"]);
    assert_denied(fs::write(drive.dir().join("f"), "new"));
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"old content");
}

#[test]
fn a_bucket_with_default_none_stores_plain_files_beside_encrypted_ones() {
    let mut drive = Drive::unmounted();
    ok(&mut drive.on_store(["bucket", "create"], ["plain", "--default-encryption", "none"]));
    drive.mount(&["--sse", "none"]);
    fs::write(drive.root().join("plain/clear"), "in the clear").unwrap();
    drive.remount_with(&["--sse", "AES256"]);
    fs::write(drive.root().join("plain/secret"), "sealed").unwrap();
    drive.remount_with(&["--sse", "none"]);
    assert_eq!(fs::read(drive.root().join("plain/clear")).unwrap(), b"in the clear");
    assert_eq!(fs::read(drive.root().join("plain/secret")).unwrap(), b"sealed");
    assert_eq!(fs::read(drive.store().join("plain/clear")).unwrap(), b"in the clear");
    assert!(fs::read(drive.store().join("plain/secret")).unwrap().starts_with(b"\x89EOB"));
}

#[test]
fn a_stored_policy_that_is_broken_makes_the_bucket_read_only() {
    let mut drive = with_policy(OTHER, "AES256");
    drive.mount(&["--sse", "AES256"]);
    fs::write(drive.dir().join("f"), "content").unwrap();
    drive.unmount();
    fs::write(drive.stored(".eob/policy.json"), "{\"Version\": ").unwrap();
    drive.mount(&["--sse", "AES256"]);
    assert!(fs::write(drive.dir().join("g"), "").is_err());
    assert!(fs::write(drive.dir().join("f"), "new").is_err());
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"content");
    assert!(drive.log().contains("policy"), "{}", drive.log());
}

/// By the command, and by hand; the daemon keeps what it has read for as long as nothing changes.
#[test]
fn a_change_of_the_policy_takes_effect_at_the_next_operation() {
    let drive = shared_with(&deny("NoPuts", r#""s3:PutObject""#, "/*"), &[]);
    let (file, stored) = (drive.dir().join("f"), drive.stored(".eob/policy.json"));
    let (closed, open) = (drive.path("closed.json"), drive.path("open.json"));
    fs::copy(&stored, &closed).unwrap();
    fs::write(
        &open,
        fs::read_to_string(&stored).unwrap().replace("NoPuts", "Nobody").replace("Deny", "Allow"),
    )
    .unwrap();
    for _ in 0..200 {
        assert_denied(fs::write(&file, "x"));
        fs::copy(&open, drive.path("next")).unwrap();
        fs::rename(drive.path("next"), &stored).unwrap();
        fs::write(&file, "x").unwrap();
        fs::copy(&closed, &stored).unwrap();
    }
    for _ in 0..5 {
        assert_denied(fs::write(&file, "x"));
        ok(&mut drive.on_store(["bucket", "policy", "delete"], ["data"]));
        fs::write(&file, "x").unwrap();
        put(&drive, &deny("NoPuts", r#""s3:PutObject""#, "/*"));
    }
}
