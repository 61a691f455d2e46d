//! Backup programs and jobs: what was rewrapped is not read again.

use crate::fixture::{Drive, Ran, command, ok, run, shell};

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

#[test]
fn a_mounted_store_is_refused_by_jobs_and_listed_by_the_inventory() {
    let mut drive = with_files();
    for words in [["rewrap"], ["reencrypt"]] {
        let refused = run(&mut drive.on_store(words, ["data"]));
        assert_eq!(refused.code, 5, "{refused:?}");
        assert!(refused.stderr.contains("strongroom umount"), "{}", refused.stderr);
    }
    let listed = ok(&mut drive.on_store(["inventory"], ["--format", "json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 42);
    let ran = job(&mut drive, ["reencrypt"], ["data", "--force", "--preserve"]);
    assert!(ran.stdout.contains("40 done, 0 failed, 2 left as they are"), "{}", ran.stdout);
    let old = ok(&mut shell(60, &drive.dir(), "find . -type f ! -newermt 2020-02-03 | wc -l"));
    assert_eq!(old.trim(), "42");
}
