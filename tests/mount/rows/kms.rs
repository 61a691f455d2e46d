//! Sections B and C: SSE-KMS and the life of its keys.

use std::fs;

use libc::{EKEYREVOKED, ENOKEY};
use serde_json::Value;

use super::{ENCRYPTION, KMS_KEY, job, set, value};
use crate::fixture::{Drive, assert_errno, fails, ok};

#[test]
fn b1_a_key_is_named_by_id_arn_alias_or_arn_of_the_alias_and_only_with_aws_kms() {
    let drive = Drive::with(&["--sse", "none"]);
    let arn = drive.make_key("alias/a");
    let id = arn.rsplit('/').next().unwrap();
    let alias_arn = arn.replace(&format!("key/{id}"), "alias/a");
    for (at, name) in [id, &arn, "alias/a", &alias_arn].into_iter().enumerate() {
        let f = drive.dir().join(at.to_string());
        fs::write(&f, "").unwrap();
        assert_errno(set(&f, KMS_KEY, name), libc::EINVAL);
        set(&f, ENCRYPTION, "aws:kms").unwrap();
        set(&f, KMS_KEY, name).unwrap();
        fs::write(&f, "content").unwrap();
        assert_eq!(value(&f, KMS_KEY), arn, "{name}");
    }
    fails(&mut Drive::unmounted().mount_command(&["--sse", "AES256", "--sse-kms-key", "alias/a"]), 2);
}

#[test]
fn b2_c13_the_managed_key_comes_with_its_first_object_and_nobody_disables_or_deletes_it() {
    let mut drive = Drive::with(&["--sse", "aws:kms"]);
    fails(&mut drive.on_store(["key", "describe"], ["alias/aws/s3"]), 1);
    fs::write(drive.dir().join("f"), "x").unwrap();
    let made = drive.described("alias/aws/s3");
    assert_eq!((&made["managed"], &made["state"]), (&true.into(), &"enabled".into()));
    for verb in ["disable", "schedule-deletion"] {
        fails(&mut drive.on_store(["key", verb], ["alias/aws/s3"]), 1);
    }
    fails(&mut drive.on_store(["key", "rotate"], ["alias/aws/s3", "--never"]), 1);
    drive.unmount();
    assert_eq!(drive.inspected("f")["kms_key"], made["key"]);
}

#[test]
fn b3_the_key_is_that_of_the_request_then_of_the_bucket_then_the_managed_one_and_the_header_keeps_it() {
    let mut drive = Drive::unmounted();
    let (asked, of_bucket) = (drive.make_key("alias/asked"), drive.make_key("alias/bucket"));
    let flags = ["--sse", "aws:kms"];
    drive.mount(&flags);
    fs::write(drive.dir().join("managed"), "x").unwrap();
    let default = ["data", "--sse", "aws:kms", "--kms-key", "alias/bucket"];
    ok(&mut drive.on_store(["bucket", "encryption", "put"], default));
    fs::write(drive.dir().join("bucket"), "x").unwrap();
    drive.remount_with(&["--sse", "aws:kms", "--sse-kms-key", "alias/asked"]);
    fs::write(drive.dir().join("asked"), "x").unwrap();
    // What an alias points at later is nothing to objects that exist.
    ok(&mut drive.on_store(["key", "alias", "set"], ["alias/bucket", &asked]));
    drive.remount_with(&flags);
    assert_eq!(value(&drive.dir().join("bucket"), KMS_KEY), of_bucket);
    assert_eq!(value(&drive.dir().join("asked"), KMS_KEY), asked);
    let managed = drive.described("alias/aws/s3");
    assert_eq!(value(&drive.dir().join("managed"), KMS_KEY), managed["arn"].as_str().unwrap());
}

#[test]
fn b4_b14_c1_a_key_goes_through_its_states_by_command_and_json_shows_them() {
    let drive = Drive::unmounted();
    let arn = drive.make_key("alias/a");
    let state = || drive.described("alias/a")["state"].as_str().unwrap().to_owned();
    for (verb, after) in [
        ("disable", "disabled"),
        ("enable", "enabled"),
        ("schedule-deletion", "pending_deletion"),
        ("cancel-deletion", "disabled"),
    ] {
        ok(&mut drive.on_store(["key", verb], ["alias/a"]));
        assert_eq!(state(), after, "{verb}");
    }
    let listed: Value = serde_json::from_str(&ok(&mut drive.on_store(["key", "list"], ["--json"]))).unwrap();
    assert!(listed.as_array().unwrap().iter().any(|key| key["arn"] == arn.as_str()));
    fails(&mut drive.on_store(["key", "rotate"], ["alias/a"]), 1);
}

#[test]
fn b6_the_wrapped_key_is_stored_with_the_data_and_a_copied_store_needs_nothing_else() {
    let mut drive = Drive::unmounted();
    drive.make_key("alias/a");
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "alias/a"]);
    fs::write(drive.dir().join("f"), "content").unwrap();
    drive.unmount();
    let wraps = drive.inspected("f")["keys"].as_array().unwrap().len();
    assert_eq!(wraps, 2, "the data key, and the bucket key that wraps it");
    let copy = drive.native().join("copy");
    ok(crate::fixture::command(20, "cp").arg("-a").arg(drive.store()).arg(&copy));
    let mut elsewhere = drive.at_store(&copy);
    elsewhere.mount(&[]);
    assert_eq!(fs::read(elsewhere.dir().join("f")).unwrap(), b"content");
}

#[test]
fn c4_an_unknown_key_writes_nothing() {
    let drive = Drive::with(&["--sse", "aws:kms", "--sse-kms-key", "alias/nobody"]);
    assert_errno(fs::write(drive.dir().join("f"), "x"), ENOKEY);
    assert!(!drive.dir().join("f").exists());
}

#[test]
fn c8_a_key_is_rotated_more_often_than_s3_allows_and_every_version_reads() {
    let mut drive = Drive::unmounted();
    drive.make_key("alias/a");
    let flags = ["--sse", "aws:kms", "--sse-kms-key", "alias/a", "--sse-bucket-key", "off"];
    drive.mount(&flags);
    let path = |version: u32| drive.dir().join(version.to_string());
    for version in 1..=30 {
        fs::write(path(version), version.to_string()).unwrap();
        ok(&mut drive.on_store(["key", "rotate"], ["alias/a"]));
    }
    drive.remount();
    for version in 1..=30_u32 {
        let path = drive.dir().join(version.to_string());
        assert_eq!(fs::read_to_string(path).unwrap(), version.to_string());
    }
    drive.unmount();
    for version in [1, 17, 30] {
        assert_eq!(drive.inspected(&version.to_string())["keys"][0]["version"], version);
    }
    assert_eq!(drive.described("alias/a")["versions"].as_array().unwrap().len(), 31);
}

#[test]
fn c9_a_repointed_alias_gives_new_objects_the_new_key_and_old_ones_need_the_old() {
    let drive = Drive::unmounted();
    let old = drive.make_key("alias/moving");
    let mut drive = drive;
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "alias/moving"]);
    fs::write(drive.dir().join("old"), "x").unwrap();
    let new = drive.make_key("alias/new");
    ok(&mut drive.on_store(["key", "alias", "set"], ["alias/moving", &new]));
    fs::write(drive.dir().join("new"), "x").unwrap();
    assert_eq!(value(&drive.dir().join("old"), KMS_KEY), old);
    assert_eq!(value(&drive.dir().join("new"), KMS_KEY), new);
    ok(&mut drive.on_store(["key", "disable"], [&old]));
    assert_errno(fs::read(drive.dir().join("old")), EKEYREVOKED);
    assert_eq!(fs::read(drive.dir().join("new")).unwrap(), b"x");
}

#[test]
fn c11_a_rewrap_changes_wraps_and_not_one_byte_of_content() {
    let mut drive = Drive::unmounted();
    drive.make_key("alias/a");
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "alias/a"]);
    fs::write(drive.dir().join("f"), vec![7; 100_000]).unwrap();
    drive.unmount();
    let (before, header) = (fs::read(drive.stored("f")).unwrap(), drive.inspected("f"));
    ok(&mut drive.on_store(["key", "rotate"], ["alias/a"]));
    let done = job(&drive, ["rewrap"], ["data", "--deep", "--new-bucket-key"]);
    assert_eq!(
        (&done["succeeded"], &done["failed"]),
        (&2.into(), &0.into()),
        "the bucket key, and the object"
    );
    let (after, rewrapped) = (fs::read(drive.stored("f")).unwrap(), drive.inspected("f"));
    assert!(before[4096..] == after[4096..]);
    assert_eq!(header["key_commitment"], rewrapped["key_commitment"], "the same data key");
    assert_eq!((&header["keys"][1]["version"], &rewrapped["keys"][1]["version"]), (&1.into(), &2.into()));
    drive.mount(&[]);
    assert!(fs::read(drive.dir().join("f")).unwrap() == vec![7; 100_000]);
}
