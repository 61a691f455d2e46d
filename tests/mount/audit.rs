//! The audit log of a live drive: complete, continued by every process, and hard to fool.

mod record;

use std::{
    fs::{self, File},
    process::Stdio,
};

use serde_json::Value;

use crate::{
    failures::Small,
    fixture::{Drive, command, eventually, fails, ok, run, shell},
};

/// The events of the log, oldest first.
fn events(drive: &Drive) -> Vec<Value> {
    let shown = ok(&mut drive.on_store(["audit", "show"], ["--json"]));
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Those of programs, by kind.
fn by_programs(drive: &Drive) -> Vec<Value> {
    let mut events = events(drive);
    events.retain(|event| event["userIdentity"]["type"] == "IAMUser");
    events
}

const DENY: &str = r#"{"Version": "2012-10-17", "Statement": {"Sid": "NoSecrets", "Effect": "Deny", "Principal": "*",
    "Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/secret*"}}"#;

#[test]
fn programs_commands_and_refusals_stand_in_one_log_that_verifies_while_it_is_written() {
    let mut drive = Drive::unmounted();
    drive.mount(&["--audit", "on"]);
    fs::write(drive.path("policy.json"), DENY).unwrap();
    ok(drive.on_store(["bucket", "policy", "put"], ["data"]).arg(drive.path("policy.json")));
    ok(&mut shell(20, &drive.dir(), "cp /etc/hostname a; cat a > /dev/null; mv a b; rm b"));
    let denied = run(&mut shell(20, &drive.dir(), "cp /etc/hostname secret-1"));
    assert!(denied.stderr.contains("Permission denied"), "{}", denied.stderr);
    eventually("the denial was written", || events(&drive).iter().any(|event| event["sid"] == "NoSecrets"));
    let events = by_programs(&drive);
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            let exe = event["userIdentity"]["exe"].as_str().unwrap_or_default();
            let program = exe.rsplit('/').next().unwrap_or_default();
            format!(
                "{program} {} {}",
                event["eventName"].as_str().unwrap(),
                event["decision"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "strongroom PutBucketPolicy Allow",
            "cp PutObject Allow",
            "cat GetObject Allow",
            "mv RenameObject Allow",
            "rm DeleteObject Allow",
            "cp PutObject Deny"
        ]
    );
    assert_eq!(events[5]["requestParameters"]["key"], "secret-1");
    assert_eq!(events[5]["errno"], libc::EACCES);
    ok(&mut drive.on_store(["audit", "verify"], []));
    // The next mount goes on with what was begun.
    drive.remount();
    fs::write(drive.dir().join("later"), "x").unwrap();
    drive.unmount();
    let mut events = self::events(&drive);
    // The buckets are opened with keys in between.
    events.retain(|event| event["eventSource"] != "kms.amazonaws.com");
    let names: Vec<_> = events.iter().map(|event| event["eventName"].clone()).collect();
    assert_eq!(names[names.len() - 4..], ["StopLogging", "StartLogging", "PutObject", "StopLogging"]);
    ok(&mut drive.on_store(["audit", "verify"], []));
}

/// Who asks often is known by its memory. A child of `posix_spawn` has that of its parent until it runs its own program,
/// in which it opens files meanwhile, and `exec` changes the program of a process whose number stays.
#[test]
fn what_stands_in_the_log_is_the_program_that_asked_however_often_the_one_before_it_did() {
    const SCRIPT: &str = "import os
def put(name): open(name, 'w').close()
for n in range(20): put(f'own-{n}')
opens = [(os.POSIX_SPAWN_OPEN, 50 + n, f'child-{n}', os.O_CREAT | os.O_WRONLY, 0o644) for n in range(20)]
child = os.posix_spawn('/usr/bin/touch', ['touch', 'spawned'], os.environ, file_actions=opens)
assert os.waitpid(child, 0)[1] == 0
put('own-last')
os.execv('/usr/bin/touch', ['touch', 'replaced'])";
    let mut drive = Drive::unmounted();
    drive.mount(&["--audit", "on"]);
    ok(command(60, "python3").args(["-c", SCRIPT]).current_dir(drive.dir()));
    drive.unmount();
    let mut puts = by_programs(&drive);
    puts.retain(|event| event["eventName"] == "PutObject");
    assert_eq!(puts.len(), 43);
    for put in puts {
        let key = put["requestParameters"]["key"].as_str().unwrap();
        let exe = put["userIdentity"]["exe"].as_str().unwrap();
        let program = if ["spawned", "replaced"].contains(&key) { "/touch" } else { "/python3" };
        assert!(exe.contains(program), "{key} by {exe}");
    }
}

#[test]
fn an_edited_and_a_cut_log_are_named_by_file_and_line() {
    let mut drive = Drive::unmounted();
    drive.mount(&["--audit", "on"]);
    ok(&mut shell(20, &drive.dir(), "for n in 1 2 3; do echo x > f$n; done; rm f2"));
    drive.unmount();
    let log = drive.store().join(".strongroom/audit/audit-00000001.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("DeleteObject", "GetObject\",\"x\":\"", 1)).unwrap();
    let bad = run(&mut drive.on_store(["audit", "verify"], []));
    assert_eq!(bad.code, 3, "{bad:?}");
    let edited = text.lines().position(|line| line.contains("DeleteObject")).unwrap() + 1;
    let named = format!("BAD: audit-00000001.jsonl, line {edited}: the line was edited");
    assert!(bad.stdout.contains(&named), "{}", bad.stdout);
    let cut: Vec<_> = text.lines().take(text.lines().count() - 2).collect();
    fs::write(&log, cut.join("\n") + "\n").unwrap();
    let bad = run(&mut drive.on_store(["audit", "verify"], []));
    assert!(bad.code == 3 && bad.stdout.contains("knows 2 more lines"), "{bad:?}");
}

/// Names of files are told before they are created, so that every file that is there has to be in the log, but for
/// those of the last moment.
#[test]
fn a_daemon_killed_under_load_leaves_a_log_that_verifies_and_misses_the_last_moment_only() {
    const LOAD: &str = "for n in $(seq 100000); do echo x > $0-$n || exit 0; done";
    let mut drive = Drive::unmounted();
    drive.mount(&["--audit", "on"]);
    for round in 0..4 {
        let load: Vec<_> = (0..2)
            .map(|id| {
                let mut load = shell(60, &drive.dir(), LOAD);
                let null = || Stdio::null();
                load.arg(format!("r{round}w{id}")).stdout(null()).stderr(null()).spawn().unwrap()
            })
            .collect();
        let last = format!("r{round}w0-{}", 40 + 13 * round);
        eventually("files were made", || drive.stored(&last).exists());
        // What came before is written: events wait for ten milliseconds, and this is one that is waited for.
        eventually("the log follows", || {
            let log = fs::read(drive.store().join(".strongroom/audit/audit-00000001.jsonl")).unwrap();
            String::from_utf8_lossy(&log).contains(&format!("\"{last}\""))
        });
        crate::crash::kill(&mut drive);
        for mut child in load {
            child.wait().unwrap();
        }
        let report = ok(&mut drive.on_store(["audit", "verify"], ["--json"]));
        let report: Value = serde_json::from_str(&report).unwrap();
        assert!(report["unsaved"].as_u64().unwrap() <= 8192, "{report}");
        drive.mount(&[]);
        ok(&mut drive.on_store(["audit", "verify"], []));
        let events = events(&drive);
        for number in 1..=40 + 13 * round {
            let name = format!("r{round}w0-{number}");
            assert!(events.iter().any(|event| event["requestParameters"]["key"] == *name), "{name}");
        }
    }
    drive.unmount();
    let names: Vec<_> = events(&drive).iter().map(|event| event["eventName"].clone()).collect();
    let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
    assert_eq!((count("StartLogging"), count("StopLogging")), (5, 1), "the four kills show");
}

#[test]
fn a_closed_log_on_a_full_disk_stops_requests_until_there_is_room() {
    let small = Small::new("4m");
    let mut drive = Drive::unmounted();
    drive.configure(&format!("[audit]\ndir = '{}'\n", small.path().join("audit").display()));
    drive.mount(&["--audit", "on", "--audit-fail", "closed"]);
    fs::write(drive.dir().join("before"), "x").unwrap();
    let filler = small.path().join("filler");
    let full =
        run(command(20, "dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", filler.display())));
    assert!(full.stderr.contains("No space left"), "{}", full.stderr);
    let refused = (0..200).find_map(|number| fs::write(drive.dir().join(format!("f{number}")), "x").err());
    assert_eq!(refused.expect("the log is full").raw_os_error(), Some(libc::EIO));
    assert!(File::open(drive.dir().join("before")).is_err(), "reading is refused, too");
    assert!(fs::remove_file(drive.dir().join("before")).is_err());
    let count = || fs::read_dir(drive.stored("")).unwrap().count();
    let before = count();
    assert!(fs::write(drive.dir().join("nothing"), "x").is_err());
    assert_eq!(count(), before, "what is refused leaves nothing behind");
    fs::remove_file(filler).unwrap();
    eventually("requests are served again", || fs::write(drive.dir().join("after"), "x").is_ok());
    assert_eq!(fs::read(drive.dir().join("before")).unwrap(), b"x");
    drive.unmount();
    ok(&mut drive.on_store(["audit", "verify"], []));
    let keys: Vec<_> =
        by_programs(&drive).iter().map(|event| event["requestParameters"]["key"].clone()).collect();
    assert!(keys.contains(&"before".into()) && keys.contains(&"after".into()), "{keys:?}");
    assert!(!keys.contains(&"nothing".into()));
}

#[test]
fn a_log_within_the_drive_or_among_the_buckets_is_refused() {
    let drive = Drive::unmounted();
    for dir in [drive.root().join("data/log"), drive.store().join("data"), "relative".into()] {
        drive.configure(&format!("[audit]\ndir = '{}'\n", dir.display()));
        let refused = fails(&mut drive.mount_command(&["--audit", "on"]), 2);
        assert!(refused.contains("the audit log"), "{refused}");
    }
    assert!(!drive.is_mounted());
}
