//! The encryption modes: which key protects an object, and who can still read it.

use super::*;
use crate::{
    crypto::Secret,
    envelope::{Provider, RecordType},
    keys::{
        CustomerKey, CustomerKeys, CustomerScope, KeyError, KeyId, KeyScope, KeyService, NewKey, StateChange,
    },
    object::{Header, SseMode},
};

fn headers(encryption: &str) -> EncryptionHeaders {
    EncryptionHeaders { encryption: Some(encryption.to_owned()), ..EncryptionHeaders::default() }
}

pub(super) fn kms(key: Option<&KeyId>, bucket_key: bool) -> Encryption {
    EncryptionHeaders {
        kms_key: key.map(ToString::to_string),
        bucket_key: Some(bucket_key),
        ..headers("aws:kms")
    }
    .check()
    .unwrap()
}

fn dsse() -> Encryption {
    headers("aws:kms:dsse").check().unwrap()
}

fn customer() -> Encryption {
    EncryptionHeaders { customer: true, ..EncryptionHeaders::default() }.check().unwrap()
}

/// The keyring of the store, opened by somebody else than the engine.
pub(super) fn keyring(fixture: &Fixture) -> Keyring {
    Keyring::open(&fixture.store().join(STORE_DIR), &Unlock::KeyFile(fixture.key_file())).unwrap()
}

fn change(fixture: &Fixture, key: &KeyId, change: StateChange) {
    keyring(fixture).change_state(key, None, change).unwrap();
}

pub(super) fn name() -> BucketName {
    BucketName::parse("data").unwrap()
}

/// Changes the configuration of the bucket, as the command does while the store is in use.
fn configure(fixture: &Fixture, change: impl Fn(&mut BucketEncryption)) -> Result<BucketEncryption> {
    let keys = KeyService::from(keyring(fixture));
    EncryptionFile::of(&fixture.store(), &name()).unwrap().change(&keys, &Mutex::default(), change)
}

fn dual_layer() -> Fixture {
    let fixture = Fixture::new();
    let new = NewBucket { dual_layer: true, ..bucket_of(4096) };
    fixture.engine().create_bucket(&name(), new, false).unwrap();
    fixture
}

/// A bucket that takes customer keys, on a fixture that knows the one of these bytes.
fn with_customer_key(byte: u8) -> Fixture {
    let mut fixture = Fixture::with_bucket(4096);
    fixture.encryption = customer();
    fixture.customer_keys = known(&[byte]);
    configure(&fixture, |encryption| encryption.blocked.clear()).unwrap();
    fixture
}

/// Customer keys, the last one current.
fn known(bytes: &[u8]) -> Arc<CustomerKeys> {
    let keys = CustomerKeys::default();
    for byte in bytes {
        keys.insert(CustomerScope::default(), customer_key(*byte), None);
    }
    Arc::new(keys)
}

fn customer_key(byte: u8) -> CustomerKey {
    CustomerKey::new(Secret::copy_from(&[byte; 32]))
}

pub(super) fn put(engine: &Engine, file: &str, content: &[u8]) {
    let file = create(engine, file);
    file.write_at(0, content).unwrap();
    engine.close(file);
}

pub(super) fn get(engine: &Engine, file: &str) -> Result<Vec<u8>> {
    let file = open(engine, file, READ)?;
    let content = read_all(&file, 1 << 20);
    engine.close(file);
    content
}

fn header(fixture: &Fixture, file: &str) -> Header {
    Header::decode(&std::fs::read(fixture.store().join("data").join(file)).unwrap()).unwrap()
}

fn refusal<T>(outcome: Result<T>) -> EngineError {
    outcome.err().expect("this is refused")
}

pub(super) fn try_create(engine: &Engine, file: &str) -> Result<()> {
    let (_, _, file) = engine.create(&caller(), &data(engine), OsStr::new(file), 0o644, WRITE)?;
    engine.close(file);
    Ok(())
}

/// The key error behind a refusal.
#[track_caller]
pub(super) fn key_error<T>(outcome: Result<T>) -> KeyError {
    match refusal(outcome) {
        EngineError::Key(error) | EngineError::BucketKey(crate::keys::BucketKeyError::Key(error)) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn row_a1_to_g1_every_mode_lives_in_one_bucket_and_reads_back() {
    let mut fixture = dual_layer();
    configure(&fixture, |encryption| encryption.blocked.clear()).unwrap();
    fixture.customer_keys = known(&[1]);
    let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
    let all = [
        ("s3", aes256(), SseMode::S3),
        ("kms", kms(Some(&key), true), SseMode::Kms),
        ("direct", kms(Some(&key), false), SseMode::Kms),
        ("default-key", kms(None, true), SseMode::Kms),
        ("dsse", dsse(), SseMode::DualKms),
        ("customer", customer(), SseMode::Customer),
    ];
    let content = |file: &str| file.repeat(70_000).into_bytes();
    for (file, request, _) in &all {
        fixture.encryption = request.clone();
        put(&fixture.engine(), file, &content(file));
    }
    let engine = fixture.engine();
    for (file, _, mode) in &all {
        let (header, stored) = (header(&fixture, file), fixture.store().join("data").join(file));
        assert_eq!(header.identity.mode, *mode, "{file}");
        assert_eq!(header.identity.bucket_key, ["s3", "kms", "default-key"].contains(file), "{file}");
        let (stored, clear) = (std::fs::read(stored).unwrap(), file.repeat(4));
        assert!(!stored.windows(clear.len()).any(|window| window == clear.as_bytes()), "{file}");
        assert_eq!(get(&engine, file).unwrap(), content(file), "{file}");
    }
    drop(engine);
    let report = fixture.read_only().verify(None, &mut |_| {}).unwrap();
    assert_eq!((report.objects, report.damaged.len(), report.keyless.len()), (6, 0, 0));
}

#[test]
fn every_mode_survives_being_written_to_and_no_mode_a_flipped_bit() {
    for (file, mode) in
        [("kms", kms(None, true)), ("direct", kms(None, false)), ("dsse", dsse()), ("customer", customer())]
    {
        let mut fixture = dual_layer();
        configure(&fixture, |encryption| encryption.blocked.clear()).unwrap();
        fixture.customer_keys = known(&[1]);
        fixture.encryption = mode;
        put(&fixture.engine(), file, &vec![1; 300_000]);
        // Any other request: what exists keeps its mode.
        fixture.encryption = aes256();
        let before = header(&fixture, file).identity;
        let engine = fixture.engine();
        let opened = open(&engine, file, WRITE).unwrap();
        opened.write_at(150_000, b"patched").unwrap();
        opened.sync(false).unwrap();
        engine.close(opened);
        drop(engine);
        assert_eq!(header(&fixture, file).identity, before, "{file}");
        let mut expected = vec![1; 300_000];
        expected[150_000..150_007].copy_from_slice(b"patched");
        assert_eq!(get(&fixture.engine(), file).unwrap(), expected, "{file}");
        let path = fixture.store().join("data").join(file);
        let good = std::fs::read(&path).unwrap();
        for at in [90, 1060, 2600, 5000, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(get(&fixture.engine(), file).is_err(), "{file}: bit at {at}");
        }
    }
}

#[test]
fn row_b2_the_key_aws_s3_is_made_at_its_first_use_and_not_before() {
    let mut fixture = Fixture::with_bucket(4096);
    let alias = crate::keys::AliasName::aws_s3();
    put(&fixture.engine(), "a", b"a");
    assert_eq!(keyring(&fixture).alias_target(&alias), None);
    fixture.encryption = kms(None, true);
    put(&fixture.engine(), "b", b"b");
    let made = keyring(&fixture).alias_target(&alias).unwrap();
    let header = header(&fixture, "b");
    let record = header.keys.find(RecordType::EmbeddedBucketKey).unwrap();
    assert_eq!(record.key_id, made.as_str().as_bytes(), "the resolved key stands in the header");
}

#[test]
fn row_b3_the_key_of_the_bucket_default_serves_requests_that_name_none() {
    let mut fixture = Fixture::with_bucket(4096);
    let alias: crate::keys::AliasName = "alias/ours".parse().unwrap();
    let key = keyring(&fixture).create_key(&NewKey { alias: Some(alias), ..NewKey::random() }).unwrap();
    let default = DefaultEncryption::Kms { key: Some("alias/ours".parse().unwrap()), bucket_key: false };
    configure(&fixture, |encryption| encryption.default = default.clone()).unwrap();
    for (file, request) in [
        ("unnamed", Encryption::Unnamed),
        ("sent", Encryption::BucketDefault),
        ("named", headers("aws:kms").check().unwrap()),
    ] {
        fixture.encryption = request;
        put(&fixture.engine(), file, b"x");
        let header = header(&fixture, file);
        assert_eq!(header.keys.find(RecordType::DataKey1).unwrap().key_id, key.as_str().as_bytes(), "{file}");
        assert!(!header.identity.bucket_key, "{file}: as the default says");
    }
}

#[test]
fn row_c2_a_disabled_key_stops_new_opens_at_once_and_names_still_work() {
    for bucket_key in [true, false] {
        let mut fixture = Fixture::with_bucket(4096);
        let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
        fixture.encryption = kms(Some(&key), bucket_key);
        let engine = fixture.engine();
        put(&engine, "a", b"content");
        put(&engine, "b", b"");
        let held = open(&engine, "a", WRITE).unwrap();
        change(&fixture, &key, StateChange::Disable);
        for refused in
            [get(&engine, "a").map(|_| ()), get(&engine, "b").map(|_| ()), try_create(&engine, "c")]
        {
            assert!(matches!(key_error(refused), KeyError::Disabled { .. }), "bucket key: {bucket_key}");
        }
        assert_eq!(read_all(&held, 100).unwrap(), b"content", "what is open goes on");
        assert_eq!(engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1.size, 7);
        let (dir, mode) = (data(&engine), crate::store::RenameMode::Replace);
        engine.rename(&caller(), (&dir, OsStr::new("b")), (&dir, OsStr::new("d")), mode).unwrap();
        engine.unlink(&caller(), &dir, OsStr::new("d")).unwrap();
        change(&fixture, &key, StateChange::Enable);
        assert_eq!(get(&engine, "a").unwrap(), b"content");
        engine.close(held);
    }
}

#[test]
fn row_c3_a_key_that_waits_for_its_deletion_says_so() {
    let mut fixture = Fixture::with_bucket(4096);
    let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
    fixture.encryption = kms(Some(&key), true);
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    change(&fixture, &key, StateChange::ScheduleDeletion { days: 7 });
    assert!(matches!(key_error(get(&engine, "a")), KeyError::PendingDeletion { .. }));
    let report = engine.verify(None, &mut |_| {}).unwrap();
    assert_eq!((report.damaged.len(), report.keyless.len()), (0, 1), "its key is missing, it is not damaged");
}

#[test]
fn row_c5_a_revoked_key_cuts_off_what_is_open_until_it_is_usable_again() {
    let mut fixture = Fixture::with_bucket(4096);
    let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
    fixture.encryption = kms(Some(&key), true);
    let engine = fixture.engine();
    let held = create(&engine, "a");
    held.write_at(0, b"content").unwrap();
    change(&fixture, &key, StateChange::Disable);
    let why = KeyError::Disabled { key: key.to_string() };
    assert_eq!(engine.revoke_key(&caller(), &key, &why).unwrap(), 1);
    assert!(matches!(key_error(read_all(&held, 9)), KeyError::Disabled { .. }));
    assert!(matches!(key_error(held.write_at(0, b"x")), KeyError::Disabled { .. }));
    change(&fixture, &key, StateChange::Enable);
    assert_eq!(get(&engine, "a").unwrap(), b"content", "what was written before is stored");
    assert_eq!(read_all(&held, 9).unwrap(), b"content");
    engine.close(held);
}

#[test]
fn row_c7_after_a_rotation_old_objects_read_and_new_ones_use_the_new_version() {
    let mut fixture = Fixture::with_bucket(4096);
    let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
    fixture.encryption = kms(Some(&key), false);
    let engine = fixture.engine();
    put(&engine, "old", b"old");
    keyring(&fixture).rotate_key(&key).unwrap();
    put(&engine, "new", b"new");
    let version = |file| header(&fixture, file).keys.find(RecordType::DataKey1).unwrap().key_version;
    assert_eq!((version("old"), version("new")), (1, 2));
    assert_eq!(
        (get(&engine, "old").unwrap(), get(&engine, "new").unwrap()),
        (b"old".to_vec(), b"new".to_vec())
    );
}

#[test]
fn row_d2_and_d6_the_context_stands_in_the_clear_and_a_wrong_one_never_decrypts() {
    for bucket_key in [true, false] {
        let mut fixture = Fixture::with_bucket(4096);
        let context = [("dept".to_owned(), "finance".to_owned())].into();
        let named = EncryptionHeaders { context, bucket_key: Some(bucket_key), ..headers("aws:kms") };
        fixture.encryption = named.check().unwrap();
        put(&fixture.engine(), "a", b"content");
        let path = fixture.store().join("data/a");
        let stored = std::fs::read(&path).unwrap();
        let at = stored.windows(7).position(|window| window == b"finance").expect("it is in the clear");
        assert_eq!(get(&fixture.engine(), "a").unwrap(), b"content");
        let mut wrong = stored.clone();
        wrong[at] ^= 1;
        fix_key_section(&mut wrong);
        std::fs::write(&path, &wrong).unwrap();
        let refused = key_error(get(&fixture.engine(), "a"));
        assert!(matches!(refused, KeyError::Rejected { .. }), "{refused}");
    }
}

#[test]
fn row_d3_a_context_that_names_another_object_is_refused_and_leaves_nothing() {
    let mut fixture = Fixture::with_bucket(4096);
    let context = [("aws:s3:arn".to_owned(), "arn:aws:s3:::data/right".to_owned())].into();
    fixture.encryption = EncryptionHeaders { context, ..headers("aws:kms") }.check().unwrap();
    let engine = fixture.engine();
    try_create(&engine, "right").unwrap();
    let refused = refusal(try_create(&engine, "wrong"));
    assert!(matches!(refused, EngineError::Request(RequestError::ForeignArn { .. })), "{refused}");
    assert!(engine.lookup(&data(&engine), OsStr::new("wrong")).is_err());
    // Not bound to the path: a renamed object is read as before.
    let (dir, mode) = (data(&engine), crate::store::RenameMode::Replace);
    engine.rename(&caller(), (&dir, OsStr::new("right")), (&dir, OsStr::new("moved")), mode).unwrap();
    assert_eq!(get(&engine, "moved").unwrap(), b"");
}

#[test]
fn a_context_that_does_not_fit_into_the_header_is_refused() {
    let mut fixture = Fixture::with_bucket(4096);
    for (len, fits) in [(500, true), (2000, false)] {
        let context = [("k".to_owned(), "v".repeat(len))].into();
        fixture.encryption = EncryptionHeaders { context, ..headers("aws:kms") }.check().unwrap();
        let outcome = try_create(&fixture.engine(), &len.to_string());
        assert_eq!(outcome.is_ok(), fits, "{len}");
    }
}

#[test]
fn row_e7_each_master_key_has_bucket_keys_of_its_own() {
    let mut fixture = Fixture::with_bucket(4096);
    let ring = keyring(&fixture);
    let (one, two) =
        (ring.create_key(&NewKey::random()).unwrap(), ring.create_key(&NewKey::random()).unwrap());
    let mut used = std::collections::BTreeSet::new();
    for (file, request) in [
        ("a", kms(Some(&one), true)),
        ("b", kms(Some(&one), true)),
        ("c", kms(Some(&two), true)),
        ("d", aes256()),
    ] {
        fixture.encryption = request;
        put(&fixture.engine(), file, b"x");
        used.insert(header(&fixture, file).keys.find(RecordType::DataKey1).unwrap().key_id.clone());
    }
    assert_eq!(used.len(), 3);
}

#[test]
fn row_f4_a_missing_customer_key_is_unknown_a_wrong_one_rejected_and_names_need_none() {
    let mut fixture = with_customer_key(1);
    put(&fixture.engine(), "a", b"content");
    fixture.customer_keys = known(&[]);
    let engine = fixture.engine();
    assert!(matches!(key_error(get(&engine, "a")), KeyError::Unknown { .. }));
    assert!(matches!(key_error(try_create(&engine, "x")), KeyError::Unknown { .. }));
    drop(engine);
    fixture.customer_keys = known(&[2]);
    let engine = fixture.engine();
    assert!(matches!(key_error(get(&engine, "a")), KeyError::Rejected { .. }));
    let report = engine.verify(None, &mut |_| {}).unwrap();
    assert_eq!((report.damaged.len(), report.keyless.len()), (0, 1));
    assert_eq!(engine.lookup(&data(&engine), OsStr::new("a")).unwrap().1.size, 7);
    let (dir, mode) = (data(&engine), crate::store::RenameMode::Replace);
    engine.rename(&caller(), (&dir, OsStr::new("a")), (&dir, OsStr::new("b")), mode).unwrap();
    engine.unlink(&caller(), &dir, OsStr::new("b")).unwrap();
}

#[test]
fn row_f3_and_f8_older_keys_of_the_history_read_and_the_current_one_writes() {
    let mut fixture = with_customer_key(1);
    put(&fixture.engine(), "old", b"old");
    fixture.customer_keys = known(&[1, 2]);
    let engine = fixture.engine();
    put(&engine, "new", b"new");
    assert_eq!(get(&engine, "old").unwrap(), b"old");
    drop(engine);
    fixture.customer_keys = known(&[2]);
    let engine = fixture.engine();
    assert_eq!(get(&engine, "new").unwrap(), b"new");
    assert!(get(&engine, "old").is_err());
}

#[test]
fn a_customer_key_of_one_user_does_not_open_for_another_what_he_has_open() {
    let mut fixture = with_customer_key(1);
    put(&fixture.engine(), "a", b"content");
    let keys = CustomerKeys::default();
    let scope = CustomerScope { uid: Some(caller().uid), ..CustomerScope::default() };
    keys.insert(scope, customer_key(1), None);
    fixture.customer_keys = Arc::new(keys);
    let engine = fixture.engine();
    let held = open(&engine, "a", READ).unwrap();
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    let other = Caller { uid: caller().uid + 1, ..caller() };
    assert!(matches!(key_error(engine.open(&other, &item, READ)), KeyError::Unknown { .. }));
    assert_eq!(read_all(&held, 9).unwrap(), b"content");
    engine.close(held);
}

#[test]
fn row_f10_customer_keys_are_blocked_on_a_new_bucket_until_they_are_unblocked() {
    let mut fixture = Fixture::with_bucket(4096);
    fixture.encryption = customer();
    fixture.customer_keys = known(&[1]);
    let engine = fixture.engine();
    let refused = refusal(try_create(&engine, "a"));
    assert!(matches!(refused, EngineError::Blocked { kind: EncryptionType::Customer, .. }), "{refused}");
    assert!(engine.lookup(&data(&engine), OsStr::new("a")).is_err());
    configure(&fixture, |encryption| encryption.blocked.clear()).unwrap();
    put(&engine, "a", b"content");
    configure(&fixture, |encryption| encryption.blocked.extend([EncryptionType::Customer])).unwrap();
    assert_eq!(get(&engine, "a").unwrap(), b"content", "reading is not affected");
    assert!(matches!(refusal(open(&engine, "a", WRITE)), EngineError::Blocked { .. }));
}

#[test]
fn row_g1_two_layers_depend_on_the_kms_key_and_on_the_service_key() {
    let mut fixture = dual_layer();
    let key = keyring(&fixture).create_key(&NewKey::random()).unwrap();
    let named = EncryptionHeaders { kms_key: Some(key.to_string()), ..headers("aws:kms:dsse") };
    fixture.encryption = named.check().unwrap();
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    let header = header(&fixture, "a");
    let record = |kind| header.keys.find(kind).unwrap();
    assert_eq!(record(RecordType::DataKey1).key_id, key.as_str().as_bytes());
    assert_eq!(record(RecordType::DataKey2).provider, Provider::BucketKey);
    assert_eq!(record(RecordType::EmbeddedBucketKey).key_id, b"service");
    change(&fixture, &key, StateChange::Disable);
    assert!(matches!(key_error(get(&engine, "a")), KeyError::Disabled { .. }));
    drop(engine);
    // Without the outer layer's record the object does not open as one of a single layer.
    change(&fixture, &key, StateChange::Enable);
    let path = fixture.store().join("data/a");
    let mut altered = std::fs::read(&path).unwrap();
    (altered[10], altered[13]) = (0, 2);
    std::fs::write(&path, &altered).unwrap();
    assert!(get(&fixture.engine(), "a").is_err());
}

#[test]
fn row_g1_two_layers_are_refused_in_a_bucket_without_room_and_single_layers_taken_with_it() {
    let mut fixture = Fixture::with_bucket(4096);
    fixture.encryption = dsse();
    let refused = refusal(try_create(&fixture.engine(), "a"));
    assert!(refused.to_string().contains("--dual-layer"), "{refused}");
    let default = DefaultEncryption::DualKms { key: None };
    let refused = refusal(configure(&fixture, |encryption| encryption.default = default.clone()));
    assert!(matches!(refused, EngineError::Configuration(ConfigurationError::NotDual)), "{refused}");
    let fixture = dual_layer();
    put(&fixture.engine(), "single", &vec![7; 200_000]);
    assert_eq!(get(&fixture.engine(), "single").unwrap(), vec![7; 200_000]);
}

#[test]
fn row_i2_and_i6_a_changed_default_touches_new_objects_only_also_of_an_engine_at_work() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "before", b"before");
    let kms = DefaultEncryption::Kms { key: None, bucket_key: true };
    configure(&fixture, |encryption| encryption.default = kms.clone()).unwrap();
    put(&engine, "after", b"after");
    let mode = |file| header(&fixture, file).identity.mode;
    assert_eq!((mode("before"), mode("after")), (SseMode::S3, SseMode::Kms));
    // Starting over is a PUT, and follows the default.
    let file = open(&engine, "before", OpenFlags { truncate: true, ..WRITE }).unwrap();
    file.write_at(0, b"again").unwrap();
    engine.close(file);
    configure(&fixture, |encryption| encryption.default = DefaultEncryption::Aes256).unwrap();
    put(&engine, "last", b"last");
    drop(engine);
    assert_eq!((mode("before"), mode("last")), (SseMode::Kms, SseMode::S3));
    assert_eq!(get(&fixture.engine(), "before").unwrap(), b"again");
}

#[test]
fn row_i7_each_blocked_type_is_refused_for_writing_however_it_came_about() {
    let mut fixture = dual_layer();
    fixture.customer_keys = known(&[1]);
    for (kind, request) in [
        (EncryptionType::Aes256, aes256()),
        (EncryptionType::Kms, kms(None, true)),
        (EncryptionType::DualKms, dsse()),
        (EncryptionType::Customer, customer()),
        (EncryptionType::None, Encryption::Unnamed),
    ] {
        let other = if kind == EncryptionType::Aes256 {
            DefaultEncryption::Kms { key: None, bucket_key: true }
        } else {
            DefaultEncryption::Aes256
        };
        configure(&fixture, |encryption| {
            *encryption = BucketEncryption { default: other.clone(), blocked: [].into() }
        })
        .unwrap();
        if kind == EncryptionType::None {
            configure(&fixture, |encryption| encryption.default = DefaultEncryption::None).unwrap();
        }
        fixture.encryption = request;
        let engine = fixture.engine();
        try_create(&engine, kind.name().replace(':', "-").as_str()).unwrap();
        let blocked = configure(&fixture, |encryption| encryption.blocked.extend([kind]));
        // A default cannot be blocked; there is no other way to a plain object.
        assert_eq!(blocked.is_err(), kind == EncryptionType::None);
        if kind != EncryptionType::None {
            let refused = refusal(try_create(&engine, "refused"));
            assert!(
                matches!(refused, EngineError::Blocked { kind: found, .. } if found == kind),
                "{refused}"
            );
        }
    }
}

#[test]
fn a_default_with_a_key_that_does_not_exist_is_refused_when_it_is_set() {
    let fixture = Fixture::with_bucket(4096);
    let default = DefaultEncryption::Kms { key: Some("alias/nobody".parse().unwrap()), bucket_key: true };
    let refused = refusal(configure(&fixture, |encryption| encryption.default = default.clone()));
    assert!(matches!(refused, EngineError::Key(KeyError::Unknown { .. })), "{refused}");
}

#[test]
fn altered_settings_stop_writing_and_leave_reading() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    let path = fixture.store().join("data/.eob/bucket");
    let text = std::fs::read_to_string(&path).unwrap().replace("SSE-C", "aws:kms");
    std::fs::write(&path, text).unwrap();
    let refused = refusal(try_create(&engine, "b"));
    assert!(matches!(refused, EngineError::Bucket { .. }), "{refused}");
    assert_eq!(get(&engine, "a").unwrap(), b"content");
}

fn deny_puts(fixture: &Fixture, condition: &str) {
    let policy = format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::data/*", "Condition": {condition}}}}}"#
    );
    PolicyFile::of(&fixture.store(), &name()).unwrap().put(&policy).unwrap();
}

/// Creates a file with this request, and opens it for writing under no request at all.
fn try_put(fixture: &mut Fixture, request: Encryption) -> Result<()> {
    fixture.encryption = request;
    let engine = fixture.engine();
    try_create(&engine, "x")?;
    engine.unlink(&caller(), &data(&engine), OsStr::new("x"))
}

#[test]
fn row_b12_and_j2_a_policy_sees_the_effective_key_wherever_it_comes_from() {
    let mut fixture = Fixture::with_bucket(4096);
    let ring = keyring(&fixture);
    let (right, wrong) =
        (ring.create_key(&NewKey::random()).unwrap(), ring.create_key(&NewKey::random()).unwrap());
    let arn = KeyScope::default().key_arn(&right);
    let condition = format!(
        r#"{{"ArnNotEqualsIfExists": {{"s3:x-amz-server-side-encryption-aws-kms-key-id": "{arn}"}}}}"#
    );
    deny_puts(&fixture, &condition);
    assert!(matches!(refusal(try_put(&mut fixture, Encryption::Unnamed)), EngineError::Denied(_)));
    let default = DefaultEncryption::Kms { key: Some(right.to_string().parse().unwrap()), bucket_key: true };
    configure(&fixture, |encryption| encryption.default = default.clone()).unwrap();
    try_put(&mut fixture, Encryption::Unnamed).unwrap();
    try_put(&mut fixture, kms(Some(&right), false)).unwrap();
    for denied in [kms(Some(&wrong), true), aes256()] {
        assert!(matches!(refusal(try_put(&mut fixture, denied)), EngineError::Denied(_)));
    }
    // What exists is judged by the key that it has.
    fixture.encryption = Encryption::Unnamed;
    let engine = fixture.engine();
    put(&engine, "a", b"content");
    engine.close(open(&engine, "a", WRITE).unwrap());
    let (dir, mode) = (data(&engine), crate::store::RenameMode::Replace);
    engine.rename(&caller(), (&dir, OsStr::new("a")), (&dir, OsStr::new("b")), mode).unwrap();
}

#[test]
fn row_j1_a_policy_sees_the_literal_header_and_row_f12_the_algorithm_of_a_customer_key() {
    let mut fixture = with_customer_key(1);
    deny_puts(&fixture, r#"{"Null": {"s3:x-amz-server-side-encryption": "true"}}"#);
    for denied in [Encryption::Unnamed, customer()] {
        assert!(matches!(refusal(try_put(&mut fixture, denied)), EngineError::Denied(_)));
    }
    for allowed in [aes256(), Encryption::BucketDefault, kms(None, true)] {
        try_put(&mut fixture, allowed).unwrap();
    }
    deny_puts(&fixture, r#"{"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}}"#);
    assert!(matches!(refusal(try_put(&mut fixture, customer())), EngineError::Denied(_)));
    try_put(&mut fixture, aes256()).unwrap();
}

/// Puts the checksum of the key section right.
fn fix_key_section(object: &mut [u8]) {
    let section = &mut object[1024..2560];
    let used = u32::from_be_bytes(section[8..12].try_into().unwrap()) as usize;
    let crc = crate::crypto::crc32c(&section[..used - 4]);
    section[used - 4..used].copy_from_slice(&crc.to_be_bytes());
}
