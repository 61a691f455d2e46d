//! Section I: the default encryption of a bucket, and what it blocks. What an administrator may change (I4) stands with the
//! actions that policies are asked about, in `policy/table.rs`.

use std::{fs, io::Write, process::Stdio};

use libc::{EACCES, EKEYREVOKED};

use super::{ENCRYPTION, put_ready_policy, set, value};
use crate::fixture::{Drive, assert_errno, eventually, fails, ok, run};

fn put_default(drive: &Drive, words: &[&str]) {
    ok(drive.on_store(["bucket", "encryption", "put"], ["data"]).args(words));
}

#[test]
fn row_i1_each_default_is_what_requests_without_a_header_get_and_a_customer_key_is_none() {
    let mut drive = Drive::open_to_all();
    let key = drive.make_key("alias/a");
    let defaults: [(&str, &[&str], &str); 5] = [
        ("aes", &["--sse", "AES256"], "AES256"),
        ("managed", &["--sse", "aws:kms"], "aws:kms"),
        ("kms", &["--sse", "aws:kms", "--kms-key", "alias/a", "--bucket-key", "off"], "aws:kms"),
        ("dual", &["--sse", "aws:kms:dsse", "--kms-key", "alias/a"], "aws:kms:dsse"),
        ("again", &["--sse", "AES256"], "AES256"),
    ];
    drive.mount(&["--sse", "none"]);
    for (name, words, encryption) in defaults {
        put_default(&drive, words);
        fs::write(drive.dir().join(name), "x").unwrap();
        assert_eq!(value(&drive.dir().join(name), ENCRYPTION), encryption, "{name}");
    }
    drive.unmount();
    for (name, has_key, bucket_key) in [("kms", true, false), ("dual", true, false), ("managed", false, true)]
    {
        let header = drive.inspected(name);
        assert_eq!(header["kms_key"].as_str().is_some_and(|id| key.ends_with(id)), has_key, "{header}");
        assert_eq!(header["bucket_key"], bucket_key, "{header}");
    }
    for words in [["--sse", "SSE-C"], ["--sse", "customer"], ["--sse", "aes256"]] {
        assert_ne!(
            run(drive.on_store(["bucket", "encryption", "put"], ["data"]).args(words)).code,
            0,
            "{words:?}"
        );
    }
}

#[test]
fn row_i2_a_default_is_for_new_objects_a_header_goes_before_it_and_an_open_file_keeps_what_it_has() {
    let mut drive = Drive::unmounted();
    drive.mount(&["--sse", "none"]);
    let dir = drive.dir();
    for name in ["kept", "rewritten"] {
        fs::write(dir.join(name), "old").unwrap();
    }
    let mut open = fs::File::create(dir.join("open")).unwrap();
    put_default(&drive, &["--sse", "aws:kms"]);
    open.write_all(b"begun before").unwrap();
    drop(open);
    fs::OpenOptions::new().append(true).open(dir.join("kept")).unwrap().write_all(b" and more").unwrap();
    fs::write(dir.join("rewritten"), "new").unwrap();
    fs::write(dir.join("new"), "new").unwrap();
    fs::create_dir(dir.join("asking")).unwrap();
    set(&dir.join("asking"), ENCRYPTION, "AES256").unwrap();
    fs::write(dir.join("asking/f"), "new").unwrap();
    for (name, encryption) in [
        ("kept", "AES256"),
        ("open", "AES256"),
        ("rewritten", "aws:kms"),
        ("new", "aws:kms"),
        ("asking/f", "AES256"),
    ] {
        assert_eq!(value(&dir.join(name), ENCRYPTION), encryption, "{name}");
    }
}

#[test]
fn row_i3_a_policy_is_asked_before_the_default_unless_the_default_is_sent_as_header() {
    for (flag, allowed) in [("none", false), ("bucket-default", true), ("AES256", true)] {
        let mut drive = Drive::unmounted();
        put_ready_policy(&drive, "require-encryption-header.json");
        drive.mount(&["--sse", flag]);
        let outcome = fs::write(drive.dir().join("f"), "x");
        if allowed {
            outcome.unwrap();
        } else {
            assert_errno(outcome, EACCES);
        }
    }
}

/// A disabled key must not blind the log that would tell of it: it lies outside all buckets, under no key that can be
/// disabled, and nowhere that it would be about.
#[test]
fn row_i5_the_audit_log_is_under_no_key_that_it_is_about() {
    let mut drive = Drive::unmounted();
    let arn = drive.make_key("alias/a");
    put_default(&drive, &["--sse", "aws:kms", "--kms-key", "alias/a"]);
    drive.mount(&["--audit", "on", "--sse", "none"]);
    fs::write(drive.dir().join("f"), "x").unwrap();
    ok(&mut drive.on_store(["key", "disable"], [&arn]));
    assert_errno(fs::read(drive.dir().join("f")), EKEYREVOKED);
    assert_errno(fs::write(drive.dir().join("g"), "x"), EKEYREVOKED);
    let told = || {
        let shown = ok(&mut drive.on_store(["audit", "show"], ["--json"]));
        let refused = |line: &&str| line.contains("s3.amazonaws.com") && line.contains("DisabledException");
        shown.lines().filter(refused).count()
    };
    eventually("both refusals are in the log", || told() == 2);
    drive.unmount();
    ok(&mut drive.on_store(["audit", "verify"], []));
    for inside in
        [drive.dir().join("log"), drive.root(), drive.stored("log"), drive.store().join("other/log")]
    {
        drive.configure(&format!("[audit]\ndir = '{}'\n", inside.display()));
        let refused = fails(&mut drive.mount_command(&["--audit", "on"]), 2);
        assert!(refused.contains("choose another place"), "{}: {refused}", inside.display());
    }
}

#[test]
fn row_i6_a_deleted_default_is_aes256_and_never_none() {
    for before in ["aws:kms", "none"] {
        let drive = Drive::with(&["--sse", "none"]);
        put_default(&drive, &["--sse", before]);
        ok(&mut drive.on_store(["bucket", "encryption", "delete"], ["data"]));
        fs::write(drive.dir().join("f"), "x").unwrap();
        assert_eq!(value(&drive.dir().join("f"), ENCRYPTION), "AES256", "after {before}");
    }
}

#[test]
fn row_i7_what_is_blocked_cannot_be_written_and_still_be_read() {
    let mut drive = Drive::open_to_all();
    let customer = drive.customer_keys("customer", &[1]);
    let kinds = [
        ("AES256", "AES256"),
        ("aws:kms", "aws:kms"),
        ("aws:kms:dsse", "aws:kms:dsse"),
        ("customer", "SSE-C"),
    ];
    let name = |sse: &str| sse.replace(':', "-");
    for (sse, kind) in kinds {
        let flags = ["--sse", sse, "--sse-c-key-file", customer.to_str().unwrap()];
        drive.mount(&flags);
        let old = drive.dir().join(name(sse));
        fs::write(&old, "content").unwrap();
        // A default cannot be blocked.
        put_default(&drive, &["--sse", if kind == "AES256" { "aws:kms" } else { "AES256" }]);
        ok(&mut drive.on_store(["bucket", "encryption", "block"], ["data", kind]));
        assert_errno(fs::write(drive.dir().join("new"), "x"), EACCES);
        assert_errno(fs::OpenOptions::new().append(true).open(&old), EACCES);
        assert_eq!(fs::read(&old).unwrap(), b"content", "{kind}");
        assert!(!drive.dir().join("new").exists());
        let default = if kind == "AES256" { "aws:kms" } else { "AES256" };
        let refused = fails(
            drive.on_store(["bucket", "encryption", "block"], ["data", default]).stdin(Stdio::null()),
            1,
        );
        assert!(refused.contains("block"), "{refused}");
        ok(&mut drive.on_store(["bucket", "encryption", "unblock"], ["data", kind]));
        fs::write(drive.dir().join("new"), "x").unwrap();
        fs::remove_file(drive.dir().join("new")).unwrap();
        drive.unmount();
    }
}
