//! Section A, SSE-S3, and section H, encryption on this side of the store.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use super::{ENCRYPTION, put_ready_policy, set, store_contains, value};
use crate::fixture::{Drive, assert_errno, command, fails, ok};

#[test]
fn a1_equal_contents_have_keys_of_their_own_and_a_truncated_object_gets_a_new_one() {
    let mut drive = Drive::new();
    for name in ["one", "two"] {
        fs::write(drive.dir().join(name), "the same content").unwrap();
    }
    drive.remount();
    let (one, two) = (drive.inspected("one"), drive.inspected("two"));
    assert_ne!(one["key_commitment"], two["key_commitment"]);
    assert_ne!(
        fs::read(drive.stored("one")).unwrap()[4096..],
        fs::read(drive.stored("two")).unwrap()[4096..]
    );
    fs::write(drive.dir().join("one"), "the same content").unwrap();
    drive.unmount();
    let again = drive.inspected("one");
    assert_ne!(again["key_commitment"], one["key_commitment"], "truncating is a new PUT");
    assert_ne!(again["object_id"], one["object_id"]);
}

#[test]
fn a2_a_rotated_service_key_is_not_noticed_and_no_object_is_rewritten() {
    let mut drive = Drive::new();
    fs::write(drive.dir().join("old"), "before").unwrap();
    drive.unmount();
    let stored = fs::read(drive.stored("old")).unwrap();
    ok(&mut drive.on_store(["key", "rotate"], ["service"]));
    drive.mount(&[]);
    fs::write(drive.dir().join("new"), "after").unwrap();
    drive.remount();
    assert_eq!(fs::read(drive.dir().join("old")).unwrap(), b"before");
    assert_eq!(fs::read(drive.dir().join("new")).unwrap(), b"after");
    drive.unmount();
    assert!(fs::read(drive.stored("old")).unwrap() == stored);
    assert_eq!(drive.described("service")["versions"].as_array().unwrap().len(), 2);
}

#[test]
fn a3_nobody_disables_deletes_or_names_the_service_key() {
    let mut drive = Drive::unmounted();
    for verb in ["disable", "schedule-deletion"] {
        fails(&mut drive.on_store(["key", verb], ["service"]), 1);
    }
    assert_eq!(drive.described("service")["state"], "enabled");
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "service"]);
    assert!(fs::write(drive.dir().join("f"), "x").is_err(), "it is no KMS key");
    assert!(!drive.dir().join("f").exists());
}

#[test]
fn a4_the_header_is_taken_from_mount_directory_or_file_and_is_echoed_as_s3_spells_it() {
    let mut drive = Drive::unmounted();
    put_ready_policy(&drive, "require-encryption-header.json");
    drive.mount(&["--sse", "none"]);
    let dir = drive.dir();
    fs::create_dir(dir.join("asking")).unwrap();
    assert_errno(set(&dir.join("asking"), ENCRYPTION, "aes256"), libc::EINVAL);
    set(&dir.join("asking"), ENCRYPTION, "AES256").unwrap();
    fs::write(dir.join("asking/f"), "x").unwrap();
    assert_errno(fs::write(dir.join("f"), "x"), libc::EACCES);
    drive.remount_with(&["--sse", "AES256"]);
    fs::write(dir.join("f"), "x").unwrap();
    for name in ["f", "asking/f"] {
        assert_eq!(value(&dir.join(name), ENCRYPTION), "AES256");
    }
}

#[test]
fn a5_a_new_bucket_encrypts_what_asks_for_nothing() {
    let mut drive = Drive::with(&["--sse", "none"]);
    fs::create_dir(drive.root().join("another")).unwrap();
    fs::write(drive.root().join("another/f"), "nobody asked").unwrap();
    drive.unmount();
    let shown = ok(&mut drive.on_store(["bucket", "encryption", "get"], ["another"]));
    assert!(shown.contains("AES256"), "{shown}");
    assert!(!store_contains(&drive, b"nobody asked"));
}

#[test]
fn a6_a_policy_for_aes256_denies_everything_else_and_leaves_nothing() {
    let mut drive = Drive::unmounted();
    put_ready_policy(&drive, "require-aes256.json");
    let f = drive.dir().join("f");
    for (sse, allowed) in [("none", false), ("aws:kms", false), ("AES256", true)] {
        drive.mount(&["--sse", sse]);
        match fs::write(&f, "x") {
            Ok(()) => assert!(allowed, "{sse}"),
            refused => {
                assert_errno(refused, libc::EACCES);
                assert!(!allowed && !f.exists() && !drive.stored("f").exists(), "{sse}");
            }
        }
        drive.unmount();
    }
}

#[test]
fn a7_a_policy_for_any_header_denies_a_bare_creation_only() {
    let mut drive = Drive::unmounted();
    put_ready_policy(&drive, "require-encryption-header.json");
    for (sse, allowed) in [("none", false), ("aws:kms", true), ("AES256", true), ("bucket-default", true)] {
        drive.mount(&["--sse", sse]);
        let f = drive.dir().join(sse.replace(':', "-"));
        assert_eq!(fs::write(&f, "x").is_ok(), allowed, "{sse}");
        assert_eq!(f.exists(), allowed);
        drive.unmount();
    }
}

#[test]
fn a8_contents_are_encrypted_while_names_sizes_and_attributes_stand_in_the_clear() {
    let mut drive = Drive::new();
    let f = drive.dir().join("a plain name");
    fs::write(&f, "a secret content").unwrap();
    set(&f, "user.note", "a plain note").unwrap();
    drive.unmount();
    assert!(!store_contains(&drive, b"a secret content"));
    let stored = drive.stored("a plain name");
    assert_eq!(value(&stored, "user.note"), "a plain note");
    assert_eq!(drive.inspected("a plain name")["size"], 16);
    let threats = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    assert!(threats.contains("does **not** hide names, sizes, times"), "and the README says so");
}

#[test]
fn a9_an_object_keeps_the_encryption_of_its_creation_whatever_comes_while_it_is_written() {
    let mut drive = Drive::with(&["--sse", "none"]);
    drive.make_key("alias/later");
    let mut open = File::create(drive.dir().join("long")).unwrap();
    open.write_all(&vec![1; 3 << 20]).unwrap();
    let change = ["data", "--sse", "aws:kms", "--kms-key", "alias/later"];
    ok(&mut drive.on_store(["bucket", "encryption", "put"], change));
    open.write_all(&vec![2; 3 << 20]).unwrap();
    drop(open);
    ok(command(20, "cp").arg(drive.dir().join("long")).arg(drive.dir().join("copy")));
    fs::rename(drive.dir().join("long"), drive.dir().join("moved")).unwrap();
    drive.unmount();
    assert_eq!(drive.inspected("moved")["encryption"], "AES256", "a rename is the same object");
    assert_eq!(drive.inspected("copy")["encryption"], "aws:kms", "a copy is a new one");
}

#[test]
fn a10_the_command_line_puts_an_object_with_headers_of_its_own() {
    let mut drive = Drive::with(&["--sse", "none"]);
    let key = drive.make_key("alias/a");
    fs::write(drive.path("file"), "x").unwrap();
    let words = ["put", "--sse", "aws:kms", "--kms-key", "alias/a", "--context", "host=atlas"];
    ok(drive.strongroom(words).arg(drive.path("file")).arg(drive.dir().join("f")));
    assert_eq!(value(&drive.dir().join("f"), super::KMS_KEY), key);
    drive.unmount();
    assert_eq!(drive.inspected("f")["context"]["host"], "atlas");
}

#[test]
fn h1_whatever_mode_is_asked_for_ciphertext_alone_reaches_the_store() {
    let mut drive = Drive::open_to_all();
    let key_file = drive.customer_keys("customer", &[1]);
    for sse in ["AES256", "aws:kms", "aws:kms:dsse", "customer"] {
        drive.mount(&["--sse", sse, "--sse-c-key-file", key_file.to_str().unwrap()]);
        fs::write(drive.dir().join(sse.replace(':', "-")), "bytes that must not leave".repeat(400)).unwrap();
        drive.unmount();
    }
    assert_eq!(fs::read_dir(drive.stored("")).unwrap().count(), 5, "four objects and the reserved directory");
    assert!(!store_contains(&drive, b"bytes that must not leave"));
}

#[test]
fn h3_a_wrapped_key_of_another_object_does_not_pass_the_commitment() {
    let mut drive = Drive::new();
    for name in ["one", "two"] {
        fs::write(drive.dir().join(name), name.repeat(1000)).unwrap();
    }
    drive.unmount();
    let (mut one, two) = (fs::read(drive.stored("one")).unwrap(), fs::read(drive.stored("two")).unwrap());
    // The whole first page, so that only what binds it to the content can tell.
    one[..4096].copy_from_slice(&two[..4096]);
    fs::write(drive.stored("one"), &one).unwrap();
    drive.mount(&[]);
    assert_errno(fs::read(drive.dir().join("one")), libc::EIO);
    assert_eq!(fs::read(drive.dir().join("two")).unwrap(), "two".repeat(1000).as_bytes());
}
