//! Sections K, L, M and P: copies, re-encryption, replicas, and what is told about objects.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt};

use serde_json::Value;

use super::{ENCRYPTION, KMS_KEY, job, set, value};
use crate::fixture::{Drive, command, eventually, fails, ok, run};

#[test]
fn k1_k2_a_copy_has_the_setting_of_the_directory_it_goes_to_or_the_default_of_the_bucket() {
    let mut drive = Drive::with(&["--sse", "aws:kms"]);
    let dir = drive.dir();
    fs::write(dir.join("source"), "x").unwrap();
    drive.remount_with(&["--sse", "none"]);
    fs::create_dir(dir.join("asking")).unwrap();
    set(&dir.join("asking"), ENCRYPTION, "AES256").unwrap();
    ok(&mut drive
        .on_store(["bucket", "encryption", "put"], ["data", "--sse", "aws:kms", "--bucket-key", "off"]));
    for to in ["asking/copy", "copy"] {
        ok(command(20, "cp").args(["-a", "--reflink=auto"]).arg(dir.join("source")).arg(dir.join(to)));
    }
    drive.unmount();
    assert_eq!(drive.inspected("asking/copy")["encryption"], "AES256");
    let copy = drive.inspected("copy");
    assert_eq!((&copy["encryption"], &copy["bucket_key"]), (&"aws:kms".into(), &false.into()));
    assert_eq!(drive.inspected("source")["bucket_key"], true);
}

#[test]
fn row_k3_a_copy_onto_itself_needs_other_settings_or_force() {
    let mut drive = Drive::with(&["--sse", "AES256"]);
    fs::write(drive.dir().join("f"), "content").unwrap();
    drive.unmount();
    for (words, done) in [
        (&["--sse", "AES256"][..], false),
        (&["--sse", "AES256", "--force"], true),
        (&["--sse", "aws:kms"], true),
        (&["--sse", "aws:kms"], false),
        (&["--sse", "aws:kms", "--sse-bucket-key", "off"], true),
    ] {
        let before = fs::read(drive.stored("f")).unwrap();
        let ran = run(drive.on_store(["reencrypt"], ["data", "--json"]).args(words));
        let totals: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{words:?}: {ran:?}"));
        assert_eq!(totals["succeeded"], u64::from(done), "{words:?}: {totals}");
        assert_eq!(fs::read(drive.stored("f")).unwrap() != before, done, "{words:?}");
    }
    drive.mount(&[]);
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"content");
}

#[test]
fn row_k6_headers_that_contradict_each_other_are_refused_one_by_one() {
    const BUCKET_KEY: &str = "user.s3.server-side-encryption-bucket-key-enabled";
    const CONTEXT: &str = "user.s3.context";
    let drive = Drive::with(&["--sse", "none"]);
    let asked = |number: usize, pairs: &[(&str, &str)]| {
        let dir = drive.dir().join(number.to_string());
        fs::create_dir(&dir).unwrap();
        pairs.iter().try_for_each(|(name, text)| set(&dir, name, text))
    };
    for (number, (pairs, accepted)) in [
        (&[(ENCRYPTION, "aws:kms"), (BUCKET_KEY, "true"), (CONTEXT, r#"{"a": "b"}"#)][..], true),
        (&[(ENCRYPTION, "AES256")], true),
        (&[(ENCRYPTION, "AES256"), (KMS_KEY, "alias/a")], false),
        (&[(ENCRYPTION, "AES256"), (BUCKET_KEY, "true")], false),
        (&[(ENCRYPTION, "AES256"), (CONTEXT, r#"{"a": "b"}"#)], false),
        (&[(KMS_KEY, "alias/a")], false),
        (&[(ENCRYPTION, "aws:kms"), (CONTEXT, r#"{"aws:s3:x": "b"}"#)], false),
        (&[(ENCRYPTION, "customer")], false),
        (&[(ENCRYPTION, "bucket-default"), (KMS_KEY, "alias/a")], false),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = asked(number, pairs);
        assert_eq!(
            outcome.as_ref().err().and_then(std::io::Error::raw_os_error),
            (!accepted).then_some(libc::EINVAL),
            "{pairs:?}"
        );
    }
}

#[test]
fn k4_a_reencrypted_object_is_a_new_one_with_a_new_time_unless_it_is_preserved() {
    let mut drive = Drive::new();
    for name in ["changed", "preserved"] {
        fs::write(drive.dir().join(name), "content").unwrap();
        ok(command(20, "touch").args(["-d", "2020-02-02 02:02:02"]).arg(drive.dir().join(name)));
    }
    drive.unmount();
    let before = ["changed", "preserved"].map(|name| drive.inspected(name));
    job(&drive, ["reencrypt"], ["data", "--force", "--prefix", "changed"]);
    job(&drive, ["reencrypt"], ["data", "--force", "--preserve", "--prefix", "preserved"]);
    let after = ["changed", "preserved"].map(|name| drive.inspected(name));
    drive.mount(&[]);
    for ((name, before), after) in ["changed", "preserved"].into_iter().zip(before).zip(after) {
        assert_ne!(before["key_commitment"], after["key_commitment"], "{name}");
        assert_ne!(before["object_id"], after["object_id"], "{name}");
        let path = drive.dir().join(name);
        assert_eq!(fs::read(&path).unwrap(), b"content");
        let kept = fs::metadata(&path).unwrap().mtime() == 1_580_608_922;
        assert_eq!(kept, name == "preserved");
    }
}

#[test]
fn l4_a_changed_default_touches_no_stored_object_until_it_is_applied() {
    let mut drive = Drive::new();
    fs::write(drive.dir().join("f"), "content").unwrap();
    drive.unmount();
    let stored = fs::read(drive.stored("f")).unwrap();
    let put = |drive: &Drive, sse: &str, more: &[&str]| {
        ok(drive.on_store(["bucket", "encryption", "put"], ["data", "--sse", sse]).args(more))
    };
    put(&drive, "aws:kms", &[]);
    assert!(fs::read(drive.stored("f")).unwrap() == stored);
    let said = put(&drive, "aws:kms", &["--apply"]);
    assert!(said.contains("1 done, 0 failed"), "{said}");
    assert_eq!(drive.inspected("f")["encryption"], "aws:kms");
    drive.mount(&[]);
    let said = put(&drive, "AES256", &["--apply"]);
    assert!(said.contains("1 done, 0 failed"), "a drive does it itself: {said}");
    assert_eq!(value(&drive.dir().join("f"), ENCRYPTION), "AES256");
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"content");
    let refused = ["data", "--sse", "none", "--apply"];
    fails(&mut drive.on_store(["bucket", "encryption", "put"], refused), 2);
}

#[test]
fn m1_m2_m5_a_replica_keeps_what_its_source_asked_for_and_plain_objects_take_the_default_there() {
    let mut drive = Drive::unmounted();
    drive.make_key("alias/ours");
    for (name, flags) in
        [("s3", ["AES256", "on"]), ("kms", ["aws:kms", "on"]), ("direct", ["aws:kms", "off"])]
    {
        let flags = if flags[0] == "AES256" {
            vec!["--sse", "AES256"]
        } else {
            vec!["--sse", flags[0], "--sse-kms-key", "alias/ours", "--sse-bucket-key", flags[1]]
        };
        drive.mount(&flags);
        fs::write(drive.dir().join(name), name).unwrap();
        drive.unmount();
    }
    ok(&mut drive.on_store(["bucket", "create"], ["plain", "--default-encryption", "none"]));
    drive.mount(&[]);
    fs::write(drive.root().join("plain/f"), "plain").unwrap();
    drive.unmount();
    let target = drive.native().join("target");
    let on_target =
        |words: &[&str]| ok(drive.strongroom([]).args(&words[..2]).arg(&target).args(&words[2..]));
    ok(drive.strongroom(["init"]).arg(&target));
    on_target(&["bucket", "create", "data", "--default-encryption", "aws:kms"]);
    on_target(&["bucket", "create", "plain"]);
    on_target(&["key", "create", "--alias", "alias/theirs"]);
    let without = ok(drive.on_store(["replicate"], []).arg(&target));
    assert!(
        without.contains("2 done") && without.contains("2 left"),
        "KMS objects need an opt-in: {without}"
    );
    ok(drive.on_store(["replicate"], []).arg(&target).args(["--replica-key", "alias/theirs"]));
    let of = |path: &str| -> Value {
        serde_json::from_str(&ok(drive.strongroom(["inspect", "--json"]).arg(target.join(path)))).unwrap()
    };
    assert_eq!(of("data/s3")["encryption"], "AES256", "not the default of the target");
    assert_eq!(of("plain/f")["encryption"], "AES256", "the default of the target");
    let theirs = ok(drive.strongroom(["key", "describe"]).arg(&target).args(["alias/theirs", "--json"]));
    let theirs: Value = serde_json::from_str(&theirs).unwrap();
    for (name, bucket_key) in [("kms", true), ("direct", false)] {
        let header = of(&format!("data/{name}"));
        assert_eq!(
            (&header["kms_key"], &header["bucket_key"]),
            (&theirs["key"], &bucket_key.into()),
            "{name}"
        );
    }
}

#[test]
fn p1_sse_applied_tells_what_was_done_and_whether_it_was_asked_for() {
    let mut drive = Drive::open_to_all();
    let key_file = drive.customer_keys("customer", &[1]);
    let wanted = [
        ("none", "Default_SSE_S3"),
        ("AES256", "SSE_S3"),
        ("aws:kms", "SSE_KMS"),
        ("aws:kms:dsse", "DSSE_KMS"),
        ("customer", "SSE_C"),
    ];
    for (sse, _) in wanted {
        drive.mount(&["--audit", "on", "--sse", sse, "--sse-c-key-file", key_file.to_str().unwrap()]);
        fs::write(drive.dir().join(sse.replace(':', "-")), "x").unwrap();
        drive.unmount();
    }
    ok(&mut drive.on_store(["bucket", "encryption", "put"], ["data", "--sse", "aws:kms"]));
    drive.mount(&["--audit", "on", "--sse", "none"]);
    fs::write(drive.dir().join("default"), "x").unwrap();
    let puts = || -> BTreeMap<String, String> {
        let shown = ok(&mut drive.on_store(["audit", "show"], ["--json"]));
        let events = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let puts = events.filter(|event| event["eventName"] == "PutObject");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        puts.map(|put| {
            (text(&put["requestParameters"]["key"]), text(&put["additionalEventData"]["SSEApplied"]))
        })
        .collect()
    };
    eventually("six lines", || puts().len() == 6);
    let puts = puts();
    for (sse, applied) in wanted {
        assert_eq!(puts[&sse.replace(':', "-")], applied);
    }
    assert_eq!(puts["default"], "Default_SSE_KMS");
}

#[test]
fn p2_the_inventory_names_every_mode_key_and_bucket_key_without_unlocking_anything() {
    let mut drive = Drive::open_to_all();
    let key = drive.make_key("alias/a");
    let key_file = drive.customer_keys("customer", &[1]);
    let wanted =
        [("AES256", "SSE-S3"), ("aws:kms", "SSE-KMS"), ("aws:kms:dsse", "DSSE-KMS"), ("customer", "SSE-C")];
    for (sse, _) in wanted {
        let mut flags = vec!["--sse", sse, "--sse-c-key-file", key_file.to_str().unwrap()];
        if sse.starts_with("aws") {
            flags.extend(["--sse-kms-key", "alias/a"]);
        }
        drive.mount(&flags);
        fs::write(drive.dir().join(sse.replace(':', "-")), "x").unwrap();
        drive.unmount();
    }
    fs::remove_file(drive.key()).unwrap();
    let listed = ok(&mut drive.on_store(["inventory"], ["--format", "json"]));
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 4);
    for (sse, status) in wanted {
        let row = listed.iter().find(|row| row["key"] == sse.replace(':', "-")).expect("it is listed");
        assert_eq!(row["encryption_status"], status, "{row}");
        assert_eq!(
            row["kms_key"].as_str().is_some_and(|id| key.ends_with(id)),
            sse.starts_with("aws"),
            "{row}"
        );
    }
}

#[test]
fn p3_the_header_echoes_mode_and_key() {
    let mut drive = Drive::unmounted();
    let key = drive.make_key("alias/a");
    drive.mount(&["--sse", "aws:kms", "--sse-kms-key", "alias/a"]);
    fs::write(drive.dir().join("f"), "x").unwrap();
    drive.remount();
    assert_eq!(value(&drive.dir().join("f"), ENCRYPTION), "aws:kms");
    assert_eq!(value(&drive.dir().join("f"), KMS_KEY), key);
}
