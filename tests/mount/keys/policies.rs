//! Key policies and grants on a live drive, with the users, programs and pages that there are. Names carry the rows of the
//! S3 semantics table.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
};

use serde_json::Value;

use crate::{
    fixture::{Drive, eventually, fails, ok, run, shell},
    policy::{as_user, assert_denied, assert_logged},
};

/// A drive for everybody with the key `alias/tenant`, whose policy has these statements.
fn governed(statements: &str, flags: &[&str]) -> Drive {
    let mut drive = Drive::unmounted();
    ok(&mut drive.on_store(["key", "create"], ["--alias", "alias/tenant"]));
    put(&drive, statements);
    let sse = ["--allow-other", "--sse", "aws:kms", "--sse-kms-key", "alias/tenant"];
    drive.mount(&[&sse, flags].concat());
    for dir in [drive.root(), drive.dir()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    drive
}

fn put(drive: &Drive, statements: &str) {
    let policy = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    fs::write(drive.path("policy.json"), policy).unwrap();
    ok(drive.on_store(["key", "policy", "put"], ["alias/tenant"]).arg(drive.path("policy.json")));
}

/// One statement about the user with this number.
fn about(sid: &str, effect: &str, uid: u32, actions: &str) -> String {
    format!(
        r#"{{"Sid": "{sid}", "Effect": "{effect}", "Principal": "*", "Action": [{actions}], "Resource": "*",
            "Condition": {{"NumericEquals": {{"aws:userid": "{uid}"}}}}}}"#
    )
}

const BOTH: &str = r#""kms:GenerateDataKey", "kms:Decrypt""#;
const GENERATE: &str = r#""kms:GenerateDataKey""#;

#[track_caller]
fn refused(drive: &Drive, uid: u32, script: &str) {
    let ran = run(&mut as_user(drive, uid, "", script));
    assert_ne!(ran.code, 0, "user {uid} may not: {script}");
    assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
}

#[test]
fn row_c12_each_user_may_do_with_a_key_what_its_policy_says_and_root_is_one_of_them() {
    let drive = governed(&about("Ann", "Allow", 3001, BOTH), &["--audit", "on"]);
    ok(&mut as_user(&drive, 3001, "", "echo secret > f; cat f f > /dev/null"));
    // The permissions let everyone read it, and its pages are in the cache of the kernel.
    refused(&drive, 3002, "cat f");
    refused(&drive, 3002, "echo more >> f");
    refused(&drive, 3002, "echo new > g");
    assert_denied(fs::read(drive.dir().join("f")));
    assert_denied(fs::write(drive.dir().join("g"), "root"));
    assert!(!drive.dir().join("g").exists(), "a denied creation leaves nothing behind");
    // What needs no key goes on: names belong to the bucket.
    ok(&mut as_user(&drive, 3002, "", "stat f > /dev/null; ls > /dev/null; mv f h; mv h f"));
    assert_logged(&drive, &["kms:Decrypt", "arn:aws:kms:local:000000000000:key/", "uid:3002"]);
    assert_logged(&drive, &["kms:GenerateDataKey", "user/root"]);
    // A change counts at the next open.
    put(&drive, &[about("Ann", "Deny", 3001, BOTH), about("Bob", "Allow", 3002, BOTH)].join(","));
    refused(&drive, 3001, "cat f");
    assert_eq!(ok(&mut as_user(&drive, 3002, "", "cat f")), "secret\n");
    let denied = || events(&drive).into_iter().find(|event| event["sid"] == "Ann");
    eventually("the denial was written", || denied().is_some());
    let event = denied().unwrap();
    assert_eq!(
        (event["eventName"].as_str(), event["errorCode"].as_str(), event["errno"].as_i64()),
        (Some("GetObject"), Some("AccessDenied"), Some(i64::from(libc::EACCES)))
    );
    assert!(event["errorMessage"].as_str().unwrap().contains("key policy statement `Ann`"), "{event}");
    ok(&mut drive.on_store(["key", "policy", "delete"], ["alias/tenant"]));
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"secret\n");
    let names: Vec<_> = events(&drive).into_iter().map(|event| event["eventName"].clone()).collect();
    assert!(names.contains(&"PutKeyPolicy".into()) && names.contains(&"DeleteKeyPolicy".into()), "{names:?}");
}

fn events(drive: &Drive) -> Vec<Value> {
    let shown = ok(&mut drive.on_store(["audit", "show"], ["--json"]));
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn row_c5_files_that_are_open_go_on_when_the_policy_changes() {
    let drive = governed(&about("Ann", "Allow", 3001, BOTH), &[]);
    ok(&mut as_user(&drive, 3001, "", "echo secret > f"));
    let open = fs::File::open(drive.dir().join("f"));
    assert_denied(open);
    put(&drive, &about("Root", "Allow", 0, BOTH));
    let path = drive.dir().join("f");
    let held = fs::File::options().read(true).write(true).open(&path).unwrap();
    put(&drive, &about("Ann", "Allow", 3001, BOTH));
    assert_denied(fs::File::open(&path));
    held.write_all_at(b"SECRET", 0).unwrap();
    let mut read = [0; 7];
    held.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"SECRET\n");
    drop(held);
    assert_eq!(ok(&mut as_user(&drive, 3001, "", "cat f")), "SECRET\n");
}

#[test]
fn row_e6_and_b9_a_drop_box_takes_what_rsync_and_tar_bring_and_gives_nothing_back() {
    for bucket_key in ["on", "off"] {
        let policy = [about("Drop", "Allow", 3001, GENERATE), about("Fetch", "Allow", 3002, BOTH)].join(",");
        let drive = governed(&policy, &["--sse-bucket-key", bucket_key]);
        let make = "mkdir -p in/sub; head -c 300000 /dev/urandom > in/big; echo small > in/sub/small; : > in/empty; \
            ln -s big in/link; tar -C in -cf in.tar .; chmod -R a+rX in in.tar";
        ok(&mut shell(20, &drive.native(), make));
        fs::set_permissions(drive.native(), fs::Permissions::from_mode(0o755)).unwrap();
        let native = drive.native().display().to_string();
        ok(&mut as_user(&drive, 3001, "", &format!("rsync -a --no-o --no-g {native}/in/ synced/")));
        ok(&mut as_user(&drive, 3001, "", &format!("mkdir untarred; tar -C untarred -xf {native}/in.tar")));
        // The same again: what is unchanged is not read, what is changed is written anew.
        ok(&mut shell(20, &drive.native(), "echo larger than before > in/sub/small"));
        ok(&mut as_user(&drive, 3001, "", &format!("rsync -a --no-o --no-g {native}/in/ synced/")));
        for script in [
            "cat synced/big",
            "cat untarred/sub/small",
            "dd of=synced/big bs=1 count=1 conv=notrunc < /dev/zero",
        ] {
            refused(&drive, 3001, script);
        }
        refused(
            &drive,
            3001,
            "python3 -c 'import os; f = os.open(\"mine\", os.O_RDWR | os.O_CREAT); os.write(f, b\"x\"); os.pread(f, 1, 0)'",
        );
        ok(&mut as_user(&drive, 3002, "", &format!("diff -r {native}/in synced")));
        ok(&mut as_user(
            &drive,
            3002,
            "",
            &format!("cmp {native}/in/big untarred/big; cat untarred/sub/small"),
        ));
    }
}

#[test]
fn row_n4_grants_by_user_and_supplementary_group_come_and_go_on_a_live_drive() {
    let drive = governed(&about("Ann", "Allow", 3001, BOTH), &[]);
    ok(&mut as_user(&drive, 3001, "", "echo secret > f"));
    refused(&drive, 3002, "cat f");
    let grant = |flags: [&str; 4]| {
        let id = ok(drive.on_store(["key", "grant"], ["alias/tenant"]).args(flags));
        id.trim().to_owned()
    };
    let user = grant(["--user", "3002", "--operations", "Decrypt"]);
    let group = grant(["--group", "3050", "--operations", "Decrypt,GenerateDataKey"]);
    assert_eq!(ok(&mut as_user(&drive, 3002, "", "cat f")), "secret\n");
    refused(&drive, 3002, "echo x > g");
    assert_eq!(ok(&mut as_user(&drive, 3003, "3050", "cat f; echo x > h")), "secret\n");
    refused(&drive, 3003, "cat f");
    let listed = ok(&mut drive.on_store(["key", "grants"], ["alias/tenant"]));
    assert!(listed.contains(&user) && listed.contains("uid:3002") && listed.contains("gid:3050"), "{listed}");
    for id in [&user, &group] {
        ok(&mut drive.on_store(["key", "revoke-grant"], ["alias/tenant", id]));
    }
    refused(&drive, 3002, "cat f");
    assert_denied_to_group(&drive);
    let again = fails(&mut drive.on_store(["key", "revoke-grant"], ["alias/tenant", &user]), 1);
    assert!(again.contains("has no grant"), "{again}");
}

fn assert_denied_to_group(drive: &Drive) {
    let ran = run(&mut as_user(drive, 3003, "3050", "cat f"));
    assert!(ran.code != 0 && ran.stderr.contains("Permission denied"), "{}", ran.stderr);
}

#[test]
fn what_a_new_key_policy_would_have_denied_is_told_from_the_audit_log() {
    let drive = governed(&about("Ann", "Allow", 3001, BOTH), &["--audit", "on"]);
    ok(&mut as_user(&drive, 3001, "", "echo secret > f; cat f"));
    let read = || events(&drive).iter().any(|event| event["eventName"] == "GetObject");
    eventually("the read was written", read);
    let new =
        format!(r#"{{"Version": "2012-10-17", "Statement": {}}}"#, about("DropBox", "Allow", 3001, GENERATE));
    fs::write(drive.path("new.json"), new).unwrap();
    let log = fs::read_dir(drive.store().join(".strongroom/audit")).unwrap();
    let log =
        log.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "jsonl"));
    let mut simulate = drive.on_store(["policy", "simulate"], ["data", "--json"]);
    simulate.args(["--key", "alias/tenant", "--policy"]).arg(drive.path("new.json"));
    let report = ok(simulate.arg("--from-audit").arg(log.unwrap()));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["newly_allowed"], Value::Array(Vec::new()), "{report}");
    let denied = report["newly_denied"].as_array().unwrap();
    assert_eq!(denied.len(), 1, "{report}");
    assert_eq!((denied[0]["action"].as_str(), denied[0]["count"].as_u64()), (Some("kms:Decrypt"), Some(1)));
    assert_eq!(denied[0]["example"], "data/f");
}
