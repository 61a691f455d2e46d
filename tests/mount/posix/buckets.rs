//! The root of the drive, read-only drives, and the way out of the store.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, PermissionsExt, symlink},
};

use crate::fixture::{Drive, eventually, fails, ok, python};

#[track_caller]
fn assert_errno<T>(outcome: io::Result<T>, errno: i32) {
    let error = outcome.err().expect("this has to fail");
    assert_eq!(error.raw_os_error(), Some(errno), "{error}");
}

#[test]
fn the_root_holds_buckets_and_nothing_else() {
    let drive = Drive::new();
    let at_root = |name: &str| drive.root().join(name);
    assert_errno(fs::write(at_root("file"), "x"), libc::EPERM);
    assert_errno(symlink("data", at_root("link")), libc::EPERM);
    assert_errno(fs::create_dir(at_root("Not_A_Bucket")), libc::EINVAL);
    fs::create_dir(at_root("more")).unwrap();
    fs::write(at_root("more/f"), "f").unwrap();
    assert_errno(fs::create_dir(at_root("more")), libc::EEXIST);
    assert_errno(fs::remove_dir(at_root("more")), libc::ENOTEMPTY);
    fs::remove_file(at_root("more/f")).unwrap();
    fs::remove_dir(at_root("more")).unwrap();
    assert_errno(fs::metadata(at_root("more")), libc::ENOENT);
    assert!(!drive.store().join("more").exists());
}

#[test]
fn a_bucket_made_by_mkdir_has_the_configured_defaults_and_lasts() {
    let mut drive = Drive::unmounted();
    drive.configure("[bucket]\ndefault_encryption = 'none'\nblock_size = '64KiB'\n");
    drive.mount(&[]);
    fs::create_dir(drive.root().join("plain")).unwrap();
    fs::write(drive.root().join("plain/f"), "in the clear").unwrap();
    fs::write(drive.dir().join("f"), "not in the clear").unwrap();
    drive.unmount();
    let buckets = ok(&mut drive.on_store(["bucket", "list"], ["--json"]));
    let buckets: serde_json::Value = serde_json::from_str(&buckets).unwrap();
    let plain = buckets.as_array().unwrap().iter().find(|bucket| bucket["name"] == "plain").unwrap();
    assert_eq!(
        (plain["default_encryption"].as_str(), plain["block_size"].as_u64()),
        (Some("none"), Some(65_536))
    );
    assert_eq!(fs::read(drive.store().join("plain/f")).unwrap(), b"in the clear");
    assert!(fs::read(drive.stored("f")).unwrap().starts_with(b"\x89EOB"));
    drive.mount(&[]);
    assert_eq!(fs::read(drive.root().join("plain/f")).unwrap(), b"in the clear");
}

#[test]
fn buckets_are_separate_file_systems_for_renames_and_links() {
    let drive = Drive::new();
    fs::create_dir(drive.root().join("other")).unwrap();
    fs::write(drive.dir().join("f"), "content").unwrap();
    fs::create_dir(drive.dir().join("d")).unwrap();
    for name in ["f", "d"] {
        assert_errno(fs::rename(drive.dir().join(name), drive.root().join("other").join(name)), libc::EXDEV);
    }
    assert_errno(fs::hard_link(drive.dir().join("f"), drive.root().join("other/f")), libc::EXDEV);
    ok(crate::fixture::command(20, "mv").arg(drive.dir().join("f")).arg(drive.root().join("other/f")));
    assert_eq!(fs::read(drive.root().join("other/f")).unwrap(), b"content");
    let (mut from, mut to) =
        (File::open(drive.root().join("other/f")).unwrap(), File::create(drive.dir().join("g")).unwrap());
    assert_eq!(io::copy(&mut from, &mut to).unwrap(), 7, "content can be copied between buckets");
}

#[test]
fn nothing_changes_on_a_read_only_drive() {
    let mut drive = Drive::new();
    fs::write(drive.dir().join("f"), "content").unwrap();
    fs::create_dir(drive.dir().join("d")).unwrap();
    drive.unmount();
    drive.mount(&["--read-only"]);
    let (file, dir) = (drive.dir().join("f"), drive.dir());
    assert_eq!(fs::read(&file).unwrap(), b"content");
    assert_errno(fs::write(dir.join("g"), ""), libc::EROFS);
    assert_errno(OpenOptions::new().write(true).open(&file), libc::EROFS);
    assert_errno(fs::remove_file(&file), libc::EROFS);
    assert_errno(fs::rename(&file, dir.join("g")), libc::EROFS);
    assert_errno(fs::create_dir(dir.join("e")), libc::EROFS);
    assert_errno(fs::remove_dir(dir.join("d")), libc::EROFS);
    assert_errno(fs::create_dir(drive.root().join("more")), libc::EROFS);
    assert_errno(symlink("f", dir.join("s")), libc::EROFS);
    assert_errno(fs::set_permissions(&file, fs::Permissions::from_mode(0o600)), libc::EROFS);
    let set = rustix::fs::setxattr(&file, "user.a", b"x", rustix::fs::XattrFlags::empty());
    assert_eq!(set, Err(rustix::io::Errno::ROFS));
}

/// Two mounts that only read may share a store.
#[test]
fn a_read_only_store_can_be_mounted() {
    let mut drive = Drive::new();
    fs::write(drive.dir().join("f"), "content").unwrap();
    drive.unmount();
    let bind = |words: &[&str]| ok(crate::fixture::command(20, "mount").args(words).arg(drive.store()));
    let store = drive.store().to_str().unwrap().to_owned();
    bind(&["--bind", &store]);
    bind(&["-o", "remount,bind,ro"]);
    let _undo = Unmounted(drive.store().to_owned());
    ok(&mut drive.mount_command(&["--read-only"]));
    let content = fs::read(drive.dir().join("f"));
    let refused = fs::write(drive.dir().join("g"), "");
    ok(drive.strongroom(["umount"]).arg(drive.root()));
    assert_eq!(content.unwrap(), b"content");
    assert_errno(refused, libc::EROFS);
}

/// Undoes a mount of a test.
struct Unmounted(std::path::PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Somebody who can write to the store puts links there that lead outside. On the drive they are links like any other:
/// the program that follows them does so itself, in its own name; the daemon never does.
#[test]
fn links_planted_in_the_store_lead_nowhere() {
    let drive = Drive::new();
    fs::create_dir(drive.path("outside")).unwrap();
    fs::write(drive.path("outside/victim"), "untouched").unwrap();
    fs::create_dir(drive.dir().join("d")).unwrap();
    fs::write(drive.dir().join("d/victim"), "inside").unwrap();
    let held = File::open(drive.dir().join("d")).unwrap();
    fs::remove_file(drive.stored("d/victim")).unwrap();
    fs::remove_dir(drive.stored("d")).unwrap();
    symlink(drive.path("outside"), drive.stored("d")).unwrap();
    let below = format!("/proc/self/fd/{}/victim", std::os::fd::AsRawFd::as_raw_fd(&held));
    // What is cached may still be seen; what lies outside may not.
    assert_ne!(fs::read(&below).ok().as_deref(), Some(b"untouched".as_slice()));
    let _ = fs::write(&below, "overwritten");
    assert_eq!(fs::read(drive.path("outside/victim")).unwrap(), b"untouched");
}

/// A directory and a link to the outside are exchanged as fast as possible in the store, while the drive is used.
#[test]
fn a_race_of_links_in_the_store_does_not_lead_outside() {
    const RACER: &str = "
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
until = time.monotonic() + 4
while time.monotonic() < until:
    libc.renameat2(-100, b'd', -100, b'trap', 2)
";
    const USER: &str = "
import os, time
until = time.monotonic() + 4
while time.monotonic() < until:
    held = None
    try:
        held = os.open('d', os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        for name in ('victim', 'new'):
            try:
                file = os.open(name, os.O_RDWR | os.O_CREAT, dir_fd=held)
                assert os.read(file, 9) != b'untouched'
                os.pwrite(file, b'own', 0)
                os.close(file)
                os.unlink(name, dir_fd=held)
            except OSError:
                pass
    except OSError:
        pass
    finally:
        if held is not None: os.close(held)
";
    let drive = Drive::new();
    fs::create_dir(drive.path("outside")).unwrap();
    fs::write(drive.path("outside/victim"), "untouched").unwrap();
    fs::create_dir(drive.dir().join("d")).unwrap();
    symlink(drive.path("outside"), drive.stored("trap")).unwrap();
    let mut racer = python(30, &drive.store().join("data"), RACER).spawn().unwrap();
    ok(&mut python(30, &drive.dir(), USER));
    assert!(racer.wait().unwrap().success());
    assert_eq!(fs::read(drive.path("outside/victim")).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(drive.path("outside")).unwrap().count(), 1);
}

#[test]
fn an_object_written_through_one_name_is_read_through_another_handle() {
    let drive = Drive::new();
    let writer = File::create(drive.dir().join("f")).unwrap();
    let reader = File::open(drive.dir().join("f")).unwrap();
    for round in 0..50_u8 {
        writer.write_all_at(&[round; 10_000], u64::from(round) * 5_000).unwrap();
        let mut seen = vec![0; 10_000];
        reader.read_exact_at(&mut seen, u64::from(round) * 5_000).unwrap();
        assert_eq!(seen, vec![round; 10_000]);
    }
}

/// The kernel remembers for a minute that a name is absent.
#[test]
fn a_bucket_that_a_command_makes_or_deletes_is_seen_at_once() {
    let drive = Drive::new();
    let dir = drive.root().join("made");
    for _ in 0..2 {
        assert!(fs::metadata(&dir).is_err());
        ok(&mut drive.on_store(["bucket", "create"], ["made"]));
        fs::write(dir.join("f"), "x").unwrap();
        fs::remove_file(dir.join("f")).unwrap();
        ok(&mut drive.on_store(["bucket", "delete"], ["made"]));
        assert!(fs::metadata(&dir).is_err());
    }
}

#[test]
fn what_others_do_to_a_shared_store_is_seen_soon() {
    let drive = Drive::with(&["--shared-store"]);
    let (name, content) = (drive.dir().join("copied"), || fs::read_to_string(drive.dir().join("copied")));
    for text in ["one", "other"] {
        fs::write(drive.dir().join(text), text).unwrap();
    }
    assert!(fs::metadata(&name).is_err());
    // A whole object of the bucket may be put back, as a synchronising program does.
    fs::copy(drive.stored("one"), drive.stored("copied")).unwrap();
    assert_eq!(content().unwrap(), "one");
    fs::copy(drive.stored("other"), drive.stored("arriving")).unwrap();
    fs::rename(drive.stored("arriving"), drive.stored("copied")).unwrap();
    eventually("the other content", || content().is_ok_and(|text| text == "other"));
    fs::remove_file(drive.stored("copied")).unwrap();
    eventually("its end", || fs::metadata(&name).is_err());
    let refused = "[mount]\nwriteback = true";
    let other = Drive::unmounted();
    other.configure(refused);
    fails(&mut other.mount_command(&["--shared-store"]), 2);
}
