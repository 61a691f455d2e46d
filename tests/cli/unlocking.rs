//! Every way to unlock a store, tried with the program.
//!
//! The kernel's keyrings look different from each launch: without a session keyring (a service), in a session of its
//! own (`keyctl session`, some logins), and after a change of user. Each of them is a test. They need root.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::program::{done, run};

/// A store whose only slot is the key file `key` beside it.
struct Bench {
    dir: tempfile::TempDir,
}

/// A key in a keyring of root, gone when the test is over.
struct KernelKey(String);

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        done(bench.path(), &["init", "store", "--key-file", "key"]);
        bench
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A name for a kernel key that no other test has.
    fn name(&self) -> String {
        format!("strongroom:{}", self.path().file_name().unwrap().to_str().unwrap())
    }

    /// A shell script with `$program`, `$name` and `$dir` set, run by `launcher`.
    fn shell(&self, launcher: &[&str], script: &str) -> Output {
        let program = self.program();
        Command::new(launcher[0])
            .args(&launcher[1..])
            .args(["sh", "-ec", script])
            .current_dir(self.path())
            .env("HOME", "/nonexistent")
            .env_remove("XDG_CONFIG_HOME")
            .envs([("program", program.as_os_str()), ("dir", self.path().as_os_str())])
            .env("name", self.name())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn assert_lists(&self, launcher: &[&str], script: &str) {
        let output = self.shell(launcher, script);
        let said = String::from_utf8_lossy(&output.stderr);
        let listed = String::from_utf8_lossy(&output.stdout).contains("key file");
        assert!(output.status.success() && listed, "{launcher:?}: {said}");
    }

    /// The program where every user can run it.
    fn program(&self) -> PathBuf {
        let copy = self.path().join("program");
        if !copy.exists() {
            fs::copy(env!("CARGO_BIN_EXE_strongroom"), &copy).unwrap();
        }
        copy
    }

    /// Gives store and key to the user `id`.
    fn give_to(&self, id: &str) {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let owner = format!("{id}:{id}");
        let paths = [self.path().join("store"), self.path().join("key")];
        assert!(Command::new("chown").args(["-R", &owner]).args(paths).status().unwrap().success());
    }
}

impl KernelKey {
    /// Puts the content of the key file into a keyring.
    fn add(bench: &Bench, keyring: &str) -> Self {
        let content = fs::File::open(bench.path().join("key")).unwrap();
        let mut command = Command::new("keyctl");
        let output = command.args(["padd", "user", &bench.name(), keyring]).stdin(content).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for KernelKey {
    fn drop(&mut self) {
        assert!(Command::new("keyctl").args(["unlink", &self.0]).output().unwrap().status.success());
    }
}

const LIST: &str = r#""$program" passwd store list --kernel-key "$name""#;

#[test]
fn a_kernel_key_of_the_user_opens_without_a_session_keyring() {
    let bench = Bench::new();
    let _key = KernelKey::add(&bench, "@u");
    bench.assert_lists(&["env"], LIST);
}

#[test]
fn a_kernel_key_of_the_user_opens_in_a_session_of_its_own() {
    let bench = Bench::new();
    let _key = KernelKey::add(&bench, "@u");
    bench.assert_lists(&["keyctl", "session", "-"], LIST);
    // And it is not left reachable there.
    let left =
        bench.shell(&["keyctl", "session", "-"], &format!(r#"{LIST} >list; keyctl read "%user:$name""#));
    assert!(!left.status.success());
    assert!(fs::read_to_string(bench.path().join("list")).unwrap().contains("key file"));
}

#[test]
fn a_kernel_key_of_the_session_opens_in_that_session_only() {
    let bench = Bench::new();
    let script = format!(r#"keyctl padd user "$name" @s <key >/dev/null; {LIST}"#);
    bench.assert_lists(&["keyctl", "session", "-"], &script);
    let elsewhere = bench.shell(&["keyctl", "session", "-"], LIST);
    assert_eq!(elsewhere.status.code(), Some(4));
}

#[test]
fn a_kernel_key_in_the_persistent_keyring_opens() {
    let bench = Bench::new();
    // Linked to the session while the key is put there, and not while it is looked for.
    let script = format!(
        r#"ring=$(keyctl get_persistent @s); id=$(keyctl padd user "$name" "$ring" <key); keyctl unlink "$ring" @s; {LIST}
        keyctl get_persistent @s >again; keyctl unlink "$id" "$ring""#
    );
    bench.assert_lists(&["keyctl", "session", "-"], &script);
}

#[test]
fn another_user_has_its_own_kernel_keys() {
    let bench = Bench::new();
    let _roots = KernelKey::add(&bench, "@u");
    bench.give_to("4242");
    let as_user = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"];
    let refused = bench.shell(&as_user, LIST);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("cannot read the kernel key"), "{said}");
    let script = format!(r#"id=$(keyctl padd user "$name" @u <key); {LIST}; keyctl unlink "$id" @u"#);
    bench.assert_lists(&as_user, &script);
}

#[test]
fn a_kernel_key_can_be_a_slot_of_its_own() {
    let bench = Bench::new();
    let key = KernelKey::add(&bench, "@u");
    let name = bench.name();
    fs::write(bench.path().join("other"), [7; 31]).unwrap();
    let add = ["passwd", "store", "add", "--new-kernel-key", &name, "--key-file", "key"];
    assert!(done(bench.path(), &add).contains("Slot 2 added"));
    let list = done(bench.path(), &["passwd", "store", "list", "--kernel-key", &name]);
    assert!(list.contains(&format!("kernel key `{name}`")), "{list}");
    drop(key);
    let gone = run(bench.path(), &["passwd", "store", "list", "--kernel-key", &name]);
    assert!(gone.code == 4 && gone.stderr.contains("it is not there; put it there"), "{}", gone.stderr);
}

#[test]
fn a_credential_of_the_service_opens_though_its_access_list_shows_as_a_group() {
    let bench = Bench::new();
    let credentials = bench.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    let file = credentials.join("vault");
    fs::copy(bench.path().join("key"), &file).unwrap();
    let script =
        r#"CREDENTIALS_DIRECTORY="$dir/credentials" "$program" passwd store list --credential vault"#;
    for (mode, opens) in [(0o400, true), (0o440, true), (0o444, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(bench.shell(&["env"], script).status.success(), opens, "{mode:o}");
    }
    assert!(!bench.shell(&["env"], r#""$program" passwd store list --credential vault"#).status.success());
}

#[test]
fn a_command_gives_the_passphrase_of_the_store_it_is_asked_about() {
    let bench = Bench::new();
    let command = r#"test "${STRONGROOM_STORE##*/}" = store && echo correct horse"#;
    done(bench.path(), &["passwd", "store", "add", "--new-passphrase-command", command, "--key-file", "key"]);
    let list = done(bench.path(), &["passwd", "store", "list", "--passphrase-command", command]);
    assert!(list.contains("passphrase"), "{list}");
    for (command, said) in
        [("echo wrong", "wrong passphrase"), ("exit 9", "exit status: 9"), ("true", "no secret")]
    {
        let refused = run(bench.path(), &["passwd", "store", "list", "--passphrase-command", command]);
        assert!(refused.code == 4 && refused.stderr.contains(said), "{command}: {}", refused.stderr);
    }
}

#[test]
fn the_configuration_can_say_how_to_unlock() {
    let bench = Bench::new();
    let key = bench.path().join("key");
    fs::write(bench.path().join("c.toml"), format!("[unlock]\nkey_file = {key:?}\n")).unwrap();
    assert!(done(bench.path(), &["--config", "c.toml", "passwd", "store", "list"]).contains("key file"));
    assert_eq!(run(bench.path(), &["passwd", "store", "list"]).code, 4);
}

#[test]
fn two_ways_at_once_are_refused() {
    let bench = Bench::new();
    for pair in [["--kernel-key", "--credential"], ["--passphrase-command", "--key-file"]] {
        let arguments = ["passwd", "store", "list", pair[0], "a", pair[1], "b"];
        assert_eq!(run(bench.path(), &arguments).code, 2, "{pair:?}");
    }
}

/// With a TPM behind it this is tried in `tests/providers`.
#[test]
fn a_store_without_a_slot_for_the_tpm_and_a_build_without_tpms_say_so() {
    let bench = Bench::new();
    let refused = run(bench.path(), &["passwd", "store", "list", "--tpm2"]);
    let expected = if cfg!(feature = "tpm2") {
        (4, "strongroom: the keyring has no TPM2 slot: unlock it another way\n")
    } else {
        (
            1,
            "strongroom: this build knows no TPM: build strongroom with `cargo build --release --features tpm2`\n",
        )
    };
    assert_eq!((refused.code, refused.stderr.as_str()), expected);
    let lost = run(bench.path(), &["passwd", "store", "list", "--key-file", "key", "--tpm2-pin-file", "key"]);
    assert!(lost.code == 2 && lost.stderr.contains("use --tpm2 as well"), "{}", lost.stderr);
}
