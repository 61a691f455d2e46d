//! The action table: which operation asks for what, on which name, and that a denied one changes nothing.

use std::{fs, io, os::unix::fs::symlink};

use super::{as_user, assert_denied, assert_logged, deny, put, shared_with};
use crate::fixture::{Drive, fails, ok, shell};

#[track_caller]
fn denied(outcome: io::Result<()>, drive: &Drive, facts: &[&str]) {
    assert_denied(outcome);
    assert_logged(drive, facts);
}

#[test]
fn everything_that_puts_a_name_is_a_put_of_that_name() {
    let drive = shared_with(&deny("NoPuts", r#""s3:PutObject""#, "/closed/*"), &[]);
    let dir = drive.dir();
    fs::create_dir(dir.join("closed")).unwrap();
    fs::write(dir.join("f"), "content").unwrap();
    let told = |name| ["NoPuts".to_owned(), format!("s3:PutObject on `data/closed/{name}`")];
    for (name, outcome) in [
        ("a", fs::write(dir.join("closed/a"), "x")),
        ("b", symlink("f", dir.join("closed/b"))),
        ("c", fs::hard_link(dir.join("f"), dir.join("closed/c"))),
        ("d", fs::rename(dir.join("f"), dir.join("closed/d"))),
    ] {
        let told = told(name);
        denied(outcome, &drive, &[&told[0], &told[1]]);
    }
    assert_eq!(fs::read_dir(dir.join("closed")).unwrap().count(), 0, "nothing may be left behind");
    assert_eq!(fs::read(dir.join("f")).unwrap(), b"content");
    ok(&mut shell(20, &dir, "mkdir closed/sub; mkfifo closed/fifo; rmdir closed/sub; rm closed/fifo"));
}

#[test]
fn a_directory_is_renamed_only_if_everything_in_it_may_be() {
    let drive = shared_with(&deny("NoPuts", r#""s3:PutObject""#, "/closed/deep/secret*"), &[]);
    let dir = drive.dir();
    ok(&mut shell(20, &dir, "mkdir -p open/deep; echo x > open/deep/fine; echo x > open/deep/secret"));
    denied(
        fs::rename(dir.join("open"), dir.join("closed")),
        &drive,
        &["NoPuts", "s3:PutObject on `data/closed/deep/secret`"],
    );
    assert!(dir.join("open/deep/secret").exists());
    fs::remove_file(dir.join("open/deep/secret")).unwrap();
    fs::rename(dir.join("open"), dir.join("closed")).unwrap();
    assert_eq!(fs::read(dir.join("closed/deep/fine")).unwrap(), b"x\n");
}

#[test]
fn what_a_rename_replaces_is_deleted() {
    let drive = shared_with(&deny("Keep", r#""s3:DeleteObject""#, "/kept"), &[]);
    let dir = drive.dir();
    fs::write(dir.join("kept"), "old").unwrap();
    fs::write(dir.join("new"), "new").unwrap();
    let over = fs::rename(dir.join("new"), dir.join("kept"));
    denied(over, &drive, &["Keep", "s3:DeleteObject on `data/kept`"]);
    denied(fs::remove_file(dir.join("kept")), &drive, &["Keep"]);
    assert_eq!(fs::read(dir.join("kept")).unwrap(), b"old");
    assert_eq!(fs::read(dir.join("new")).unwrap(), b"new");
}

#[test]
fn a_finished_object_is_read_and_deleted_by_a_rename_and_an_unfinished_one_is_not() {
    let mut drive = shared_with(&deny("Keep", r#""s3:DeleteObject", "s3:GetObject""#, "/*"), &[]);
    let dir = drive.dir();
    fs::write(dir.join("temporary"), "x").unwrap();
    fs::rename(dir.join("temporary"), dir.join("final")).unwrap();
    denied(fs::rename(dir.join("final"), dir.join("hidden")), &drive, &["Keep", "`data/final`"]);
    fs::write(dir.join("left"), "x").unwrap();
    drive.remount();
    assert_denied(fs::rename(dir.join("left"), dir.join("hidden")));
}

#[test]
fn a_policy_sees_a_directory_as_the_prefix_that_it_lists() {
    let policy = r#"{"Statement": {"Sid": "NoList", "Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket",
        "Resource": "DOCS", "Condition": {"StringEquals": {"s3:prefix": "closed/", "s3:delimiter": "/"}}}}"#;
    let drive = shared_with(policy, &[]);
    let dir = drive.dir();
    ok(&mut shell(20, &dir, "mkdir -p closed/sub open"));
    denied(fs::read_dir(dir.join("closed")).map(drop), &drive, &["NoList", "s3:ListBucket"]);
    for open in ["open", "closed/sub", "."] {
        fs::read_dir(dir.join(open)).unwrap();
    }
    assert!(fs::metadata(dir.join("closed/none")).is_err_and(|e| e.kind() == io::ErrorKind::NotFound));
}

#[test]
fn buckets_are_deleted_and_made_as_policies_allow() {
    let mut drive = shared_with(&deny("Stay", r#""s3:DeleteBucket""#, ""), &[]);
    denied(fs::remove_dir(drive.dir()), &drive, &["Stay", "s3:DeleteBucket on `data`"]);
    drive.unmount();
    let own = drive.path("own.json");
    let nobody = r#"{"Statement": {"Sid": "NoBuckets", "Effect": "Deny", "Action": "s3:CreateBucket", "Resource": "*"}}"#;
    fs::write(&own, nobody).unwrap();
    drive.configure(&format!("[identity_policies]\n\"uid:0\" = '{}'\n", own.display()));
    drive.mount(&[]);
    denied(fs::create_dir(drive.root().join("more")), &drive, &["identity policy", "NoBuckets"]);
    fs::write(&own, nobody.replace("CreateBucket", "PutBucketPolicy")).unwrap();
    fs::create_dir(drive.root().join("more")).unwrap();
}

#[test]
fn row_j15_later_writes_carry_the_setting_of_their_file() {
    let policy = r#"{"Statement": {"Sid": "Aes", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "DOCS/*", "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}}}"#;
    let mut drive = shared_with(policy, &["--sse", "AES256"]);
    fs::write(drive.dir().join("f"), "one").unwrap();
    drive.remount_with(&["--sse", "none"]);
    ok(&mut shell(20, &drive.dir(), "printf two >> f; truncate -s 4 f; mv f g; ln g h"));
    assert_eq!(fs::read(drive.dir().join("h")).unwrap(), b"onet");
    denied(fs::write(drive.dir().join("g"), "x"), &drive, &["Aes", "s3:x-amz-server-side-encryption"]);
}

#[test]
fn in_a_closed_mode_only_what_a_policy_allows_may_be_done() {
    let mut drive = Drive::unmounted();
    drive.configure("[policy]\nmode = \"closed\"\n");
    drive.mount(&["--allow-other"]);
    denied(fs::write(drive.dir().join("f"), "x"), &drive, &["no statement allows it"]);
    let allow = r#"{"Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": "DOCS/*"},
        {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "DOCS"}]}"#;
    put(&drive, allow);
    fs::write(drive.dir().join("f"), "x").unwrap();
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"x");
    assert_denied(fs::remove_file(drive.dir().join("f")));
}

#[test]
fn policies_know_users_by_the_arns_that_they_were_given() {
    let mut drive = Drive::unmounted();
    drive.configure("[principals]\n\"uid:3001\" = \"arn:aws:iam::000000000000:role/Backup\"\n");
    let policy = deny("NoBackup", r#""s3:PutObject""#, "/*")
        .replace(r#""Principal": "*""#, r#""Principal": {"AWS": "arn:aws:iam::000000000000:role/Backup"}"#);
    put(&drive, &policy);
    drive.mount(&["--allow-other"]);
    ok(&mut shell(20, &drive.root(), "chmod 777 . data"));
    let refused = fails(&mut as_user(&drive, 3001, "", "echo x > f"), 1);
    assert!(refused.contains("Permission denied"), "{refused}");
    assert_logged(&drive, &["NoBackup", "arn:aws:iam::000000000000:role/Backup"]);
    ok(&mut as_user(&drive, 3002, "", "echo x > f"));
}
