//! Rows of the S3 semantics table that no other test is named by.

use super::*;
use crate::store::XattrMode;

fn kms_with(key: &KeyId, bucket_key: bool, pairs: &[(&str, &str)]) -> Encryption {
    EncryptionHeaders {
        kms_key: Some(key.to_string()),
        bucket_key: Some(bucket_key),
        context: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..headers("aws:kms")
    }
    .check()
    .unwrap()
}

/// A fixture with a key of its own that its requests name.
fn keyed(bucket_key: bool) -> (Fixture, KeyId) {
    let mut fixture = Fixture::with_bucket(4096);
    let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
    fixture.encryption = kms(Some(&key), bucket_key);
    (fixture, key)
}

fn stored(fixture: &Fixture, file: &str) -> PathBuf {
    fixture.store().join("data").join(file)
}

/// Follows a job whose lines do not matter.
struct Unheard;

impl Watch for Unheard {
    fn note(&mut self, _: &Line<'_>) -> std::io::Result<()> {
        Ok(())
    }
}

fn rewrap(fixture: &Fixture, job: &Rewrap) -> Totals {
    fixture.engine().rewrap(job, &mut Unheard).unwrap()
}

#[test]
fn row_a1_equal_contents_do_not_look_equal_in_the_store() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    for file in ["a", "b"] {
        put(&engine, file, &[7; 10_000]);
    }
    drop(engine);
    let read = |file| std::fs::read(stored(&fixture, file)).unwrap();
    assert_ne!(read("a")[4096..8192], read("b")[4096..8192]);
}

#[test]
fn row_a2_after_a_rotation_of_the_service_key_old_and_new_objects_read() {
    let fixture = Fixture::with_bucket(4096);
    put(&fixture.engine(), "old", b"before");
    let before = std::fs::read(stored(&fixture, "old")).unwrap();
    assert_eq!(keyring(&fixture).rotate_service_key().unwrap(), 2);
    let engine = fixture.engine();
    put(&engine, "new", b"after");
    assert_eq!(
        (get(&engine, "old").unwrap(), get(&engine, "new").unwrap()),
        (b"before".to_vec(), b"after".to_vec())
    );
    drop(engine);
    assert_eq!(std::fs::read(stored(&fixture, "old")).unwrap(), before, "a rotation writes no object");
}

#[test]
fn row_a3_the_service_key_is_nobodys_to_name_switch_off_or_govern() {
    let fixture = Fixture::with_bucket(4096);
    let (ring, service) = (keyring(&fixture), crate::keys::SERVICE_KEY.parse().unwrap());
    assert!(ring.change_state(&service, None, StateChange::Disable).is_err());
    assert!(ring.set_policy(&service, Some("{}")).is_err());
    let mut named = Fixture::with_bucket(4096);
    named.encryption = kms(Some(&service), true);
    assert!(matches!(key_error(try_create(&named.engine(), "a")), KeyError::Invalid { .. }));
}

#[test]
fn row_a4_the_header_counts_case() {
    assert!(headers("AES256").check().is_ok());
    for wrong in ["aes256", "Aes256", "AES-256", "AES256 "] {
        assert!(matches!(headers(wrong).check(), Err(RequestError::Unknown(text)) if text == wrong));
    }
}

#[test]
fn row_a5_a_bucket_that_nobody_configured_encrypts_what_nobody_asked_to_encrypt() {
    let fixture = Fixture::with_bucket(4096);
    put(&fixture.engine(), "a", b"plain words");
    assert_eq!(header(&fixture, "a").identity.mode, SseMode::S3);
    assert!(
        !std::fs::read(stored(&fixture, "a")).unwrap().windows(11).any(|window| window == b"plain words")
    );
}

/// The two statements of the guide, each alone.
#[test]
fn row_a6_and_a7_a_policy_that_demands_aes256_denies_every_other_request_and_a_missing_header() {
    for (condition, kms_passes) in [
        (r#""StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}"#, false),
        (r#""Null": {"s3:x-amz-server-side-encryption": "true"}"#, true),
    ] {
        let mut fixture = Fixture::with_bucket(4096);
        let policy = format!(
            r#"{{"Statement": {{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::data/*", "Condition": {{{condition}}}}}}}"#
        );
        PolicyFile::of(&fixture.store(), &name()).unwrap().put(&policy).unwrap();
        for (request, passes) in
            [(Encryption::Unnamed, false), (kms(None, true), kms_passes), (aes256(), true)]
        {
            fixture.encryption = request;
            let outcome = try_create(&fixture.engine(), "a");
            assert_eq!(outcome.is_ok(), passes, "{condition}");
            if passes {
                std::fs::remove_file(stored(&fixture, "a")).unwrap();
            } else {
                assert!(matches!(refusal(outcome), EngineError::Denied(_)));
                assert!(!stored(&fixture, "a").exists());
            }
        }
    }
}

#[test]
fn row_a8_names_sizes_and_attributes_stand_in_the_store_in_clear() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "name", &[1; 100]);
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("name")).unwrap();
    match engine.set_xattr(&caller(), &item, OsStr::new("user.note"), b"clear", XattrMode::Set) {
        Ok(()) => {
            let node = rustix::fs::getxattr(stored(&fixture, "name"), "user.note", &mut [0; 5]);
            assert_eq!(node, Ok(5));
        }
        // A file system without extended attributes has none in clear either.
        Err(error) => {
            assert!(matches!(error, EngineError::Store(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP)))
        }
    }
    assert_eq!(header(&fixture, "name").state.size, 100);
}

#[test]
fn row_a9_and_f6_the_encryption_of_an_object_is_fixed_when_it_is_made() {
    let mut fixture = Fixture::with_bucket(4096);
    fixture.encryption = kms(None, true);
    put(&fixture.engine(), "a", &[1; 9000]);
    let before = header(&fixture, "a").identity;
    fixture.encryption = aes256();
    let engine = fixture.engine();
    let file = open(&engine, "a", WRITE).unwrap();
    file.write_at(9000, &[2; 9000]).unwrap();
    engine.close(file);
    drop(engine);
    assert_eq!(header(&fixture, "a").identity, before);
}

#[test]
fn row_a10_an_attribute_of_an_empty_file_is_its_header() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    engine.close(create(&engine, "a"));
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    let attribute = OsStr::new("user.s3.server-side-encryption");
    engine.set_xattr(&caller(), &item, attribute, b"aws:kms", XattrMode::Set).unwrap();
    drop((item, engine));
    assert_eq!(header(&fixture, "a").identity.mode, SseMode::Kms);
}

#[test]
fn row_b6_an_object_carries_every_wrapped_key_that_it_needs() {
    let (fixture, _) = keyed(true);
    put(&fixture.engine(), "a", b"content");
    let keks = stored(&fixture, ".eob/kek");
    for entry in std::fs::read_dir(keks).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(get(&fixture.engine(), "a").unwrap(), b"content");
}

#[test]
fn row_c11_a_rewrap_moves_an_object_to_another_key_and_away_from_the_first() {
    for bucket_key in [true, false] {
        let (fixture, first) = keyed(bucket_key);
        put(&fixture.engine(), "a", b"content");
        let second = keyring(&fixture).create_key(&NewKey::random()).unwrap();
        let to_key = Some(second.to_string().parse().unwrap());
        assert_eq!(rewrap(&fixture, &Rewrap { to_key, deep: true, ..Rewrap::default() }).failed, 0);
        change(&fixture, &first, StateChange::Disable);
        assert_eq!(get(&fixture.engine(), "a").unwrap(), b"content");
        change(&fixture, &second, StateChange::Disable);
        assert!(matches!(key_error(get(&fixture.engine(), "a")), KeyError::Disabled { .. }));
    }
}

/// The key section stands at 992 of the first page.
#[test]
fn row_d5_the_wrapped_key_of_one_object_opens_no_other() {
    for bucket_key in [true, false] {
        let (fixture, _) = keyed(bucket_key);
        let engine = fixture.engine();
        put(&engine, "a", b"one");
        put(&engine, "b", b"two");
        drop(engine);
        let (a, mut b) =
            (std::fs::read(stored(&fixture, "a")).unwrap(), std::fs::read(stored(&fixture, "b")).unwrap());
        b[992..2560].copy_from_slice(&a[992..2560]);
        std::fs::write(stored(&fixture, "b"), b).unwrap();
        let engine = fixture.engine();
        assert!(matches!(key_error(get(&engine, "b")), KeyError::Rejected { .. }), "{bucket_key}");
        assert_eq!(get(&engine, "a").unwrap(), b"one");
    }
}

#[test]
fn row_d7_a_copy_does_not_carry_the_context_of_its_source() {
    let (mut fixture, key) = keyed(true);
    fixture.encryption = kms_with(&key, true, &[("project", "attic")]);
    put(&fixture.engine(), "a", b"content");
    fixture.encryption = kms(Some(&key), true);
    let engine = fixture.engine();
    let (from, to) = (open(&engine, "a", READ).unwrap(), create(&engine, "b"));
    assert_eq!(engine.copy_range(&from, 0, &to, 0, 100).unwrap(), 7);
    engine.close(from);
    engine.close(to);
    assert_eq!(get(&engine, "b").unwrap(), b"content");
    drop(engine);
    let pairs =
        |file| header(&fixture, file).keys.find(RecordType::DataKey1).unwrap().context.pairs().count();
    assert_eq!((pairs("a"), pairs("b")), (1, 0));
}

#[test]
fn row_e5_bucket_keys_come_to_existing_objects_by_a_rewrap_alone() {
    let (mut fixture, key) = keyed(false);
    put(&fixture.engine(), "a", b"content");
    fixture.encryption = kms(Some(&key), true);
    put(&fixture.engine(), "b", b"x");
    assert!(!header(&fixture, "a").identity.bucket_key, "what exists stays as it is");
    let job = Rewrap { to_bucket_key: Some(true), deep: true, ..Rewrap::default() };
    assert_eq!(rewrap(&fixture, &job).failed, 0);
    assert!(header(&fixture, "a").identity.bucket_key);
    assert_eq!(get(&fixture.engine(), "a").unwrap(), b"content");
}

#[test]
fn row_e8_a_disabled_key_stops_its_bucket_key_at_once() {
    let (fixture, key) = keyed(true);
    let engine = fixture.engine();
    put(&engine, "a", b"x");
    assert_eq!(get(&engine, "a").unwrap(), b"x");
    change(&fixture, &key, StateChange::Disable);
    assert!(matches!(key_error(get(&engine, "a")), KeyError::Disabled { .. }));
    assert!(matches!(key_error(try_create(&engine, "b")), KeyError::Disabled { .. }));
    change(&fixture, &key, StateChange::Enable);
    assert_eq!(get(&engine, "a").unwrap(), b"x");
}

#[test]
fn row_f5_and_f11_without_the_customers_key_an_object_is_listed_and_left_by_jobs() {
    let mut fixture = with_customer_key(1);
    put(&fixture.engine(), "a", &[1; 5000]);
    fixture.customer_keys = Arc::default();
    fixture.encryption = aes256();
    let engine = fixture.engine();
    assert_eq!(engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1.size, 5000);
    assert!(matches!(key_error(get(&engine, "a")), KeyError::Unknown { .. }));
    let job =
        Reencrypt { selection: Selection::default(), encryption: aes256(), preserve: false, force: false };
    let totals = engine.reencrypt(&job, &mut Unheard).unwrap();
    assert_eq!((totals.skipped, totals.failed, totals.succeeded), (1, 0, 0));
}

#[test]
fn row_f7_a_copy_between_customer_keys_uses_the_key_of_each() {
    let mut fixture = with_customer_key(1);
    put(&fixture.engine(), "a", b"content");
    fixture.customer_keys = known(&[1, 2]);
    let engine = fixture.engine();
    let (from, to) = (open(&engine, "a", READ).unwrap(), create(&engine, "b"));
    engine.copy_range(&from, 0, &to, 0, 100).unwrap();
    engine.close(from);
    engine.close(to);
    drop(engine);
    fixture.customer_keys = known(&[2]);
    assert_eq!(get(&fixture.engine(), "b").unwrap(), b"content");
    assert!(get(&fixture.engine(), "a").is_err());
}

#[test]
fn row_g2_and_g3_two_layers_can_be_the_default_and_have_no_bucket_key() {
    let fixture = dual_layer();
    configure(&fixture, |encryption| encryption.default = DefaultEncryption::DualKms { key: None }).unwrap();
    put(&fixture.engine(), "a", b"content");
    let identity = header(&fixture, "a").identity;
    assert_eq!((identity.mode, identity.bucket_key), (SseMode::DualKms, false));
    assert_eq!(get(&fixture.engine(), "a").unwrap(), b"content");
}

#[test]
fn row_g4_two_layers_are_neither_source_nor_target_of_a_change_of_key() {
    let mut fixture = dual_layer();
    fixture.encryption = dsse();
    put(&fixture.engine(), "a", b"content");
    let before = std::fs::read(stored(&fixture, "a")).unwrap();
    let other = keyring(&fixture).create_key(&NewKey::random()).unwrap();
    let to_key = Some(other.to_string().parse().unwrap());
    let totals = rewrap(&fixture, &Rewrap { to_key, deep: true, ..Rewrap::default() });
    assert_eq!((totals.succeeded, totals.failed), (0, 0));
    assert_eq!(std::fs::read(stored(&fixture, "a")).unwrap(), before);
}

#[test]
fn row_h1_whatever_a_request_asks_for_only_ciphertext_reaches_the_store() {
    let (mut fixture, key) = keyed(true);
    let words = b"the same sixteen".repeat(600);
    for (file, request) in [("a", aes256()), ("b", kms(Some(&key), true)), ("c", kms(Some(&key), false))] {
        fixture.encryption = request;
        put(&fixture.engine(), file, &words);
        let bytes = std::fs::read(stored(&fixture, file)).unwrap();
        assert!(!bytes.windows(16).any(|window| window == b"the same sixteen"), "{file}");
    }
}

/// An object commits to its data key: the wrap of another key is found out before anything is decrypted.
#[test]
fn row_h3_another_data_key_under_a_valid_wrap_is_refused_by_the_commitment() {
    let (fixture, key) = keyed(false);
    put(&fixture.engine(), "a", b"content");
    let (id, service) = (header(&fixture, "a").identity.object, KeyService::from(keyring(&fixture)));
    let bucket = header(&fixture, "a").identity.bucket;
    let binding = crate::keys::Binding::data_key(bucket, id);
    let none = EncryptionContext::default();
    let wrap = |secret: &Secret<32>| service.wrap_key(key.as_str(), secret, &none, &binding).unwrap();
    let (mut bytes, mut old, mut new) =
        (std::fs::read(stored(&fixture, "a")).unwrap(), Vec::new(), Vec::new());
    header(&fixture, "a").keys.find(RecordType::DataKey1).unwrap().encode(&mut old);
    wrap(&Secret::random().unwrap()).encode(&mut new);
    assert_eq!(old.len(), new.len());
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    bytes[at..at + new.len()].copy_from_slice(&new);
    std::fs::write(stored(&fixture, "a"), bytes).unwrap();
    assert!(matches!(refusal(get(&fixture.engine(), "a")), EngineError::Integrity { .. }));
}
