//! Retention: what was finished stays, whoever asks.

use std::{fs, io};

use crate::fixture::{Drive, eventually, fails, ok, run, shell};

fn retaining(flags: &[&str]) -> Drive {
    let drive = Drive::unmounted();
    ok(drive
        .on_store(["bucket", "retention", "put"], ["data", "--days", "30", "--mode", "governance"])
        .args(flags));
    drive
}

#[track_caller]
fn assert_retained<T>(outcome: io::Result<T>) {
    assert_eq!(outcome.err().expect("it is retained").raw_os_error(), Some(libc::EPERM));
}

#[test]
fn root_cannot_change_hide_or_delete_a_retained_object() {
    let mut drive = retaining(&[]);
    drive.mount(&[]);
    let dir = drive.dir();
    ok(&mut shell(
        20,
        &dir,
        "mkdir -p deep/er; echo old > deep/er/f; mv deep/er/f deep/er/kept; ln deep/er/kept again",
    ));
    let kept = dir.join("deep/er/kept");
    assert_retained(fs::write(&kept, "new"));
    assert_retained(fs::OpenOptions::new().write(true).open(&kept));
    assert_retained(fs::OpenOptions::new().append(true).open(&kept));
    assert_retained(fs::remove_file(&kept));
    assert_retained(fs::rename(&kept, dir.join("hidden")));
    assert_retained(fs::rename(dir.join("deep"), dir.join("hidden")));
    fs::write(dir.join("new"), "new").unwrap();
    assert_retained(fs::rename(dir.join("new"), &kept));
    assert_retained(fs::OpenOptions::new().write(true).truncate(true).open(&kept));
    ok(&mut shell(20, &dir, "touch -d 2001-01-01 deep/er/kept; touch -d 2099-01-01 deep/er/kept"));
    assert_retained(fs::remove_file(&kept));
    assert_eq!(fs::read(&kept).unwrap(), b"old\n");
    let log = drive.log();
    assert!(log.contains("`data/deep/er/kept` is retained until 20"), "{log}");
}

#[test]
fn what_its_creator_has_not_finished_is_free_and_a_remount_finishes_it() {
    let mut drive = retaining(&[]);
    drive.mount(&[]);
    let f = drive.dir().join("f");
    fs::write(&f, "one").unwrap();
    fs::write(&f, "two").unwrap();
    fs::remove_file(&f).unwrap();
    fs::write(&f, "three").unwrap();
    drive.remount();
    assert_retained(fs::write(&f, "four"));
    assert_eq!(fs::read(&f).unwrap(), b"three");
}

#[test]
fn an_append_only_bucket_lets_objects_grow_at_their_end_alone() {
    const STEPS: &str = r#"
import errno, fcntl, os
file = os.open("log", os.O_WRONLY | os.O_APPEND)
os.write(file, b"two\n")
fcntl.fcntl(file, fcntl.F_SETFL, 0)
os.pwrite(file, b"three\n", 0)
for harm in (lambda: os.ftruncate(file, 0), lambda: os.posix_fallocate(file, 0, 1 << 20), lambda: os.truncate("log", 1)):
    try:
        harm()
    except OSError as error:
        assert error.errno == errno.EPERM, error
    else:
        raise SystemExit("was allowed")
os.close(file)"#;
    let mut drive = retaining(&["--append-only"]);
    drive.mount(&[]);
    fs::write(drive.dir().join("log"), "one\n").unwrap();
    drive.remount();
    ok(&mut crate::fixture::python(20, &drive.dir(), STEPS));
    assert_eq!(fs::read(drive.dir().join("log")).unwrap(), b"one\ntwo\nthree\n");
    assert_retained(fs::write(drive.dir().join("log"), "x"));
}

#[test]
fn an_exception_holds_for_a_directory_and_not_for_links_into_it() {
    let mut drive = retaining(&["--except", "locks"]);
    drive.mount(&[]);
    ok(&mut shell(
        20,
        &drive.dir(),
        "mkdir locks data; echo x > data/f; echo x > locks/l; ln data/f locks/way-round",
    ));
    drive.remount();
    fs::remove_file(drive.dir().join("locks/l")).unwrap();
    assert_retained(fs::write(drive.dir().join("locks/way-round"), "new"));
    assert_retained(fs::remove_file(drive.dir().join("data/f")));
}

#[test]
fn a_backup_survives_a_client_that_turns_hostile() {
    const BACKUP: &str = "export RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$native/cache
        [ -e repo/config ] || restic -q init -r repo; date +%N > $native/f; seq 20000 >> $native/f
        restic -q -r repo backup $native/f; restic -q -r repo check --read-data";
    const HOSTILE: [&str; 5] = [
        "export RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$native/cache; restic -q -r repo forget --keep-last 1 --prune",
        "rm -rf repo",
        "for f in $(find repo/data repo/snapshots repo/index repo/keys repo/config -type f); do : > $f; done 2>&1",
        "mv repo gone",
        "find repo/data -type f -exec sh -c 'truncate -s 1 {}' ';'; exit 1",
    ];
    let mut drive = retaining(&["--except", "repo/locks"]);
    drive.mount(&[]);
    let at_work = |drive: &Drive, script: &str| {
        let mut client = shell(120, &drive.dir(), script);
        run(client.env("native", drive.native()))
    };
    for _ in 0..2 {
        let ran = at_work(&drive, BACKUP);
        assert_eq!(ran.code, 0, "{ran:?}\n{}", drive.log());
    }
    let before = ok(&mut shell(
        60,
        &drive.dir(),
        "find repo -path repo/locks -prune -o -type f -print | sort | xargs sha256sum",
    ));
    for script in HOSTILE {
        let ran = at_work(&drive, script);
        assert_ne!(ran.code, 0, "{script}: {ran:?}");
    }
    let after = ok(&mut shell(
        60,
        &drive.dir(),
        "find repo -path repo/locks -prune -o -type f -print | sort | xargs sha256sum",
    ));
    assert_eq!(before, after);
    ok(&mut shell(20, &drive.dir(), "mkdir -p repo/locks"));
    let ran = at_work(&drive, BACKUP);
    assert_eq!(ran.code, 0, "new backups work: {ran:?}");
    let snapshots = at_work(
        &drive,
        "RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$native/cache restic -r repo snapshots --json",
    );
    let listed: serde_json::Value = serde_json::from_str(&snapshots.stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
}

#[test]
fn governance_is_weakened_with_the_owners_word_and_compliance_never() {
    let drive = retaining(&[]);
    let put = |days: &str, mode: &str, more: &[&str]| {
        let mut put =
            drive.on_store(["bucket", "retention", "put"], ["data", "--days", days, "--mode", mode]);
        put.args(more);
        put
    };
    assert!(fails(&mut put("10", "governance", &[]), 1).contains("--bypass-governance"));
    assert!(
        fails(&mut drive.on_store(["bucket", "retention", "delete"], ["data"]), 1)
            .contains("--bypass-governance")
    );
    super::put(&drive, &super::deny("NoBypass", r#""s3:BypassGovernanceRetention""#, "/*"));
    let told = fails(&mut put("10", "governance", &["--bypass-governance"]), 1);
    assert!(told.contains("NoBypass"), "{told}");
    ok(&mut drive.on_store(["bucket", "policy", "delete"], ["data"]));
    ok(&mut put("10", "governance", &["--bypass-governance"]));
    ok(&mut put("20", "compliance", &[]));
    ok(&mut put("30", "compliance", &[]));
    for weaker in
        [put("29", "compliance", &["--bypass-governance"]), put("30", "governance", &["--bypass-governance"])]
    {
        let mut weaker = weaker;
        assert!(fails(&mut weaker, 1).contains("compliance"));
    }
    let delete =
        fails(&mut drive.on_store(["bucket", "retention", "delete"], ["data", "--bypass-governance"]), 1);
    assert!(delete.contains("compliance"), "{delete}");
    let shown = ok(&mut drive.on_store(["bucket", "retention", "get"], ["data", "--json"]));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((shown["mode"].as_str(), shown["days"].as_u64()), (Some("compliance"), Some(30)));
}

#[test]
fn an_altered_rule_lets_nothing_change() {
    let mut drive = retaining(&[]);
    let file = drive.stored(".eob/retention");
    let altered = fs::read_to_string(&file).unwrap().replace("\"days\": 30", "\"days\": 1");
    fs::write(&file, altered).unwrap();
    drive.mount(&[]);
    assert!(fs::write(drive.dir().join("f"), "x").is_ok(), "new objects harm nobody");
    let refused = fs::remove_file(drive.dir().join("f")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    assert!(drive.log().contains("its MAC does not match"), "{}", drive.log());
}

/// Without a key: the daemon has the store unlocked and does it.
#[test]
fn the_retention_of_a_mounted_drive_is_changed_through_its_daemon() {
    let mut drive = Drive::with(&[]);
    fs::write(drive.dir().join("kept"), "x").unwrap();
    drive.remount();
    let locked = |words: [&str; 3], more: &[&str]| {
        let mut command = drive.on_store(words, ["data"]);
        command.args(more).env_remove("STRONGROOM_KEY_FILE").stdin(std::process::Stdio::null());
        command
    };
    let (get, put) = (["bucket", "retention", "get"], ["bucket", "retention", "put"]);
    let delete = ["bucket", "retention", "delete"];
    assert!(fails(&mut locked(get, &[]), 1).contains("has no retention"));
    assert!(fails(&mut locked(delete, &[]), 1).contains("has no retention"));
    ok(&mut locked(put, &["--days", "30", "--mode", "governance", "--except", "locks"]));
    assert_retained(fs::remove_file(drive.dir().join("kept")));
    let shown = ok(&mut locked(get, &["--json"]));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((shown["days"].as_u64(), shown["except"][0].as_str()), (Some(30), Some("locks")));
    assert!(
        fails(&mut locked(put, &["--days", "3", "--mode", "governance"]), 1).contains("--bypass-governance")
    );
    super::put(&drive, &super::deny("NoBypass", r#""s3:BypassGovernanceRetention""#, "/*"));
    assert!(fails(&mut locked(delete, &["--bypass-governance"]), 1).contains("NoBypass"));
    ok(&mut drive.on_store(["bucket", "policy", "delete"], ["data"]));
    ok(&mut locked(delete, &["--bypass-governance"]));
    fs::remove_file(drive.dir().join("kept")).unwrap();
    assert!(
        fails(drive.on_store(get, ["nowhere"]).args(["--json"]), 1).contains("there is no bucket `nowhere`")
    );
    ok(&mut locked(put, &["--days", "1", "--mode", "compliance"]));
    drive.unmount();
    let told = fails(&mut drive.on_store(delete, ["data", "--bypass-governance"]), 1);
    assert!(told.contains("compliance"), "what the daemon stored is in force: {told}");
}

/// The bounds that an administrator sets with the condition keys of Object Lock.
#[test]
fn row_j19_a_policy_bounds_the_retention_that_may_be_put() {
    let drive = Drive::with(&[]);
    super::put(
        &drive,
        r#"{"Statement": [
        {"Sid": "NotTooLong", "Effect": "Deny", "Principal": "*", "Action": "s3:PutBucketObjectLockConfiguration",
         "Resource": "DOCS", "Condition": {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "100"}}},
        {"Sid": "NotForGood", "Effect": "Deny", "Principal": "*", "Action": "s3:PutBucketObjectLockConfiguration",
         "Resource": "DOCS", "Condition": {"StringEquals": {"s3:object-lock-mode": "COMPLIANCE"}}},
        {"Sid": "StaysLong", "Effect": "Deny", "Principal": "*", "Action": "s3:BypassGovernanceRetention",
         "Resource": "DOCS/*", "Condition": {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "50"}}}]}"#,
    );
    let put = |days: &str, mode: &str| {
        drive.on_store(
            ["bucket", "retention", "put"],
            ["data", "--days", days, "--mode", mode, "--bypass-governance"],
        )
    };
    assert!(fails(&mut put("101", "governance"), 1).contains("NotTooLong"));
    assert!(fails(&mut put("10", "compliance"), 1).contains("NotForGood"));
    ok(&mut put("40", "governance"));
    ok(&mut put("30", "governance"));
    ok(&mut put("100", "governance"));
    assert!(fails(&mut put("90", "governance"), 1).contains("StaysLong"));
}

/// A job bypasses governance retention where its caller says so and a policy lets him, and leaves a line in the log.
#[test]
fn reencryption_bypasses_governance_retention_alone_and_says_so_in_the_log() {
    let mut drive = retaining(&[]);
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Sid":"NotThat","Effect":"Deny","Principal":"*",
        "Action":"s3:BypassGovernanceRetention","Resource":"arn:aws:s3:::data/secret"}]}"#;
    fs::write(drive.path("policy"), deny).unwrap();
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy")));
    drive.mount(&["--audit", "on"]);
    ok(&mut shell(20, &drive.dir(), "echo kept > kept; echo secret > secret"));
    drive.remount();
    let id = |drive: &Drive, name: &str| drive.inspected(name)["object_id"].clone();
    let before = ["kept", "secret"].map(|name| id(&drive, name));
    let job =
        |drive: &Drive, more: &[&str]| run(drive.on_store(["reencrypt"], ["data", "--force"]).args(more));
    let refused = job(&drive, &[]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stdout.contains("FAILED data/kept: `data/kept` is retained until 20"),
        "{}",
        refused.stdout
    );
    let bypassing = ["--bypass-governance-retention"];
    let ran = job(&drive, &bypassing);
    assert!(ran.stdout.contains("1 done, 1 failed") && ran.stdout.contains("NotThat"), "{}", ran.stdout);
    let after = ["kept", "secret"].map(|name| id(&drive, name));
    assert!(after[0] != before[0] && after[1] == before[1]);
    assert_eq!(fs::read(drive.dir().join("kept")).unwrap(), b"kept\n");
    assert_retained(fs::write(drive.dir().join("kept"), "new"));
    let show = || ok(&mut drive.on_store(["audit", "show"], ["--json"]));
    eventually("both jobs in the log", || show().matches("JobStatusChanged").count() == 2);
    let shown = show();
    let events: Vec<serde_json::Value> =
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bypassed: Vec<_> = events
        .iter()
        .filter(|event| event["requestParameters"]["x-amz-bypass-governance-retention"] == true)
        .map(|event| (event["eventName"].as_str().unwrap(), event["requestParameters"]["key"].as_str()))
        .collect();
    let jobs = [("JobCreated", None), ("JobStatusChanged", None)];
    assert_eq!(bypassed, [jobs[0], ("CopyObject", Some("kept")), jobs[1]]);
    drive.unmount();
    assert!(job(&drive, &bypassing).stdout.contains("1 done, 1 failed"), "without a mount, too");
    let compliance = ["data", "--days", "30", "--mode", "compliance"];
    ok(&mut drive.on_store(["bucket", "retention", "put"], compliance));
    for mounted in [false, true] {
        if mounted {
            drive.mount(&[]);
        }
        let ran = job(&drive, &bypassing);
        assert!(ran.stdout.contains("0 done, 2 failed"), "nobody bypasses compliance: {}", ran.stdout);
        assert!(!ran.stdout.contains("NotThat"), "nor is a policy asked: {}", ran.stdout);
    }
}
