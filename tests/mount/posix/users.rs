//! Several users on one drive.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::fixture::{Drive, alike_on, command, ok, run, shell};

fn as_user(id: u32, drive: &Drive, script: &str) -> Command {
    let mut user = command(30, "setpriv");
    user.args([format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".into()]);
    user.args(["bash", "-c", script]).current_dir(drive.path("."));
    user
}

/// A drive for everybody, whose root everybody may pass.
fn shared() -> Drive {
    let drive = Drive::with(&["--allow-other"]);
    fs::set_permissions(drive.root(), fs::Permissions::from_mode(0o755)).unwrap();
    drive
}

#[test]
fn a_drive_is_its_owners_alone_unless_others_are_let_in() {
    let drive = Drive::new();
    fs::set_permissions(drive.root(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(drive.dir().join("f"), "mine").unwrap();
    fs::set_permissions(drive.dir().join("f"), fs::Permissions::from_mode(0o666)).unwrap();
    let ran = run(&mut as_user(65534, &drive, "cat drive/data/f"));
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
}

#[test]
fn permissions_decide_what_users_may_do() {
    const STEPS: &str = r#"
chmod 755 .
mkdir open; chmod 777 open; mkdir closed; chmod 700 closed; echo x > closed/f
mkdir sticky; chmod 1777 sticky; echo root > sticky/root
for mode in 600 640 644 666 604; do echo $mode > m$mode; chmod $mode m$mode; chgrp 3001 m$mode; done
echo listed > acl; chmod 600 acl; setfacl -m u:3001:r acl
user() { setpriv --reuid $1 --regid $1 --clear-groups bash -c "$2" 2>&1 || echo "failed"; }
for id in 3001 3002; do
    for mode in 600 640 644 666 604; do user $id "cat m$mode; echo more >> m$mode"; done
    user $id 'cat acl'
    user $id 'cat closed/f; ls closed; cd closed'
    user $id 'echo mine > open/by-$UID; chmod 600 open/by-$UID; stat -c "%u %g %a" open/by-$UID'
    user $id 'echo mine > sticky/by-$UID; rm -f sticky/root; mv sticky/root sticky/taken'
    user $id 'touch here; mkdir here; ln -s x here'
    user $id 'chmod 777 m666; chown $UID m666; chgrp $UID m666'
    user $id 'touch -d 2001-01-01 m666; touch m666; setfattr -n user.a -v 1 m644; setfattr -n trusted.a -v 1 m666'
    user $id 'truncate -s 0 m644; truncate -s 1 m666; ln m600 open/link'
done
user 3002 'cat open/by-3001; rm open/by-3001; rm -f sticky/by-3001; rm sticky/by-3002'
user 3001 'chmod 2777 open/by-3001; echo gone'
chmod 755 closed; user 3001 'cat closed/f; rm -f closed/f'
stat -c '%n %u %g %a' open/* sticky/* | sort"#;
    let mut drive = shared();
    alike_on(&mut drive, |dir, seen| seen.value("steps", ok(&mut shell(60, dir, STEPS))));
}

#[test]
fn another_user_may_work_in_a_bucket_given_to_him() {
    let drive = shared();
    ok(&mut shell(20, &drive.root(), "chown 65534:65534 data"));
    let script = "cd drive/data && mkdir d && echo mine > d/f && mv d/f g && cat g && stat -c '%u:%g' g d";
    assert_eq!(ok(&mut as_user(65534, &drive, script)), "mine\n65534:65534\n65534:65534\n");
    let ran = run(&mut as_user(65534, &drive, "mkdir drive/other"));
    assert!(
        ran.stderr.contains("Permission denied"),
        "buckets are for those who may write to the root: {}",
        ran.stderr
    );
}

#[test]
fn set_id_programs_have_no_effect_unless_asked_for() {
    const PROBE: &str =
        "cp /usr/bin/id drive/data/id && chown 3001 drive/data/id && chmod 4755 drive/data/id";
    for (options, expected) in [("nosuid", "65534"), ("suid", "3001")] {
        let drive = Drive::with(&["--allow-other", "-o", options]);
        fs::set_permissions(drive.root(), fs::Permissions::from_mode(0o755)).unwrap();
        ok(&mut shell(20, &drive.path("."), PROBE));
        assert_eq!(ok(&mut as_user(65534, &drive, "drive/data/id -u")).trim(), expected, "{options}");
    }
}
