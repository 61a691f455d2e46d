//! The encryption modes on a live drive: each writes, reads back after a mount anew, and refuses what was altered or
//! lacks its key.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use libc::{EKEYEXPIRED, EKEYREJECTED, EKEYREVOKED, ENOKEY};

use crate::fixture::{Drive, assert_errno, command, fails, ok};

/// Several segments, ending inside a block.
fn content() -> Vec<u8> {
    (0..700_001_u64).map(|i| u8::try_from(i * i % 251).unwrap()).collect()
}

/// `cp` in, `cmp`, mount anew, `cmp`; then a flipped bit in the stored object is found.
fn assert_keeps_content(drive: &mut Drive, name: &str, flags: &[&str]) {
    let original = drive.native().join("original");
    fs::write(&original, content()).unwrap();
    let there = drive.dir().join(name);
    ok(command(60, "cp").arg(&original).arg(&there));
    ok(command(60, "cmp").arg(&original).arg(&there));
    drive.remount_with(flags);
    ok(command(60, "cmp").arg(&original).arg(&there));
    drive.unmount();
    let stored = drive.stored(name);
    let good = fs::read(&stored).unwrap();
    let clear = &content()[..64];
    assert!(!good.windows(64).any(|window| window == clear), "plaintext in the store");
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&stored, &bad).unwrap();
    drive.mount(flags);
    assert_errno(fs::read(&there), libc::EIO);
    drive.unmount();
    fs::write(&stored, &good).unwrap();
    drive.mount(flags);
    assert_eq!(fs::read(&there).unwrap(), content());
}

#[test]
fn sse_kms_with_and_without_bucket_keys_keeps_content_and_shows_key_and_context() {
    for bucket_key in ["on", "off"] {
        let mut drive = Drive::unmounted();
        drive.make_key("alias/backups");
        let flags = [
            "--sse",
            "aws:kms",
            "--sse-kms-key",
            "alias/backups",
            "--sse-bucket-key",
            bucket_key,
            "--sse-context",
            "project=attic",
        ];
        drive.mount(&flags);
        assert_keeps_content(&mut drive, "f", &flags);
        let header = drive.inspected("f");
        assert_eq!(header["encryption"], "aws:kms");
        assert_eq!(header["bucket_key"], bucket_key == "on");
        assert_eq!(header["context"]["project"], "attic");
        let described = ok(&mut drive.on_store(["key", "describe"], ["alias/backups", "--json"]));
        let described: serde_json::Value = serde_json::from_str(&described).unwrap();
        assert_eq!(header["kms_key"], described["key"]);
    }
}

#[test]
fn every_mode_lives_in_one_bucket_and_verify_counts_what_lacks_its_key() {
    let mut drive = Drive::open_to_all();
    let key_file = drive.customer_keys("customer", &[1]);
    let key_file = key_file.to_str().unwrap();
    for (name, sse) in [("s3", "AES256"), ("kms", "aws:kms"), ("dsse", "aws:kms:dsse"), ("mine", "customer")]
    {
        drive.mount(&["--sse", sse, "--sse-c-key-file", key_file]);
        fs::write(drive.dir().join(name), name.repeat(50_000)).unwrap();
        drive.unmount();
    }
    drive.mount(&["--sse-c-key-file", key_file]);
    for name in ["s3", "kms", "dsse", "mine"] {
        assert_eq!(fs::read_to_string(drive.dir().join(name)).unwrap(), name.repeat(50_000));
    }
    drive.unmount();
    let shown = ok(&mut drive.on_store(["verify"], ["--sse-c-key-file", key_file]));
    assert!(shown.contains("4 objects") && shown.contains("0 damaged"), "{shown}");
    fails(&mut drive.on_store(["verify"], []), 1);
    let ran = crate::fixture::run(&mut drive.on_store(["verify"], ["--json"]));
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["keyless"].as_array().unwrap().len(), 1);
    assert_eq!((report["objects"].as_u64(), report["damaged"].as_array().unwrap().len()), (Some(3), 0));
}

#[test]
fn two_layers_keep_content_in_a_bucket_made_for_them_and_are_refused_elsewhere() {
    let flags = ["--sse", "aws:kms:dsse"];
    let mut drive = Drive::open_to_all();
    drive.mount(&flags);
    assert_keeps_content(&mut drive, "f", &flags);
    assert_eq!(drive.inspected("f")["layers"], 2);
    let mut drive = Drive::with(&flags);
    assert_errno(fs::write(drive.dir().join("f"), "x"), libc::EINVAL);
    assert!(drive.log().contains("--dual-layer"), "{}", drive.log());
    drive.unmount();
}

#[test]
fn a_customer_key_reads_what_it_wrote_and_no_other_does() {
    let mut drive = Drive::open_to_all();
    let (one, two, both) = (
        drive.customer_keys("one", &[1]),
        drive.customer_keys("two", &[2]),
        drive.customer_keys("both", &[2, 1]),
    );
    let with = |path: &Path| {
        ["--sse".to_owned(), "customer".into(), "--sse-c-key-file".into(), path.display().to_string()]
    };
    let mount = |drive: &mut Drive, path: &Path| drive.mount(&with(path).each_ref().map(String::as_str));
    mount(&mut drive, &one);
    assert_keeps_content(&mut drive, "f", &with(&one).each_ref().map(String::as_str));
    drive.remount();
    let f = drive.dir().join("f");
    assert_errno(fs::read(&f), ENOKEY);
    assert_eq!(fs::metadata(&f).unwrap().len(), content().len() as u64);
    drive.unmount();
    mount(&mut drive, &two);
    assert_errno(fs::read(&f), EKEYREJECTED);
    assert_errno(fs::OpenOptions::new().append(true).open(&f), EKEYREJECTED);
    drive.unmount();
    mount(&mut drive, &both);
    assert_eq!(fs::read(&f).unwrap(), content());
    fs::write(drive.dir().join("new"), "new").unwrap();
    drive.unmount();
    mount(&mut drive, &two);
    assert_eq!(fs::read(drive.dir().join("new")).unwrap(), b"new");
    fs::rename(&f, drive.dir().join("g")).unwrap();
    fs::remove_file(drive.dir().join("g")).unwrap();
}

#[test]
fn customer_keys_are_refused_by_a_new_bucket_and_a_key_file_that_others_can_read_by_the_mount() {
    let mut drive = Drive::unmounted();
    let key_file = drive.customer_keys("customer", &[1]);
    let flags = ["--sse", "customer", "--sse-c-key-file", key_file.to_str().unwrap()];
    drive.mount(&flags);
    let f = drive.dir().join("f");
    assert_errno(fs::write(&f, "x"), libc::EACCES);
    assert!(!f.exists() && drive.log().contains("SSE-C"), "{}", drive.log());
    // A live drive follows the change.
    ok(&mut drive.on_store(["bucket", "encryption", "unblock"], ["data", "SSE-C"]));
    fs::write(&f, "x").unwrap();
    drive.unmount();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    let told = fails(&mut drive.mount_command(&flags), 1);
    assert!(told.contains("0644"), "{told}");
}

#[test]
fn the_state_of_a_key_has_its_own_error_and_names_work_without_it() {
    let mut drive = Drive::unmounted();
    drive.make_key("alias/k");
    let flags = ["--sse", "aws:kms", "--sse-kms-key", "alias/k"];
    drive.mount(&flags);
    let f = drive.dir().join("f");
    fs::write(&f, "content").unwrap();
    ok(&mut drive.on_store(["key", "disable"], ["alias/k"]));
    assert_errno(fs::read(&f), EKEYREVOKED);
    assert_errno(fs::write(drive.dir().join("new"), "x"), EKEYREVOKED);
    assert!(!drive.dir().join("new").exists());
    assert_eq!(fs::metadata(&f).unwrap().len(), 7);
    fs::rename(&f, drive.dir().join("g")).unwrap();
    ok(&mut drive.on_store(["key", "schedule-deletion"], ["alias/k", "--force"]));
    assert_errno(fs::read(drive.dir().join("g")), EKEYEXPIRED);
    drive.remount_with(&["--sse", "aws:kms", "--sse-kms-key", "alias/nobody", "--plain-errno"]);
    assert_errno(fs::write(drive.dir().join("new"), "x"), libc::EACCES);
    assert_errno(fs::read(drive.dir().join("g")), libc::EACCES);
    fs::remove_file(drive.dir().join("g")).unwrap();
    drive.remount_with(&["--sse", "aws:kms", "--sse-kms-key", "alias/nobody"]);
    assert_errno(fs::write(drive.dir().join("new"), "x"), ENOKEY);
}

#[test]
fn the_default_of_a_bucket_changes_on_a_live_drive_for_new_objects_only() {
    let mut drive = Drive::with(&[]);
    drive.make_key("alias/ours");
    fs::write(drive.dir().join("before"), "x").unwrap();
    ok(&mut drive
        .on_store(["bucket", "encryption", "put"], ["data", "--sse", "aws:kms", "--kms-key", "alias/ours"]));
    fs::write(drive.dir().join("after"), "x").unwrap();
    let shown = ok(&mut drive.on_store(["bucket", "encryption", "get"], ["data", "--json"]));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let rule = &shown["ServerSideEncryptionConfiguration"]["Rules"][0];
    assert_eq!(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"], "aws:kms");
    assert_eq!(rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"], "alias/ours");
    assert_eq!(
        (&rule["BucketKeyEnabled"], &rule["BlockedEncryptionTypes"]["EncryptionType"][0]),
        (&true.into(), &"SSE-C".into())
    );
    ok(&mut drive.on_store(["bucket", "encryption", "delete"], ["data"]));
    fs::write(drive.dir().join("last"), "x").unwrap();
    drive.unmount();
    for (name, encryption) in [("before", "AES256"), ("after", "aws:kms"), ("last", "AES256")] {
        assert_eq!(drive.inspected(name)["encryption"], encryption, "{name}");
    }
}

#[test]
fn a_mount_with_contradicting_options_is_refused_before_it_begins() {
    let drive = Drive::unmounted();
    for flags in [
        ["--sse", "AES256", "--sse-kms-key", "alias/k"],
        ["--sse", "none", "--sse-bucket-key", "on"],
        ["--sse", "customer", "--sse-context", "a=b"],
        ["--sse", "aws:kms", "--sse-kms-key", "no key"],
    ] {
        fails(&mut drive.mount_command(&flags), 2);
    }
    assert!(!drive.is_mounted());
}
