//! The contract, kept by AWS KMS: the official SDK against a local endpoint.

use std::{
    env,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use strongroom::keys::{AwsKmsSettings, KeyError, MasterKey, Patience, ProviderSettings, open_provider};

use crate::{
    contract::{self, Deletions, Network, States, Subject, Versions},
    faults::{Fault, Faults},
    fixture::{Drive, ok},
    http,
    service::{Service, contracts_alone, free_port, run_alone},
};

/// The endpoint of the tests, as its port.
struct Kms(u16);

/// The one endpoint of this program; the environment names it to the tests that run alone.
fn variables() -> [(&'static str, &'static str); 4] {
    static SERVICE: OnceLock<(Service, String)> = OnceLock::new();
    let (_, port) = SERVICE.get_or_init(|| {
        let port = free_port().to_string();
        (Service::start("dev-kms", &["--port", &port, "--until-eof"]), port)
    });
    [
        (PORT, port.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
}

fn kms() -> Kms {
    Kms(env::var(PORT).expect("run by the test of the same name").parse().unwrap())
}

fn settings(port: u16, patience: Duration) -> AwsKmsSettings {
    AwsKmsSettings {
        region: REGION.to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        profile: None,
        ca_file: None,
        timeout: Patience::new(patience).unwrap(),
        insecure_loopback: true,
    }
}

fn open(settings: AwsKmsSettings) -> Arc<dyn MasterKey> {
    open_provider("test", &ProviderSettings::AwsKms(settings)).unwrap()
}

impl Kms {
    /// A request of the administrator.
    fn ask(&self, operation: &str, body: &Value) -> Value {
        let head = format!(
            "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: TrentService.{operation}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/kms/aws4_request, SignedHeaders=host, Signature=0"
        );
        let (status, answer) = http::ask(self.0, &head, body);
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }
}

impl Subject for Kms {
    fn master(&self) -> Arc<dyn MasterKey> {
        open(settings(self.0, Duration::from_mins(1)))
    }

    fn new_key(&self) -> String {
        self.ask("CreateKey", &json!({}))["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }

    fn unknown_key(&self) -> String {
        format!("arn:aws:kms:{REGION}:000000000000:key/00000000-0000-4000-8000-000000000000")
    }
}

impl States for Kms {
    fn disable(&self, key: &str) {
        self.ask("DisableKey", &json!({ "KeyId": key }));
    }

    fn enable(&self, key: &str) {
        self.ask("EnableKey", &json!({ "KeyId": key }));
    }
}

impl Deletions for Kms {
    fn schedule_deletion(&self, key: &str) {
        self.ask("ScheduleKeyDeletion", &json!({ "KeyId": key, "PendingWindowInDays": 7 }));
    }
}

impl Versions for Kms {
    const SHOWN: bool = false;

    fn rotate(&self, key: &str) {
        self.ask("RotateKeyOnDemand", &json!({ "KeyId": key }));
    }
}

impl Network for Kms {
    const BUSY: (&'static str, &'static str) =
        ("400 Bad Request", r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#);

    fn upstream(&self) -> u16 {
        self.0
    }

    fn behind(&self, faults: &Faults, patience: Duration) -> Arc<dyn MasterKey> {
        open(settings(faults.port(), patience))
    }

    fn swap_key(answer: &[u8]) -> Vec<u8> {
        let mut answer: Value = serde_json::from_slice(answer).unwrap();
        let arn = answer["KeyId"].as_str().unwrap();
        answer["KeyId"] = format!("{}0", &arn[..arn.len() - 1]).replace("key/", "key/f").into();
        answer.to_string().into_bytes()
    }
}

contracts_alone! { variables(), kms();
    core: a_wrap_opens_with_exactly_its_context another_context_is_rejected altered_bytes_are_rejected
        an_unknown_key_is_unknown a_record_of_another_provider_is_unknown another_key_never_opens
        equal_secrets_do_not_look_equal eight_threads_wrap_and_open_at_once;
    states: a_disabled_key_does_nothing_until_it_is_enabled;
    deletions: a_key_that_waits_for_its_deletion_says_so;
    versions: whether_a_wrap_is_under_the_newest_version_is_told old_wraps_open_after_a_rotation;
    network: a_busy_service_is_asked_again a_service_that_stays_busy_is_unavailable
        an_outage_ends_as_unavailable_and_then_it_works_again a_service_that_was_never_there_is_unavailable
        an_answer_of_another_key_is_refused;
}

/// The tests of this provider alone.
mod only {
    use super::*;

    #[test]
    fn an_alias_wraps_under_the_key_it_means_now() {
        run_alone(concat!(module_path!(), "::alias"), &variables());
    }

    #[test]
    #[ignore = "run by the test above"]
    fn alias() {
        let (kms, alias) = (kms(), format!("alias/t{}", contract::id()));
        let (key, other, master) = (kms.new_key(), kms.new_key(), kms.master());
        kms.ask("CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key }));
        let made = contract::wrap(&*master, &alias).unwrap();
        assert_eq!(made.1.key_id, key.as_bytes());
        kms.ask("UpdateAlias", &json!({ "AliasName": alias, "TargetKeyId": other }));
        assert_eq!(master.unwrap_key(&made.1, &made.2).unwrap().expose(), made.0.expose());
        let id = key.rsplit('/').next().unwrap();
        assert_eq!(contract::wrap(&*master, id).unwrap().1.key_id, key.as_bytes());
    }

    /// The drive asks once an hour, and after any change of its own keys, which is what the test can wait for.
    #[test]
    fn new_objects_of_a_drive_follow_a_rotation_at_kms() {
        run_alone(concat!(module_path!(), "::drive"), &variables());
    }

    #[test]
    #[ignore = "run by the test above"]
    fn drive() {
        let (kms, mut drive) = (kms(), Drive::unmounted());
        let key = kms.new_key();
        drive.configure(&format!(
            "[bucket]\ndefault_encryption = 'aws:kms'\nkms_key = 'alias/theirs'\n[provider.aws]\nkind = 'aws-kms'\n\
             region = '{REGION}'\nendpoint = 'http://127.0.0.1:{}'\ninsecure_loopback = true\n",
            kms.0
        ));
        let named = ["--provider", "aws", "--provider-key", &key, "--alias", "alias/theirs"];
        ok(&mut drive.on_store(["key", "create"], named));
        ok(&mut drive.on_store(["bucket", "create"], ["remote"]));
        drive.mount(&[]);
        let bucket_keys = |name: &str| {
            std::fs::write(drive.root().join("remote").join(name), name).unwrap();
            std::fs::read_dir(drive.store().join("remote/.eob/kek")).unwrap().count()
        };
        assert_eq!((bucket_keys("a"), bucket_keys("b")), (2, 2), "that of SSE-S3 and one of KMS");
        ok(&mut drive.on_store(["key", "create"], ["--alias", "alias/one"]));
        assert_eq!(bucket_keys("c"), 2, "nothing was rotated");
        kms.rotate(&key);
        ok(&mut drive.on_store(["key", "create"], ["--alias", "alias/two"]));
        assert_eq!((bucket_keys("d"), bucket_keys("e")), (3, 3));
        drive.unmount();
        drive.mount(&[]);
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(std::fs::read(drive.root().join("remote").join(name)).unwrap(), name.as_bytes());
        }
    }

    /// AWS names the material that decrypted something, the local endpoint does not: it is put into its answers here.
    #[test]
    fn the_material_that_opened_a_bucket_key_tells_whether_the_key_was_rotated_before() {
        run_alone(concat!(module_path!(), "::material"), &variables());
    }

    #[test]
    #[ignore = "run by the test above"]
    fn material() {
        let kms = kms();
        let (key, faults) = (kms.new_key(), Faults::before(kms.0));
        let (_, wrapped, binding) = contract::wrap(&*kms.master(), &key).unwrap();
        // As a daemon that comes up after a rotation of which it heard nothing.
        let told = |decrypt: fn(&[u8]) -> Vec<u8>| {
            let master = open(settings(faults.port(), Duration::from_mins(1)));
            faults.set(Fault::Rewrite(decrypt));
            master.unwrap_key(&wrapped, &binding).unwrap();
            master.is_newest(&wrapped).unwrap()
        };
        assert_eq!(told(|answer| with_material(answer, "aaaa")), Some(false));
        assert_eq!(told(|answer| with_material(answer, "the same")), Some(true));
        assert_eq!(told(<[u8]>::to_vec), None);
    }

    /// The answer with a name for the material that decrypted; a key has `the same` material now.
    fn with_material(answer: &[u8], material: &str) -> Vec<u8> {
        let mut answer: Value = serde_json::from_slice(answer).unwrap();
        if answer["Plaintext"].is_string() {
            answer["KeyMaterialId"] = material.into();
        } else {
            answer["KeyMetadata"]["CurrentKeyMaterialId"] = "the same".into();
        }
        answer.to_string().into_bytes()
    }

    #[test]
    fn without_credentials_it_is_said_so() {
        let [port, _, _, metadata] = variables();
        run_alone(concat!(module_path!(), "::credentials"), &[port, metadata, ("HOME", "/nonexistent")]);
    }

    #[test]
    #[ignore = "run by the test above"]
    fn credentials() {
        let kms = kms();
        let (key, master) = (kms.new_key(), open(settings(kms.0, Duration::from_secs(1))));
        let error = contract::wrap(&*master, &key).map(|_| ()).expect_err("must not wrap");
        let said = error.to_string();
        assert!(matches!(error, KeyError::Unavailable { .. }) && said.contains("credentials"), "{said}");
    }

    #[test]
    fn keys_never_go_over_plain_http_to_another_machine() {
        for (endpoint, insecure_loopback) in
            [("http://192.0.2.1", true), ("http://127.0.0.1:1", false), ("ftp://127.0.0.1", true)]
        {
            let endpoint = Some(endpoint.to_owned());
            let settings =
                AwsKmsSettings { endpoint, insecure_loopback, ..settings(1, Duration::from_secs(1)) };
            let opened = open_provider("far", &ProviderSettings::AwsKms(settings));
            let message = opened.err().expect("must be refused").to_string();
            assert!(message.starts_with("key provider `far`: "), "{message}");
        }
    }
}

const REGION: &str = "eu-central-1";
const PORT: &str = "STRONGROOM_TEST_KMS";
