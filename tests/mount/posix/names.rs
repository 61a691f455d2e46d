//! Names: renames, links, and what may be a name.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

use crate::fixture::{Drive, Seen, alike, ok, shell};

fn renamed(dir: &Path, from: &str, to: &str, flags: RenameFlags) -> rustix::io::Result<()> {
    renameat_with(CWD, dir.join(from), CWD, dir.join(to), flags)
}

fn a_few_files(dir: &Path) {
    for name in ["a", "b"] {
        fs::write(dir.join(name), name).unwrap();
    }
    for name in ["d", "empty", "full/sub"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    fs::write(dir.join("d/in"), "in").unwrap();
    fs::write(dir.join("full/file"), "file").unwrap();
}

#[test]
fn renames_replace_what_they_may() {
    alike(|dir, seen| {
        a_few_files(dir);
        for (from, to) in [
            ("a", "new"),
            ("new", "b"),
            ("b", "d"),
            ("d", "b"),
            ("d", "full"),
            ("d", "empty"),
            ("empty", "full/sub"),
            ("full", "full/sub/deeper"),
            ("full", "."),
            ("none", "x"),
            ("b", "none/x"),
            ("b", "b"),
            ("full/file", "b"),
        ] {
            seen.result(&format!("{from} to {to}"), fs::rename(dir.join(from), dir.join(to)));
        }
    });
}

#[test]
fn a_rename_may_refuse_to_replace_or_exchange() {
    alike(|dir, seen| {
        a_few_files(dir);
        seen.result("over a file", renamed(dir, "a", "b", RenameFlags::NOREPLACE));
        seen.result("to a free name", renamed(dir, "a", "c", RenameFlags::NOREPLACE));
        seen.result("exchange files", renamed(dir, "b", "c", RenameFlags::EXCHANGE));
        seen.result("exchange a file and a directory", renamed(dir, "b", "full", RenameFlags::EXCHANGE));
        seen.result("exchange with nothing", renamed(dir, "b", "none", RenameFlags::EXCHANGE));
        seen.result("exchange with what holds it", renamed(dir, "full", "d", RenameFlags::EXCHANGE));
        seen.result("through the exchanged name", fs::read_to_string(dir.join("full")));
        seen.result("below the exchanged name", fs::read_to_string(dir.join("b/file")));
    });
}

#[test]
fn an_open_file_and_a_working_directory_follow_a_rename() {
    alike(|dir, seen| {
        a_few_files(dir);
        let mut file = File::open(dir.join("full/file")).unwrap();
        fs::rename(dir.join("full"), dir.join("moved")).unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        seen.value("read after the rename", content);
        let script = "cd moved/sub; mv ../../moved ../../again; echo x > here; cat here ../file; cd ..; ls";
        seen.value("script", ok(&mut shell(20, dir, script)));
    });
}

#[test]
fn hard_links_are_one_file() {
    alike(|dir, seen| {
        fs::write(dir.join("f"), "one").unwrap();
        fs::create_dir(dir.join("d")).unwrap();
        seen.result("link", fs::hard_link(dir.join("f"), dir.join("d/g")));
        seen.result("link over", fs::hard_link(dir.join("f"), dir.join("d/g")));
        seen.result("link a directory", fs::hard_link(dir.join("d"), dir.join("e")));
        seen.step("write through one", fs::write(dir.join("d/g"), "both of them"));
        seen.result("read through the other", fs::read_to_string(dir.join("f")));
        symlink("f", dir.join("s")).unwrap();
        seen.result("link a symbolic link", fs::hard_link(dir.join("s"), dir.join("t")));
        seen.result("rename onto itself", fs::rename(dir.join("f"), dir.join("d/g")));
        seen.step("remove one", fs::remove_file(dir.join("f")));
        seen.result("the other is there", fs::read_to_string(dir.join("d/g")));
        for number in 0..50 {
            fs::hard_link(dir.join("d/g"), dir.join(format!("n{number}"))).unwrap();
        }
    });
}

#[test]
fn symbolic_links_keep_their_text() {
    alike(|dir, seen| {
        let long = "x/".repeat(2000);
        for (name, target) in [
            ("file", "f"),
            ("dangling", "nowhere/at all"),
            ("absolute", "/etc/hostname"),
            ("up", "../../.."),
            ("self", "self"),
            ("long", long.as_str()),
        ] {
            seen.result(name, symlink(target, dir.join(name)));
            seen.result("its text", fs::read_link(dir.join(name)));
        }
        seen.result("again", symlink("other", dir.join("file")));
        seen.result("empty", symlink("", dir.join("empty")));
        seen.result("too long", symlink("x".repeat(5000), dir.join("longer")));
        seen.step("around and around", fs::read(dir.join("self")));
        fs::write(dir.join("f"), "through").unwrap();
        seen.result("through", fs::read_to_string(dir.join("file")));
        let odd = OsStr::from_bytes(b"\xff\xfe target");
        seen.result("bytes", symlink(odd, dir.join("bytes")));
    });
}

#[test]
fn fifos_and_sockets_work() {
    alike(|dir, seen| {
        seen.result("fifo", mknodat(CWD, dir.join("p"), FileType::Fifo, Mode::from(0o640), 0));
        seen.result("socket", mknodat(CWD, dir.join("s"), FileType::Socket, Mode::from(0o600), 0));
        seen.result("plain", mknodat(CWD, dir.join("f"), FileType::RegularFile, Mode::from(0o604), 0));
        seen.result("again", mknodat(CWD, dir.join("f"), FileType::RegularFile, Mode::from(0o604), 0));
        seen.value("through the fifo", ok(&mut shell(20, dir, "echo hello > p & cat p; wait")));
        let bound = "
import os, socket
server = socket.socket(socket.AF_UNIX); server.bind('bound'); server.listen()
client = socket.socket(socket.AF_UNIX); client.connect('bound')
peer, _ = server.accept(); peer.send(b'hi'); print(client.recv(2))
";
        seen.value("through a socket", ok(&mut crate::fixture::python(20, dir, bound)));
    });
}

#[test]
fn long_and_odd_names_are_kept() {
    alike(|dir, seen| {
        let long = "n".repeat(255);
        let euro = "€".repeat(85);
        for name in
            [long.as_bytes(), euro.as_bytes(), b"\xff\xfe\x01", b" ", b"-rf", b"a\nb", b"*?[", b"...", b"\\"]
        {
            let path = dir.join(OsStr::from_bytes(name));
            seen.step("write", fs::write(&path, name));
            seen.result("read", fs::read(&path));
            let moved = dir.join(OsStr::from_bytes(&[b"m", &name[..name.len().min(254)]].concat()));
            seen.result("rename", fs::rename(&path, &moved));
            seen.result("as directory", fs::create_dir(&path));
        }
        seen.step("256 bytes", fs::write(dir.join("n".repeat(256)), ""));
        seen.step("256 bytes to look for", dir.join("n".repeat(256)).metadata());
        seen.step("rename to 256 bytes", fs::rename(dir.join(&euro), dir.join("n".repeat(256))));
    });
}

#[test]
fn the_reserved_names_cannot_be_reached() {
    let drive = Drive::new();
    let reserved = drive.dir().join(".eob");
    let mut seen = Seen::default();
    seen.step("look", reserved.symlink_metadata());
    seen.step("list", fs::read_dir(&reserved));
    seen.step("below", fs::read(reserved.join("bucket")));
    seen.step("at the root", drive.root().join(".strongroom").symlink_metadata());
    seen.step("the keyring", fs::read(drive.root().join(".strongroom/keyring")));
    assert_eq!(format!("{seen:?}").matches("No such file").count(), 5, "{seen:?}");
    fs::write(drive.dir().join("f"), "f").unwrap();
    for refused in [
        fs::create_dir(&reserved),
        fs::write(&reserved, "x"),
        fs::rename(drive.dir().join("f"), &reserved),
        fs::rename(&reserved, drive.dir().join("g")),
        fs::hard_link(drive.dir().join("f"), &reserved),
        symlink("f", &reserved),
        fs::remove_dir(&reserved),
        fs::remove_dir_all(drive.root().join(".strongroom")),
        fs::create_dir(drive.root().join(".strongroom")),
    ] {
        let error = refused.unwrap_err().raw_os_error();
        assert!(matches!(error, Some(libc::EPERM | libc::ENOENT | libc::EINVAL)), "{error:?}");
    }
    let names = |dir| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(drive.dir()), ["f"]);
    assert_eq!(names(drive.root()), ["data"]);
}

#[test]
fn names_of_the_product_are_ordinary_where_they_mean_nothing() {
    alike(|dir, seen| {
        fs::create_dir(dir.join("d")).unwrap();
        for name in ["d/.eob", "d/.strongroom", ".strongroom", ".eob2"] {
            seen.step(name, fs::write(dir.join(name), name));
        }
    });
}
