//! A drive that an ordinary user mounts for himself: the kernel asks nobody, and what he may do is decided below.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use crate::fixture::{command, ok, run};

/// The home of `nobody` (the mount helper wants a user with a name), with a store that he mounted at `drive`, and a directory `native` beside it.
struct Home {
    base: tempfile::TempDir,
}

const USER: u32 = 65534;

impl Home {
    fn new() -> Self {
        let base = tempfile::Builder::new().prefix("strongroom-owner-").tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = Self { base };
        // The build directory may be closed to him.
        fs::copy(env!("CARGO_BIN_EXE_strongroom"), home.path("strongroom")).unwrap();
        for name in [".", "native", "drive"] {
            fs::create_dir_all(home.path(name)).unwrap();
            chown(home.path(name), Some(USER), Some(USER)).unwrap();
        }
        home.ok(
            "./strongroom init store --key-file key; ./strongroom bucket create store data --key-file key",
        );
        home.ok("./strongroom mount store drive --key-file key");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn as_user(&self, dir: &Path, script: &str) -> Command {
        let mut user = command(60, "setpriv");
        user.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".into()]);
        // Root cannot enter his drive.
        user.args(["bash", "-eu", "-o", "pipefail", "-c", &format!("cd \"$0\"; {script}")]).arg(dir);
        user.current_dir(self.base.path()).env("HOME", self.base.path());
        user
    }

    fn ok(&self, script: &str) -> String {
        ok(&mut self.as_user(self.base.path(), script))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let ran = run(&mut self.as_user(self.base.path(), "./strongroom umount drive"));
        if ran.code != 0 {
            let _ = rustix::mount::unmount(self.path("drive"), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

#[test]
fn his_own_permissions_bind_him_as_they_do_natively() {
    const STEPS: &str = r#"
try() { "$@" 2>&1 && echo done || echo "failed: $?"; }
for mode in 000 200 400 444 600 644 755; do echo $mode > m$mode; chmod $mode m$mode; done
mkdir shut unread stuck; echo x > shut/f; echo x > unread/f; echo x > stuck/f
chmod 000 shut; chmod 300 unread; chmod 500 stuck
for f in m*; do
    try cat $f
    try bash -c "exec 5<> $f"
    for right in r w x; do try test -$right $f; done
    try ./$f
done
try cat shut/f; try ls shut; try cd shut; try ls unread; try cat unread/f
try touch stuck/new; try rm -f stuck/f; try mv stuck/f moved; try mkdir stuck/d; try ln m644 stuck/l
# What is open already gives nobody more.
exec 6<> m600; chmod 400 m600; try bash -c 'echo more >> m600'; try truncate -s 1 m600; chmod 000 m600; try cat m600
echo through >&6; exec 6>&-; chmod 600 m600; cat m600
exec 7< m644; chmod 200 m644; try cat m644; cat <&7; chmod 644 m644
try chown 0 m644; try chgrp 0 m644; chmod 6755 m755; stat -c '%a %u' m755
setfacl -m u:0:rwx,g::r m644; getfacl -c m644; stat -c %A m644
mkdir given; setfacl -d -m u:0:rx given; touch given/f; getfacl -c given/f
chmod 700 shut unread stuck; find . | sort"#;
    let home = Home::new();
    let natively = ok(&mut home.as_user(&home.path("native"), STEPS));
    let here = ok(&mut home.as_user(&home.path("drive/data"), STEPS));
    assert_eq!(here, natively);
}

#[test]
fn the_list_of_a_file_shows_in_its_mode_at_once() {
    let home = Home::new();
    let script =
        "touch f; chmod 600 f; stat -c %a f; setfacl -m u:0:rw f; stat -c %a f; setfacl -b f; stat -c %a f";
    assert_eq!(ok(&mut home.as_user(&home.path("drive/data"), script)), "600\n660\n600\n");
}

/// The kernel asks nobody for permissions here, keeps no page of what is only written, and what was open a moment ago is opened
/// again without its header: none of it is a way round a policy.
#[test]
fn policies_bind_the_owner_of_a_drive_for_himself() {
    const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
        {"Sid": "Unread", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/unread/*"},
        {"Sid": "Unwritten", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::data/unwritten/*"},
        {"Sid": "Kept", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::data/kept/*"},
        {"Sid": "Shown", "Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::000000000000:user/nobody"}, "Action": "s3:PutObjectAcl",
         "Resource": "arn:aws:s3:::data/*"}]}"#;
    const BEFORE: &str = "mkdir unread unwritten kept free
        for f in unread/f unwritten/f kept/f free/f; do echo content > $f.new; mv $f.new $f; cat $f $f $f > ../../told; done";
    const AFTER: &str = r#"
denied() { bash -c "$1" 2> ../../told && { echo "was allowed: $1"; exit 1; }; grep -q 'Permission denied' ../../told; }
denied 'cat unread/f'; denied 'exec 5<> unread/f'; denied 'echo more >> unread/f'; denied 'cp unread/f free/g'
denied 'mv unread/f free/g'; denied 'ln unread/f free/g'; denied 'dd if=unread/f of=free/g iflag=direct'
denied 'echo x > unwritten/f'; denied 'echo x > unwritten/g'; denied 'echo x >> unwritten/f'; denied ': > unwritten/f'
denied 'dd if=/etc/passwd of=unwritten/f oflag=direct'; denied 'dd if=/etc/passwd of=unwritten/f conv=notrunc'
denied 'truncate -s 0 unwritten/f'; denied 'truncate -s 3 unwritten/f'; denied 'mv free/f unwritten/g'; denied 'ln -s f unwritten/l'
denied 'rm -f kept/f'; denied 'mv kept/f free/g'; denied 'mv free/f kept/f'; denied 'chmod 600 free/f'
echo over > unread/f; cat unwritten/f; echo over > kept/f; cat kept/f; cat free/f; rm free/f
find . -type f -o -type l | sort"#;
    let home = Home::new();
    let data = home.path("drive/data");
    ok(&mut home.as_user(&data, BEFORE));
    fs::write(home.path("policy.json"), POLICY).unwrap();
    home.ok("./strongroom bucket policy put store data policy.json");
    let told = ok(&mut home.as_user(&data, AFTER));
    assert_eq!(told, "content\nover\ncontent\n./kept/f\n./unread/f\n./unwritten/f\n");
}
