//! Where the encryption of a request comes from: the file itself, the profile of who asks, the directory, the mount.

use std::{fs, io, path::Path};

use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};

use super::{KMS_KEY, as_user, assert_denied, assert_logged, put, shared_with};
use crate::fixture::{Drive, fails, ok, run, shell};

const STRICT: &str = r#"{"Statement": {"Sid": "Ask", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
    "Resource": "DOCS/*", "Condition": {"Null": {"s3:x-amz-server-side-encryption": "true"}}}}"#;

const ENCRYPTION: &str = "user.s3.server-side-encryption";
const BUCKET_KEY: &str = "user.s3.server-side-encryption-bucket-key-enabled";
const CONTEXT: &str = "user.s3.context";

fn value(path: &Path, name: &str) -> Option<String> {
    let mut buffer = [0; 1024];
    let len = getxattr(path, name, &mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
}

fn set(path: &Path, name: &str, value: &str) -> io::Result<()> {
    Ok(setxattr(path, name, value.as_bytes(), XattrFlags::empty())?)
}

fn attr(drive: &Drive, words: [&str; 2], dir: &str, more: &[&str]) {
    ok(drive.strongroom(words).arg(drive.dir().join(dir)).args(more));
}

#[test]
fn a_directory_asks_for_what_is_made_in_it_and_below() {
    let mut drive = shared_with(STRICT, &["--sse", "none"]);
    let dir = drive.dir();
    fs::create_dir(dir.join("asking")).unwrap();
    assert_denied(fs::write(dir.join("asking/f"), "x"));
    attr(&drive, ["attr", "set"], "asking", &["--sse", "AES256"]);
    fs::create_dir(dir.join("asking/below")).unwrap();
    for name in ["asking/f", "asking/below/f"] {
        fs::write(dir.join(name), "one").unwrap();
        fs::write(dir.join(name), "two").unwrap();
        assert_eq!(value(&dir.join(name), ENCRYPTION).as_deref(), Some("AES256"));
    }
    std::os::unix::fs::symlink("f", dir.join("asking/link")).unwrap();
    assert_denied(fs::write(dir.join("f"), "x"));
    drive.remount_with(&["--sse", "none"]);
    fs::write(dir.join("asking/below/g"), "x").unwrap();
    attr(&drive, ["attr", "delete"], "asking/below", &[]);
    assert_denied(fs::write(dir.join("asking/below/h"), "x"));
    assert_logged(&drive, &["`Ask`", "data/asking/below/h"]);
}

#[test]
fn the_attributes_are_read_by_name_and_not_copied_along() {
    let drive = Drive::with(&["--sse", "none"]);
    let dir = drive.dir();
    fs::create_dir(dir.join("asking")).unwrap();
    attr(&drive, ["attr", "set"], "asking", &["--sse", "bucket-default"]);
    fs::write(dir.join("asking/f"), "x").unwrap();
    for path in ["asking", "asking/f"] {
        let mut names = [0; 1024];
        let len = listxattr(dir.join(path), &mut names[..]).unwrap();
        let names = String::from_utf8_lossy(&names[..len]);
        assert!(!names.contains("s3") && !names.contains("strongroom"), "{names}");
    }
    assert_eq!(value(&dir.join("asking"), ENCRYPTION).as_deref(), Some("bucket-default"));
    ok(&mut shell(
        20,
        &dir,
        "cp -a asking copied; rsync -aX asking/ synced/; test -e copied/f; test -e synced/f",
    ));
    for copy in ["copied", "synced"] {
        assert_eq!(value(&dir.join(copy), ENCRYPTION), None);
    }
    assert_eq!(value(&dir.join("asking"), "user.strongroom.request"), None);
    assert!(set(&dir.join("asking"), "user.strongroom.request", "{}").is_err());
}

#[test]
fn an_empty_file_is_put_again_as_its_attribute_says_and_a_full_one_is_not() {
    let mut drive = Drive::unmounted();
    ok(&mut drive.on_store(["bucket", "create"], ["plain", "--default-encryption", "none"]));
    drive.mount(&["--sse", "none"]);
    let file = drive.root().join("plain/f");
    fs::write(&file, "").unwrap();
    assert_eq!(value(&file, ENCRYPTION), None);
    let refused = |name, value: &str| set(&file, name, value).unwrap_err().raw_os_error();
    assert_eq!(refused(ENCRYPTION, "aes256"), Some(libc::EINVAL));
    assert_eq!(refused(KMS_KEY, "alias/k"), Some(libc::EINVAL), "a key without a mode");
    set(&file, ENCRYPTION, "AES256").unwrap();
    fs::write(&file, "sealed").unwrap();
    assert_eq!(value(&file, ENCRYPTION).as_deref(), Some("AES256"));
    set(&file, ENCRYPTION, "AES256").unwrap();
    assert_eq!(refused(ENCRYPTION, "aws:kms"), Some(libc::EPERM));
    assert_eq!(fs::read(&file).unwrap(), b"sealed");
    drive.remount();
    assert!(fs::read(drive.store().join("plain/f")).unwrap().starts_with(b"\x89EOB"));
}

#[test]
fn profiles_ask_for_users_and_programs() {
    let mut drive = Drive::unmounted();
    let cp = fs::canonicalize("/usr/bin/cp").unwrap();
    drive.configure(&format!(
        "[profiles]\n\"uid:3001\" = {{ sse = \"AES256\" }}\n\"exe:{}\" = {{ sse = \"AES256\" }}\n",
        cp.display()
    ));
    put(&drive, STRICT);
    drive.mount(&["--allow-other", "--sse", "none"]);
    ok(&mut shell(20, &drive.root(), "chmod 777 . data"));
    ok(&mut as_user(&drive, 3001, "", "echo x > mine"));
    ok(&mut as_user(&drive, 3002, "", "cp /etc/hostname copied"));
    let told = run(&mut as_user(&drive, 3002, "", "echo x > other"));
    assert!(told.stderr.contains("Permission denied"), "{told:?}");
}

#[test]
fn put_names_the_encryption_whatever_the_mount_asks_for() {
    let drive = shared_with(STRICT, &["--sse", "none"]);
    fs::write(drive.path("source"), "content").unwrap();
    let put = |more: &[&str]| {
        let mut put = drive.strongroom(["put"]);
        put.arg(drive.path("source")).arg(drive.dir().join("target")).args(more);
        put
    };
    assert!(ok(&mut put(&["--sse", "AES256"])).starts_with("7 bytes put to"));
    assert_eq!(fs::read(drive.dir().join("target")).unwrap(), b"content");
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 1, "nothing else is left");
    assert!(fails(&mut put(&["--sse", "aes256"]), 1).contains("makes no sense"));
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 1);
}

/// The ready policy that requires a KMS key, satisfied: the key is judged as the ARN that it resolves to.
#[test]
fn row_j2_a_policy_sees_the_arn_of_the_key_that_the_directory_names() {
    let drive = Drive::with(&["--sse", "none"]);
    let dir = drive.dir();
    fs::create_dir(dir.join("kms")).unwrap();
    attr(&drive, ["attr", "set"], "kms", &["--sse", "aws:kms"]);
    fs::write(dir.join("kms/f"), "x").unwrap();
    assert_eq!(value(&dir.join("kms/f"), ENCRYPTION).as_deref(), Some("aws:kms"));
    let key = value(&dir.join("kms/f"), KMS_KEY).unwrap();
    assert!(key.starts_with("arn:aws:kms:") && key.contains(":key/"), "{key}");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policies/require-kms-key.json");
    let text = fs::read_to_string(shipped).unwrap().replace("BUCKET", "data");
    put(&drive, &text.replace("arn:aws:kms:REGION:ACCOUNT:key/KEY", &key));
    fs::write(dir.join("kms/g"), "x").unwrap();
    assert_denied(fs::write(dir.join("g"), "x"));
    fs::rename(dir.join("kms/g"), dir.join("g")).unwrap();
}

/// What `HEAD` tells in S3. Nothing of it is remembered by the daemon: it stands in the header page.
#[test]
fn row_p3_a_file_tells_its_whole_encryption_after_a_remount() {
    let mut drive = Drive::with(&["--sse", "none"]);
    let dir = drive.dir();
    for (name, more) in [
        (
            "direct",
            &["--sse", "aws:kms", "--bucket-key", "off", "--context", "team=blue", "--context", "app=x"][..],
        ),
        ("shared", &["--sse", "aws:kms"]),
        ("service", &["--sse", "AES256"]),
    ] {
        fs::create_dir(dir.join(name)).unwrap();
        attr(&drive, ["attr", "set"], name, more);
        fs::write(dir.join(name).join("f"), "content").unwrap();
    }
    drive.remount();
    let told = |name: &str| {
        let path = dir.join(name).join("f");
        [ENCRYPTION, KMS_KEY, BUCKET_KEY, CONTEXT].map(|name| value(&path, name))
    };
    let [encryption, key, bucket_key, context] = told("direct");
    assert_eq!(encryption.as_deref(), Some("aws:kms"));
    assert!(key.clone().unwrap().contains(":key/"), "{key:?}");
    assert_eq!(bucket_key.as_deref(), Some("false"));
    assert_eq!(context.as_deref(), Some(r#"{"app":"x","team":"blue"}"#));
    assert_eq!(told("shared"), [Some("aws:kms".into()), key, Some("true".into()), None]);
    assert_eq!(told("service"), [Some("AES256".into()), None, None, None]);
    let f = dir.join("direct/f");
    let mut names = [0; 1024];
    assert_eq!(listxattr(&f, &mut names[..]).unwrap(), 0, "none of it is listed");
    set(&f, CONTEXT, r#"{ "team": "blue", "app": "x" }"#).unwrap();
    set(&f, BUCKET_KEY, "false").unwrap();
    let refused = set(&f, CONTEXT, r#"{"team": "red"}"#).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    let shown = ok(drive.strongroom(["attr", "get"]).arg(&f));
    assert!(shown.contains("team") && shown.contains("false"), "{shown}");
}
