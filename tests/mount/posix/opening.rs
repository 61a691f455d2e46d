//! `open(2)` and its flags.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::fixture::{Drive, alike, ok, python};

fn flags(read: bool, write: bool, more: i32) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(read).write(write).custom_flags(more);
    options
}

#[test]
fn each_flag_does_what_it_does_natively() {
    alike(|dir, seen| {
        let file = dir.join("f");
        seen.step("open what is not there", flags(true, false, 0).open(&file));
        seen.step("create exclusively", flags(false, true, libc::O_CREAT | libc::O_EXCL).open(&file));
        seen.step("create exclusively again", flags(false, true, libc::O_CREAT | libc::O_EXCL).open(&file));
        seen.step("create what is there", flags(true, true, libc::O_CREAT).open(&file));
        seen.step("a file as directory", flags(true, false, libc::O_DIRECTORY).open(&file));
        seen.step("a directory for writing", flags(false, true, 0).open(dir));
        seen.step("create a directory's name", flags(true, false, libc::O_CREAT).open(dir));
        seen.step("write", fs::write(&file, "four"));
        seen.step("truncate without writing", flags(true, false, libc::O_TRUNC).open(&file));
        seen.result("after it", fs::read(&file));
        seen.step("write", fs::write(&file, "four"));
        seen.step("truncate", flags(false, true, libc::O_TRUNC).open(&file));
        seen.result("after it", fs::read(&file));
        std::os::unix::fs::symlink("f", dir.join("link")).unwrap();
        seen.step("follow no link", flags(true, false, libc::O_NOFOLLOW).open(dir.join("link")));
        seen.step(
            "exclusively through a link",
            flags(false, true, libc::O_CREAT | libc::O_EXCL).open(dir.join("link")),
        );
        std::os::unix::fs::symlink("made", dir.join("dangling")).unwrap();
        seen.step("through a dangling link", flags(false, true, libc::O_CREAT).open(dir.join("dangling")));
        seen.step("below a file", File::open(file.join("x")));
        seen.step("with a slash behind", File::open(dir.join("f/")));
    });
}

#[test]
fn a_file_gives_only_the_access_it_was_opened_for() {
    alike(|dir, seen| {
        fs::write(dir.join("f"), "content").unwrap();
        let mut reader = File::open(dir.join("f")).unwrap();
        let mut writer = flags(false, true, 0).open(dir.join("f")).unwrap();
        seen.result("write to a reader", reader.write(b"x"));
        seen.result("truncate a reader", reader.set_len(1));
        seen.result("read from a writer", writer.read(&mut [0; 4]));
        let path = openat(CWD, dir.join("f"), OFlags::PATH, Mode::empty()).unwrap();
        seen.result("read from a path", rustix::io::read(&path, &mut [0; 4]));
    });
}

#[test]
fn modes_of_new_files_obey_the_umask() {
    alike(|dir, seen| {
        let script = "umask 027; : > plain; mkdir d; mkfifo p; umask 0; : > open; mkdir -m 1777 sticky; install -m 4755 /dev/null suid";
        seen.value("script", ok(&mut crate::fixture::shell(20, dir, script)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o0).open(dir.join("none"));
        seen.step(
            "a file without permissions is writable for its maker",
            file.and_then(|mut file| file.write_all(b"x")),
        );
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    alike(|dir, seen| {
        let path = dir.join("f");
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all(&vec![7; 100_000]).unwrap();
        seen.step("remove", fs::remove_file(&path));
        seen.step("look for it", path.symlink_metadata());
        seen.value("links", file.metadata().unwrap().nlink());
        seen.step("write on", file.write_all_at(b"tail", 300_000));
        seen.step("sync", file.sync_all());
        seen.step("truncate", file.set_len(300_002));
        seen.step("chmod", rustix::fs::fchmod(&file, Mode::from(0o640)));
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut content).unwrap();
        seen.value("content", blake3::hash(&content));
        fs::write(&path, "another").unwrap();
        seen.value("size of the old", file.metadata().unwrap().len());
        seen.result("content of the new", fs::read_to_string(&path));
    });
}

#[test]
fn appends_of_several_processes_are_all_there_and_whole() {
    const WRITER: &str = "
import os, sys
file = os.open('log', os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(400):
    line = b'%s %04d %s\\n' % (sys.argv[1].encode(), number, b'x' * 50)
    assert os.write(file, line) == len(line)
";
    let drive = Drive::new();
    let writers: Vec<_> =
        (0..4).map(|id| python(60, &drive.dir(), WRITER).arg(id.to_string()).spawn().unwrap()).collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let log = fs::read_to_string(drive.dir().join("log")).unwrap();
    let mut lines: Vec<_> = log.lines().collect();
    assert!(lines.iter().all(|line| line.len() == 57), "a line was torn");
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 1600);
}

#[test]
fn exclusive_creation_has_one_winner() {
    const RACER: &str = "
import os
won = 0
for number in range(200):
    try:
        os.close(os.open('race%d' % number, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        won += 1
    except FileExistsError:
        pass
print(won)
";
    let drive = Drive::new();
    let racers: Vec<_> = (0..3)
        .map(|_| python(60, &drive.dir(), RACER).stdout(std::process::Stdio::piped()).spawn().unwrap())
        .collect();
    let won = racers.into_iter().map(|racer| {
        let output = racer.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
    });
    assert_eq!(won.sum::<u32>(), 200);
}

#[test]
fn a_nameless_file_is_refused_cleanly() {
    let drive = Drive::new();
    let opened = openat(CWD, drive.dir(), OFlags::TMPFILE | OFlags::RDWR, Mode::from(0o600));
    assert_eq!(opened.err(), Some(rustix::io::Errno::OPNOTSUPP));
    assert_eq!(fs::read_dir(drive.dir()).unwrap().count(), 0);
}

#[test]
fn a_name_can_be_opened_many_times_at_once() {
    let drive = Drive::new();
    fs::write(drive.dir().join("f"), "same").unwrap();
    let files: Vec<_> = (0..500).map(|_| File::open(drive.dir().join("f")).unwrap()).collect();
    OpenOptions::new().write(true).open(drive.dir().join("f")).unwrap().write_all_at(b"new!", 0).unwrap();
    for file in &files {
        let mut content = [0; 4];
        file.read_exact_at(&mut content, 0).unwrap();
        assert_eq!(&content, b"new!");
    }
}
