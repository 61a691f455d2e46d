//! What happens when something breaks: a killed daemon, a full disk, damage, the wrong key.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use crate::fixture::{Drive, assert_same, command, eventually, fails, ok, run, shell, snapshot};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 3 + at / 4096) % 253).unwrap()).collect()
}

#[track_caller]
fn assert_errno<T>(outcome: io::Result<T>, errno: i32) {
    let error = outcome.err().expect("this has to fail");
    assert_eq!(error.raw_os_error(), Some(errno), "{error}");
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

#[test]
fn closed_files_survive_a_killed_daemon_and_the_mount_point_is_cleaned() {
    let mut drive = Drive::new();
    for number in 0..50 {
        fs::write(drive.dir().join(format!("closed-{number}")), pattern(number * 3_001)).unwrap();
    }
    let mut open = File::create(drive.dir().join("open")).unwrap();
    open.write_all(&pattern(3_000_000)).unwrap();
    let mut synced = File::create(drive.dir().join("synced")).unwrap();
    synced.write_all(&pattern(200_000)).unwrap();
    synced.sync_all().unwrap();
    synced.write_all(&pattern(50_000)).unwrap();
    drive.kill();
    assert!(open.write_all(b"more").and_then(|()| open.sync_all()).is_err(), "nobody is there to take this");
    eventually("the dead mount was detached", || !drive.is_mounted());
    drop((open, synced));
    drive.mount(&[]);
    for number in 0..50 {
        let content = fs::read(drive.dir().join(format!("closed-{number}"))).unwrap();
        assert_eq!(content, pattern(number * 3_001));
    }
    assert!(fs::read(drive.dir().join("synced")).unwrap().starts_with(&pattern(200_000)));
    if let Ok(content) = fs::read(drive.dir().join("open")) {
        assert!(pattern(3_000_000).starts_with(&content) || content.iter().all(|byte| *byte == 0));
    }
    fs::write(drive.dir().join("open"), "anew").unwrap();
    assert_eq!(fs::read(drive.dir().join("open")).unwrap(), b"anew");
    fs::remove_file(drive.dir().join("open")).unwrap();
}

/// Writers are at work in several processes when the daemon dies, several times over.
#[test]
fn files_closed_before_each_of_several_kills_are_whole() {
    const WRITER: &str = "
for number in $(seq 1000000); do
    head -c $((number * 37 % 20000)) /dev/zero | tr '\\0' 'x' > $0-$number.tmp && mv $0-$number.tmp $0-$number && echo $0-$number || exit 0
done";
    let mut drive = Drive::new();
    for round in 0..4 {
        let writers: Vec<_> = (0..2)
            .map(|id| {
                let mut writer = shell(60, &drive.dir(), WRITER);
                let list = File::create(drive.path(&format!("list-{round}-{id}"))).unwrap();
                writer
                    .arg(format!("r{round}w{id}"))
                    .stdout(list)
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let listed =
            |id| fs::read_to_string(drive.path(&format!("list-{round}-{id}"))).unwrap().lines().count();
        eventually("files were written", || listed(0) + listed(1) > 20);
        drive.kill();
        for mut writer in writers {
            writer.wait().unwrap();
        }
        eventually("the dead mount was detached", || !drive.is_mounted());
        drive.mount(&[]);
        let finished: Vec<_> = (0..2)
            .flat_map(|id| {
                let list = fs::read_to_string(drive.path(&format!("list-{round}-{id}"))).unwrap();
                list.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        assert!(finished.len() > 20);
        for name in finished {
            let number: usize = name.rsplit('-').next().unwrap().parse().unwrap();
            let content = fs::read(drive.dir().join(&name)).unwrap();
            assert_eq!(content, vec![b'x'; number * 37 % 20_000], "{name}");
        }
    }
    drive.unmount();
}

/// A small file system for a store, gone with the value.
pub(crate) struct Small(tempfile::TempDir);

impl Small {
    pub(crate) fn new(size: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("strongroom-small-").tempdir().unwrap();
        ok(command(20, "mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size},mode=755"))
            .arg("small")
            .arg(dir.path()));
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_store_says_so_keeps_what_it_has_and_lets_delete() {
    fill_delete_and_write_again(|_| Ok(()));
}

/// The content of a synced file goes through the journal.
#[test]
fn a_full_store_gives_back_the_space_of_synced_files() {
    fill_delete_and_write_again(File::sync_data);
}

fn fill_delete_and_write_again(sync: impl Fn(&File) -> io::Result<()>) {
    let small = Small::new("64m");
    let mut drive = Drive::with_store_at(&small.0.path().join("store"));
    drive.mount(&[]);
    let old = pattern(1_000_000);
    fs::write(drive.dir().join("old"), &old).unwrap();
    let mut filler = File::create(drive.dir().join("filler")).unwrap();
    let mut write = || filler.write_all(&pattern(262_144)).and_then(|()| sync(&filler));
    let full = (0..400).find_map(|_| write().err()).expect("64 MiB do not hold 100 MiB");
    assert_eq!(full.raw_os_error(), Some(libc::ENOSPC), "{full}");
    drop(filler);
    let more = run(&mut shell(20, &drive.dir(), "for n in $(seq 40); do cp /etc/passwd more-$n; done"));
    assert!(more.stderr.contains("No space left on device"), "{}", more.stderr);
    assert_eq!(fs::read(drive.dir().join("old")).unwrap(), old);
    ok(&mut shell(20, &drive.dir(), "rm -f more-* filler"));
    eventually("space to write again", || fs::write(drive.dir().join("new"), &old).is_ok());
    drive.remount();
    assert_eq!(fs::read(drive.dir().join("old")).unwrap(), old);
    assert_eq!(fs::read(drive.dir().join("new")).unwrap(), old);
    drive.unmount();
    ok(&mut drive.on_store(["verify"], []));
}

#[test]
fn a_second_mount_is_refused_with_the_process_that_holds_the_store() {
    let drive = Drive::new();
    fs::create_dir(drive.path("second")).unwrap();
    let mut second = drive.on_store(["mount"], []);
    let message = fails(second.arg(drive.path("second")), 5);
    assert!(message.contains(&format!("process {}", drive.pid())), "{message}");
    let message = fails(&mut drive.on_store(["verify"], []), 5);
    assert!(message.contains(&format!("process {}", drive.pid())), "{message}");
    fs::write(drive.dir().join("f"), "the first goes on").unwrap();
}

#[test]
fn a_wrong_key_file_and_a_wrong_passphrase_are_told_apart() {
    let drive = Drive::unmounted();
    let other = drive.path("other.key");
    ok(&mut shell(20, &drive.path("."), "head -c 32 /dev/urandom > other.key; chmod 600 other.key"));
    let message = fails(drive.mount_command(&[]).arg("--key-file").arg(&other), 4);
    assert!(message.contains("no slot") && message.contains("other.key"), "{message}");
    ok(&mut shell(20, &drive.path("."), "umask 077; echo right > right; echo wrong > wrong"));
    let message = fails(drive.mount_command(&[]).arg("--passphrase-file").arg(drive.path("right")), 4);
    assert!(message.contains("no passphrase slot"), "{message}");
    let mut add = drive.on_store(["passwd"], ["add", "--new-passphrase-file"]);
    ok(add.arg(drive.path("right")));
    let message = fails(drive.mount_command(&[]).arg("--passphrase-file").arg(drive.path("wrong")), 4);
    assert!(message.contains("wrong passphrase"), "{message}");
    assert!(!drive.is_mounted());
    ok(drive.mount_command(&[]).arg("--passphrase-file").arg(drive.path("right")));
    ok(drive.strongroom(["umount"]).arg(drive.root()));
}

#[test]
fn a_damaged_keyring_names_the_command_that_repairs_it() {
    let mut drive = Drive::new();
    fs::write(drive.dir().join("f"), "content").unwrap();
    drive.unmount();
    let mut add = drive.on_store(["passwd"], ["add", "--label", "second", "--new-key-file"]);
    ok(add.arg(drive.path("second.key")));
    let keyring = drive.store().join(".strongroom/keyring");
    flip(&keyring, fs::metadata(&keyring).unwrap().len() / 2);
    let message = fails(&mut drive.mount_command(&[]), 3);
    let printed = message.split('`').find(|part| part.starts_with("cp ")).expect("a command to run");
    ok(&mut shell(20, Path::new("/"), printed));
    drive.mount(&[]);
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"content");
}

#[test]
fn a_flipped_byte_costs_its_block_and_no_more() {
    const BLOCK: usize = 4096;
    let mut drive = Drive::new();
    let content = pattern(40 * BLOCK);
    fs::write(drive.dir().join("f"), &content).unwrap();
    drive.unmount();
    // Block 20 lies behind the header page and twenty blocks.
    flip(&drive.stored("f"), 21 * BLOCK as u64 + 77);
    drive.mount(&[]);
    let file = File::open(drive.dir().join("f")).unwrap();
    let mut block = vec![0; BLOCK];
    for number in 0..40 {
        let offset = u64::try_from(number * BLOCK).unwrap();
        match file.read_exact_at(&mut block, offset) {
            Ok(()) => assert_eq!(block, content[number * BLOCK..][..BLOCK], "block {number}"),
            Err(error) => assert_eq!((number, error.raw_os_error()), (20, Some(libc::EIO))),
        }
    }
    drop(file);
    assert_errno(fs::read(drive.dir().join("f")), libc::EIO);
    let log = drive.log();
    assert!(log.lines().any(|line| line.contains("data/f") && line.contains("block 20")), "{log}");
    drive.unmount();
    let verified = run(&mut drive.on_store(["verify"], []));
    assert_eq!(verified.code, 3, "{verified:?}");
}

#[test]
fn damaged_and_foreign_files_are_errors_of_their_own() {
    let mut drive = Drive::new();
    for name in ["good", "cut", "cut-header", "header", "moved", "longer"] {
        fs::write(drive.dir().join(name), pattern(20_000)).unwrap();
    }
    drive.unmount();
    let resize =
        |name, size| File::options().write(true).open(drive.stored(name)).unwrap().set_len(size).unwrap();
    resize("cut", 10_000);
    resize("cut-header", 1000);
    resize("longer", 40_000);
    flip(&drive.stored("header"), 600);
    fs::write(drive.stored("foreign"), "somebody put this here").unwrap();
    fs::write(drive.stored("empty"), "").unwrap();
    drive.mount(&[]);
    // The store was closed cleanly, so that nothing here can be what a crash left.
    for name in ["cut", "cut-header", "header", "foreign", "longer", "empty"] {
        assert_errno(fs::read(drive.dir().join(name)), libc::EIO);
        assert!(drive.log().contains(&format!("data/{name}")), "{name} is not in the log:\n{}", drive.log());
    }
    assert_eq!(fs::read(drive.dir().join("good")).unwrap(), pattern(20_000));
    ok(&mut shell(
        20,
        &drive.dir(),
        "ls -la; rm cut cut-header header longer foreign empty; echo new > cut; cat cut good > /dev/null",
    ));
}

#[test]
fn a_copied_store_is_a_store() {
    let mut drive = Drive::new();
    ok(&mut shell(
        30,
        &drive.dir(),
        "mkdir -p a/b; echo x > a/b/f; ln a/b/f g; ln -s a s; setfattr -n user.k -v v g; truncate -s 100M sparse",
    ));
    let before = snapshot(&drive.dir());
    drive.unmount();
    ok(&mut shell(30, &drive.path("."), "cp -a store copy && rm -rf store && mv copy store"));
    drive.mount(&[]);
    assert_same(&before, &snapshot(&drive.dir()));
}

#[test]
fn mount_and_umount_of_the_system_work_through_the_helper() {
    let mut drive = Drive::new();
    fs::write(drive.dir().join("f"), "content").unwrap();
    ok(command(20, "umount").arg(drive.root()));
    drive.wait_for_end(20);
    let helper = drive.path("mount.fuse.strongroom");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_strongroom"), &helper).unwrap();
    let call = |options: &str| {
        let mut call = command(30, &helper);
        call.arg(drive.store()).arg(drive.root()).args(["-o", options]).env_remove("STRONGROOM_KEY_FILE");
        call.arg("-n").args(["-t", "fuse.strongroom"]);
        call
    };
    let (key, config) = (drive.key(), drive.path("strongroom.toml"));
    let options = format!(
        "rw,_netdev,nofail,x-systemd.automount,key-file={},config={}",
        key.display(),
        config.display()
    );
    let message = fails(&mut call("rw,no-such-option"), 32);
    assert!(message.contains("no-such-option"), "{message}");
    ok(&mut call(&options));
    drive.adopt_daemon();
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"content");
    let table = ok(command(20, "findmnt").args(["-n", "-o", "FSTYPE,SOURCE"]).arg(drive.root()));
    assert!(table.contains("fuse.strongroom") && table.contains(drive.store().to_str().unwrap()), "{table}");
}

/// The options of such a configuration were taken, but not its word on unlocking; and `strongroom mount` took neither.
#[test]
fn a_configuration_that_a_mount_option_names_says_how_to_unlock() {
    let mut drive = Drive::unmounted();
    let named = drive.path("named.toml");
    let unlock = format!("[unlock]\nkey_file = '{}'\n[mount]\nread_only = true\n", drive.key().display());
    fs::write(&named, unlock).unwrap();
    let option = format!("config={}", named.display());
    let helper = drive.path("mount.strongroom");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_strongroom"), &helper).unwrap();
    let mut by_helper = command(30, &helper);
    by_helper.arg(drive.store()).arg(drive.root()).args(["-o", &option]);
    let mut by_command = drive.mount_command(&["-o", &option]);
    for call in [&mut by_helper, &mut by_command] {
        ok(call.env_remove("STRONGROOM_KEY_FILE"));
        drive.adopt_daemon();
        assert_errno(fs::write(drive.dir().join("f"), ""), libc::EROFS);
        drive.unmount();
    }
}

#[test]
fn an_idle_drive_unmounts_itself_and_a_used_one_does_not() {
    let mut drive = Drive::with(&["--idle-timeout", "2s"]);
    let held = File::create(drive.dir().join("f")).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    assert!(drive.is_mounted(), "a file is open");
    drop(held);
    drive.wait_for_end(30);
    assert!(!drive.is_mounted());
    drive.mount(&[]);
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), b"");
}

#[test]
fn a_drive_that_cannot_start_in_the_background_says_why() {
    let drive = Drive::unmounted();
    let mut nowhere = drive.on_store(["mount"], []);
    let message = fails(nowhere.arg(drive.path("nowhere")), 1);
    assert!(message.contains("nowhere") && message.contains("existing directory"), "{message}");
    drive.configure("[unknown]\nx = 1\n");
    let message = fails(&mut drive.mount_command(&[]), 1);
    assert!(message.contains("unknown"), "{message}");
    fs::write(drive.path("strongroom.toml"), "[log]\nfile = '/nowhere/log'\n").unwrap();
    let message = fails(&mut drive.mount_command(&[]), 1);
    assert!(message.contains("/nowhere/log"), "{message}");
    assert!(!drive.is_mounted() && drive.holder().is_none());
}

#[test]
fn a_foreground_drive_ends_in_order_on_a_signal() {
    let mut drive = Drive::unmounted();
    let mut foreground = drive.mount_command(&["--foreground"]);
    let child = foreground.stderr(File::create(drive.path("stderr")).unwrap()).spawn().unwrap();
    eventually("the mount", || drive.is_mounted() && drive.dir().exists());
    drive.adopt_daemon();
    let mut open = File::create(drive.dir().join("f")).unwrap();
    open.write_all(&pattern(100_000)).unwrap();
    ok(command(20, "kill").arg(drive.pid().to_string()));
    drop(open);
    let output = child.wait_with_output().unwrap();
    let log = fs::read_to_string(drive.path("stderr")).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("unmounting"), "{log}");
    assert!(!drive.is_mounted());
    drive.wait_for_end(5);
    drive.mount(&[]);
    assert_eq!(fs::read(drive.dir().join("f")).unwrap(), pattern(100_000));
}

#[test]
fn a_busy_drive_is_not_unmounted_by_accident() {
    let drive = Drive::new();
    let held = File::create(drive.dir().join("f")).unwrap();
    let message = fails(drive.strongroom(["umount"]).arg(drive.root()), 5);
    assert!(message.contains("in use"), "{message}");
    held.write_all_at(b"still here", 0).unwrap();
}
