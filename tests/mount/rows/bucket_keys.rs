//! Section E: bucket keys.

use std::fs;

use libc::EKEYREVOKED;

use super::job;
use crate::fixture::{Drive, assert_errno, eventually, ok};

fn with_bucket_keys(switch: &str) -> Drive {
    let mut drive = Drive::unmounted();
    drive.make_key("alias/a");
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "alias/a", "--sse-bucket-key", switch]);
    drive
}

#[test]
fn e2_every_object_has_its_line_in_the_audit_log_though_one_bucket_key_serves_them_all() {
    let mut drive = with_bucket_keys("on");
    drive.unmount();
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "alias/a", "--audit", "on"]);
    for name in ["a", "b", "c"] {
        fs::write(drive.dir().join(name), "x").unwrap();
    }
    let puts = || {
        let shown = ok(&mut drive.on_store(["audit", "show"], ["--json"]));
        let events = shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.filter(|event| event["eventName"] == "PutObject").count()
    };
    eventually("three lines", || puts() == 3);
    drive.unmount();
    let ids = ["a", "b", "c"].map(|name| drive.inspected(name)["keys"][0]["key"].clone());
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
}

#[test]
fn e4_the_request_overrides_the_default_of_the_bucket_either_way() {
    for (default, request, used) in [("on", "off", false), ("off", "on", true)] {
        let mut drive = Drive::unmounted();
        drive.make_key("alias/a");
        let put = ["data", "--sse", "aws:kms", "--kms-key", "alias/a", "--bucket-key", default];
        ok(&mut drive.on_store(["bucket", "encryption", "put"], put));
        drive.mount(&["--sse", "aws:kms", "--sse-bucket-key", request]);
        fs::write(drive.dir().join("f"), "x").unwrap();
        drive.unmount();
        assert_eq!(drive.inspected("f")["bucket_key"], used);
    }
}

#[test]
fn e5_objects_keep_their_kind_of_wrap_until_a_rewrap_changes_it() {
    let mut drive = with_bucket_keys("off");
    fs::write(drive.dir().join("f"), "x").unwrap();
    drive.remount_with(&["--sse", "aws:kms", "--sse-kms-key", "alias/a", "--sse-bucket-key", "on"]);
    fs::write(drive.dir().join("g"), "x").unwrap();
    drive.unmount();
    assert_eq!(
        (&drive.inspected("f")["bucket_key"], &drive.inspected("g")["bucket_key"]),
        (&false.into(), &true.into())
    );
    job(&drive, ["rewrap"], ["data", "--deep", "--to-bucket-key", "on"]);
    assert_eq!(drive.inspected("f")["bucket_key"], true);
    drive.mount(&[]);
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"x");
}

#[test]
fn e8_disabling_the_master_key_stops_a_cached_bucket_key_at_once() {
    let drive = with_bucket_keys("on");
    fs::write(drive.dir().join("f"), "x").unwrap();
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"x");
    ok(&mut drive.on_store(["key", "disable"], ["alias/a"]));
    assert_errno(fs::read(drive.dir().join("f")), EKEYREVOKED);
    assert_errno(fs::write(drive.dir().join("g"), "x"), EKEYREVOKED);
}
