//! Making, using, changing and removing slots for a TPM.

use std::{fs, process::Stdio};

use super::bench::Bench;
use crate::fixture::{Drive, command, fails, ok};

#[test]
fn every_command_that_opens_a_keyring_opens_it_by_the_tpm() {
    let bench = Bench::with_slot();
    let backup = bench.drive.path("backup");
    let lines: [&[&str]; 14] = [
        &["passwd", "STORE", "list"],
        &["bucket", "create", "STORE", "photos"],
        &["bucket", "list", "STORE"],
        &["bucket", "encryption", "put", "STORE", "photos", "--sse", "aws:kms"],
        &["key", "create", "STORE", "--alias", "alias/a"],
        &["key", "list", "STORE"],
        &["key", "rotate", "STORE", "alias/a"],
        &["key", "export-backup", "STORE", "alias/a", "BACKUP", "--new-key-file", "KEY"],
        &["verify", "STORE"],
        &["verify", "STORE", "--keyring-backup", "newest"],
        &["rewrap", "STORE"],
        &["reencrypt", "STORE", "photos"],
        &["bucket", "retention", "put", "STORE", "photos", "--mode", "governance", "--days", "1"],
        &["bucket", "delete", "STORE", "photos"],
    ];
    let key = bench.drive.path("another key");
    for line in lines {
        let mut call = bench.drive.strongroom([]);
        call.args(line.iter().map(|word| match *word {
            "STORE" => bench.drive.store().as_os_str(),
            "BACKUP" => backup.as_os_str(),
            "KEY" => key.as_os_str(),
            word => word.as_ref(),
        }));
        // The key that the environment names would not open.
        ok(call.arg("--tpm2").env("STRONGROOM_KEY_FILE", "/nonexistent"));
    }
}

#[test]
fn a_slot_is_listed_with_what_it_asks_for() {
    let bench = Bench::new();
    let pin = bench.pin("1234");
    bench.add(&[]);
    bench.add(&["--new-tpm2-pcrs", "11+0,4", "--new-tpm2-pin-file", &pin, "--label", "laptop"]);
    bench.add(&["--new-tpm2-pcrs", "none", "--new-tpm2-pin-file", &pin]);
    bench.add(&["--new-tpm2-pcrs", "none"]);
    let list = ok(&mut bench.passwd(&["list"]));
    let kinds: Vec<_> = list.lines().skip(1).map(|line| line[6..].split("  ").next().unwrap()).collect();
    assert_eq!(kinds, ["key file", "TPM2 (PCR 7)", "TPM2 (PCR 0+4+11, PIN)", "TPM2 (PIN)", "TPM2"]);
    let slots = bench.slots();
    let told = |slot: usize, name: &str| slots[slot][name].to_string();
    assert_eq!(told(2, "tpm2_pcrs"), "[0,4,11]");
    assert_eq!([told(2, "tpm2_pin"), told(1, "tpm2_pin")], ["true", "false"]);
    assert_eq!([told(2, "label"), told(3, "label")], ["\"laptop\"", "\"TPM2\""]);
    assert_eq!([told(2, "argon2id_memory_kib"), told(1, "argon2id_memory_kib")], ["262144", "null"]);
    assert_eq!(told(0, "tpm2_pcrs"), "null");
}

#[test]
fn a_slot_can_be_removed_and_a_renewal_leaves_one_for_the_tpm_alone() {
    let bench = Bench::with_slot();
    ok(&mut bench.passwd(&["remove", "2"]));
    let said = bench.refused(&[], 4);
    assert!(said.contains("the keyring has no TPM2 slot"), "{said}");
    bench.add(&[]);
    let renewed = &mut bench.passwd(&["renew", "--new-tpm2", "--tpm2"]);
    let output = renewed.output().unwrap();
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warned.contains("only the TPM opens this store now"), "{warned}");
    bench.opens(&[]);
    let other = fails(&mut bench.passwd(&["list"]), 4);
    assert!(other.contains("no key file slot"), "{other}");
    let last = fails(&mut bench.passwd(&["remove", "1", "--tpm2"]), 1);
    assert!(last.contains("slot 1 is the last one"), "{last}");
    // Back to a key file, by the TPM.
    let key = bench.drive.key();
    ok(&mut bench.passwd(&["add", "--tpm2", "--new-key-file", key.to_str().unwrap()]));
    ok(&mut bench.passwd(&["list"]));
}

#[test]
fn a_change_binds_to_the_tpm_as_it_is_now_and_keeps_pcrs_and_pin() {
    let bench = Bench::new();
    let (pin, new) = (bench.pin("1234"), bench.pin("98765"));
    bench.add(&["--new-tpm2-pcrs", "7+11", "--new-tpm2-pin-file", &pin]);
    bench.tpm.extend(11);
    bench.refused(&["--tpm2-pin-file", &pin], 4);
    // Without a terminal nobody can be asked for the PIN that it must have again.
    let said = fails(&mut bench.passwd(&["change", "--new-tpm2"]), 4);
    assert!(said.contains("no terminal to ask"), "{said}");
    assert_eq!(
        ok(&mut bench.passwd(&["change", "--new-tpm2", "--new-tpm2-pin-file", &new])),
        "Slot 2 changed\n"
    );
    assert_eq!(bench.slots()[1]["tpm2_pcrs"], serde_json::json!([7, 11]));
    bench.opens(&["--tpm2-pin-file", &new]);
    bench.refused(&["--tpm2-pin-file", &pin], 4);
    // The only slot of the kind is meant, also beside a passphrase.
    ok(&mut bench.passwd(&[
        "change",
        "2",
        "--new-tpm2",
        "--new-tpm2-pin-file",
        &pin,
        "--new-tpm2-pcrs",
        "none",
    ]));
    bench.tpm.extend(7);
    bench.opens(&["--tpm2-pin-file", &pin]);
    // And a slot can become one of another kind.
    let key = bench.drive.path("other key");
    ok(&mut bench.passwd(&["change", "2", "--new-key-file", key.to_str().unwrap()]));
    assert_eq!(bench.slots()[1]["label"], "key file");
}

#[test]
fn the_same_tpm_opens_after_every_restart() {
    let mut bench = Bench::with_slot();
    bench.add(&["--new-tpm2-pcrs", "none", "--new-tpm2-pin-file", &bench.pin("1234")]);
    bench.tpm.extend(7);
    bench.refused(&[], 4);
    for _ in 0..2 {
        bench.tpm.restart();
        bench.configure("");
        // The PCRs begin anew.
        bench.opens(&[]);
    }
    bench.tpm.extend(7);
    bench.opens(&["--tpm2-pin-file", &bench.pin("1234")]);
}

#[test]
fn eight_processes_unlock_at_once() {
    let bench = Bench::with_slot();
    bench.add(&["--new-tpm2-pin-file", &bench.pin("1234")]);
    let children: Vec<_> = (0..8)
        .map(|_| bench.by_tpm(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // Nothing stays behind in the TPM.
    for kind in ["transient", "loaded-session", "saved-session"] {
        assert_eq!(bench.tpm.tool(&format!("tpm2_getcap handles-{kind}")).trim(), "", "{kind}");
    }
}

#[test]
fn a_store_can_begin_with_the_tpm() {
    let bench = Bench::new();
    let (store, pin) = (bench.drive.path("second"), bench.pin("1234"));
    let mut init = bench.drive.strongroom(["init"]);
    let output = init.arg(&store).args(["--tpm2", "--tpm2-pin-file", &pin]).output().unwrap();
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warned.contains("only the TPM opens this store now"), "{warned}");
    let mut list = bench.drive.strongroom(["passwd"]);
    let list = ok(list.arg(&store).args(["list", "--tpm2", "--tpm2-pin-file", &pin]));
    assert!(list.contains("TPM2 (PCR 7, PIN)"), "{list}");
}

#[test]
fn a_store_that_no_tpm_was_there_for_can_be_begun_again() {
    let bench = Bench::new();
    let store = bench.drive.path("second");
    let init = |flags: &[&str]| {
        let mut init = bench.drive.strongroom(["init"]);
        init.arg(&store).args(flags);
        init
    };
    let said = fails(&mut init(&["--tpm2", "--tpm2-device", "device:/nonexistent"]), 4);
    assert!(said.contains("there is no such device"), "{said}");
    ok(&mut init(&["--tpm2"]));
}

#[test]
fn a_pin_is_asked_for_on_the_terminal() {
    let bench = Bench::new();
    // `script` gives the command a terminal, and types into it what stands on its stdin.
    let typed = |line: &str, keys: &str| {
        let store = bench.drive.store().display();
        let config = bench.drive.path("strongroom.toml");
        let strongroom = env!("CARGO_BIN_EXE_strongroom");
        let line = format!("{strongroom} --config {} passwd {store} {line}", config.display());
        let input = bench.drive.path("keys");
        fs::write(&input, keys).unwrap();
        let mut script = command(60, "script");
        script.args(["-qec", &line, "/dev/null"]).env("STRONGROOM_KEY_FILE", bench.drive.key());
        ok(script.stdin(fs::File::open(&input).unwrap()))
    };
    let added = typed("add --new-tpm2 --new-tpm2-pin", "1234\n1234\n");
    assert!(added.contains("New PIN: ") && added.contains("Slot 2 added"), "{added}");
    let listed = typed("list --tpm2", "1234\n");
    assert!(listed.contains("for the TPM: ") && listed.contains("TPM2 (PCR 7, PIN)"), "{listed}");
    // Where a slot opens without a PIN, nobody is asked.
    bench.add(&[]);
    let listed = typed("list --tpm2", "");
    assert!(!listed.contains("for the TPM: ") && listed.contains("TPM2 (PCR 7, PIN)"), "{listed}");
}

#[test]
fn a_store_is_replicated_into_one_that_the_tpm_opens() {
    let bench = Bench::with_slot();
    let target = bench.drive.path("target");
    ok(bench.drive.strongroom(["init"]).arg(&target).arg("--tpm2"));
    let replicate = |drive: &Drive| {
        let mut replicate = drive.on_store(["replicate"], []);
        replicate.arg(&target).args(["--src-tpm2", "--dst-tpm2"]);
        replicate
    };
    ok(&mut replicate(&bench.drive));
    assert!(target.join("data").is_dir());
}
