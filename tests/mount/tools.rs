//! Ordinary tools at work on the drive.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::fixture::{Drive, assert_same, command, ok, run, shell, snapshot};

/// A tree with everything that a copy has to keep.
fn make_tree(dir: &Path) {
    const STEPS: &str = r#"
mkdir -p tree/{empty,deep/er/still,sgid,sticky}; cd tree
for n in $(seq 60); do head -c $((n * n * 37 % 90000)) /dev/urandom > deep/file-$n; done
head -c 3000000 /dev/urandom > large
truncate -s 5M sparse; printf island | dd of=sparse bs=1 seek=2000000 conv=notrunc status=none
: > nothing; ln large deep/hard; ln large deep/er/hard
ln -s large soft; ln -s /nowhere dangling; ln -s . deep/loop
mkfifo fifo; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
printf '#!/bin/sh\necho ran\n' > program; chmod 755 program
echo x > "$(printf 'odd\nname \377\\')"; echo x > 'ä€'; echo x > " blank "
chmod 2775 sgid; chmod 1777 sticky; chmod 4711 program; chmod 000 nothing
chown 1234:4321 deep/file-1 soft -h; chown 1234:4321 deep/er
setfattr -n user.note -v value large; setfattr -n trusted.note -v secret deep/file-2; setfattr -n user.note -v dir deep
setfacl -m u:1234:rw,g:99:r deep/file-3; setfacl -d -m u:1234:rwx sgid; echo x > sgid/inherits
find . -exec touch -hd '2010-10-10 10:10:10.101010101' {} +
touch -d '1969-07-20 20:17:40.123456789' deep/file-4; touch -d '2106-02-07 06:28:16.5' deep/file-5
touch -hd '2001-02-03 04:05:06.7' soft; touch -d '1999-12-31 23:59:59.999999999' deep/er deep"#;
    ok(&mut shell(60, dir, STEPS));
}

/// Runs a script that finds the drive's bucket as `$drive` and a native directory with a tree as its working directory.
fn script(drive: &Drive, seconds: u32, text: &str) -> Command {
    let mut script = shell(seconds, &drive.native(), text);
    script.env("drive", drive.dir());
    script
}

/// A drive and a native tree.
fn with_tree() -> (Drive, PathBuf) {
    let drive = Drive::new();
    make_tree(&drive.native());
    let tree = drive.native().join("tree");
    (drive, tree)
}

#[test]
fn cp_keeps_everything_there_and_back() {
    let (mut drive, tree) = with_tree();
    ok(&mut script(&drive, 60, "cp -a tree $drive/"));
    assert_same(&snapshot(&tree), &snapshot(&drive.dir().join("tree")));
    drive.remount();
    assert_same(&snapshot(&tree), &snapshot(&drive.dir().join("tree")));
    ok(&mut script(&drive, 60, "cp -a $drive/tree $drive/again; cp -a $drive/again back"));
    assert_same(&snapshot(&tree), &snapshot(&drive.native().join("back")));
}

#[test]
fn rsync_finds_nothing_to_do_the_second_time() {
    let (mut drive, tree) = with_tree();
    let sync = "rsync -aHAX --checksum --delete --itemize-changes --numeric-ids";
    let first = ok(&mut script(&drive, 60, &format!("{sync} tree/ $drive/tree/")));
    assert!(first.contains("large"), "{first}");
    assert_same(&snapshot(&tree), &snapshot(&drive.dir().join("tree")));
    drive.remount();
    assert_eq!(ok(&mut script(&drive, 60, &format!("{sync} tree/ $drive/tree/"))), "");
    ok(&mut script(
        &drive,
        60,
        "echo more >> tree/large; rm tree/deep/file-6; touch -d 2015-01-02 tree/deep/file-7 tree/deep tree/large",
    ));
    ok(&mut script(&drive, 60, &format!("{sync} --inplace tree/ $drive/tree/")));
    assert_same(&snapshot(&tree), &snapshot(&drive.dir().join("tree")));
    ok(&mut script(&drive, 60, &format!("{sync} $drive/tree/ back/")));
    assert_same(&snapshot(&tree), &snapshot(&drive.native().join("back")));
}

#[test]
fn tar_keeps_everything_there_and_back() {
    let (mut drive, tree) = with_tree();
    let flags = "--xattrs --xattrs-include='*' --acls --format=posix --numeric-owner --sparse";
    ok(&mut script(
        &drive,
        60,
        &format!(
            "rm tree/socket; tar -c {flags} -f $drive/tree.tar tree; cd $drive; tar -x -p {flags} -f tree.tar"
        ),
    ));
    drive.remount();
    assert_same(&snapshot(&tree), &snapshot(&drive.dir().join("tree")));
    ok(&mut script(
        &drive,
        60,
        &format!("mkdir back; tar -c {flags} -C $drive tree | tar -x -p {flags} -C back"),
    ));
    assert_same(&snapshot(&tree), &snapshot(&drive.native().join("back/tree")));
}

#[test]
fn git_works_as_natively() {
    const REPOSITORY: &str = "
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
git init -q -b main source; cd source
for n in $(seq 30); do
    mkdir -p d$((n % 5)); seq $n $((n * 50)) > d$((n % 5))/f$n; ln -sf f$n d$((n % 5))/latest
    git add -A; git commit -q -m \"commit $n\"
done
git clone -q . $drive/clone; cd $drive/clone
git checkout -q -b work; echo change > d1/change; git mv d2/f2 d3/moved; git rm -q d4/f4
git add -A; git commit -q -m change; git branch -q other HEAD~5; git checkout -q other; git merge -q --no-edit work
git repack -q -a -d; git gc -q --aggressive --prune=now; git fsck --full --strict
git status --porcelain
git push -q origin work other; git worktree add -q ../tree work; git -C ../tree status --porcelain";
    let mut drive = Drive::new();
    assert_eq!(ok(&mut script(&drive, 120, REPOSITORY)), "");
    drive.remount();
    let compare = "cd $drive/clone; git fsck --full --strict; git status --porcelain
        git archive other | sha256sum > ../drive.sum; cd -; git -C source fsck --full; git -C source archive other | sha256sum | diff - $drive/drive.sum";
    ok(&mut script(&drive, 60, compare));
}

#[test]
fn sqlite_keeps_its_promises_with_concurrent_writers() {
    const WRITERS: &str = "
sqlite3 $0.db \"pragma journal_mode=$0; create table t(writer, number, text); create index i on t(number);\"
for writer in 1 2 3; do
    ( for n in $(seq 40); do
        echo \".timeout 50000
        begin immediate; insert into t values($writer, $n, hex(randomblob(500))); update t set text = hex(randomblob(300)) where number = $n - 3; commit;\"
    done | sqlite3 $0.db ) &
done
for job in $(jobs -p); do wait $job; done
sqlite3 $0.db 'pragma integrity_check; select count(*), sum(number) from t;'";
    let mut drive = Drive::new();
    for mode in ["delete", "truncate", "wal"] {
        let out = ok(shell(120, &drive.dir(), WRITERS).arg(mode));
        assert!(out.ends_with("ok\n120|2460\n"), "{mode}: {out}");
    }
    drive.remount();
    for mode in ["delete", "truncate", "wal"] {
        let check = ok(shell(
            60,
            &drive.dir(),
            "sqlite3 $0.db 'pragma integrity_check; vacuum; select count(*) from t;'",
        )
        .arg(mode));
        assert_eq!(check, "ok\n120\n", "{mode}");
    }
}

#[test]
fn restic_backs_up_from_and_to_the_drive() {
    const STEPS: &str = "
export RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$PWD/../cache
restic -q init -r $drive/repository; restic -q -r $drive/repository backup tree
echo more >> tree/large; touch -r tree/deep tree/large; restic -q -r $drive/repository backup tree
restic -q -r $drive/repository check --read-data; restic -q -r $drive/repository restore latest --target there
cp -a tree $drive/tree; restic -q init -r repository; cd $drive; restic -q -r $OLDPWD/repository backup tree; cd -
restic -q -r repository check --read-data; restic -q -r repository restore latest --target back
restic -q -r $drive/repository forget --keep-last 1 --prune; restic -q -r $drive/repository check";
    let (drive, tree) = with_tree();
    ok(&mut script(&drive, 10, "rm tree/socket"));
    ok(&mut script(&drive, 200, STEPS));
    for restored in ["there/tree", "back/tree"] {
        assert_same(&snapshot(&tree), &snapshot(&drive.native().join(restored)));
    }
}

#[test]
fn borg_backs_up_from_and_to_the_drive() {
    // borg itself knows no times before 1970 and after 2038.
    const STEPS: &str = "
touch -d 1980-01-02 tree/deep/file-4 tree/deep/file-5
export BORG_PASSPHRASE=secret BORG_BASE_DIR=$PWD/../borg BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
borg init -e repokey $drive/repository; borg create $drive/repository::one tree; borg create $drive/repository::two tree
borg check --verify-data $drive/repository; mkdir there back; (cd there; borg extract --numeric-ids $drive/repository::two)
cp -a tree $drive/tree; borg init -e repokey repository; repository=$PWD/repository; (cd $drive; borg create $repository::one tree)
borg check --verify-data repository; (cd back; borg extract --numeric-ids $repository::one)
borg delete $drive/repository::one; borg compact $drive/repository; borg check $drive/repository";
    let (drive, tree) = with_tree();
    ok(&mut script(&drive, 10, "rm tree/socket"));
    ok(&mut script(&drive, 250, STEPS));
    for restored in ["there/tree", "back/tree"] {
        assert_same(&snapshot(&tree), &snapshot(&drive.native().join(restored)));
    }
}

#[test]
fn fio_reads_what_it_wrote() {
    let drive = Drive::new();
    for (engine, pattern, block, more) in [
        ("sync", "randwrite", "4k", "--fsync=64"),
        ("sync", "randrw", "512-9k", "--blocksize_unaligned=1"),
        ("psync", "write", "128k", "--end_fsync=1"),
        ("mmap", "randwrite", "4k", "--fsync=128"),
        ("libaio", "randwrite", "16k", "--iodepth=8"),
    ] {
        let mut fio = command(60, "fio");
        // It leaves files about its verification where it runs.
        fio.current_dir(drive.path("."));
        fio.args([
            "--name=verified",
            "--size=6m",
            "--verify=crc32c",
            "--verify_fatal=1",
            "--do_verify=1",
            "--randseed=7",
        ]);
        fio.args(["--numjobs=2", "--group_reporting", "--output-format=terse", more]);
        fio.arg(format!("--ioengine={engine}"))
            .arg(format!("--rw={pattern}"))
            .arg(format!("--bsrange={}", range(block)));
        fio.arg(format!("--directory={}", drive.dir().display()));
        ok(&mut fio);
        ok(&mut shell(20, &drive.dir(), "rm -f verified*"));
    }
}

/// fio wants a range with two ends.
fn range(block: &str) -> String {
    if block.contains('-') { block.to_owned() } else { format!("{block}-{block}") }
}

#[test]
fn stress_ng_finds_nothing() {
    const TOGETHER: [&[&str]; 3] = [
        &["hdd", "dentry", "rename", "link", "symlink", "dir", "dirdeep"],
        &["xattr", "fallocate", "seek", "chmod", "chown", "utime", "fstat", "file-ioctl"],
        &["sync-file", "copy-file", "flock", "lockf", "fpunch", "mknod", "readahead"],
    ];
    stress(&TOGETHER);
}

#[test]
fn stress_ng_finds_nothing_in_mixed_input_and_output() {
    stress(&[&["iomix", "sync-file", "copy-file"]]);
}

fn stress(groups: &[&[&str]]) {
    let drive = Drive::new();
    for stressors in groups {
        let mut stress = command(100, "stress-ng");
        stress.args([
            "--verify",
            "--timeout",
            "4",
            "--hdd-bytes",
            "4m",
            "--iomix-bytes",
            "4m",
            "--readahead-bytes",
            "4m",
        ]);
        stress.args(["--fallocate-bytes", "4m", "--sync-file-bytes", "2m"]);
        stress.args(stressors.iter().flat_map(|stressor| [format!("--{stressor}"), "1".to_owned()]));
        stress.arg("--temp-path").arg(drive.dir());
        let ran = run(&mut stress);
        // 3: a stressor found that something is not offered here, which is no failure of verification.
        assert!(ran.code == 0 || ran.code == 3, "{stressors:?}: {ran:?}");
        assert!(!ran.stderr.contains("fail:"), "{}", ran.stderr);
    }
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 0, "something is left");
}

/// The program `fsx`, installed once into the build directory.
fn fsx() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    let program = tools.join("bin/fsx");
    if !program.exists() {
        let mut install = command(900, env!("CARGO"));
        ok(install
            .args(["install", "--quiet", "--locked", "fsx", "--version", "0.3.2", "--root"])
            .arg(&tools));
    }
    program
}

#[test]
fn fsx_sees_no_difference_in_a_hundred_thousand_operations() {
    const WEIGHTS: &str = "
nomsyncafterwrite = true
[weights]
close_open = 1
invalidate = 1
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = 4
fsync = 0.3
fdatasync = 0.3
punch_hole = 4
sendfile = 2
posix_fallocate = 2
copy_file_range = 4
";
    let drive = Drive::new();
    let (program, config) = (fsx(), drive.path("fsx.toml"));
    fs::write(&config, WEIGHTS).unwrap();
    for seed in 1..=5 {
        let mut fsx = command(120, &program);
        fsx.args(["-q", "-N", "20000", "-S"])
            .arg(seed.to_string())
            .arg("-f")
            .arg(&config)
            .arg("-P")
            .arg(drive.path("."));
        ok(fsx.arg(drive.dir().join(format!("f{seed}"))));
    }
}
