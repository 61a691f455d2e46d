//! `kill -9` of the daemon at random moments under load; `STRONGROOM_KILLS` sets how many.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::Path,
    process::{Child, Stdio},
    sync::atomic::AtomicU64,
    thread,
    time::{Duration, Instant},
};

use super::{
    history::{History, Random},
    writers::{Manner, Writer, recovered},
};
use crate::fixture::{Drive, command, ok, python, run, shell};

fn rounds(usual: usize) -> usize {
    std::env::var("STRONGROOM_KILLS")
        .map_or(usual, |text| text.parse().expect("STRONGROOM_KILLS is a number"))
}

/// Kills the daemon and mounts again.
fn kill_and_mount(drive: &mut Drive, load: Vec<Child>) {
    kill(drive);
    for mut child in load {
        child.wait().unwrap();
    }
    drive.mount(&[]);
}

/// Kills the daemon and waits until its mount is gone.
pub(crate) fn kill(drive: &mut Drive) {
    drive.kill();
    let begun = Instant::now();
    while drive.is_mounted() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the dead mount is not detached");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Verifies the store. Files that were never synced may have no content: they are named, and nothing else is damaged.
fn verify(drive: &mut Drive) {
    drive.unmount();
    let ran = run(&mut drive.on_store(["verify"], []));
    let damaged: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with("DAMAGED")).collect();
    let unborn = |line: &&str| line.ends_with("no header magic)");
    assert!(damaged.iter().all(unborn) && [0, 3].contains(&ran.code), "{ran:?}");
}

/// A moment in which the load gets somewhere.
fn moment(random: &mut Random, longest: usize) -> Duration {
    Duration::from_millis(10 + random.below(longest) as u64)
}

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    let (mut drive, mut random) = (Drive::new(), Random::new(0x6b69_6c6c));
    let mut content = HashMap::new();
    let mut acknowledgements = 0;
    for round in 0..rounds(40) {
        let fio = round % 8 == 7;
        let histories = killed(&mut drive, &content, &mut random, fio);
        let dir = drive.dir();
        for history in &histories {
            let found =
                recovered(&dir, history, u64::MAX).unwrap_or_else(|broken| panic!("round {round}: {broken}"));
            acknowledgements += history.acknowledgements();
            found.map(|found| content.insert(history.name.clone(), found));
        }
        ok(&mut shell(20, &dir, "rm -f scratch-* replace.tmp load.*"));
    }
    verify(&mut drive);
    eprintln!("{acknowledgements} acknowledgements held");
}

/// One round: everybody writes, and the daemon dies.
fn killed(
    drive: &mut Drive,
    content: &HashMap<String, Vec<u8>>,
    random: &mut Random,
    fio: bool,
) -> Vec<History> {
    let (dir, flushes) = (drive.dir(), AtomicU64::new(0));
    thread::scope(|scope| {
        let writers: Vec<_> = Manner::ALL
            .into_iter()
            .map(|manner| {
                let base = content.get(&format!("{manner:?}").to_lowercase()).cloned();
                let writer = Writer::new(manner, &dir, base, random.next(), &flushes);
                scope.spawn(|| writer.run(usize::MAX))
            })
            .collect();
        let load = if fio { vec![fio_load(&dir)] } else { Vec::new() };
        thread::sleep(moment(random, 500));
        kill_and_mount(drive, load);
        writers.into_iter().flat_map(|writer| writer.join().unwrap().1).collect()
    })
}

fn fio_load(dir: &Path) -> Child {
    let mut fio = command(60, "fio");
    fio.args(["--name=load", "--size=4m", "--rw=randwrite", "--bs=4k", "--fsync=4", "--time_based"]);
    // In the mount itself: it would make the directory anew beneath it.
    fio.args(["--runtime=1", "--ioengine=psync"]).current_dir(dir);
    fio.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Counts up in a table, one commit each, and tells each number once it is committed.
const SQLITE: &str = "
import sqlite3, sys
mode = sys.argv[1]
db = sqlite3.connect(mode + '.db', isolation_level=None, timeout=20)
db.execute('pragma journal_mode=' + mode)
db.execute('pragma synchronous=extra')
db.execute('create table if not exists t(n integer primary key, text)')
n = db.execute('select coalesce(max(n), 0) from t').fetchone()[0]
while True:
    n += 1
    db.execute('begin immediate')
    db.execute('insert into t values(?, hex(randomblob(700)))', (n,))
    db.execute('update t set text = hex(randomblob(500)) where n = ? / 2', (n,))
    db.execute('commit')
    print(n, flush=True)";

#[test]
fn kills_lose_no_commit_of_sqlite() {
    const MODES: [&str; 2] = ["wal", "delete"];
    let (mut drive, mut random) = (Drive::new(), Random::new(0x7371_6c69));
    let mut told = [0; 2];
    for round in 0..rounds(8) {
        let load = MODES.map(|mode| {
            let told = File::create(drive.path(mode)).unwrap();
            python(60, &drive.dir(), SQLITE).arg(mode).stdout(told).stderr(Stdio::null()).spawn().unwrap()
        });
        thread::sleep(Duration::from_millis(150) + moment(&mut random, 500));
        kill_and_mount(&mut drive, load.into());
        for (mode, told) in MODES.iter().zip(&mut told) {
            *told = last_line(&drive.path(mode)).map_or(*told, |line| line.parse().unwrap());
            assert_counted(&drive, mode, *told, round);
        }
    }
    verify(&mut drive);
}

#[track_caller]
fn assert_counted(drive: &Drive, mode: &str, told: u64, round: usize) {
    if told == 0 {
        // It may have died before it had made the database.
        ok(shell(20, &drive.dir(), "rm -f $0.db*").arg(mode));
        return;
    }
    let query =
        "sqlite3 -cmd '.timeout 20000' $0.db 'pragma integrity_check; select count(*), max(n) from t;'";
    let ran = run(shell(30, &drive.dir(), query).arg(mode));
    let lines: Vec<_> = ran.stdout.lines().map(str::to_owned).collect();
    let [.., check, counts] = lines.as_slice() else { panic!("round {round}, {mode}: {ran:?}") };
    assert_eq!((ran.code, check.as_str()), (0, "ok"), "round {round}, {mode}: {ran:?}");
    let (count, last) = counts.split_once('|').unwrap();
    assert_eq!(count, last, "round {round}, {mode}: a row is missing");
    assert!(
        count.parse::<u64>().unwrap() >= told,
        "round {round}, {mode}: {count} rows, but {told} were told"
    );
}

/// The last whole line of what a program told.
fn last_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).unwrap();
    text.rsplit_once('\n')?.0.lines().last().map(str::to_owned)
}

const GIT: &str = "
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
cd repository
for n in $(seq 100000); do
    seq $RANDOM $((RANDOM + 40000)) > f$((RANDOM % 20)); date +%N > always
    git add -A; git -c gc.auto=40 -c gc.autoDetach=false commit -q -m $n; git rev-parse HEAD
done";

#[test]
fn kills_lose_no_commit_of_git() {
    const PREPARE: &str = "rm -rf repository; git init -q -b main repository; cd repository
        git config core.fsync all; git config core.fsyncMethod fsync; sync -f .";
    /// Checking takes the longer the more is in it.
    const ROUNDS_OF_A_REPOSITORY: usize = 25;
    const CHECK: &str = "cd repository; rm -f .git/*.lock .git/refs/heads/*.lock .git/gc.pid
        git fsck --full --strict --no-dangling --no-progress
        [ -z \"$0\" ] || git merge-base --is-ancestor $0 HEAD
        git reset -q --hard; git status --porcelain";
    let (mut drive, mut random) = (Drive::new(), Random::new(0x6769_7421));
    let mut commit = String::new();
    for round in 0..rounds(4) {
        if round.is_multiple_of(ROUNDS_OF_A_REPOSITORY) {
            ok(&mut shell(60, &drive.dir(), PREPARE));
            commit.clear();
        }
        let told = File::create(drive.path("told")).unwrap();
        let mut git = shell(60, &drive.dir(), GIT);
        let load = git.stdout(told).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(200) + moment(&mut random, 900));
        kill_and_mount(&mut drive, vec![load]);
        commit = last_line(&drive.path("told")).unwrap_or(commit);
        let ran = run(shell(60, &drive.dir(), CHECK).arg(&commit));
        // Before the first commit there is no HEAD to reset to.
        assert!(ran.code == 0 || commit.is_empty(), "round {round}, {commit}: {ran:?}");
    }
    assert!(!commit.is_empty(), "git never came to a commit");
    verify(&mut drive);
}
