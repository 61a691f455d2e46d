//! Modes, owners, times, extended attributes and access lists.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::Path,
};

use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, XattrFlags, getxattr, listxattr, removexattr,
    setxattr, utimensat,
};

use crate::fixture::{Drive, Seen, alike, alike_on, ok, shell};

fn mode(path: &Path) -> String {
    format!("{:o}", path.symlink_metadata().unwrap().mode())
}

#[test]
fn every_mode_is_kept() {
    alike(|dir, seen| {
        for bits in [0, 0o777, 0o4755, 0o2755, 0o1777, 0o6711, 0o400] {
            fs::write(dir.join(format!("f{bits:o}")), "").unwrap();
            fs::create_dir(dir.join(format!("d{bits:o}"))).unwrap();
            for kind in ["f", "d"] {
                let path = dir.join(format!("{kind}{bits:o}"));
                seen.result("chmod", fs::set_permissions(&path, fs::Permissions::from_mode(bits)));
                seen.value("mode", mode(&path));
            }
        }
        let inside = dir.join("d2755/sub");
        fs::create_dir(&inside).unwrap();
        seen.value("sub-directories inherit the set-group-id bit", mode(&inside));
    });
}

#[test]
fn owners_are_kept_and_a_change_takes_the_set_id_bits() {
    alike(|dir, seen| {
        let file = dir.join("f");
        fs::write(&file, "x").unwrap();
        for bits in [0o6755, 0o2745, 0o4644] {
            fs::set_permissions(&file, fs::Permissions::from_mode(bits)).unwrap();
            seen.result("chown", chown(&file, Some(1234), Some(4321)));
            seen.value("mode", mode(&file));
        }
        seen.result("only the group", chown(&file, None, Some(7)));
        symlink("f", dir.join("s")).unwrap();
        seen.result("the link itself", lchown(dir.join("s"), Some(55), Some(66)));
        seen.value("the file has", (file.metadata().unwrap().uid(), file.metadata().unwrap().gid()));
    });
}

/// Root keeps the bits when it writes; others lose them. The steps run as `nobody`, who owns the files.
#[test]
fn writing_and_truncating_take_the_set_id_bits() {
    const STEPS: &str = "
chmod 777 .
for name in write truncate open append fallocate; do
    echo content > $name; chown 65534:65534 $name; chmod 6777 $name
done
setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '
    printf x | dd of=write conv=notrunc status=none
    truncate -s 3 truncate
    : > open
    echo more >> append
    fallocate -l 100 fallocate'
stat -c '%n %a %s' write truncate open append fallocate";
    let mut drive = Drive::with(&["--allow-other", "-o", "suid"]);
    fs::set_permissions(drive.root(), fs::Permissions::from_mode(0o755)).unwrap();
    alike_on(&mut drive, |dir, seen| seen.value("modes", ok(&mut shell(20, dir, STEPS))));
}

fn set_times(path: &Path, accessed: Timespec, modified: Timespec) -> rustix::io::Result<()> {
    let times = Timestamps { last_access: accessed, last_modification: modified };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

#[test]
fn times_are_kept_to_the_nanosecond_and_before_1970() {
    alike(|dir, seen| {
        for (number, seconds) in
            [0, 1, -1, -86_400, 1_700_000_000, 4_000_000_000, -2_000_000_000].into_iter().enumerate()
        {
            let path = dir.join(format!("t{number}"));
            fs::write(&path, "x").unwrap();
            let (accessed, modified) = (
                Timespec { tv_sec: seconds + 5, tv_nsec: 1 },
                Timespec { tv_sec: seconds, tv_nsec: 987_654_321 },
            );
            seen.result("set", set_times(&path, accessed, modified));
            let meta = path.metadata().unwrap();
            seen.value("times", (meta.mtime(), meta.mtime_nsec(), meta.atime(), meta.atime_nsec()));
        }
        symlink("t0", dir.join("s")).unwrap();
        let then = Timespec { tv_sec: 77, tv_nsec: 88 };
        seen.result("a link's own", set_times(&dir.join("s"), then, then));
        fs::create_dir(dir.join("d")).unwrap();
        seen.result("a directory's", set_times(&dir.join("d"), then, then));
        let (omit, now) =
            (Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, Timespec { tv_sec: 0, tv_nsec: UTIME_NOW });
        seen.result("one left as it is", set_times(&dir.join("t1"), now, omit));
        seen.value("it is", dir.join("t1").metadata().unwrap().mtime());
        seen.result("both now", set_times(&dir.join("t2"), now, now));
        seen.value("it is recent", dir.join("t2").metadata().unwrap().mtime() > 1_600_000_000);
    });
}

/// Unsaved content must not bring its own time along when it is stored later.
#[test]
fn a_time_set_on_an_open_file_stays_after_it_is_closed() {
    alike(|dir, seen| {
        let file = OpenOptions::new().write(true).create_new(true).open(dir.join("f")).unwrap();
        file.write_all_at(&vec![1; 1_000_000], 0).unwrap();
        file.write_all_at(b"small", 2_000_000).unwrap();
        let then = Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 };
        seen.result("set", set_times(&dir.join("f"), then, then));
        drop(file);
        let meta = dir.join("f").metadata().unwrap();
        seen.value("after close", (meta.mtime(), meta.mtime_nsec()));
    });
}

#[test]
fn changes_move_the_times_that_they_should() {
    alike(|dir, seen| {
        let long_ago = Timespec { tv_sec: 1_000, tv_nsec: 0 };
        let file = dir.join("f");
        fs::write(&file, "x").unwrap();
        let (fresh, moved) =
            (|| set_times(&file, long_ago, long_ago).unwrap(), || file.metadata().unwrap().mtime() != 1_000);
        fresh();
        fs::read(&file).unwrap();
        seen.value("reading", moved());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        seen.value("chmod", moved());
        fs::rename(&file, dir.join("g")).unwrap();
        fs::rename(dir.join("g"), &file).unwrap();
        seen.value("rename", moved());
        OpenOptions::new().write(true).open(&file).unwrap().write_all_at(b"y", 0).unwrap();
        seen.value("writing", moved());
        fresh();
        File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
        seen.value("truncating", moved());
        let changed = file.metadata().unwrap();
        seen.value("times are of now", changed.ctime() >= changed.mtime());
    });
}

#[test]
fn extended_attributes_are_kept() {
    alike(|dir, seen| {
        fs::write(dir.join("f"), "x").unwrap();
        fs::create_dir(dir.join("d")).unwrap();
        for name in ["f", "d"] {
            xattr_steps(&dir.join(name), seen);
        }
        symlink("f", dir.join("s")).unwrap();
        let on_link = rustix::fs::lsetxattr(dir.join("s"), "user.a", b"x", XattrFlags::empty());
        seen.result("user attribute of a link", on_link);
        let on_link = rustix::fs::lsetxattr(dir.join("s"), "trusted.a", b"x", XattrFlags::empty());
        seen.result("trusted attribute of a link", on_link);
    });
}

fn xattr_steps(path: &Path, seen: &mut Seen) {
    let set = |name: &str, value: &[u8], flags| setxattr(path, name, value, flags);
    let get = |name: &str| {
        let mut value = vec![0; 70_000];
        getxattr(path, name, &mut value[..]).map(|length| value[..length].to_vec())
    };
    seen.result("get none", get("user.none"));
    seen.result("set", set("user.name", b"value", XattrFlags::empty()));
    seen.result("create again", set("user.name", b"other", XattrFlags::CREATE));
    seen.result("replace", set("user.name", b"\0binary\xff", XattrFlags::REPLACE));
    seen.result("replace none", set("user.none", b"x", XattrFlags::REPLACE));
    seen.result("get", get("user.name"));
    seen.result("too small a buffer", getxattr(path, "user.name", &mut [0; 2][..]));
    seen.result("its length", getxattr(path, "user.name", &mut [0_u8; 0][..]));
    seen.result("empty", set("user.empty", b"", XattrFlags::empty()));
    seen.result("get empty", get("user.empty"));
    seen.result("trusted", set("trusted.secret", b"root only", XattrFlags::empty()));
    seen.result("large", set("user.large", &[b'l'; 2500], XattrFlags::empty()));
    seen.result("no such kind", set("nonsense.a", b"x", XattrFlags::empty()));
    seen.result("long name", set(&format!("user.{}", "n".repeat(250)), b"x", XattrFlags::empty()));
    seen.result("too long a name", set(&format!("user.{}", "n".repeat(251)), b"x", XattrFlags::empty()));
    seen.result("remove none", removexattr(path, "user.none"));
    seen.result("remove", removexattr(path, "user.empty"));
    seen.result("list", listxattr(path, &mut vec![0_u8; 65_536][..]));
}

#[test]
fn access_lists_are_kept_inherited_and_change_the_mode() {
    const STEPS: &str = "
umask 022
echo x > f; setfacl -m u:1234:rw,g:4321:r,m::rw f
mkdir d; setfacl -m u:1234:rwx f; setfacl -d -m u:1234:rwx,g:99:rx,o::- d
umask 077
echo x > d/file; mkdir d/sub; echo x > d/sub/deep; mkfifo d/p
setfacl -b f; setfacl -m u:7:x f; chmod 640 f
cp -a d copy; setfacl -k copy
getfacl -RPn .; stat -c '%n %a' f d d/file d/sub d/sub/deep d/p copy; ls -ld f d | cut -c1-11";
    alike(|dir, seen| seen.value("lists", ok(&mut shell(20, dir, STEPS))));
}

#[test]
fn space_is_that_of_the_file_system_below() {
    alike(|dir, seen| {
        let space = rustix::fs::statvfs(dir).unwrap();
        seen.value("blocks", (space.f_blocks * space.f_frsize, space.f_namemax));
        seen.value("some are free", space.f_bfree > 0 && space.f_files > 0);
    });
}
