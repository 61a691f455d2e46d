//! What a TPM does not open, and what is said then. The key file opens all the same.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use super::bench::{Bench, Tpm};
use crate::fixture::{fails, ok};

#[test]
fn a_changed_pcr_is_named() {
    let bench = Bench::with_slot();
    bench.add(&["--new-tpm2-pcrs", "0+4+7+11"]);
    bench.opens(&[]);
    bench.tpm.extend(4);
    // Slot 2 does not mind.
    bench.opens(&[]);
    bench.tpm.extend(7);
    let said = bench.refused(&[], 4);
    assert!(said.contains("slot 2: PCR 7 of the TPM is not as when it was made"), "{said}");
    assert!(said.contains("; slot 3: PCRs 4+7 of the TPM are not as"), "{said}");
    assert!(said.contains("`strongroom passwd STORE change SLOT --new-tpm2`"), "{said}");
    // That advice is good.
    ok(&mut bench.passwd(&["change", "2", "--new-tpm2"]));
    bench.opens(&[]);
}

#[test]
fn wrong_pins_count_until_the_tpm_locks_itself() {
    let bench = Bench::with_pin();
    bench.add(&["--new-tpm2-pcrs", "none", "--new-tpm2-pin-file", &bench.pin("1234")]);
    ok(&mut bench.passwd(&["remove", "3"]));
    bench.tpm.tool("tpm2_dictionarylockout -s -n 3 -t 1000 -l 1000");
    let (right, wrong) = (bench.pin("1234"), bench.pin("4321"));
    bench.opens(&["--tpm2-pin-file", &right]);
    for count in 1..=3 {
        let said = bench.refused(&["--tpm2-pin-file", &wrong], 4);
        let expected = format!("slot 2: the TPM refused the PIN ({count} of the 3 wrong ones that lock it)");
        assert!(said.contains(&expected), "{said}");
    }
    let said = bench.refused(&["--tpm2-pin-file", &right], 4);
    assert!(said.contains("the TPM is locked") && said.contains("allows another one after 1000 s"), "{said}");
    // A slot without a PIN is no matter of guessing.
    bench.add(&[]);
    bench.opens(&[]);
    ok(&mut bench.passwd(&["remove", "3"]));
    bench.tpm.tool("tpm2_dictionarylockout --clear-lockout");
    bench.opens(&["--tpm2-pin-file", &right]);
}

#[test]
fn a_pin_that_is_missing_empty_or_for_everybody_to_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::with_pin();
    let said = bench.refused(&[], 4);
    assert!(said.contains("no terminal to ask for a PIN: use --tpm2-pin-file"), "{said}");
    let said = bench.refused(&["--tpm2-pin-file", &bench.pin("")], 4);
    assert!(said.contains("empty"), "{said}");
    let public = bench.pin("1234");
    fs::set_permissions(&public, fs::Permissions::from_mode(0o644)).unwrap();
    let said = bench.refused(&["--tpm2-pin-file", &public], 1);
    assert!(said.contains("chmod 600"), "{said}");
    // Where another slot has no PIN, nobody asks for one: then it is said.
    bench.add(&[]);
    bench.tpm.extend(7);
    let said = bench.refused(&[], 4);
    assert!(said.contains("slot 3: PCR 7") && said.contains("slot 2: it wants its PIN"), "{said}");
}

#[test]
fn another_tpm_and_a_cleared_one_are_told_apart_from_changed_pcrs() {
    let mut bench = Bench::with_slot();
    bench.tpm.tool("tpm2_clear");
    let said = bench.refused(&[], 4);
    assert!(said.contains("slot 2: it was made with another TPM, or this one was cleared since"), "{said}");
    bench.tpm = Tpm::new();
    bench.configure("");
    let said = bench.refused(&[], 4);
    assert!(said.contains("slot 2: it was made with another TPM"), "{said}");
    // With a slot for each, either opens its own.
    bench.add(&[]);
    bench.opens(&[]);
    bench.tpm.extend(7);
    let said = bench.refused(&[], 4);
    assert!(said.contains("slot 3: PCR 7") && !said.contains("slot 2"), "{said}");
}

/// Alters the slots in the file, byte by byte; the MAC of the file is the last to be checked.
#[test]
fn an_altered_slot_is_refused_before_anything_is_opened() {
    let bench = Bench::with_slot();
    let good = fs::read_to_string(bench.keyring()).unwrap();
    for (field, code, said) in [
        ("\"private\": \"", 3, "slot 2: the TPM refuses what it is to open"),
        ("\"public\": \"0008000b0000", 3, "slot 2: the TPM refuses what it is to open"),
        // The policy in the public area.
        ("\"public\": \"0008000b000004920020", 3, "slot 2: the TPM refuses what it is to open"),
        ("\"parent\": \"", 4, "slot 2: it was made with another TPM"),
        ("\"sha256\": \"", 4, "slot 2: PCR 7"),
        ("\"salt\": \"", 3, "its key does not open the keyring"),
        ("\"nonce\": \"", 3, "its key does not open the keyring"),
        ("\"created\": ", 3, "its MAC does not match"),
    ] {
        let slot = good.find("\"tpm2\"").unwrap();
        let from = if field.contains("created") {
            good[..slot].rfind(field)
        } else {
            good[slot..].find(field).map(|at| slot + at)
        };
        let at = from.unwrap_or_else(|| panic!("{field} in {good}")) + field.len();
        let digit = if good.as_bytes()[at] == b'1' { "2" } else { "1" };
        let altered = format!("{}{digit}{}", &good[..at], &good[at + 1..]);
        fs::write(bench.keyring(), &altered).unwrap();
        let message = fails(&mut bench.by_tpm(&[]), code);
        assert!(message.contains(said), "{field}: {message}");
        fs::write(bench.keyring(), &good).unwrap();
    }
    bench.opens(&[]);
}

#[test]
fn what_the_tpm_sealed_for_one_slot_opens_no_other() {
    let bench = Bench::with_slot();
    bench.add(&[]);
    let good = fs::read_to_string(bench.keyring()).unwrap();
    let mut swapped: serde_json::Value = serde_json::from_str(&good).unwrap();
    let first = swapped["slots"][1]["unlock"]["tpm2"]["sealed"].take();
    let second = swapped["slots"][2]["unlock"]["tpm2"]["sealed"].take();
    swapped["slots"][1]["unlock"]["tpm2"]["sealed"] = second;
    swapped["slots"][2]["unlock"]["tpm2"]["sealed"] = first;
    fs::write(bench.keyring(), serde_json::to_string_pretty(&swapped).unwrap() + "\n").unwrap();
    let said = fails(&mut bench.by_tpm(&[]), 3);
    assert!(
        said.contains("slot 2: ") && said.contains("slot 3: ") && said.contains("does not open"),
        "{said}"
    );
    fs::write(bench.keyring(), good).unwrap();
    bench.opens(&[]);
}

#[test]
fn a_tpm_that_is_not_there_is_asked_for_by_name() {
    let mut bench = Bench::with_slot();
    let file = bench.drive.path("file");
    fs::write(&file, "kept").unwrap();
    let not_a_device = format!("device:{}", file.display());
    for (device, said) in [
        ("device:/nonexistent/tpm", "there is no TPM at `device:/nonexistent/tpm` (there is no such device"),
        (not_a_device.as_str(), "is not a character device"),
        ("device:/dev/null", "there is no TPM at `device:/dev/null`"),
        ("device:/dev/zero", "there is no TPM at `device:/dev/zero`"),
        ("swtpm:port=9", "there is no TPM at `swtpm:host=127.0.0.1,port=9`"),
    ] {
        let message = bench.refused(&["--tpm2-device", device], 4);
        assert!(message.contains(said) && message.contains("--tpm2-device"), "{message}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"kept");
    let device = bench.tpm.device().to_owned();
    bench.tpm.stop();
    let message = bench.refused(&[], 4);
    assert!(message.contains(&format!("there is no TPM at `{device}`")), "{message}");
}

#[test]
fn a_tpm_with_an_owner_password_or_without_the_bank_says_so() {
    let mut bench = Bench::with_slot();
    bench.tpm.tool("tpm2_changeauth -c o secret");
    let said = bench.refused(&[], 4);
    assert!(said.contains("the owner hierarchy of the TPM has a password"), "{said}");
    bench.tpm.tool("tpm2_changeauth -c o -p secret");
    bench.opens(&[]);
    bench.tpm.tool("tpm2_pcrallocate sha1:all+sha256:none");
    bench.tpm.restart();
    bench.configure("");
    let said = fails(&mut bench.passwd(&["add", "--new-tpm2", "--new-tpm2-pcrs", "4+7"]), 1);
    assert!(said.contains("does not have PCR 4+7 in its SHA-256 bank"), "{said}");
    assert_eq!(bench.slots().as_array().unwrap().len(), 2);
    ok(&mut bench.passwd(&["add", "--new-tpm2", "--new-tpm2-pcrs", "none"]));
}

#[test]
fn a_busy_tpm_is_asked_again() {
    let bench = Bench::with_slot();
    // The three places that a TPM has for keys are taken, and nobody shares them out here.
    for _ in 0..3 {
        bench.tpm.tool("tpm2_createprimary -Q -c kept");
    }
    let mut opening = bench.by_tpm(&["--log-level", "debug"]);
    let mut opening = opening.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(opening.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("the TPM: out of memory for object contexts")));
    bench.tpm.tool("tpm2_flushcontext -t");
    let rest: Vec<_> = said.map(Result::unwrap).collect();
    assert!(opening.wait().unwrap().success(), "{rest:?}");
}
