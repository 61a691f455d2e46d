//! The contract, kept by Transit, against a stand-in for Vault and `OpenBao` that an independent client agrees with.

use std::{fs, path::PathBuf, process::Command, sync::Arc, time::Duration};

use serde_json::{Value, json};
use strongroom::keys::{
    KeyError, MasterKey, Patience, ProviderSettings, SecretSource, TransitSettings, open_provider,
};

use crate::{
    contract::{self, Network, Subject, Versions, contracts},
    faults::Faults,
    http,
    service::Service,
};

/// A stand-in of its own.
pub(crate) struct Transit {
    pub(crate) plain: u16,
    tls: u16,
    dir: tempfile::TempDir,
    _service: Service,
}

pub(crate) fn transit() -> Transit {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start("dev-transit", &["--dir", dir.path().to_str().unwrap(), "--until-eof"]);
    let port = |url: &str| url.rsplit(':').next().unwrap().parse().unwrap();
    let (plain, tls) = (port(&service.words[0]), port(&service.words[1]));
    Transit { plain, tls, dir, _service: service }
}

impl Transit {
    pub(crate) fn token(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    fn settings(&self, port: u16, patience: Duration) -> TransitSettings {
        TransitSettings {
            address: format!("http://127.0.0.1:{port}"),
            mount: "transit".to_owned(),
            namespace: None,
            token: SecretSource::File(self.token()),
            ca_file: None,
            timeout: Patience::new(patience).unwrap(),
            insecure_loopback: true,
        }
    }

    /// The provider over HTTPS, as it is used.
    fn secure(&self) -> TransitSettings {
        TransitSettings {
            address: format!("https://localhost:{}", self.tls),
            ca_file: Some(self.dir.path().join("ca.pem")),
            insecure_loopback: false,
            ..self.settings(self.plain, Duration::from_mins(1))
        }
    }

    /// A request of the administrator; `None` where it is refused.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let root = fs::read_to_string(self.dir.path().join("root")).unwrap();
        let head = format!("{method} /{path} HTTP/1.1\r\nX-Vault-Token: {root}");
        let (status, answer) = http::ask(self.plain, &head, body);
        (status < 300).then_some(answer)
    }

    fn make(&self, options: &Value) -> String {
        let name = contract::id().to_string();
        self.ask("POST", &format!("v1/transit/keys/{name}"), options).unwrap();
        name
    }

    fn control(&self, order: &Value) -> Value {
        self.ask("POST", "stand-in", order).unwrap()
    }

    /// The requests that reached the engine.
    pub(crate) fn requests(&self) -> Vec<String> {
        serde_json::from_value(self.control(&json!({}))["requests"].clone()).unwrap()
    }
}

fn open(settings: TransitSettings) -> Arc<dyn MasterKey> {
    open_provider("test", &ProviderSettings::Transit(settings)).unwrap()
}

#[track_caller]
fn refused(master: &dyn MasterKey, key: &str) -> KeyError {
    contract::wrap(master, key).map(|_| ()).expect_err("must not wrap")
}

impl Subject for Transit {
    fn master(&self) -> Arc<dyn MasterKey> {
        open(self.secure())
    }

    fn new_key(&self) -> String {
        self.make(&json!({}))
    }

    fn unknown_key(&self) -> String {
        "nobody".to_owned()
    }
}

impl Versions for Transit {
    const SHOWN: bool = true;

    fn rotate(&self, key: &str) {
        self.ask("POST", &format!("v1/transit/keys/{key}/rotate"), &json!({})).unwrap_or_default();
    }
}

impl Network for Transit {
    const BUSY: (&'static str, &'static str) =
        ("429 Too Many Requests", r#"{"errors":["request path \"transit\": rate limit quota exceeded"]}"#);

    fn upstream(&self) -> u16 {
        self.plain
    }

    fn behind(&self, faults: &Faults, patience: Duration) -> Arc<dyn MasterKey> {
        open(self.settings(faults.port(), patience))
    }

    /// Transit names no key in its answers: the version in the wrap, and the secret itself, are all there is to swap.
    fn swap_key(answer: &[u8]) -> Vec<u8> {
        let mut answer: Value = serde_json::from_slice(answer).unwrap();
        let data = &mut answer["data"];
        if data["ciphertext"].is_string() {
            data["ciphertext"] = "other:v1:AAAA".into();
        }
        if data["plaintext"].is_string() {
            data["plaintext"] = "AAAA".into();
        }
        answer.to_string().into_bytes()
    }
}

mod plain_keys {
    use super::*;

    contracts! { transit();
        core: a_wrap_opens_with_exactly_its_context another_context_is_rejected altered_bytes_are_rejected
            an_unknown_key_is_unknown a_record_of_another_provider_is_unknown another_key_never_opens
            equal_secrets_do_not_look_equal eight_threads_wrap_and_open_at_once;
        versions: whether_a_wrap_is_under_the_newest_version_is_told old_wraps_open_after_a_rotation a_version_opens_only_as_itself;
        network: a_busy_service_is_asked_again a_service_that_stays_busy_is_unavailable
            an_outage_ends_as_unavailable_and_then_it_works_again a_service_that_was_never_there_is_unavailable
            an_answer_of_another_key_is_refused;
    }
}

/// Keys that are derived anew for each context.
mod derived_keys {
    use super::*;

    struct Derived(Transit);

    fn derived() -> Derived {
        Derived(transit())
    }

    impl Subject for Derived {
        fn master(&self) -> Arc<dyn MasterKey> {
            self.0.master()
        }

        fn new_key(&self) -> String {
            self.0.make(&json!({ "derived": true }))
        }

        fn unknown_key(&self) -> String {
            self.0.unknown_key()
        }
    }

    contracts! { derived();
        core: a_wrap_opens_with_exactly_its_context another_context_is_rejected altered_bytes_are_rejected
            another_key_never_opens eight_threads_wrap_and_open_at_once;
    }
}

#[test]
fn an_independent_client_agrees_with_the_stand_in() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dev-transit");
    let output = Command::new(script).arg("--check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("hvac agrees"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn keys_that_would_not_bind_or_would_show_equality_are_refused() {
    let transit = transit();
    let master = transit.master();
    for (options, said) in [
        (json!({ "type": "rsa-4096" }), "no associated data"),
        (json!({ "derived": true, "convergent_encryption": true }), "convergent"),
    ] {
        let error = refused(&*master, &transit.make(&options));
        assert!(matches!(error, KeyError::Denied { .. }) && error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_server_that_ignores_associated_data_is_refused() {
    let transit = transit();
    let key = transit.new_key();
    transit.control(&json!({ "ignores_associated_data": true }));
    let error = refused(&*transit.master(), &key);
    assert!(matches!(error, KeyError::Denied { .. }) && error.to_string().contains("ignores"), "{error}");
}

#[test]
fn a_missing_key_is_never_made_by_wrapping() {
    let transit = transit();
    assert!(matches!(refused(&*transit.master(), "typo"), KeyError::Unknown { .. }));
    assert!(!transit.requests().iter().any(|request| request.contains("encrypt")));
    assert_eq!(transit.ask("GET", "v1/transit/keys/typo", &Value::Null), None);
}

#[test]
fn a_version_below_the_least_that_opens_is_disabled() {
    let transit = transit();
    let (key, master) = (transit.new_key(), transit.master());
    let (_, wrapped, binding) = contract::wrap(&*master, &key).unwrap();
    transit.rotate(&key);
    let config = format!("v1/transit/keys/{key}/config");
    transit.ask("POST", &config, &json!({ "min_decryption_version": 2 }));
    assert!(matches!(master.unwrap_key(&wrapped, &binding).err(), Some(KeyError::Disabled { .. })));
    transit.ask("POST", &config, &json!({ "min_decryption_version": 1 }));
    assert!(master.unwrap_key(&wrapped, &binding).is_ok());
}

#[test]
fn a_sealed_server_is_unavailable() {
    let transit = transit();
    let key = transit.new_key();
    transit.control(&json!({ "sealed": true }));
    let settings =
        TransitSettings { timeout: Patience::new(Duration::from_secs(1)).unwrap(), ..transit.secure() };
    let error = refused(&*open(settings), &key);
    assert!(matches!(error, KeyError::Unavailable { .. }) && error.to_string().contains("sealed"), "{error}");
}

#[test]
fn a_version_that_the_key_does_not_have_yet_is_refused() {
    let transit = transit();
    let (key, master) = (transit.new_key(), transit.master());
    transit.rotate(&key);
    transit.control(&json!({ "answers_with_version": 1 }));
    assert!(matches!(refused(&*master, &key), KeyError::Rejected { .. }));
}

#[test]
fn a_refused_token_is_read_again_and_one_without_rights_is_denied() {
    let transit = transit();
    let key = transit.new_key();
    let new_token = || transit.control(&json!({ "new_token": 3600 }))["token"].as_str().unwrap().to_owned();
    let first = new_token();
    fs::write(transit.token(), &first).unwrap();
    let master = transit.master();
    assert!(contract::wrap(&*master, &key).is_ok());
    transit.control(&json!({ "revoke": first }));
    let error = refused(&*master, &key);
    assert!(matches!(error, KeyError::Denied { .. }), "{error}");
    fs::write(transit.token(), new_token() + "\n").unwrap();
    assert!(contract::wrap(&*master, &key).is_ok());
}

#[test]
fn a_token_is_renewed_while_nobody_asks_for_a_key() {
    let transit = transit();
    let key = transit.new_key();
    let token = transit.control(&json!({ "new_token": 2 }))["token"].as_str().unwrap().to_owned();
    fs::write(transit.token(), token).unwrap();
    let master = transit.master();
    assert!(contract::wrap(&*master, &key).is_ok());
    let renewals = || transit.requests().iter().filter(|request| request.contains("renew-self")).count();
    // Three renewals are longer than the token lives without any.
    while renewals() < 3 {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(contract::wrap(&*master, &key).is_ok());
}

#[test]
fn an_authority_that_is_not_trusted_ends_it() {
    let (transit, other) = (transit(), transit());
    let key = transit.new_key();
    let timeout = Patience::new(Duration::from_secs(1)).unwrap();
    for ca_file in [None, Some(other.dir.path().join("ca.pem"))] {
        let settings = TransitSettings { ca_file, timeout, ..transit.secure() };
        assert!(matches!(refused(&*open(settings), &key), KeyError::Unavailable { .. }));
    }
    assert!(transit.requests().iter().all(|request| !request.contains("encrypt")));
}

#[test]
fn a_namespace_and_another_mount_are_used() {
    let transit = transit();
    let settings =
        TransitSettings { namespace: Some("team".into()), mount: "my/transit".into(), ..transit.secure() };
    let (key, master) = (transit.new_key(), open(settings));
    assert!(matches!(refused(&*master, &key), KeyError::Unknown { .. }));
    let root = fs::read_to_string(transit.dir.path().join("root")).unwrap();
    let head =
        format!("POST /v1/my/transit/keys/k HTTP/1.1\r\nX-Vault-Token: {root}\r\nX-Vault-Namespace: team");
    assert_eq!(http::ask(transit.plain, &head, &json!({})).0, 200);
    assert!(contract::wrap(&*master, "k").is_ok());
}

#[test]
fn settings_that_would_leak_or_mislead_are_refused() {
    let transit = transit();
    let good = transit.secure();
    let far =
        TransitSettings { address: "http://192.0.2.1:8200".into(), insecure_loopback: true, ..good.clone() };
    let no_roots = TransitSettings { ca_file: Some(transit.token()), ..good.clone() };
    let outside = TransitSettings { mount: "../sys".into(), ..good };
    for settings in [far, no_roots, outside] {
        assert!(open_provider("bad", &ProviderSettings::Transit(settings)).is_err());
    }
}
