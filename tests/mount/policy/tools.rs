//! Ordinary tools under a strict policy: where the mount satisfies it they work, where not they fail and the log says what
//! would help.

use std::fs;

use super::{assert_logged, shared_with};
use crate::fixture::{Drive, ok, run, shell};

const STRICT: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Sid": "EncryptEverything", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "DOCS/*",
     "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}}]}"#;

/// What each tool does with its working directory, the bucket; `$native` is a directory beside the drive.
const TOOLS: [(&str, &str); 6] = [
    ("rsync", "mkdir -p $native/tree/sub; echo one > $native/tree/a; echo two > $native/tree/sub/b
        rsync -a $native/tree/ tree/; echo more >> $native/tree/a; rsync -a $native/tree/ tree/; diff -r $native/tree tree"),
    ("restic", "export RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$native/cache
        restic -q init -r repo; seq 10000 > $native/f; restic -q -r repo backup $native/f; restic -q -r repo check"),
    ("borg", "export BORG_PASSPHRASE=secret BORG_BASE_DIR=$native/borg BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
        borg init -e repokey borg; seq 10000 > $native/g; borg create borg::one $native/g; borg check borg"),
    ("git", "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
        git init -q work; cd work; echo one > f; ln -s f link; git add -A; git commit -q -m one; echo two > f; git commit -q -a -m two; git fsck"),
    ("vim", "echo one > text; vim -u NONE -n -es -c 's/one/two/' -c wq text; grep two text"),
    ("sqlite", "python3 -c 'import sqlite3; d = sqlite3.connect(\"db\"); d.execute(\"create table t(x)\"); d.commit(); d.execute(\"insert into t values(1)\"); d.commit()'"),
];

fn use_tool(drive: &Drive, script: &str) -> crate::fixture::Ran {
    let mut tool = shell(120, &drive.dir(), script);
    run(tool.env("native", drive.native()))
}

#[test]
fn tools_work_where_the_mount_satisfies_the_policy() {
    let drive = shared_with(STRICT, &["--sse", "AES256"]);
    for (tool, script) in TOOLS {
        let ran = use_tool(&drive, script);
        assert_eq!(ran.code, 0, "{tool}: {}\n{}\n{}", ran.stdout, ran.stderr, drive.log());
    }
    assert!(!drive.log().contains("denied"), "{}", drive.log());
}

#[test]
fn tools_fail_with_a_reason_where_it_does_not() {
    let drive = shared_with(STRICT, &["--sse", "none"]);
    for (tool, script) in TOOLS {
        assert_ne!(use_tool(&drive, script).code, 0, "{tool}");
    }
    assert_logged(
        &drive,
        &[
            "EncryptEverything",
            "s3:x-amz-server-side-encryption `AES256`, absent",
            "mount with `--sse AES256`",
        ],
    );
    let left = ok(&mut shell(20, &drive.dir(), "find . -type f -o -type l"));
    assert_eq!(left, "", "a denied creation leaves nothing behind");
}

#[test]
fn policy_explain_tells_what_the_drive_does() {
    let drive = shared_with(STRICT, &["--sse", "none"]);
    assert!(fs::write(drive.dir().join("f"), "x").is_err());
    let ask = ["data", "--as", "root", "--action", "s3:PutObject", "--path", "f"];
    let told = ok(&mut drive.on_store(["policy", "explain"], ask));
    assert!(told.starts_with("denied by statement `EncryptEverything`"), "{told}");
    assert!(told.contains("mount with `--sse AES256`"), "{told}");
    let mut satisfied = drive.on_store(["policy", "explain"], ask);
    let told = ok(satisfied.args(["--sse", "AES256"]));
    assert!(told.starts_with("allowed: no statement denies it"), "{told}");
}
