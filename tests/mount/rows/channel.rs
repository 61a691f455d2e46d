//! Section O: the channel that a request comes by. That it is judged when a file is opened (O3) stands in
//! `policy/table.rs`.

use std::fs;

use super::put_ready_policy;
use crate::fixture::{Drive, ok};

/// Whether a file can be put where the policy denies that under `condition`.
fn puts(drive: &Drive, name: &str, condition: &str) -> bool {
    let policy = format!(
        r#"{{"Statement": {{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/*",
            "Condition": {{{condition}}}}}}}"#
    );
    fs::write(drive.path("policy.json"), policy).unwrap();
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy.json")));
    fs::write(drive.dir().join(name), "x").is_ok()
}

#[test]
fn row_o1_a_local_drive_is_a_secure_channel() {
    let drive = Drive::with(&["--sse", "none"]);
    for (number, (condition, allowed)) in [
        (r#""Bool": {"aws:SecureTransport": "false"}"#, true),
        (r#""Bool": {"aws:SecureTransport": "true"}"#, false),
        (r#""Null": {"aws:SecureTransport": "true"}"#, true),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(puts(&drive, &number.to_string(), condition), allowed, "{condition}");
    }
    put_ready_policy(&drive, "deny-insecure-transport.json");
    fs::write(drive.dir().join("ready"), "x").unwrap();
    fs::read_dir(drive.dir()).unwrap();
}

#[test]
fn row_o2_a_local_drive_has_no_version_of_tls() {
    let drive = Drive::with(&["--sse", "none"]);
    for (number, (condition, allowed)) in [
        (r#""NumericLessThan": {"s3:TlsVersion": 1.2}"#, true),
        (r#""NumericGreaterThanEquals": {"s3:TlsVersion": "1.2"}"#, true),
        (r#""Null": {"s3:TlsVersion": "true"}"#, false),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(puts(&drive, &number.to_string(), condition), allowed, "{condition}");
    }
}
