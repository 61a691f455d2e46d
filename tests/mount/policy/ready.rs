//! Each ready policy in `config/policies` on a live drive.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::SystemTime};

use super::{as_user, assert_denied, assert_logged, shared_with};
use crate::fixture::{Drive, command, fails, ok, python, run, shell};

/// A drive for everybody whose bucket has the ready policy `name`, with its words replaced.
fn with_ready(name: &str, words: &[(&str, &str)], flags: &[&str]) -> Drive {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/policies/{name}.json"));
    let text = fs::read_to_string(shipped).unwrap().replace("BUCKET", "data");
    let text = words.iter().fold(text, |text, (word, value)| text.replace(word, value));
    shared_with(&text, flags)
}

#[track_caller]
fn refused(drive: &Drive, id: u32, groups: &str, script: &str) {
    let told = run(&mut as_user(drive, id, groups, script));
    assert_ne!(told.code, 0, "{script}");
    assert!(told.stderr.contains("ermission denied"), "{script}: {}", told.stderr);
}

#[test]
fn require_kms_key_denies_objects_without_that_key() {
    let words = [("REGION", "eu-central-1"), ("ACCOUNT", "000000000000"), ("key/KEY", "key/1234abcd")];
    let drive = with_ready("require-kms-key", &words, &["--sse", "AES256"]);
    assert_denied(fs::write(drive.dir().join("f"), "x"));
    assert_logged(
        &drive,
        &["DenyOtherKeys", "use the KMS key arn:aws:kms:eu-central-1:000000000000:key/1234abcd"],
    );
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 0);
}

#[test]
fn deny_insecure_transport_leaves_a_local_drive_alone() {
    let drive = with_ready("deny-insecure-transport", &[], &[]);
    ok(&mut as_user(&drive, 3001, "", "echo x > f; cat f; mv f g; ls; rm g"));
}

#[test]
fn a_drop_box_takes_and_shows_nothing() {
    let drive = with_ready("drop-box", &[("READER", "root")], &[]);
    ok(&mut as_user(
        &drive,
        3001,
        "",
        "echo mine > temporary; mv temporary final; echo more > other; mkdir sub",
    ));
    for script in ["cat final", "ls", "rm final", "mv final hidden", "ln final again", "cp final copy"] {
        refused(&drive, 3001, "", script);
    }
    assert_logged(&drive, &["OnlyTheReaderReads", "aws:username"]);
    assert_eq!(fs::read(drive.dir().join("final")).unwrap(), b"mine\n");
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 3);
}

/// `mkstemp` opens for reading and writing; what the reader has read lies in the page cache.
#[test]
fn a_write_only_principal_gets_nothing_from_an_open_file_and_its_pages() {
    const STEPS: &str = r#"
import errno, os, sys
os.setgroups([]); os.setgid(3001); os.setuid(3001)
def refused(what):
    try:
        what()
    except OSError as error:
        assert error.errno == errno.EACCES, error
    else:
        sys.exit("was allowed")
file = os.open("box", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
assert os.write(file, b"a" * 10000) == 10000
refused(lambda: os.pread(file, 100, 0))
refused(lambda: os.pread(file, 100, 9000))
os.write(file, b"b" * 10000)
os.fsync(file); os.close(file)
os.rename("box", "final")
refused(lambda: os.open("final", os.O_RDONLY))
refused(lambda: os.open("final", os.O_RDWR))
refused(lambda: os.open("final", os.O_WRONLY))
refused(lambda: os.open("final", os.O_WRONLY | os.O_APPEND))
file = os.open("final", os.O_RDWR | os.O_TRUNC)
os.write(file, b"c" * 5000)
refused(lambda: os.pread(file, 100, 0))
os.close(file)"#;
    let drive = with_ready("drop-box", &[("READER", "root")], &[]);
    ok(&mut python(30, &drive.dir(), STEPS));
    assert_eq!(fs::read(drive.dir().join("final")).unwrap(), vec![b'c'; 5000]);
}

#[test]
fn a_read_only_group_is_known_by_supplementary_groups_too() {
    let drive = with_ready("read-only-group", &[("GID", "3005")], &[]);
    fs::write(drive.dir().join("f"), "x").unwrap();
    fs::set_permissions(drive.dir().join("f"), fs::Permissions::from_mode(0o666)).unwrap();
    for script in ["echo y > f", "echo y >> f", "rm -f f", "mv f g", "echo y > new"] {
        refused(&drive, 3001, "3004,3005", script);
        refused(&drive, 3005, "", script);
    }
    assert_logged(&drive, &["GroupReadsOnly", "strongroom:gid", "`3005`"]);
    assert_eq!(ok(&mut as_user(&drive, 3001, "3005", "cat f; ls")), "xf\n");
    ok(&mut as_user(&drive, 3001, "3004", "echo y > f; rm f"));
}

#[test]
fn no_deletes_lets_rsync_add_and_nobody_remove() {
    let drive = with_ready("no-deletes", &[], &[]);
    fs::create_dir(drive.native().join("tree")).unwrap();
    fs::write(drive.native().join("tree/a"), "one").unwrap();
    let sync = || {
        let mut rsync = command(30, "rsync");
        rsync.args(["-a", "--delete"]).arg(drive.native().join("tree/")).arg(drive.dir());
        rsync
    };
    ok(&mut sync());
    assert_eq!(fs::read(drive.dir().join("a")).unwrap(), b"one");
    fs::remove_file(drive.native().join("tree/a")).unwrap();
    fs::write(drive.native().join("tree/b"), "two").unwrap();
    let told = run(&mut sync());
    assert_ne!(told.code, 0, "{told:?}");
    assert!(told.stderr.contains("Permission denied"), "{}", told.stderr);
    assert_eq!(fs::read(drive.dir().join("a")).unwrap(), b"one");
    assert_logged(&drive, &["NothingIsDeleted", "data/a"]);
    assert_denied(fs::remove_file(drive.dir().join("a")));
}

/// `config` is not kept, since `borg check` replaces it.
#[test]
fn keep_backups_lets_restic_and_borg_add_and_nobody_remove() {
    const ADD: &str = "seq $RANDOM 20000 > $native/f
        [ -e repo/config ] || restic -q -r repo init
        [ -e host/borg/config ] || { mkdir host; borg init -e repokey host/borg; }
        restic -q -r repo backup $native/f; restic -q -r repo check --read-data
        borg create host/borg::$(ls host/borg/data/0 | wc -l) $native/f; borg check host/borg";
    const KEPT: &str =
        "find repo/data repo/snapshots repo/index repo/keys host/borg/data -type f | sort | xargs sha256sum";
    const REMOVING: [&str; 5] = [
        // It tries again for a quarter of an hour.
        "timeout 5 restic -q -r repo forget --keep-last 1 || exit 1",
        "borg delete host/borg::$(borg list --short host/borg | head -1); borg compact --threshold 0 host/borg",
        "mv repo/snapshots gone",
        "mv repo elsewhere",
        "rm -rf repo host",
    ];
    let drive = with_ready("keep-backups", &[], &[]);
    let at_work = |script: &str| {
        let mut client = shell(120, &drive.dir(), script);
        client.env("native", drive.native()).env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
        client.env("RESTIC_PASSWORD", "secret").env("RESTIC_CACHE_DIR", drive.native().join("cache"));
        run(client.env("BORG_PASSPHRASE", "secret").env("BORG_BASE_DIR", drive.native().join("borg")))
    };
    for _ in 0..2 {
        let ran = at_work(ADD);
        assert_eq!(ran.code, 0, "{ran:?}\n{}", drive.log());
    }
    let kept = at_work(KEPT).stdout;
    for script in REMOVING {
        let ran = at_work(script);
        assert_ne!(ran.code, 0, "{script}: {ran:?}");
        assert!(ran.stderr.to_lowercase().contains("permission denied"), "{script}: {}", ran.stderr);
    }
    assert_logged(&drive, &["BackupsAreNotDeleted", "data/host/borg/data/"]);
    assert_logged(&drive, &["BackupsAreNotDeleted", "data/repo/snapshots/"]);
    let still = at_work(KEPT).stdout;
    let lost: Vec<_> = kept.lines().filter(|file| !still.contains(file)).collect();
    assert!(lost.is_empty() && kept.lines().count() > 10, "{lost:?}\n{kept}");
}

#[test]
fn working_hours_follow_the_clock() {
    let hour = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 3600 % 24;
    let drive = with_ready("working-hours", &[], &[]);
    loop {
        let before = hour();
        let outcome = fs::write(drive.dir().join("f"), "x");
        if before != hour() {
            continue;
        }
        if (8..17).contains(&before) {
            return outcome.unwrap();
        }
        assert_denied(outcome);
        return assert_logged(&drive, &["ChangesFrom8To17UtcOnly", "aws:CurrentTime"]);
    }
}

#[test]
fn one_program_only_tells_programs_apart() {
    let cp = fs::canonicalize("/usr/bin/cp").unwrap();
    let drive = with_ready("one-program-only", &[("PROGRAM", cp.to_str().unwrap())], &[]);
    ok(&mut as_user(&drive, 3001, "", "cp /etc/hostname f; cat f"));
    for script in ["echo x > f", "dd if=/etc/hostname of=g status=none", "rm f"] {
        refused(&drive, 3001, "", script);
    }
    fs::copy(&cp, drive.native().join("cp")).unwrap();
    refused(&drive, 3001, "", &format!("{}/cp /etc/hostname g", drive.native().display()));
    assert_logged(&drive, &["OnlyThisProgramChanges", "strongroom:exe", "native/cp"]);
}

#[test]
fn a_program_in_a_mount_namespace_of_its_own_has_no_name() {
    let cp = fs::canonicalize("/usr/bin/cp").unwrap();
    let drive = with_ready("one-program-only", &[("PROGRAM", cp.to_str().unwrap())], &[]);
    let mut elsewhere = command(30, "unshare");
    elsewhere.args(["--mount", "cp", "/etc/hostname"]).arg(drive.dir().join("f"));
    let told = fails(&mut elsewhere, 1);
    assert!(told.contains("Permission denied"), "{told}");
}

#[test]
fn home_directories_are_their_owners() {
    let drive = with_ready("home-directories", &[], &[]);
    for dir in ["home", "home/root", "home/bob"] {
        fs::create_dir(drive.dir().join(dir)).unwrap();
    }
    fs::write(drive.dir().join("home/root/f"), "x").unwrap();
    assert_denied(fs::write(drive.dir().join("home/bob/f"), "x"));
    assert_denied(fs::rename(drive.dir().join("home/root/f"), drive.dir().join("f")));
    assert_logged(&drive, &["OwnHomeOnly", "data/home/bob/f"]);
}
