//! Backup programs and jobs: what was rewrapped is not read again.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Child, Command, Stdio},
};

use crate::fixture::{Drive, Ran, assert_same, command, eventually, fails, ok, run, shell, snapshot};

/// A drive with some files, and a restic repository beside it.
fn with_files() -> Drive {
    let drive = Drive::new();
    let make = "mkdir -p deep/er; for n in $(seq 40); do head -c $((n * 3001)) /dev/urandom > deep/er/$n; done
        echo x > small; chmod 750 small; setfattr -n user.note -v value small; ln small deep/hard; ln -s small soft";
    ok(&mut shell(60, &drive.dir(), make));
    // Older than the clock's last tick by far, as a backup wants it.
    ok(&mut shell(60, &drive.dir(), "find . -exec touch -hd '2020-02-02 02:02:02' {} +"));
    drive
}

fn restic(drive: &Drive, words: &[&str]) -> String {
    let mut restic = command(120, "restic");
    restic.args(["--no-cache", "--json", "--repo"]).arg(drive.native().join("repository")).args(words);
    restic.env("RESTIC_PASSWORD", "test").env("HOME", drive.native());
    ok(&mut restic)
}

/// How many files a backup found new or changed.
fn backup(drive: &Drive) -> (u64, u64) {
    let dir = drive.dir().display().to_string();
    let printed = restic(drive, &["backup", &dir]);
    let summary = printed.lines().last().expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(summary).unwrap();
    let count = |name: &str| summary[name].as_u64().unwrap();
    (count("files_new"), count("files_changed"))
}

/// Runs a job on the unmounted store and mounts again.
fn job(drive: &mut Drive, words: [&str; 1], more: [&str; 3]) -> Ran {
    drive.unmount();
    let ran = run(&mut drive.on_store(words, more));
    assert_eq!(ran.code, 0, "{ran:?}");
    drive.mount(&[]);
    ran
}

#[test]
fn restic_and_rsync_read_nothing_again_after_a_deep_rewrap() {
    let mut drive = with_files();
    restic(&drive, &["init"]);
    assert_eq!(backup(&drive), (42, 0));
    let sync = |drive: &Drive| {
        let to = drive.native().join("copy");
        let script = format!("rsync -aHAX --itemize-changes ./ {}/", to.display());
        ok(&mut shell(60, &drive.dir(), &script))
    };
    assert!(sync(&drive).contains("small"));
    drive.remount();
    assert_eq!(backup(&drive), (0, 0), "a new mount alone changes nothing");
    let seen = "stat -c '%n %i %s %y %z' * deep/* deep/er/* | sort";
    let before = ok(&mut shell(60, &drive.dir(), seen));
    let ran = job(&mut drive, ["rewrap"], ["data", "--deep", "--new-bucket-key"]);
    assert!(ran.stdout.contains("0 failed"), "{}", ran.stdout);
    assert!(ran.stdout.contains("41 done"), "{}", ran.stdout);
    assert_eq!(ok(&mut shell(60, &drive.dir(), seen)), before, "inode, size, mtime and ctime");
    assert_eq!(backup(&drive), (0, 0), "restic looks at ctime, mtime, size and inode");
    assert_eq!(sync(&drive), "", "rsync looks at mtime and size");
    // A real change is still seen, also one of the change time alone.
    ok(&mut shell(60, &drive.dir(), "chmod 700 small; cp -p deep/er/1 x; cat x > deep/er/2; rm x"));
    let (_, changed) = backup(&drive);
    assert_eq!(changed, 3, "`small` with its second name, and `2`");
}

/// A job on the mounted store.
fn beside(drive: &Drive, words: &[&str]) -> Ran {
    let (verb, more) = words.split_first().unwrap();
    let ran = run(drive.on_store([verb], []).args(more));
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

#[test]
fn jobs_on_a_mounted_store_print_and_report_what_they_do_on_an_unmounted_one() {
    let mut drive = with_files();
    let listed = ok(&mut drive.on_store(["inventory"], ["--format", "json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 42);
    let before = snapshot(&drive.dir());
    let files = ok(&mut shell(60, &drive.dir(), FILES));
    let report = drive.path("report.csv");
    let words = ["rewrap", "data", "--deep", "--new-bucket-key", "--report", report.to_str().unwrap()];
    assert_eq!(beside(&drive, &words).stdout, "41 done, 0 failed, 3 left as they are\n");
    let text = fs::read_to_string(&report).unwrap();
    assert_eq!(text.lines().next(), Some("Bucket,Key,TaskStatus,ErrorCode,ResultMessage"));
    assert_eq!(text.lines().filter(|line| line.contains("Succeeded")).count(), 41);
    assert_same(&before, &snapshot(&drive.dir()));
    let planned = beside(&drive, &["reencrypt", "data", "--force", "--dry-run", "--prefix", "deep/er/1"]);
    assert_eq!(planned.stdout, "0 done, 0 failed, 0 left as they are, 11 would be done\n");
    let json = beside(&drive, &["reencrypt", "data", "--force", "--preserve", "--json"]).stdout;
    let totals: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((totals["succeeded"].as_u64(), totals["skipped"].as_u64()), (Some(40), Some(2)), "{json}");
    assert_eq!(ok(&mut shell(60, &drive.dir(), FILES)), files);
    let old = ok(&mut shell(60, &drive.dir(), "find . -type f ! -newermt 2020-02-03 | wc -l"));
    assert_eq!(old.trim(), "42");
    let unknown = fails(&mut drive.on_store(["rewrap"], ["absent"]), 1);
    assert!(unknown.contains("there is no bucket `absent`"), "{unknown}");
    drive.remount();
    assert_eq!(ok(&mut shell(60, &drive.dir(), FILES)), files);
}

/// All that is seen of files; a directory has another time once something in it was replaced.
const FILES: &str =
    "find . -type f -printf '%p %m %u %s %t %n\n' | sort; find . -type f | sort | xargs md5sum";

/// The kernel keeps names and attributes for a while, here for an hour; a job makes it forget those of what it replaced.
#[test]
fn what_the_kernel_remembers_of_a_replaced_object_is_forgotten() {
    let mut drive = Drive::unmounted();
    drive.mount(&["-o", "ttl=1h"]);
    let path = drive.dir().join("dir/f");
    ok(&mut shell(60, &drive.dir(), "mkdir dir; echo content > dir/f; touch -d 2020-02-02 dir/f; ls -l dir"));
    for round in 0..20 {
        let before = fs::metadata(&path).unwrap();
        beside(&drive, &["reencrypt", "data", "--force"]);
        let after = fs::metadata(&path).unwrap();
        assert_ne!(before.ino(), after.ino(), "round {round}");
        assert!(after.mtime() > 1_600_000_000);
        assert_eq!(fs::read(&path).unwrap(), b"content\n");
        // What is changed by name changes the new object.
        let mode = 0o600 + round;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        // The numbers of what was replaced do not come back for other files while the kernel could mix them up.
        fs::write(drive.dir().join(format!("new{round}")), "new").unwrap();
        let stored = fs::metadata(drive.stored("dir/f")).unwrap();
        assert_eq!((stored.mode() & 0o777, stored.ino()), (mode, after.ino()));
    }
    drive.unmount();
}

#[test]
fn what_is_open_is_rewrapped_and_not_reencrypted() {
    let drive = with_files();
    let (written, read) = (drive.dir().join("small"), drive.dir().join("deep/er/7"));
    let (mut writer, mut reader) =
        (fs::OpenOptions::new().append(true).open(&written).unwrap(), fs::File::open(&read).unwrap());
    writer.write_all(b"unsaved").unwrap();
    let ran = beside(&drive, &["rewrap", "data", "--deep", "--new-bucket-key"]);
    assert!(ran.stdout.contains("41 done, 0 failed"), "{}", ran.stdout);
    writer.write_all(b", still").unwrap();
    let report = drive.path("report.csv");
    let words = ["reencrypt", "data", "--force", "--report", report.to_str().unwrap()];
    assert!(beside(&drive, &words).stdout.contains("39 done, 0 failed, 3 left as they are"));
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.contains("data,deep/er/7,Skipped,,\"busy: it is open"), "{text}");
    let mut content = Vec::new();
    reader.read_to_end(&mut content).unwrap();
    assert_eq!(content.len(), 7 * 3001);
    assert_eq!(content, fs::read(&read).unwrap());
    drop(writer);
    assert_eq!(fs::read(&written).unwrap(), b"x\nunsaved, still");
}

#[test]
fn a_second_job_on_a_bucket_is_refused_and_a_cancelled_one_goes_on_later() {
    let mut drive = with_files();
    let slow = slow_job(&drive);
    let second = fails(&mut drive.on_store(["rewrap"], ["data"]), 5);
    assert!(second.contains("another job works on bucket `data`"), "{second}");
    kill_process(slow.id(), "INT");
    let ended = slow.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(text.contains("stopped before the end: run it again for the rest"), "{text}");
    beside(&drive, &["rewrap", "data"]);
    // Who hangs up stops the job as well, and so does unmounting.
    for way in ["KILL", "unmount"] {
        let mut slow = slow_job(&drive);
        if way == "KILL" {
            kill_process(slow.id(), way);
            slow.wait().unwrap();
            eventually("its end", || run(&mut drive.on_store(["rewrap"], ["data"])).code == 0);
        } else {
            drive.unmount();
            let ended = slow.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&ended.stdout);
            assert!(text.contains("stopped before the end"), "{text}");
        }
    }
    drive.mount(&[]);
    assert!(beside(&drive, &["reencrypt", "data", "--force"]).stdout.contains("40 done, 0 failed"));
}

/// A job that works on the bucket `data` for seconds. It is refused itself when it comes while somebody asks whether it is
/// there, and begun again then.
fn slow_job(drive: &Drive) -> Child {
    let job = drive.on_store(["reencrypt"], ["data", "--force", "--rate", "5/s", "--preserve"]);
    for _ in 0..20 {
        let mut slow = in_background(&job);
        let ended = loop {
            if let Some(ended) = slow.try_wait().unwrap() {
                break ended;
            }
            if run(&mut drive.on_store(["rewrap"], ["data"])).code == 5 {
                return slow;
            }
        };
        assert_eq!(ended.code(), Some(5));
    }
    panic!("the job is never begun");
}

/// A command without the `timeout` around it, which would take the signals.
fn in_background(of: &Command) -> Child {
    let mut words = of.get_args().skip(2);
    let mut bare = Command::new(words.next().unwrap());
    bare.args(words).envs(of.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill_process(pid: u32, signal: &str) {
    ok(command(20, "kill").arg(format!("-{signal}")).arg(pid.to_string()));
}

#[test]
fn programs_at_work_lose_nothing_to_jobs_that_run_beside_them() {
    let mut drive = with_files();
    let make = "mkdir tree && cp -r /usr/include/linux tree/ 2>/dev/null || cp -r /etc/alternatives tree/
        sqlite3 base.db 'create table t(n integer primary key, x text)'
        head -c 2M /dev/urandom > blocks";
    ok(&mut shell(60, &drive.dir(), make));
    let load = "for round in 1 2 3 4 5 6; do
            rsync -a --delete tree/ copy/ && diff -r tree copy
            for n in $(seq 20); do sqlite3 base.db \"insert into t(x) values (hex(randomblob(500)))\"; done
            cp blocks moving; cmp blocks moving; mv moving moved; echo $round >> moved; chmod 64$((round % 4 + 1)) moved
            [ $(stat -c %a moved) = 64$((round % 4 + 1)) ]
            [ \"$(tail -c 2 moved)\" = $round ]; cmp -n 2097152 blocks moved
        done
        [ \"$(sqlite3 base.db 'pragma integrity_check')\" = ok ]; sqlite3 base.db 'select count(*) from t'";
    let fio = "fio --name=jobs --filename=fio.dat --size=8M --rw=randrw --bs=4k --verify=crc32c --do_verify=1 --loops=4 \
        --verify_fatal=1 --fsync=16 --ioengine=psync --minimal > /dev/null";
    let (counted, rounds) = std::thread::scope(|scope| {
        let working = scope.spawn(|| ok(&mut shell(240, &drive.dir(), load)));
        let blocks = scope.spawn(|| ok(&mut shell(240, &drive.dir(), fio)));
        let mut rounds = 0;
        while !working.is_finished() || !blocks.is_finished() {
            ok(&mut drive.on_store(["key", "rotate"], ["service"]));
            beside(&drive, &["rewrap", "data", "--deep", "--new-bucket-key"]);
            beside(&drive, &["reencrypt", "data", "--force", "--preserve"]);
            rounds += 1;
        }
        blocks.join().unwrap();
        (working.join().unwrap(), rounds)
    });
    assert!(rounds > 1, "{rounds} rounds");
    assert_eq!(counted.trim(), "120");
    let before = snapshot(&drive.dir());
    drive.remount();
    assert_same(&before, &snapshot(&drive.dir()));
    let check = "diff -r tree copy && sqlite3 base.db 'pragma integrity_check'";
    assert_eq!(ok(&mut shell(60, &drive.dir(), check)).trim(), "ok");
    drive.unmount();
    ok(&mut drive.on_store(["verify"], []));
}

#[test]
fn a_daemon_that_is_killed_in_the_middle_of_a_job_leaves_old_objects_and_new_ones() {
    let mut drive = with_files();
    let content = |drive: &Drive| ok(&mut shell(60, &drive.dir(), "find . -type f | sort | xargs md5sum"));
    let before = content(&drive);
    for (round, job) in [["reencrypt", "--force"], ["rewrap", "--deep"]].iter().cycle().take(8).enumerate() {
        let mut more = vec![job[1]];
        more.extend((job[0] == "rewrap").then_some("--new-bucket-key"));
        let mut words = drive.on_store([job[0]], ["data", "--rate", "400/s"]);
        words.args(&more);
        let working = in_background(&words);
        std::thread::sleep(std::time::Duration::from_millis(40 + 15 * round as u64));
        drive.kill();
        let ended = working.wait_with_output().unwrap();
        assert!(matches!(ended.status.code(), Some(0 | 1 | 5)), "{ended:?}");
        eventually("the dead mount was detached", || !drive.is_mounted());
        drive.mount(&[]);
        assert_eq!(content(&drive), before, "round {round}");
        let ran = beside(&drive, &[&[job[0], "data"], &more[..]].concat());
        assert!(ran.stdout.contains(" 0 failed"), "{}", ran.stdout);
        assert_eq!(content(&drive), before, "round {round}");
        assert_eq!(fs::read_dir(drive.stored(".eob/tmp")).unwrap().count(), 0, "nothing is left behind");
    }
    drive.unmount();
    ok(&mut drive.on_store(["verify"], []));
}

#[test]
fn a_mounted_store_is_replicated_while_it_is_in_use() {
    let drive = with_files();
    let (target, key) = (drive.path("target"), drive.path("target-key"));
    ok(command(60, env!("CARGO_BIN_EXE_strongroom")).arg("init").arg(&target).arg("--key-file").arg(&key));
    let replicate = || {
        let mut replicate = drive.strongroom(["replicate"]);
        replicate.arg(drive.store()).arg(&target).arg("--dst-key-file").arg(&key);
        replicate
    };
    let copied = ok(&mut replicate());
    assert!(copied.starts_with("43 done, 0 failed, 0 left as they are"), "{copied}");
    assert!(ok(&mut replicate()).starts_with("0 done, 0 failed, 43 left as they are"));
    fs::write(drive.dir().join("small"), "changed").unwrap();
    assert!(ok(&mut replicate()).starts_with("2 done, 0 failed"), "it and its second name");
    let wrong = drive.path("wrong-key");
    fs::write(&wrong, (0..32).collect::<Vec<u8>>()).unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    let mut locked = drive.strongroom(["replicate"]);
    locked.arg(drive.store()).arg(&target).arg("--dst-key-file").arg(&wrong);
    let refused = fails(&mut locked, 4);
    assert!(refused.contains("the target"), "{refused}");
    let mut replica = drive.at_store(&target);
    fs::copy(&key, replica.key()).unwrap();
    replica.mount(&[]);
    assert_same(&snapshot(&drive.dir()), &snapshot(&replica.dir()));
}

#[test]
fn jobs_are_in_the_audit_log_with_who_asked_and_what_was_done() {
    let drive = Drive::with(&["--audit", "on"]);
    fs::write(drive.dir().join("f"), "content").unwrap();
    beside(&drive, &["reencrypt", "data", "--force"]);
    beside(&drive, &["rewrap", "data", "--deep", "--new-bucket-key"]);
    let show = || ok(&mut drive.on_store(["audit", "show"], ["--json"]));
    // Lines are written a moment after what they tell of.
    eventually("the end of both jobs in the log", || show().matches("JobStatusChanged").count() == 2);
    let shown = show();
    let events: Vec<serde_json::Value> =
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|event| event["eventName"] == name).collect::<Vec<_>>();
    let jobs: Vec<_> =
        of("JobCreated").iter().map(|event| event["additionalEventData"]["job"].clone()).collect();
    assert_eq!(jobs, ["reencrypt", "rewrap"]);
    let ended = of("JobStatusChanged");
    assert_eq!(ended[0]["additionalEventData"]["status"], "Complete");
    assert_eq!(ended[0]["additionalEventData"]["totals"]["succeeded"], 1);
    for name in ["CopyObject", "UpdateObjectEncryption"] {
        let [event] = of(name)[..] else { panic!("{name} in {events:?}") };
        assert_eq!(event["requestParameters"]["key"], "f");
        assert_eq!(
            event["additionalEventData"]["SSEApplied"].as_str().map(|sse| sse.contains("SSE_S3")),
            Some(true)
        );
        assert_eq!(event["decision"], "Allow");
        assert_ne!(event["userIdentity"]["pid"], drive.pid(), "that of the command, not of the daemon");
    }
}
