//! Section F: keys that the customer brings.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

use libc::ENOKEY;

use super::{job, store_contains};
use crate::fixture::{Drive, assert_errno, command, ok};

/// Mounts with the customer keys in `file`.
fn mount(drive: &mut Drive, file: &Path) {
    drive.mount(&["--sse", "customer", "--sse-c-key-file", file.to_str().unwrap()]);
}

/// A drive with the object `f` under the customer key of bytes 1.
fn with_object() -> Drive {
    let mut drive = Drive::open_to_all();
    let one = drive.customer_keys("one", &[1]);
    mount(&mut drive, &one);
    fs::write(drive.dir().join("f"), "content").unwrap();
    drive.unmount();
    drive
}

#[test]
fn f1_the_key_is_stored_nowhere() {
    let drive = with_object();
    assert!(!store_contains(&drive, &[1; 32]));
    assert!(!store_contains(&drive, "01".repeat(32).as_bytes()));
}

#[test]
fn f5_listing_and_stat_need_no_key() {
    let mut drive = with_object();
    drive.mount(&[]);
    let shown = ok(command(20, "ls").arg("-l").arg(drive.dir()));
    assert!(shown.contains(" 7 "), "the size is that of the content: {shown}");
    assert_errno(File::open(drive.dir().join("f")), ENOKEY);
}

#[test]
fn f6_the_key_is_fixed_at_the_creation_and_an_open_file_goes_on_with_it() {
    let mut drive = Drive::open_to_all();
    drive.mount(&["--sse", "customer"]);
    let (one, two) = (drive.customer_keys("one", &[1]), drive.customer_keys("two", &[2]));
    let bring = |file: &Path| {
        ok(drive.on_store(["key", "customer", "add"], []).arg(file));
    };
    bring(&one);
    let mut open = File::create(drive.dir().join("f")).unwrap();
    open.write_all(b"first, ").unwrap();
    ok(&mut drive.on_store(["key", "customer", "remove"], []));
    bring(&two);
    open.write_all(b"second").unwrap();
    drop(open);
    drive.unmount();
    mount(&mut drive, &one);
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"first, second");
}

#[test]
fn f7_a_copy_reads_with_one_key_and_writes_with_the_other() {
    let mut drive = with_object();
    let both = drive.customer_keys("both", &[2, 1]);
    mount(&mut drive, &both);
    ok(command(20, "cp").arg(drive.dir().join("f")).arg(drive.dir().join("copy")));
    drive.unmount();
    let two = drive.customer_keys("two", &[2]);
    mount(&mut drive, &two);
    assert_eq!(fs::read(drive.dir().join("copy")).unwrap(), b"content");
    let mut read = String::new();
    assert!(File::open(drive.dir().join("f")).and_then(|mut f| f.read_to_string(&mut read)).is_err());
}

#[test]
fn f11_a_job_takes_the_objects_whose_key_it_has_and_lists_the_others() {
    let mut drive = with_object();
    let two = drive.customer_keys("two", &[2]);
    mount(&mut drive, &two);
    fs::write(drive.dir().join("g"), "other").unwrap();
    drive.unmount();
    let to = ["data", "--sse", "AES256", "--sse-c-key-file", two.to_str().unwrap()];
    let report = drive.path("report.json");
    let said = ok(drive.on_store(["reencrypt"], to).arg("--report").arg(&report));
    assert!(said.contains("1 done, 0 failed, 1 left"), "{said}");
    let lines: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let f =
        lines["objects"].as_array().unwrap().iter().find(|line| line["key"] == "f").expect("it is listed");
    assert_eq!(f["outcome"], "Skipped", "{f}");
    assert_eq!(drive.inspected("f")["encryption"], "SSE-C");
    assert_eq!(drive.inspected("g")["encryption"], "AES256");
    let one = drive.path("one");
    job(&drive, ["reencrypt"], ["data", "--sse", "AES256", "--sse-c-key-file", one.to_str().unwrap()]);
    drive.mount(&[]);
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"content");
    assert_eq!(fs::read(drive.dir().join("g")).unwrap(), b"other");
}
