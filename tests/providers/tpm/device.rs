//! The way to a TPM by a character device, as `/dev/tpmrm0` is one: here a terminal with a program behind it, since a
//! kernel makes a real one only of a real TPM.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::bench::Bench;

/// A device whose commands go to a software TPM.
struct Device {
    path: String,
    relay: Child,
}

impl Device {
    fn before(port: u16) -> Self {
        let relay = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/providers/tpm_device.py");
        let mut relay = Command::new("/usr/bin/python3")
            .args(["-B", relay, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is there");
        let mut path = String::new();
        BufReader::new(relay.stdout.take().unwrap()).read_line(&mut path).unwrap();
        Self { path: path.trim().to_owned(), relay }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.relay.stdin.take());
        assert!(self.relay.wait().is_ok());
    }
}

#[test]
fn a_character_device_is_a_way_to_the_tpm() {
    let bench = Bench::with_slot();
    let device = Device::before(bench.tpm.port());
    let name = format!("device:{}", device.path);
    bench.opens(&["--tpm2-device", &name]);
    let pin = bench.pin("1234");
    bench.add(&["--tpm2-device", &name, "--new-tpm2-pin-file", &pin]);
    bench.tpm.extend(7);
    let said = bench.refused(&["--tpm2-device", &name], 4);
    assert!(said.contains("slot 2: PCR 7"), "{said}");
    bench.drive.configure(&format!("[unlock]\ntpm2_device = '{name}'\n"));
    let said = bench.refused(&["--tpm2-pin-file", &pin], 4);
    assert!(said.contains("slot 3: PCR 7"), "{said}");
}
