//! Jobs and the inventory on a small store: what they print, what their reports say, and their exit codes.

use std::{fs, path::Path};

use crate::program::{done, run};

/// A store `vault` with the bucket `photos`, made of a directory with three plain files.
fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["init", "vault", "--key-file", "key"]);
    fs::create_dir_all(dir.path().join("vault/photos/2020")).unwrap();
    for (name, content) in [("a", "one"), ("b, c", "two"), ("2020/d", "three")] {
        fs::write(dir.path().join("vault/photos").join(name), content).unwrap();
    }
    done(dir.path(), &["bucket", "create", "vault", "photos", "--adopt", "--key-file", "key"]);
    dir
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn plain_files_are_encrypted_rewrapped_listed_and_replicated() {
    let dir = store();
    let at = dir.path();
    let unlock = ["--key-file", "key"];
    let strongroom = |words: &[&str]| done(at, &[words, &unlock].concat());
    let planned = strongroom(&["reencrypt", "vault", "photos", "--dry-run"]);
    assert_eq!(planned, "0 done, 0 failed, 0 left as they are, 3 would be done\n");
    let report = at.join("report.csv");
    let encrypted = strongroom(&["reencrypt", "vault", "photos", "--report", "report.csv"]);
    assert_eq!(encrypted, "3 done, 0 failed, 0 left as they are, 11 bytes copied\n");
    let text = fs::read_to_string(&report).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.remove(0), "Bucket,Key,TaskStatus,ErrorCode,ResultMessage");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "photos,\"b, c\",Succeeded,,AES256",
            "photos,2020/d,Succeeded,,AES256",
            "photos,a,Succeeded,,AES256"
        ]
    );
    let rewrapped =
        strongroom(&["rewrap", "vault", "--deep", "--new-bucket-key", "--json", "--report", "report.json"]);
    let totals: serde_json::Value = serde_json::from_str(&rewrapped).unwrap();
    assert_eq!((totals["succeeded"].as_u64(), totals["failed"].as_u64()), (Some(3), Some(0)), "{totals}");
    let report = json(&at.join("report.json"));
    assert_eq!(report["totals"], totals);
    assert_eq!(
        report["objects"].as_array().unwrap().len(),
        5,
        "three objects, and the two records of the bucket"
    );
    fs::remove_file(at.join("key")).unwrap();
    done(at, &["inventory", "vault", "--format", "json", "-o", "list.json"]);
    let listed = json(&at.join("list.json"));
    for entry in listed.as_array().unwrap() {
        assert_eq!(entry["encryption_status"], "SSE-S3", "{entry}");
        assert_eq!(entry["rewraps"], 1);
    }
    let csv = done(at, &["inventory", "vault", "photos", "--prefix", "2020/"]);
    assert_eq!(csv.lines().count(), 2);
    assert!(csv.lines().nth(1).unwrap().starts_with("photos,2020/d,5,"), "{csv}");
}

#[test]
fn a_store_is_replicated_bucket_by_bucket_and_only_once() {
    let dir = store();
    let at = dir.path();
    done(at, &["init", "other", "--key-file", "other-key"]);
    let keys = ["--src-key-file", "key", "--dst-key-file", "other-key"];
    let copy = |words: &[&str]| done(at, &[&["replicate"], words, &keys].concat());
    assert_eq!(
        copy(&["vault/photos", "other/copies"]),
        "3 done, 0 failed, 0 left as they are, 11 bytes copied\n"
    );
    assert_eq!(copy(&["vault/photos", "other/copies"]), "0 done, 0 failed, 3 left as they are\n");
    assert_eq!(copy(&["vault", "other"]), "3 done, 0 failed, 0 left as they are, 11 bytes copied\n");
    let listed = done(at, &["inventory", "other", "--mode", "SSE-S3"]);
    assert_eq!(listed.lines().count(), 7);
    let refused = run(at, &[&["replicate", "vault", "other/copies"], &keys[..]].concat());
    assert_eq!(refused.code, 2, "{}", refused.stderr);
}

#[test]
fn a_failed_object_is_named_and_the_exit_code_says_so() {
    let dir = store();
    let at = dir.path();
    done(at, &["reencrypt", "vault", "photos", "--key-file", "key"]);
    let stored = at.join("vault/photos/a");
    let mut bytes = fs::read(&stored).unwrap();
    bytes[1100] ^= 1;
    fs::write(&stored, bytes).unwrap();
    let ended = run(at, &["rewrap", "vault", "--deep", "--new-bucket-key", "--key-file", "key"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("FAILED photos/a: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("2 done, 1 failed"), "{}", ended.stdout);
    let listed = done(at, &["inventory", "vault", "--prefix", "a"]);
    assert!(listed.contains("UNKNOWN"), "{listed}");
}
