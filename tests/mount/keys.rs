//! Keys that are disabled, deleted and enabled while their files are in use.

mod policies;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

use crate::fixture::{Drive, assert_errno, fails, ok};

/// A drive whose new files are encrypted with the key `alias/tenant`.
fn with_key() -> Drive {
    let mut drive = Drive::unmounted();
    ok(&mut drive.on_store(["key", "create"], ["--alias", "alias/tenant"]));
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "alias/tenant"]);
    drive
}

fn key<const N: usize>(drive: &Drive, verb: &str, more: [&str; N]) -> String {
    ok(drive.on_store(["key", verb], ["alias/tenant"]).args(more))
}

#[test]
fn c2_c5_a_disabled_key_opens_nothing_at_once_while_open_files_go_on() {
    let drive = with_key();
    let path = drive.dir().join("f");
    let content = vec![7; 3 << 20];
    fs::write(&path, &content).unwrap();
    let open = File::open(&path).unwrap();
    key(&drive, "disable", []);
    assert_errno(File::open(&path), libc::EKEYREVOKED);
    assert_errno(fs::write(drive.dir().join("new"), "x"), libc::EKEYREVOKED);
    assert!(!drive.dir().join("new").exists(), "a refused creation leaves nothing behind");
    let mut read = vec![0; content.len()];
    open.read_exact_at(&mut read, 0).unwrap();
    assert!(read == content, "open files go on");
    assert_eq!(fs::metadata(&path).unwrap().len(), content.len() as u64);
    fs::rename(&path, drive.dir().join("g")).unwrap();
    key(&drive, "enable", []);
    assert!(fs::read(drive.dir().join("g")).unwrap() == content);
}

#[test]
fn c5_revoked_files_are_cut_off_and_come_back_when_the_key_does() {
    let drive = with_key();
    let path = drive.dir().join("f");
    fs::write(&path, vec![7; 1 << 20]).unwrap();
    let open = File::options().read(true).write(true).open(&path).unwrap();
    let mut some = [0; 100];
    open.read_exact_at(&mut some, 0).unwrap();
    open.write_all_at(b"unsaved", 0).unwrap();
    let said = key(&drive, "disable", ["--revoke"]);
    assert!(said.contains("1 open files were cut off"), "{said}");
    for offset in [0, 4096, 900_000] {
        assert_errno(open.read_at(&mut some, offset), libc::EKEYREVOKED);
    }
    assert_errno(open.write_at(b"more", 0), libc::EKEYREVOKED);
    key(&drive, "enable", []);
    let stored = fs::read(&path).unwrap();
    assert!(stored.starts_with(b"unsaved") && stored.len() == 1 << 20, "what was unsaved was saved first");
}

#[test]
fn c3_c6_a_key_that_waits_for_its_deletion_is_expired_and_needed_keys_are_not_deleted() {
    let drive = with_key();
    let path = drive.dir().join("f");
    fs::write(&path, "content").unwrap();
    fs::write(drive.dir().join("g"), "content").unwrap();
    ok(crate::fixture::command(20, "sync").arg("-f").arg(&path));
    let refused = fails(drive.on_store(["key", "schedule-deletion"], ["alias/tenant"]).arg("--days=7"), 1);
    assert!(refused.contains("2 objects still need key"), "{refused}");
    key(&drive, "schedule-deletion", ["--days", "7", "--force"]);
    assert_errno(File::open(&path), libc::EKEYEXPIRED);
    key(&drive, "cancel-deletion", []);
    assert_errno(File::open(&path), libc::EKEYREVOKED);
    key(&drive, "enable", []);
    assert_eq!(fs::read(&path).unwrap(), b"content");
}

#[test]
fn c7_a_key_rotated_under_a_drive_reads_old_files_and_writes_new_ones() {
    let mut drive = with_key();
    fs::write(drive.dir().join("old"), "before").unwrap();
    key(&drive, "rotate", []);
    fs::write(drive.dir().join("new"), "after").unwrap();
    drive.remount();
    assert_eq!(fs::read(drive.dir().join("old")).unwrap(), b"before");
    assert_eq!(fs::read(drive.dir().join("new")).unwrap(), b"after");
    let usage = key(&drive, "usage", ["--json"]);
    let usage: serde_json::Value = serde_json::from_str(&usage).unwrap();
    assert_eq!((usage["objects"].as_u64(), usage["unreadable"].as_u64()), (Some(2), Some(0)));
    assert!(usage["newest"].is_u64());
}
