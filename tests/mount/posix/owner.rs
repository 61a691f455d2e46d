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
