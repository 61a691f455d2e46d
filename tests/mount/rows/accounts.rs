//! Section N: keys between accounts, and who may use one. Grants (N4) on a live drive stand in `keys/policies.rs`.

use std::fs;

use super::{ENCRYPTION, KMS_KEY, set, value};
use crate::{
    fixture::{Drive, assert_errno, ok, run, shell},
    policy::{as_user, assert_logged},
};

const EVE: u32 = 3001;

/// A drive for everybody on which the user [`EVE`] belongs to another account, to which the bucket is open.
fn with_a_stranger(flags: &[&str]) -> Drive {
    let mut drive = Drive::unmounted();
    drive.configure(&format!("[principals]\n\"uid:{EVE}\" = \"arn:aws:iam::999999999999:user/eve\"\n"));
    let open = r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "999999999999"}, "Action": "s3:*",
        "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"]}}"#;
    fs::write(drive.path("policy.json"), open).unwrap();
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy.json")));
    drive.make_key("alias/own");
    drive.mount(&[&["--allow-other", "--sse", "none"], flags].concat());
    ok(&mut shell(20, &drive.root(), "chmod 777 . data; mkdir -m 777 data/aes data/managed data/own"));
    for (dir, encryption, key) in
        [("aes", "AES256", None), ("managed", "aws:kms", None), ("own", "aws:kms", Some("alias/own"))]
    {
        set(&drive.dir().join(dir), ENCRYPTION, encryption).unwrap();
        if let Some(key) = key {
            set(&drive.dir().join(dir), KMS_KEY, key).unwrap();
        }
        fs::write(drive.dir().join(dir).join("there"), "content\n").unwrap();
    }
    drive
}

fn may(drive: &Drive, uid: u32, script: &str) -> bool {
    let ran = run(&mut as_user(drive, uid, "", script));
    assert!(ran.code == 0 || ran.stderr.contains("ermission denied"), "{script}: {}", ran.stderr);
    ran.code == 0
}

fn put_key_policy(drive: &Drive, statements: &str) {
    let policy = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    fs::write(drive.path("key.json"), policy).unwrap();
    ok(drive.on_store(["key", "policy", "put"], ["alias/own"]).arg(drive.path("key.json")));
}

#[test]
fn row_n1_the_managed_key_and_keys_without_a_policy_serve_their_own_account_only() {
    let drive = with_a_stranger(&[]);
    for (dir, stranger) in [("aes", true), ("managed", false), ("own", false)] {
        for script in [format!("echo x > {dir}/new-$UID"), format!("cat {dir}/there")] {
            assert_eq!(may(&drive, EVE, &script), stranger, "{script}");
            assert!(may(&drive, EVE + 1, &script), "{script}");
        }
    }
    assert!(!drive.dir().join("managed/new-3001").exists(), "a denied creation leaves nothing behind");
    assert_logged(&drive, &["kms:GenerateDataKey", "arn:aws:iam::999999999999:user/eve"]);
    let managed =
        run(drive.on_store(["key", "policy", "put"], ["alias/aws/s3"]).arg(drive.path("policy.json")));
    assert_ne!(managed.code, 0, "the managed key takes no policy");
}

#[test]
fn row_n2_an_alias_is_one_of_the_store_whoever_asks_and_the_header_keeps_the_arn() {
    let drive = with_a_stranger(&[]);
    let arn = drive.described("alias/own")["arn"].as_str().unwrap().to_owned();
    let id = arn.rsplit('/').next().unwrap();
    for (number, name) in
        ["alias/own", &arn.replace(&format!("key/{id}"), "alias/own")].into_iter().enumerate()
    {
        let f = drive.dir().join(number.to_string());
        fs::write(&f, "").unwrap();
        set(&f, ENCRYPTION, "aws:kms").unwrap();
        set(&f, KMS_KEY, name).unwrap();
        fs::write(&f, "x").unwrap();
        assert_eq!(value(&f, KMS_KEY), arn, "{name}");
    }
    // An alias in the account of who asks is none of the store's.
    let f = drive.dir().join("foreign");
    fs::write(&f, "").unwrap();
    set(&f, ENCRYPTION, "aws:kms").unwrap();
    for foreign in
        ["arn:aws:kms:local:999999999999:alias/own", "arn:aws:kms:eu-west-1:000000000000:alias/own"]
    {
        let refused = set(&f, KMS_KEY, foreign).unwrap_err().raw_os_error();
        assert!([Some(libc::ENOKEY), Some(libc::EINVAL)].contains(&refused), "{foreign}: {refused:?}");
    }
    let new = drive.make_key("alias/new");
    ok(&mut drive.on_store(["key", "alias", "set"], ["alias/own", &new]));
    assert_eq!(
        value(&drive.dir().join("own/there"), KMS_KEY),
        arn,
        "the object keeps the key that it was put with"
    );
}

/// In S3 it is called Encrypt, and what counts is `kms:GenerateDataKey`.
#[test]
fn row_n3_who_puts_an_object_needs_leave_to_use_its_key_and_who_reads_it_to_decrypt() {
    let drive = with_a_stranger(&["--audit", "on"]);
    let about = |uid: u32, actions: &str| {
        format!(
            r#"{{"Effect": "Allow", "Principal": "*", "Action": [{actions}], "Resource": "*",
            "Condition": {{"NumericEquals": {{"aws:userid": "{uid}"}}}}}}"#
        )
    };
    let (both, generate, decrypt, other) = (3011, 3012, 3013, 3014);
    let statements = [
        about(both, r#""kms:GenerateDataKey", "kms:Decrypt""#),
        about(generate, r#""kms:GenerateDataKey""#),
        about(decrypt, r#""kms:Decrypt""#),
        // Another account needs an allowance of its own besides, for which the open mode stands.
        r#"{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:user/eve"}, "Action": "kms:*", "Resource": "*"}"#.to_owned(),
        // These are not what S3 asks for.
        about(other, r#""kms:Encrypt", "kms:ReEncrypt*", "kms:DescribeKey""#),
    ];
    put_key_policy(&drive, &statements.join(", "));
    for (uid, puts, reads) in [
        (both, true, true),
        (generate, true, false),
        (decrypt, false, true),
        (other, false, false),
        (EVE, true, true),
        (0, false, false),
    ] {
        let new = format!("own/new-{uid}");
        assert_eq!(may(&drive, uid, &format!("echo x > {new}")), puts, "{uid} puts");
        assert_eq!(drive.dir().join(&new).exists(), puts, "{uid}: a denied creation leaves nothing behind");
        assert_eq!(may(&drive, uid, "cat own/there"), reads, "{uid} reads");
        assert_eq!(
            may(&drive, uid, &format!("echo more >> {new}; cat {new} && true")),
            puts && reads,
            "{uid}"
        );
        assert!(may(&drive, uid, &format!("echo x > aes/new-{uid}; cat aes/new-{uid}")), "{uid}: other keys");
    }
    assert_errno(fs::read(drive.dir().join("own/there")), libc::EACCES);
    assert_logged(&drive, &["kms:Decrypt", "user/uid:3012"]);
}
