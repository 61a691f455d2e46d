//! Real mounts that the TPM unlocks.

use std::{fs, os::unix::fs::symlink, process::Command};

use super::bench::Bench;
use crate::fixture::{command, fails, ok};

/// A file that only the next mount can show.
fn write_and_unmount(bench: &mut Bench, name: &str) {
    fs::write(bench.drive.dir().join(name), name).unwrap();
    bench.drive.unmount();
}

/// Without the key file that the environment names otherwise.
fn unlocked_by_tpm(call: &mut Command) -> &mut Command {
    call.env("STRONGROOM_KEY_FILE", "")
}

#[test]
fn a_drive_is_mounted_by_flags_options_and_configuration() {
    let mut bench = Bench::with_slot();
    bench.drive.mount(&["--tpm2"]);
    write_and_unmount(&mut bench, "by flag");
    let named = format!("tpm2,tpm2-device=swtpm:port={}", bench.tpm.port());
    bench.drive.configure("");
    bench.drive.mount(&["-o", &named]);
    write_and_unmount(&mut bench, "by option");
    bench.configure("tpm2 = true\n");
    ok(unlocked_by_tpm(&mut bench.drive.mount_command(&[])));
    bench.drive.adopt_daemon();
    write_and_unmount(&mut bench, "by configuration");
    bench.drive.mount(&[]);
    let names = ["by flag", "by option", "by configuration"];
    assert!(names.iter().all(|name| fs::read(bench.drive.dir().join(name)).unwrap() == name.as_bytes()));
}

#[test]
fn a_line_of_fstab_mounts_with_the_tpm_and_a_pin() {
    let mut bench = Bench::with_pin();
    let pin = bench.pin("1234");
    let helper = bench.drive.path("mount.fuse.strongroom");
    symlink(env!("CARGO_BIN_EXE_strongroom"), &helper).unwrap();
    let config = bench.drive.path("strongroom.toml");
    let call = |bench: &Bench, options: &str| {
        let mut call = command(60, &helper);
        call.arg(bench.drive.store()).arg(bench.drive.root()).args(["-o", options]);
        call
    };
    let options = format!("rw,nofail,tpm2,tpm2-pin-file={pin},tpm2-device=swtpm:port={}", bench.tpm.port());
    ok(&mut call(&bench, &options));
    bench.drive.adopt_daemon();
    write_and_unmount(&mut bench, "f");
    bench.configure(&format!("tpm2 = true\ntpm2_pin_file = '{pin}'\n"));
    ok(&mut call(&bench, &format!("config={}", config.display())));
    bench.drive.adopt_daemon();
    assert_eq!(fs::read(bench.drive.dir().join("f")).unwrap(), b"f");
}

#[test]
fn a_drive_that_the_tpm_does_not_open_says_why_and_is_not_mounted() {
    let mut bench = Bench::with_slot();
    bench.tpm.extend(7);
    for flags in [&["--tpm2"][..], &["--tpm2", "--foreground"]] {
        let said = fails(&mut bench.drive.mount_command(flags), 4);
        assert!(said.contains("slot 2: PCR 7 of the TPM is not as"), "{said}");
        // The TPM's library has a lot to say about that, too.
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!bench.drive.is_mounted() && bench.drive.holder().is_none());
    bench.drive.mount(&[]);
    fs::write(bench.drive.dir().join("f"), "by the key file").unwrap();
}

#[test]
fn a_drive_goes_on_when_the_tpm_is_gone_or_changed() {
    let mut bench = Bench::with_slot();
    bench.drive.mount(&["--tpm2"]);
    bench.tpm.extend(7);
    fs::write(bench.drive.dir().join("f"), "content").unwrap();
    bench.tpm.stop();
    fs::write(bench.drive.dir().join("g"), "content").unwrap();
    assert_eq!(fs::read(bench.drive.dir().join("f")).unwrap(), b"content");
}

#[test]
fn a_mounted_store_is_replicated_into_one_that_the_tpm_opens() {
    let mut bench = Bench::new();
    let (target, pin) = (bench.drive.path("target"), bench.pin("1234"));
    ok(bench.drive.strongroom(["init"]).arg(&target).args(["--tpm2", "--tpm2-pin-file", &pin]));
    bench.drive.mount(&[]);
    fs::write(bench.drive.dir().join("f"), "content").unwrap();
    let replicate = |bench: &Bench, pin: &str| {
        let mut replicate = bench.drive.on_store(["replicate"], []);
        replicate.arg(&target).args(["--dst-tpm2", "--dst-tpm2-pin-file", pin]);
        replicate
    };
    let said = fails(&mut replicate(&bench, &bench.pin("4321")), 4);
    assert!(said.contains("the TPM refused the PIN"), "{said}");
    ok(&mut replicate(&bench, &pin));
    assert!(target.join("data/f").is_file());
}
