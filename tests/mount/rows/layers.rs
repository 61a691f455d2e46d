//! Section G: two layers.

use std::fs;

use super::{ENCRYPTION, job, set, value};
use crate::fixture::{Drive, fails, ok, run};

#[test]
fn g2_two_layers_use_no_bucket_key_of_the_kms_key() {
    let mut drive = Drive::open_to_all();
    drive.mount(&["--sse", "aws:kms:dsse"]);
    fs::write(drive.dir().join("f"), "x").unwrap();
    drive.unmount();
    let header = drive.inspected("f");
    assert_eq!((&header["layers"], &header["bucket_key"]), (&2.into(), &false.into()));
    assert_eq!(
        header["keys"][0]["provider"], "keyring key",
        "the inner data key is wrapped by the key itself"
    );
    fails(
        &mut drive.on_store(
            ["bucket", "encryption", "put"],
            ["data", "--sse", "aws:kms:dsse", "--bucket-key", "on"],
        ),
        2,
    );
}

#[test]
fn g3_two_layers_may_be_the_default_of_a_bucket_and_the_value_that_a_policy_wants() {
    let mut drive = Drive::open_to_all();
    ok(&mut drive.on_store(["bucket", "encryption", "put"], ["data", "--sse", "aws:kms:dsse"]));
    let policy = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*",
        "Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/*",
        "Condition": {"StringNotEqualsIfExists": {"s3:x-amz-server-side-encryption": "aws:kms:dsse"},
                      "Null": {"s3:x-amz-server-side-encryption": "false"}}}}"#;
    fs::write(drive.path("policy.json"), policy).unwrap();
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy.json")));
    drive.mount(&["--sse", "none"]);
    let f = drive.dir().join("f");
    fs::write(&f, "x").unwrap();
    assert_eq!(value(&f, ENCRYPTION), "aws:kms:dsse");
    fs::create_dir(drive.dir().join("single")).unwrap();
    set(&drive.dir().join("single"), ENCRYPTION, "AES256").unwrap();
    assert!(fs::write(drive.dir().join("single/f"), "x").is_err());
}

#[test]
fn g4_a_rewrap_to_another_key_leaves_two_layers_alone_and_a_reencryption_does_not() {
    let mut drive = Drive::open_to_all();
    drive.make_key("alias/b");
    drive.mount(&["--sse", "aws:kms:dsse"]);
    fs::write(drive.dir().join("f"), "content").unwrap();
    drive.unmount();
    let before = drive.inspected("f");
    let ran = run(&mut drive.on_store(["rewrap"], ["data", "--deep", "--to-key", "alias/b", "--json"]));
    assert!(ran.stdout.contains("\"succeeded\": 0"), "{ran:?}");
    assert_eq!(drive.inspected("f")["kms_key"], before["kms_key"]);
    job(&drive, ["reencrypt"], ["data", "--sse", "aws:kms", "--sse-kms-key", "alias/b"]);
    let after = drive.inspected("f");
    assert_eq!((&after["layers"], &after["kms_key"]), (&1.into(), &drive.described("alias/b")["key"]));
    drive.mount(&[]);
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"content");
}
