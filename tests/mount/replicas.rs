//! Replication between stores of which either, both or none are mounted: whoever has a store in use does the work on it.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::fixture::{Drive, Ran, assert_same, command, eventually, fails, ok, run, shell, snapshot};

/// Two drives, the first with some files.
fn pair() -> (Drive, Drive) {
    (with_files(), Drive::new())
}

fn with_files() -> Drive {
    let drive = Drive::new();
    let make = "mkdir -p deep/er empty; for n in $(seq 40); do head -c $((n * 3001)) /dev/urandom > deep/er/$n; done
        truncate -s 3M holes; printf x | dd of=holes bs=1 seek=2000000 conv=notrunc status=none
        echo x > small; chmod 750 small; setfattr -n user.note -v value small; ln small deep/hard; ln -s small soft
        mkfifo deep/fifo; chmod 4711 deep/er/1; chmod 700 deep
        find . -exec touch -hd '2020-02-02 02:02:02' {} +";
    ok(&mut shell(60, &drive.dir(), make));
    drive
}

/// 40 files, and `holes`, `small`, `hard`, `soft` and `fifo`.
const THINGS: usize = 45;

fn replicate(from: &Drive, to: &Drive, more: &[&str]) -> Command {
    let mut replicate = from.strongroom(["replicate"]);
    replicate.arg(from.store()).arg(to.store()).args(more);
    replicate.env_remove("STRONGROOM_KEY_FILE");
    if !from.is_mounted() {
        replicate.arg("--src-key-file").arg(from.key());
    }
    if !to.is_mounted() {
        replicate.arg("--dst-key-file").arg(to.key());
    }
    replicate
}

/// A command without the `timeout` around it, which would take the signals.
fn in_background(of: &Command) -> Child {
    let mut words = of.get_args().skip(2);
    let mut bare = Command::new(words.next().unwrap());
    bare.args(words).env_remove("STRONGROOM_KEY_FILE");
    bare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, signal: &str) {
    ok(command(20, "kill").arg(format!("-{signal}")).arg(child.id().to_string()));
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran {
        code: output.status.code().unwrap_or(137),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// How many objects the target holds.
fn copies(to: &Drive) -> usize {
    let listed = ok(&mut to.on_store(["inventory"], ["--format", "json"]));
    serde_json::from_str::<Vec<Value>>(&listed).unwrap().len()
}

fn leftovers(of: &Drive) -> usize {
    fs::read_dir(of.stored(".eob/tmp")).unwrap().count()
}

fn rows(report: &Path) -> Vec<String> {
    let mut rows: Vec<_> = fs::read_to_string(report).unwrap().lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

#[test]
fn what_is_printed_reported_and_copied_does_not_hang_on_who_has_the_stores_in_use() {
    let mut told: Vec<(String, Vec<String>, String, String)> = Vec::new();
    for (from_mounted, to_mounted) in [(false, false), (false, true), (true, false), (true, true)] {
        let (mut from, mut to) = pair();
        let expected = snapshot(&from.dir());
        for (drive, mounted) in [(&mut from, from_mounted), (&mut to, to_mounted)] {
            if !mounted {
                drive.unmount();
            }
        }
        let (csv, json) = (from.path("report.csv"), from.path("report.json"));
        let planned = ok(&mut replicate(&from, &to, &["--dry-run"]));
        assert_eq!(copies(&to), 0);
        let copied = ok(&mut replicate(&from, &to, &["--report", csv.to_str().unwrap()]));
        let again = ok(&mut replicate(&from, &to, &["--json", "--report", json.to_str().unwrap()]));
        assert_eq!(
            ok(&mut replicate(&from, &to, &["--dry-run"])),
            format!("0 done, 0 failed, {THINGS} left as they are\n"),
            "a dry run knows what is current"
        );
        let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        assert_eq!(report["totals"], serde_json::from_str::<Value>(&again).unwrap());
        assert_eq!(report["objects"].as_array().unwrap().len(), THINGS);
        told.push((planned, rows(&csv), copied, again));
        // One that fails is the same everywhere, too.
        if !to.is_mounted() {
            to.mount(&[]);
        }
        assert_same(&expected, &snapshot(&to.dir()));
        to.remount();
        assert_same(&expected, &snapshot(&to.dir()));
        to.unmount();
        ok(&mut to.on_store(["verify"], []));
        assert_eq!(leftovers(&to), 0);
    }
    assert!(told[0].2.starts_with(&format!("{THINGS} done, 0 failed, 0 left as they are")), "{}", told[0].2);
    assert_eq!(told[0].0, format!("0 done, 0 failed, 0 left as they are, {THINGS} would be done\n"));
    for other in &told[1..] {
        assert_eq!(other, &told[0]);
    }
}

/// The kernel of the target keeps names, also absent ones, and attributes for an hour here.
#[test]
fn what_comes_into_a_mounted_target_is_seen_there_at_once() {
    let (from, mut to) = (with_files(), Drive::unmounted());
    to.mount(&["-o", "ttl=1h"]);
    let look =
        "stat -c '%n %s %Y %h %a' . small deep deep/hard soft new deep/er/7 2> /dev/null || true; ls -lR";
    ok(&mut shell(60, &to.dir(), "mkdir deep; echo old > small; echo other > deep/old"));
    ok(&mut shell(60, &to.dir(), look));
    // By name alone: listings bring attributes along, which would hide what the kernel keeps.
    let facts = |drive: &Drive| {
        let show = "stat -c '%n %s %y %h %a %u %F' small deep/hard soft deep/er/7 holes";
        ok(&mut shell(60, &drive.dir(), show))
    };
    let time = |path: PathBuf| {
        let meta = fs::metadata(path).unwrap();
        (meta.mtime(), meta.mtime_nsec())
    };
    for round in 0..3 {
        let before = time(to.dir());
        ok(&mut replicate(&from, &to, &[]));
        assert_eq!(facts(&to), facts(&from), "round {round}");
        assert_ne!(time(to.dir()), before, "something new is in it");
        for dir in ["deep/er", "empty"] {
            assert_eq!(time(to.dir().join(dir)), time(from.dir().join(dir)), "round {round}: {dir}");
        }
        assert_eq!(fs::read(to.dir().join("small")).unwrap(), fs::read(from.dir().join("small")).unwrap());
        let seen = ok(&mut shell(60, &to.dir(), "ls -R"));
        for name in ["small", "soft", "hard", "40"] {
            assert!(seen.contains(name), "round {round}: {name} in {seen}");
        }
        assert_eq!(fs::read(to.dir().join("deep/old")).unwrap(), b"other\n", "nothing is deleted");
        // What is looked up before the next round, and is not there yet.
        assert!(!to.dir().join(format!("new{round}")).exists());
        fs::write(from.dir().join(format!("new{round}")), "new").unwrap();
        fs::write(from.dir().join("small"), format!("changed in round {round}")).unwrap();
        fs::set_permissions(from.dir().join("deep/er/7"), fs::Permissions::from_mode(0o600 + round)).unwrap();
    }
    ok(&mut replicate(&from, &to, &[]));
    assert!(to.dir().join("new2").exists());
    // A name that was a link and becomes a file, and the other way round.
    ok(&mut shell(60, &from.dir(), "rm soft small; echo file > soft; ln -s soft small"));
    let before = fs::File::open(to.dir().join("small")).unwrap();
    assert!(ok(&mut replicate(&from, &to, &[])).starts_with("1 done, 0 failed"), "`small` is open");
    assert!(fs::read(to.dir().join("small")).unwrap().starts_with(b"changed"));
    drop(before);
    assert!(ok(&mut replicate(&from, &to, &[])).starts_with("1 done, 0 failed"));
    assert_eq!(fs::read(to.dir().join("small")).unwrap(), b"file\n");
    assert_eq!(fs::read_link(to.dir().join("small")).unwrap(), Path::new("soft"));
    to.unmount();
}

#[test]
fn what_is_open_in_the_target_is_left_as_busy_and_what_is_open_in_the_source_is_copied() {
    let (from, to) = pair();
    ok(&mut replicate(&from, &to, &[]));
    for drive in [&from, &to] {
        ok(&mut shell(60, &drive.dir(), "chmod u+rwx deep"));
    }
    let mut written = fs::OpenOptions::new().append(true).open(from.dir().join("deep/er/3")).unwrap();
    written.write_all(b"unsaved").unwrap();
    fs::write(from.dir().join("deep/er/4"), "changed").unwrap();
    let reader = fs::File::open(to.dir().join("deep/er/4")).unwrap();
    let report = from.path("report.csv");
    let ran = ok(&mut replicate(&from, &to, &["--report", report.to_str().unwrap()]));
    assert!(ran.starts_with("1 done, 0 failed"), "{ran}");
    let text = fs::read_to_string(&report).unwrap();
    assert!(
        text.contains("data,deep/er/4,Skipped,,\"busy: it is open, run the job again when it is not\""),
        "{text}"
    );
    let copied = fs::read(to.dir().join("deep/er/3")).unwrap();
    assert!(copied.ends_with(b"unsaved") && copied.len() == 3 * 3001 + 7);
    drop(reader);
    assert!(ok(&mut replicate(&from, &to, &[])).starts_with("1 done, 0 failed"));
    assert_eq!(fs::read(to.dir().join("deep/er/4")).unwrap(), b"changed");
}

#[test]
fn the_policy_and_the_retention_of_the_target_are_kept_and_its_log_says_who_asked() {
    let (from, mut to) = (with_files(), Drive::unmounted());
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Sid":"NotThese","Effect":"Deny","Principal":"*",
        "Action":"s3:PutObject","Resource":["arn:aws:s3:::data/deep/er/1*", "arn:aws:s3:::data/soft"]}]}"#;
    fs::write(to.path("policy"), deny).unwrap();
    ok(to.on_store(["bucket", "policy", "put"], ["data"]).arg(to.path("policy")));
    to.mount(&["--audit", "on"]);
    // So long that the target is asked in the middle whether it wants more.
    fs::write(from.dir().join("deep/er/1"), vec![b'1'; 66 << 20]).unwrap();
    let report = from.path("report.csv");
    let ran = run(&mut replicate(&from, &to, &["--report", report.to_str().unwrap()]));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("FAILED data/deep/er/1: ") && ran.stdout.contains("NotThese"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains(&format!("{} done, 12 failed", THINGS - 12)), "{}", ran.stdout);
    assert!(!to.dir().join("deep/er/1").exists() && !to.dir().join("soft").exists());
    let failed = rows(&report).into_iter().filter(|row| row.contains(",Failed,13,")).count();
    assert_eq!(failed, 12, "with EACCES");
    let show = || ok(&mut to.on_store(["audit", "show"], ["--json"]));
    eventually("the end of the job in the log", || show().contains("JobStatusChanged"));
    let events: Vec<Value> = show().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|event| event["eventName"] == name).collect::<Vec<_>>();
    assert_eq!(of("JobCreated")[0]["additionalEventData"]["job"], "replicate");
    let end = of("JobStatusChanged")[0];
    assert_eq!(end["additionalEventData"]["status"], "Complete");
    let totals = &end["additionalEventData"]["totals"];
    assert_eq!((totals["succeeded"].as_u64(), totals["failed"].as_u64()), (Some(33), Some(12)), "{end}");
    let copies = of("CopyObject");
    assert_eq!(copies.len(), THINGS);
    let denied: Vec<_> = copies.iter().filter(|event| event["decision"] == "Deny").collect();
    assert_eq!(denied.len(), 12);
    assert_eq!(denied[0]["sid"], "NotThese");
    for copy in copies {
        assert_ne!(copy["userIdentity"]["pid"], to.pid(), "that of the command, not of the daemon");
        assert_ne!(copy["userIdentity"]["pid"], from.pid());
        let key = copy["requestParameters"]["key"].as_str().unwrap();
        assert_eq!(copy["requestParameters"]["x-amz-copy-source"], format!("data/{key}"));
    }
    assert!(of("GetObject").is_empty(), "what is there is not read");
    ok(&mut to.on_store(["bucket", "policy", "delete"], ["data"]));
    ok(&mut to.on_store(["bucket", "retention", "put"], ["data", "--days", "1", "--mode", "governance"]));
    fs::write(from.dir().join("small"), "changed").unwrap();
    let ran = run(&mut replicate(&from, &to, &[]));
    assert!(ran.stdout.contains("FAILED data/small: `data/small` is retained until"), "{}", ran.stdout);
    assert!(ran.stdout.contains("FAILED data/deep/hard: "), "nor by its other name: {}", ran.stdout);
    assert_eq!(fs::read(to.dir().join("small")).unwrap(), b"x\n");
    assert_eq!(fs::read_link(to.dir().join("soft")).unwrap(), Path::new("small"), "new ones are made");
}

#[test]
fn a_second_job_on_the_bucket_of_the_target_is_refused() {
    let (from, to) = pair();
    let slow = in_background(&replicate(&from, &to, &["--rate", "1/s"]));
    // Looking for it with a job of one's own would be in its way.
    eventually("a copy", || copies(&to) > 0);
    let other = with_files();
    let refused = fails(&mut replicate(&other, &to, &[]), 5);
    assert!(refused.contains("the target: another job works on bucket `data`"), "{refused}");
    signal(&slow, "INT");
    assert!(ended(slow).stdout.contains("stopped before the end: run it again for the rest"));
    assert!(ok(&mut replicate(&other, &to, &[])).contains(" 0 failed"));
}

/// Ctrl-C, a hang-up, and the end of either mount.
#[test]
fn a_replication_is_stopped_by_whoever_may_and_goes_on_later_without_doing_anything_twice() {
    for way in ["INT", "KILL", "source", "target"] {
        for (from_mounted, to_mounted) in [(false, true), (true, false), (true, true)] {
            if way == "source" && !from_mounted || way == "target" && !to_mounted {
                continue;
            }
            let (mut from, mut to) = pair();
            let expected = snapshot(&from.dir());
            for (drive, mounted) in [(&mut from, from_mounted), (&mut to, to_mounted)] {
                if !mounted {
                    drive.unmount();
                }
            }
            let slow = in_background(&replicate(&from, &to, &["--rate", "20/s"]));
            eventually("some copies", || copies(&to) > 3);
            match way {
                "source" => from.unmount(),
                "target" => to.unmount(),
                way => signal(&slow, way),
            }
            let ran = ended(slow);
            if way == "KILL" {
                let free = |drive: &Drive, mounted: bool| {
                    !mounted || run(&mut drive.on_store(["rewrap"], ["data"])).code == 0
                };
                eventually("its end", || free(&from, from_mounted) && free(&to, to_mounted));
            } else {
                let text = format!("{way}, {from_mounted}, {to_mounted}: {ran:?}");
                assert_eq!(ran.code, 1, "{text}");
                assert!(ran.stdout.contains("stopped before the end: run it again for the rest"), "{text}");
            }
            let done = copies(&to);
            assert!((4..THINGS - 4).contains(&done), "{done}");
            let again = ok(&mut replicate(&from, &to, &["--json"]));
            let totals: Value = serde_json::from_str(&again).unwrap();
            assert_eq!(totals["failed"], 0);
            let skipped = totals["skipped"].as_u64().unwrap();
            assert!(skipped >= done as u64, "{way}: {done} copies were there: {totals}");
            if !to.is_mounted() {
                to.mount(&[]);
            }
            assert_same(&expected, &snapshot(&to.dir()));
            assert_eq!(leftovers(&to), 0);
        }
    }
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_leaves_whole_replicas_or_none() {
    let (mut from, mut to) = pair();
    // What is replayed from a journal has another time; nothing here is.
    from.remount();
    let expected = snapshot(&from.dir());
    for round in 0..8 {
        let working = in_background(&replicate(&from, &to, &["--rate", "400/s"]));
        thread::sleep(Duration::from_millis(30 + 20 * round));
        let drive = if round % 2 == 0 { &mut to } else { &mut from };
        drive.kill();
        let ran = ended(working);
        match ran.code {
            0 => {}
            1 => assert!(ran.stderr.contains("run it again for the rest"), "{ran:?}"),
            // On a busy machine, before it had answered anything.
            _ => assert!(ran.stderr.contains("does not answer") && ran.code == 5, "{ran:?}"),
        }
        eventually("the dead mount was detached", || !drive.is_mounted());
        drive.mount(&[]);
        for path in snapshot(&to.dir()).into_keys() {
            let [copy, source] = [&to, &from].map(|drive| drive.dir().join(&path));
            if copy.symlink_metadata().unwrap().is_file() {
                assert!(fs::read(&copy).unwrap() == fs::read(&source).unwrap(), "round {round}: {copy:?}");
                let times = [&copy, &source].map(|path| fs::metadata(path).unwrap().mtime());
                assert_eq!(times[0], times[1], "round {round}: {copy:?}");
            }
        }
        let again = ok(&mut replicate(&from, &to, &[]));
        assert!(again.contains(" 0 failed"), "{again}");
        assert_same(&expected, &snapshot(&to.dir()));
        assert_eq!(leftovers(&to), 0);
        if round % 4 == 3 {
            ok(&mut shell(60, &to.dir(), "rm -r deep small holes soft"));
        }
    }
    to.unmount();
    ok(&mut to.on_store(["verify"], []));
}

#[test]
fn programs_in_the_target_lose_nothing_to_replicas_that_come_beside_them() {
    let (from, to) = pair();
    ok(&mut replicate(&from, &to, &[]));
    ok(&mut shell(60, &to.dir(), "chmod -R u+rwX deep"));
    let load = "mkdir own; for round in $(seq 12); do
            for n in 1 2 3 4 5 6; do cp deep/er/$((n + 20)) own/$n; cmp deep/er/$((n + 20)) own/$n; done
            echo $round >> deep/er/9; [ \"$(tail -c 2 deep/er/9 | tr -d '\\n ')\" != '' ]
            mv own/1 own/moved; [ -e own/moved ]; rm own/moved
        done; echo finished";
    thread::scope(|scope| {
        let working = scope.spawn(|| ok(&mut shell(240, &to.dir(), load)));
        let mut rounds = 0;
        while !working.is_finished() {
            // `9` is not what was copied; everything else is left in peace.
            let ran = ok(&mut replicate(&from, &to, &["--prefix", "deep/er/1"]));
            assert!(ran.contains(" 0 failed"), "{ran}");
            fs::write(from.dir().join("deep/er/10"), format!("round {rounds}")).unwrap();
            rounds += 1;
        }
        assert!(working.join().unwrap().contains("finished"));
        assert!(rounds > 1, "{rounds}");
    });
    ok(&mut replicate(&from, &to, &[]));
    assert_eq!(
        fs::read(to.dir().join("deep/er/9")).unwrap(),
        fs::read(from.dir().join("deep/er/9")).unwrap()
    );
}

/// Content goes over a socket in pieces; neither side keeps more of it than a few.
#[test]
fn large_objects_go_through_without_filling_the_memory_of_either_side() {
    let (from, to) = (Drive::new(), Drive::new());
    ok(&mut shell(120, &from.dir(), "head -c 300M /dev/urandom > large"));
    from_disk(&from);
    let resident = |drive: &Drive| -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", drive.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let before = [&from, &to].map(resident);
    assert!(ok(&mut replicate(&from, &to, &[])).contains("314572800 bytes copied"));
    for (drive, before) in [&from, &to].into_iter().zip(before) {
        let more = resident(drive).saturating_sub(before) / 1024;
        assert!(more < 64, "{more} MiB more");
    }
    ok(command(60, "cmp").arg(from.dir().join("large")).arg(to.dir().join("large")));
}

/// Writes what the kernel holds back.
fn from_disk(drive: &Drive) {
    ok(&mut drive.on_store(["sync"], []));
}
