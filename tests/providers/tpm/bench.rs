//! A store and a TPM.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    fixture::{Drive, command, fails, ok},
    service::Service,
};

/// A software TPM. What it knows stays when it restarts, its PCRs do not.
pub(super) struct Tpm {
    /// Ends before its state goes.
    service: Option<Service>,
    state: tempfile::TempDir,
}

/// A store whose slot 1 is a key file, which every command takes that is not told to ask the TPM.
pub(super) struct Bench {
    pub(super) drive: Drive,
    pub(super) tpm: Tpm,
}

impl Tpm {
    /// One that never was before.
    pub(super) fn new() -> Self {
        let mut tpm = Self { service: None, state: tempfile::tempdir().unwrap() };
        tpm.start();
        tpm
    }

    fn start(&mut self) {
        let state = self.state.path().to_str().unwrap();
        let arguments = ["--dir", state, "--port", "any", "--until-eof"];
        self.service = Some(Service::start("dev-tpm", &arguments));
    }

    /// As a machine that is switched off and on.
    pub(super) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub(super) fn stop(&mut self) {
        drop(self.service.take());
    }

    /// `swtpm:host=HOST,port=PORT`.
    pub(super) fn device(&self) -> &str {
        &self.service.as_ref().expect("the TPM is on").words[0]
    }

    pub(super) fn port(&self) -> u16 {
        self.device().rsplit('=').next().unwrap().parse().unwrap()
    }

    /// One of tpm2-tools, which must succeed.
    pub(super) fn tool(&self, line: &str) -> String {
        self.tool_in(line, self.state.path())
    }

    /// The same in a directory.
    pub(super) fn tool_in(&self, line: &str, dir: &Path) -> String {
        tool(line, self.device(), dir)
    }

    /// Changes a PCR, as other firmware would.
    pub(super) fn extend(&self, pcr: u8) {
        self.tool(&format!("tpm2_pcrextend {pcr}:sha256={}", "5a".repeat(32)));
    }
}

/// One of tpm2-tools in `dir`, with the TPM at `device`.
pub(super) fn tool(line: &str, device: &str, dir: &Path) -> String {
    let mut words = line.split(' ');
    let mut tool = command(30, words.next().unwrap());
    ok(tool.args(words).args(["-T", device]).current_dir(dir).env("TSS2_LOG", "all+none"))
}

impl Bench {
    /// No slot for the TPM yet.
    pub(super) fn new() -> Self {
        let bench = Self { drive: Drive::unmounted(), tpm: Tpm::new() };
        bench.configure("");
        bench
    }

    /// Slot 2 is bound to PCR 7.
    pub(super) fn with_slot() -> Self {
        let bench = Self::new();
        assert_eq!(bench.add(&[]), "Slot 2 added\n");
        bench
    }

    /// Slot 2 is bound to PCR 7 and has the PIN 1234.
    pub(super) fn with_pin() -> Self {
        let bench = Self::new();
        bench.add(&["--new-tpm2-pin-file", &bench.pin("1234")]);
        bench
    }

    /// Makes the TPM that of the configuration, after it was started and with more options of `[unlock]`.
    pub(super) fn configure(&self, more: &str) {
        self.drive.configure(&format!("[unlock]\ntpm2_device = '{}'\n{more}", self.tpm.device()));
    }

    /// `strongroom passwd STORE WORDS`.
    pub(super) fn passwd(&self, words: &[&str]) -> Command {
        let mut passwd = self.drive.on_store(["passwd"], []);
        passwd.args(words);
        passwd
    }

    /// Adds a slot for the TPM.
    pub(super) fn add(&self, flags: &[&str]) -> String {
        ok(&mut self.passwd(&[&["add", "--new-tpm2"], flags].concat()))
    }

    /// The list of slots, opened by the TPM.
    pub(super) fn by_tpm(&self, flags: &[&str]) -> Command {
        self.passwd(&[&["list", "--tpm2"], flags].concat())
    }

    #[track_caller]
    pub(super) fn opens(&self, flags: &[&str]) {
        let list = ok(&mut self.by_tpm(flags));
        assert!(list.contains("TPM2"), "{list}");
    }

    /// What is said when the TPM does not open; the key file does all the same.
    #[track_caller]
    pub(super) fn refused(&self, flags: &[&str], code: i32) -> String {
        let said = fails(&mut self.by_tpm(flags), code);
        assert_eq!(said.lines().count(), 1, "{said}");
        ok(&mut self.passwd(&["list"]));
        said
    }

    /// A file with a PIN, named after it.
    pub(super) fn pin(&self, pin: &str) -> String {
        let path = self.drive.path(&format!("pin-{pin}"));
        fs::write(&path, format!("{pin}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(super) fn keyring(&self) -> PathBuf {
        self.drive.store().join(".strongroom/keyring")
    }

    /// Slots as `passwd list --json` tells them.
    pub(super) fn slots(&self) -> serde_json::Value {
        serde_json::from_str(&ok(&mut self.passwd(&["list", "--json"]))).unwrap()
    }
}
