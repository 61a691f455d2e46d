//! The transports: the same drive over `/dev/fuse` and over `io_uring`, and their ends.
//!
//! These run over `io_uring` wherever root can switch it on in the kernel. Elsewhere they say so and run over `/dev/fuse`. All
//! other tests of the mount do so with `STRONGROOM_TEST_TRANSPORT=uring`.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    thread,
};

use rustix::{
    fs::{FallocateFlags, XattrFlags, fallocate, setxattr},
    process::{Pid, Signal, kill_process},
};

use crate::fixture::{Drive, Seen, alike_on, eventually, fails, ok, uring_is_offered};

/// The transport to test.
fn newest() -> &'static str {
    if uring_is_offered() {
        return "uring";
    }
    eprintln!("this kernel has no FUSE over io_uring: testing over /dev/fuse");
    "classic"
}

fn drive() -> Drive {
    Drive::with(&["--transport", newest()])
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 3 + at / 4096 + seed) % 251).unwrap()).collect()
}

#[test]
fn status_tells_the_transport_in_use() {
    let drive = drive();
    assert_eq!(drive.status()["holder"]["transport"], newest());
    let text = ok(&mut drive.on_store(["status"], []));
    assert!(text.contains(&format!("transport: {}", newest())), "{text}");
}

/// Scheduling policies (sched(7)) of the threads of a process.
fn policies(pid: i32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let policy = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).unwrap().to_owned()
    };
    tasks.map(|task| policy(task.unwrap())).collect()
}

/// The kernel moved a caller to another processor after each answer, which cost more than the request.
#[test]
fn over_rings_a_daemon_with_a_scheduling_group_of_its_own_gives_way() {
    let grouped =
        fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|on| on.trim() == "1");
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let at_the_root = groups.lines().all(|line| !line.contains("cpu:") || line.ends_with(":/"));
    if !grouped || !at_the_root || Path::new("/sys/fs/cgroup/cpu.weight").exists() {
        eprintln!("processes are not grouped by session here: the policy stays");
        return;
    }
    let drive = drive();
    let expected = if newest() == "uring" { "5" } else { "0" };
    assert!(policies(drive.pid()).iter().all(|policy| policy == expected), "{:?}", policies(drive.pid()));
    let classic = Drive::with(&["--transport", "classic"]);
    assert!(policies(classic.pid()).iter().all(|policy| policy == "0"), "{:?}", policies(classic.pid()));
}

#[test]
fn without_a_wish_the_best_transport_is_taken() {
    let drive = Drive::with(&["--transport", "auto"]);
    assert_eq!(drive.status()["holder"]["transport"], newest());
}

#[test]
fn the_old_transport_can_be_asked_for() {
    let drive = Drive::with(&["-o", "transport=classic", "--transport", "classic"]);
    assert_eq!(drive.status()["holder"]["transport"], "classic");
}

#[test]
fn an_unknown_transport_is_refused() {
    let drive = Drive::unmounted();
    let error = fails(&mut drive.mount_command(&["--transport", "pigeon"]), 2);
    assert!(error.contains("pigeon"), "{error}");
}

#[test]
fn files_behave_as_on_a_native_file_system() {
    alike_on(&mut drive(), |dir, seen| {
        let path = dir.join("file");
        fs::write(&path, pattern(1, 300_000)).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        file.write_all_at(&pattern(2, 5_000), 123_457).unwrap();
        seen.result("shrink", file.set_len(200_001));
        seen.result("grow", file.set_len(1_500_000));
        let keep = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        seen.result("punch", fallocate(&file, keep, 8_192, 40_960));
        seen.result("sync", file.sync_all());
        let user = setxattr(&path, "user.colour", b"blue", XattrFlags::empty());
        seen.result("xattr", user);
        seen.value("content", fs::read(&path).unwrap());
        seen.value("size", fs::metadata(&path).unwrap().len());
    });
}

#[test]
fn names_behave_as_on_a_native_file_system() {
    alike_on(&mut drive(), |dir, seen| {
        let long = "n".repeat(255);
        seen.result("long name", fs::write(dir.join(&long), "x"));
        seen.result("too long", fs::write(dir.join("n".repeat(256)), "x"));
        seen.result("directory", fs::create_dir(dir.join("d")));
        seen.result("move", fs::rename(dir.join(&long), dir.join("d/short")));
        seen.result("link", fs::hard_link(dir.join("d/short"), dir.join("second")));
        seen.result("symlink", std::os::unix::fs::symlink("d/short", dir.join("soft")));
        seen.value("target", fs::read_link(dir.join("soft")).unwrap());
        seen.value("through", fs::read_to_string(dir.join("soft")).unwrap());
        seen.result("not empty", fs::remove_dir(dir.join("d")));
        seen.result("missing", fs::remove_file(dir.join("none")));
        list(dir, seen);
    });
}

fn list(dir: &Path, seen: &mut Seen) {
    for number in 0..500 {
        fs::write(dir.join(format!("many-{number}-with-a-name-of-some-length")), "x").unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    seen.value("names", names);
}

#[test]
fn large_transfers_arrive_whole() {
    let mut drive = drive();
    let content = pattern(7, 9_000_001);
    fs::write(drive.dir().join("large"), &content).unwrap();
    drive.remount_with(&["--transport", newest()]);
    assert!(fs::read(drive.dir().join("large")).unwrap() == content);
    let mut file = File::open(drive.dir().join("large")).unwrap();
    let mut piece = vec![0; 3_000_000];
    file.seek(io::SeekFrom::Start(4_000_003)).unwrap();
    file.read_exact(&mut piece).unwrap();
    assert!(piece == content[4_000_003..7_000_003]);
}

#[test]
fn many_callers_at_once_each_get_their_own_answer() {
    let drive = drive();
    let dir = drive.dir();
    thread::scope(|scope| {
        for caller in 0..24_usize {
            let dir = &dir;
            scope.spawn(move || {
                for round in 0..20 {
                    let path = dir.join(format!("caller-{caller}-{round}"));
                    let content = pattern(caller * 31 + round, 1 + caller * 7_919 + round * 611);
                    let mut file = File::create_new(&path).unwrap();
                    file.write_all(&content).unwrap();
                    if round % 5 == 0 {
                        file.sync_data().unwrap();
                    }
                    drop(file);
                    assert!(fs::read(&path).unwrap() == content);
                    fs::rename(&path, path.with_extension("done")).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 24 * 20);
}

#[test]
fn a_killed_daemon_fails_its_callers_and_the_mount_point_is_cleaned() {
    let mut drive = drive();
    let dir = drive.dir();
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let path = dir.join(format!("busy-{caller}"));
            thread::spawn(move || {
                let mut file = File::create(path)?;
                loop {
                    file.write_all(&pattern(caller, 100_000))?;
                }
            })
        })
        .collect();
    eventually("writing", || (0..8).all(|caller| dir.join(format!("busy-{caller}")).exists()));
    drive.kill();
    for caller in callers {
        let outcome: io::Result<()> = caller.join().unwrap();
        assert!(outcome.is_err(), "nobody is there to take this");
    }
    eventually("the dead mount was detached", || !drive.is_mounted());
    drive.mount(&["--transport", newest()]);
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 8);
}

#[test]
fn an_impatient_second_signal_ends_a_drive_in_use() {
    let mut drive = drive();
    let mut file = File::create(drive.dir().join("open")).unwrap();
    file.write_all(b"written").unwrap();
    let pid = Pid::from_raw(drive.pid()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    eventually("the mount was detached", || !drive.is_mounted());
    kill_process(pid, Signal::TERM).unwrap();
    drive.wait_for_end(20);
    assert!(file.write_all(b"more").and_then(|()| file.sync_all()).is_err());
    drop(file);
    drive.mount(&["--transport", newest()]);
    assert_eq!(fs::read(drive.dir().join("open")).unwrap(), b"written");
}

#[test]
fn an_idle_drive_unmounts_itself() {
    let mut drive = Drive::with(&["--transport", newest(), "--idle-timeout", "1s"]);
    fs::write(drive.dir().join("last"), "word").unwrap();
    drive.wait_for_end(30);
    assert!(!drive.is_mounted());
}

#[test]
fn mounts_come_and_go_without_a_trace() {
    let mut drive = drive();
    for round in 0..10 {
        fs::write(drive.dir().join(format!("round-{round}")), pattern(round, 10_000)).unwrap();
        drive.remount_with(&["--transport", newest()]);
    }
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 10);
    let log = drive.log();
    assert!(!log.contains("error:") && !log.contains("warn:"), "{log}");
}

/// A file keeps the read-ahead that its mount had when it was opened, so that it must be there from the beginning.
#[test]
fn a_drive_of_root_reads_ahead_of_streams() {
    for transport in ["classic", newest()] {
        let drive = Drive::with(&["--transport", transport]);
        let device = fs::metadata(drive.root()).unwrap().dev();
        let (major, minor) = (libc::major(device), libc::minor(device));
        let read_ahead = fs::read_to_string(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb")).unwrap();
        assert_eq!(read_ahead.trim(), "4096", "{transport}");
    }
}
