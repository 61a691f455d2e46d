//! Section D: the encryption context.

use std::fs;

use super::job;
use crate::fixture::{Drive, assert_errno, command, fails, ok};

/// Mounted with a key and this pair.
fn with_context(pair: &str) -> Drive {
    let mut drive = Drive::unmounted();
    drive.make_key("alias/a");
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "alias/a", "--sse-context", pair]);
    drive
}

#[test]
fn d1_d2_a_context_is_stored_in_a_canonical_order_and_read_without_any_key() {
    let mut drive = Drive::unmounted();
    drive.make_key("alias/a");
    let flags = ["--sse", "aws:kms", "--sse-kms-key", "alias/a"];
    drive.mount(&[&flags[..], &["--sse-context", "z=1", "--sse-context", "a=2"]].concat());
    fs::write(drive.dir().join("f"), "x").unwrap();
    drive.unmount();
    fs::remove_file(drive.key()).unwrap();
    let context = drive.inspected("f")["context"].clone();
    let names: Vec<_> = context.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["a", "z"]);
}

#[test]
fn d4_a_context_that_claims_to_be_another_object_is_refused() {
    let drive = with_context("aws:s3:arn=arn:aws:s3:::data/f");
    assert_errno(fs::write(drive.dir().join("g"), "x"), libc::EINVAL);
    assert!(!drive.dir().join("g").exists());
    fs::write(drive.dir().join("f"), "x").unwrap();
}

#[test]
fn d5_a_wrapped_key_serves_its_own_object_only() {
    let mut drive = with_context("a=b");
    for name in ["one", "two"] {
        fs::write(drive.dir().join(name), name.repeat(2000)).unwrap();
    }
    drive.unmount();
    let (mut one, two) = (fs::read(drive.stored("one")).unwrap(), fs::read(drive.stored("two")).unwrap());
    one[4096..].copy_from_slice(&two[4096..]);
    fs::write(drive.stored("one"), &one).unwrap();
    drive.mount(&[]);
    assert_errno(fs::read(drive.dir().join("one")), libc::EIO);
    drive.unmount();
    fails(&mut drive.on_store(["verify"], []), 3);
}

#[test]
fn d7_a_copy_drops_the_context_and_a_rename_keeps_it() {
    let mut drive = with_context("project=attic");
    fs::write(drive.dir().join("f"), "x").unwrap();
    fs::rename(drive.dir().join("f"), drive.dir().join("renamed")).unwrap();
    drive.remount_with(&["--sse", "aws:kms", "--sse-kms-key", "alias/a"]);
    ok(command(20, "cp").arg("-a").arg(drive.dir().join("renamed")).arg(drive.dir().join("copy")));
    drive.unmount();
    assert_eq!(drive.inspected("renamed")["context"]["project"], "attic");
    assert_eq!(drive.inspected("copy")["context"], serde_json::json!({}));
    job(&drive, ["reencrypt"], ["data", "--force", "--sse", "aws:kms", "--sse-kms-key", "alias/a"]);
    assert_eq!(drive.inspected("renamed")["context"], serde_json::json!({}), "it must be given again");
}
