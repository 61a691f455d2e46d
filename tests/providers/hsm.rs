//! The contract, kept by a PKCS#11 token: `SoftHSM`.

use std::{env, fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use strongroom::keys::{
    KeyError, MasterKey, Patience, Pkcs11Settings, ProviderSettings, SecretSource, open_provider,
};

use crate::{
    contract::{self, States, Subject, Versions},
    service::{Service, contracts_alone, run_alone},
};

/// A token in the directory that the environment names.
struct Hsm {
    dir: PathBuf,
    module: PathBuf,
}

/// The variables for a process with a token of its own, and its directory.
fn place() -> (tempfile::TempDir, [(&'static str, String); 2]) {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().to_str().unwrap().to_owned();
    let variables = [(CONFIG, format!("{text}/softhsm2.conf")), (DIR, text)];
    (dir, variables)
}

fn hsm() -> Hsm {
    let dir = PathBuf::from(env::var_os(DIR).expect("run by the test of the same name"));
    let service = Service::start("dev-hsm", &[dir.to_str().unwrap()]);
    let module = PathBuf::from(&service.words[1]);
    Hsm { dir, module }
}

fn open(settings: Pkcs11Settings) -> Arc<dyn MasterKey> {
    open_provider("test", &ProviderSettings::Pkcs11(settings)).unwrap()
}

impl Hsm {
    fn settings(&self) -> Pkcs11Settings {
        Pkcs11Settings {
            module: self.module.clone(),
            token: TOKEN.to_owned(),
            pin: SecretSource::File(self.dir.join("pin")),
            timeout: Patience::new(Duration::from_mins(1)).unwrap(),
        }
    }

    /// Makes an AES key of `bytes` bytes.
    fn generate(&self, label: &str, id: &str, bytes: usize) {
        let kind = format!("AES:{bytes}");
        self.tool(&["--keygen", "--key-type", &kind, "--label", label, "--id", id, "--sensitive"]);
    }

    /// Switches encryption and decryption with a key, which no tool does, by the module itself.
    fn switch(&self, label: &str, on: bool) {
        use cryptoki::{context::Pkcs11, object::Attribute, session::UserType, types::AuthPin};
        // The provider under test has initialised the module in this process.
        let module = Pkcs11::new(&self.module).unwrap();
        let slot = module.get_slots_with_initialized_token().unwrap()[0];
        let session = module.open_rw_session(slot).unwrap();
        // Logged in as the provider is, or not yet.
        let logged_in = session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned())));
        assert!(logged_in.is_ok() || logged_in.unwrap_err().to_string().contains("logged in"));
        for key in session.find_objects(&[Attribute::Label(label.as_bytes().to_vec())]).unwrap() {
            session.update_attributes(key, &[Attribute::Encrypt(on), Attribute::Decrypt(on)]).unwrap();
        }
    }

    fn tool(&self, arguments: &[&str]) {
        let output = Command::new("pkcs11-tool")
            .arg("--module")
            .arg(&self.module)
            .args(["--token-label", TOKEN, "--login", "--pin", PIN])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Subject for Hsm {
    fn master(&self) -> Arc<dyn MasterKey> {
        open(self.settings())
    }

    fn new_key(&self) -> String {
        let label = contract::id().to_string();
        self.generate(&label, "01", 32);
        label
    }

    fn unknown_key(&self) -> String {
        "nobody".to_owned()
    }
}

impl States for Hsm {
    fn disable(&self, key: &str) {
        self.switch(key, false);
    }

    fn enable(&self, key: &str) {
        self.switch(key, true);
    }
}

impl Versions for Hsm {
    const SHOWN: bool = true;

    fn rotate(&self, key: &str) {
        self.generate(key, "02", 32);
    }
}

contracts_alone! { place(), hsm();
    core: a_wrap_opens_with_exactly_its_context another_context_is_rejected altered_bytes_are_rejected
        an_unknown_key_is_unknown a_record_of_another_provider_is_unknown another_key_never_opens
        equal_secrets_do_not_look_equal eight_threads_wrap_and_open_at_once;
    states: a_disabled_key_does_nothing_until_it_is_enabled;
    versions: whether_a_wrap_is_under_the_newest_version_is_told old_wraps_open_after_a_rotation a_version_opens_only_as_itself;
}

/// The tests of this provider alone.
mod only {
    use super::*;

    macro_rules! alone {
        ($($name:ident)*) => { $(
            #[test]
            fn $name() {
                run_alone(concat!(module_path!(), "::alone::", stringify!($name)), &place());
            }
        )* };
    }
    alone! { a_refused_pin_is_not_tried_again keys_of_one_label_and_number_are_refused a_short_key_is_refused
    a_lost_session_is_opened_again a_token_that_is_not_there_is_unavailable_in_time }

    mod alone {
        use super::*;

        #[test]
        #[ignore = "run by the test of the same name"]
        fn a_refused_pin_is_not_tried_again() {
            let hsm = hsm();
            let (key, pin) = (hsm.new_key(), hsm.dir.join("pin"));
            fs::write(&pin, "9999\n").unwrap();
            let master = hsm.master();
            // SoftHSM would not lock, other tokens do after a few tries: it is the second message that shows it.
            for expected in ["refused the PIN", "not tried again", "not tried again"] {
                let error = contract::wrap(&*master, &key).map(|_| ()).expect_err("must not wrap");
                assert!(
                    matches!(error, KeyError::Denied { .. }) && error.to_string().contains(expected),
                    "{error}"
                );
            }
            fs::write(&pin, PIN).unwrap();
            assert!(contract::wrap(&*master, &key).is_ok());
        }

        #[test]
        #[ignore = "run by the test of the same name"]
        fn keys_of_one_label_and_number_are_refused() {
            let hsm = hsm();
            let (key, master) = (hsm.new_key(), hsm.master());
            hsm.generate(&key, "0001", 32);
            let error = contract::wrap(&*master, &key).map(|_| ()).expect_err("must not wrap").to_string();
            assert!(error.contains("several keys"), "{error}");
        }

        #[test]
        #[ignore = "run by the test of the same name"]
        fn a_short_key_is_refused() {
            let hsm = hsm();
            hsm.generate("short", "01", 16);
            let error =
                contract::wrap(&*hsm.master(), "short").map(|_| ()).expect_err("must not wrap").to_string();
            assert!(error.contains("256 bits"), "{error}");
        }

        #[test]
        #[ignore = "run by the test of the same name"]
        fn a_lost_session_is_opened_again() {
            use cryptoki::context::Pkcs11;
            let hsm = hsm();
            let (key, master) = (hsm.new_key(), hsm.master());
            let (secret, wrapped, binding) = contract::wrap(&*master, &key).unwrap();
            // Whoever else uses the module in this process may end it: sessions, login and all.
            Pkcs11::new(&hsm.module).unwrap().finalize().unwrap();
            assert_eq!(master.unwrap_key(&wrapped, &binding).unwrap().expose(), secret.expose());
            assert!(contract::wrap(&*master, &key).is_ok());
        }

        #[test]
        #[ignore = "run by the test of the same name"]
        fn a_token_that_is_not_there_is_unavailable_in_time() {
            let hsm = hsm();
            let timeout = Patience::new(Duration::from_secs(1)).unwrap();
            let master = open(Pkcs11Settings { token: "absent".to_owned(), timeout, ..hsm.settings() });
            let error = contract::wrap(&*master, "first").map(|_| ()).expect_err("must not wrap");
            assert!(matches!(error, KeyError::Unavailable { .. }), "{error}");
        }
    }
}

const CONFIG: &str = "SOFTHSM2_CONF";
const DIR: &str = "STRONGROOM_TEST_HSM";
/// As `scripts/dev-hsm` makes them.
const TOKEN: &str = "strongroom";
const PIN: &str = "1234";
