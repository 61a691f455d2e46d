//! The control socket of a mounted store.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::PathBuf,
};

use crate::fixture::{Drive, command, eventually, fails, ok, python, run};

fn socket(drive: &Drive) -> PathBuf {
    drive.store().join(".strongroom/control")
}

/// Sends `text` to the socket as a user, and gives what comes back.
fn send(drive: &Drive, uid: u32, text: &str) -> String {
    let program = format!(
        "import os, socket, sys\nos.setgid({uid}); os.setuid({uid})\ns = socket.socket(socket.AF_UNIX)\n\
         s.settimeout(20)\nos.chdir({dir:?})\ns.connect('control')\ntry: s.sendall({text:?}.encode())\n\
         except OSError: pass\ntry: print(s.makefile().readline(), end='')\nexcept OSError: pass",
        dir = drive.store().join(".strongroom")
    );
    ok(&mut python(30, &drive.path("."), &program))
}

const STATUS: &str = "{\"version\":1,\"request\":\"status\"}\n";

#[test]
fn buckets_are_listed_made_and_deleted_while_the_store_is_mounted() {
    let drive = Drive::new();
    ok(drive.on_store(["bucket", "create"], ["more"]).args(["--block-size", "64KiB"]));
    fs::write(drive.root().join("more/f"), "content").unwrap();
    let mounted = ok(&mut drive.on_store(["bucket", "list"], ["--json"]));
    let listed: serde_json::Value = serde_json::from_str(&mounted).unwrap();
    assert_eq!(listed[1]["name"], "more");
    assert_eq!(listed[1]["block_size"], 64 << 10);
    let full = fails(&mut drive.on_store(["bucket", "delete"], ["more"]), 1);
    assert!(full.contains("the bucket `more` is not empty"), "{full}");
    let again = fails(&mut drive.on_store(["bucket", "create"], ["more"]), 1);
    assert!(again.contains("`more` exists already"), "{again}");
    fs::remove_file(drive.root().join("more/f")).unwrap();
    ok(&mut drive.on_store(["bucket", "delete"], ["more"]));
    assert!(!drive.store().join("more").exists());
    let gone = fails(&mut drive.on_store(["bucket", "delete"], ["more"]), 1);
    assert!(gone.contains("there is no bucket `more`"), "{gone}");
}

#[test]
fn a_mounted_store_lists_its_buckets_as_an_unmounted_one_does() {
    let mut drive = Drive::new();
    let mounted = ok(&mut drive.on_store(["bucket", "list"], ["--json"]));
    drive.unmount();
    assert_eq!(ok(&mut drive.on_store(["bucket", "list"], ["--json"])), mounted);
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_mount() {
    let mut drive = Drive::new();
    let meta = fs::symlink_metadata(socket(&drive)).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    drive.unmount();
    assert!(!socket(&drive).exists());
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_replaced() {
    let mut drive = Drive::new();
    drive.kill();
    assert!(socket(&drive).exists());
    crate::fixture::run(command(20, "umount").arg("-l").arg(drive.root()));
    drive.mount(&[]);
    assert!(send(&drive, 0, STATUS).contains("\"done\""));
}

#[test]
fn another_user_is_not_heard_even_where_permissions_would_let_them() {
    let drive = Drive::new();
    for (path, mode) in [
        (drive.store().to_owned(), 0o755),
        (drive.store().join(".strongroom"), 0o755),
        (socket(&drive), 0o666),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(send(&drive, 65534, STATUS), "");
    assert!(drive.log().contains("user 65534 may not ask"), "{}", drive.log());
    assert!(send(&drive, 0, STATUS).contains("\"done\""));
}

#[test]
fn garbage_another_version_and_endless_lines_are_refused_and_harm_nothing() {
    let drive = Drive::new();
    for (text, expected) in [
        ("nonsense\n", "makes no sense"),
        ("{\"version\":2,\"request\":{}}\n", "another version"),
        ("{\"version\":1,\"request\":\"explode\"}\n", "makes no sense"),
        ("{\"version\":1,\"request\":{\"delete-bucket\":{\"name\":\"../x\"}}}\n", "is not a bucket name"),
        (
            "{\"version\":1,\"request\":{\"revoke-key\":{\"key\":\"service\"}}}\n",
            "disable it before its files are cut off",
        ),
    ] {
        let answer = send(&drive, 0, text);
        assert!(answer.contains("refused") && answer.contains(expected), "{text}: {answer}");
    }
    let endless = python(
        30,
        &drive.path("."),
        &format!(
            "import os, socket\nos.chdir({:?})\ns = socket.socket(socket.AF_UNIX)\ns.connect('control')\n\
             try:\n s.sendall(b'x' * (8 << 20))\n s.makefile().readline()\nexcept OSError: pass",
            drive.store().join(".strongroom")
        ),
    )
    .output()
    .unwrap();
    assert!(endless.status.success());
    assert!(send(&drive, 0, STATUS).contains("\"done\""));
}

/// What follows the request for replicas is not trusted either.
#[test]
fn replicas_that_make_no_sense_end_their_job_and_nothing_else() {
    let drive = Drive::new();
    let begin = "{\"begin\":{\"buckets\":[\"data\"],\"replica_key\":null,\"dry_run\":false}}";
    let bucket = "{\"bucket\":[\"data\",\"data\"]}";
    let program = format!(
        "import os, socket, struct, sys\nos.chdir({dir:?})\n\
         def step(s, body, kind=1):\n s.sendall(struct.pack('>IB', len(body), kind) + body)\n\
         def said(s, f):\n head = f.read(5)\n return f.read(struct.unpack('>I', head[:4])[0]).decode() if head else ''\n\
         for frames in [\n [(1, b'nonsense')], [(9, b'')], [(2, b'short')], [(1, b'\"settle\"'), (1, b'{{\"finish\":false}}')],\n \
         [(1, {begin:?}.encode()), (1, {bucket:?}.encode()), (2, bytes(16))],\n \
         [(1, {begin:?}.encode()), (1, b'{{\"bucket\":[\"../x\",\"data\"]}}')],\n \
         [(1, {begin:?}.encode()), (1, b'{{\"offer\":{{\"path\":{{\"text\":\".eob/x\"}}}}}}')]]:\n \
         s = socket.socket(socket.AF_UNIX)\n s.settimeout(20)\n s.connect('control')\n f = s.makefile('rb')\n \
         s.sendall(b'{{\"version\":1,\"request\":\"receive-replicas\"}}\\n')\n \
         assert b'done' in f.readline()\n last = ''\n \
         try:\n  for kind, body in frames: step(s, body, kind)\n  s.shutdown(socket.SHUT_WR)\n  \
         while (text := said(s, f)): last = text\n except OSError: pass\n print(last)\n\
         s = socket.socket(socket.AF_UNIX)\ns.connect('control')\nf = s.makefile('rb')\n\
         s.sendall(b'{{\"version\":1,\"request\":\"receive-replicas\"}}\\n')\nf.readline()\n\
         s.sendall(bytes([255, 255, 255, 255, 1]))\nprint(repr(f.read(1)))",
        dir = drive.store().join(".strongroom"),
    );
    let said = ok(&mut python(60, &drive.path("."), &program));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 8, "{said}");
    for (at, line) in lines.iter().enumerate().take(7) {
        // One whose kind is unknown gets no answer.
        assert!(line.contains("refused") || at == 1 && line.is_empty(), "{at}: {said}");
    }
    assert_eq!(lines[7], "b''", "nor does one that is too long");
    assert_eq!(run(&mut drive.on_store(["rewrap"], ["data"])).code, 0, "no job is left");
    assert!(send(&drive, 0, STATUS).contains("\"done\""));
    let none = "{\"version\":1,\"request\":{\"job\":{\"replicate\":{\"selection\":{\"bucket\":null,\"filter\":\
                {\"prefix\":{\"Unix\":[]},\"stored\":null,\"key\":null,\"older_than\":null},\"dry_run\":false,\
                \"rate\":null},\"target\":null,\"replica_key\":null}}}}\n";
    assert!(send(&drive, 0, none).contains("no socket of a target came with the request"));
}

#[test]
fn clients_that_say_nothing_hold_up_neither_the_drive_nor_its_end() {
    let mut drive = Drive::new();
    let program = format!(
        "import os, socket, time\nos.chdir({:?})\nheld = []\nfor n in range(8):\n \
         s = socket.socket(socket.AF_UNIX)\n s.connect('control')\n s.sendall(b'{{')\n held.append(s)\n\
         print('held', flush=True)\ntime.sleep(60)",
        drive.store().join(".strongroom")
    );
    let mut silent = python(90, &drive.path("."), &program);
    let mut silent = silent.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(silent.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    fs::write(drive.dir().join("f"), "content").unwrap();
    let answer = send(&drive, 0, STATUS);
    assert!(answer.contains("busy") || answer.contains("\"done\""), "{answer}");
    drive.unmount();
    silent.kill().unwrap();
    silent.wait().unwrap();
}

#[test]
fn a_read_only_drive_refuses_to_make_a_bucket_and_says_why() {
    let drive = Drive::with(&["--read-only"]);
    let ran = run(&mut drive.on_store(["bucket", "create"], ["more"]));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("read-only"), "{}", ran.stderr);
}

#[test]
fn a_store_with_a_path_longer_than_a_socket_address_has_a_socket_too() {
    let base = tempfile::tempdir().unwrap();
    let long = base.path().join("a".repeat(120));
    let mut drive = Drive::with_store_at(&long);
    drive.mount(&[]);
    assert!(ok(&mut drive.on_store(["bucket", "list"], [])).contains("data"));
    drive.unmount();
}

#[test]
fn customer_keys_are_brought_to_a_mounted_drive_and_taken_away_again() {
    let mut drive = Drive::unmounted();
    drive.mount(&["--sse", "customer"]);
    let file = drive.path("customer.keys");
    fs::write(&file, format!("{}\n", "5a".repeat(32))).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    ok(drive.on_store(["key", "customer", "add"], []).arg(&file).args(["--bucket", "data", "--ttl", "1h"]));
    let listed = ok(&mut drive.on_store(["key", "customer", "list"], ["--json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["bucket"], "data");
    let forgotten = ok(drive.on_store(["key", "customer", "remove"], []).args(["--bucket", "data"]));
    assert_eq!(forgotten, "1 keys forgotten\n");
    assert_eq!(ok(&mut drive.on_store(["key", "customer", "list"], [])), "");
    assert!(!drive.log().contains("5a5a"), "a key in the log");
    drive.unmount();
    let refused = fails(&mut drive.on_store(["key", "customer", "list"], []), 1);
    assert!(refused.contains("not mounted"), "{refused}");
}

/// Linux keeps `syncfs(2)` from a FUSE daemon; the command stands in for it.
#[test]
fn what_was_written_and_not_saved_yet_survives_a_kill_after_sync() {
    let mut drive = Drive::new();
    let (path, content) = (drive.dir().join("open"), vec![7; 100_000]);
    let mut open = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut open, &content).unwrap();
    ok(&mut drive.on_store(["sync"], []));
    drive.kill();
    drop(open);
    eventually("the dead mount was detached", || !drive.is_mounted());
    drive.mount(&[]);
    assert_eq!(fs::read(&path).unwrap(), content);
    drive.unmount();
    ok(&mut drive.on_store(["sync"], []));
}
