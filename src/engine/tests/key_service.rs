//! When the key service is asked, what happens where it does not answer, and that nobody waits for it who need not.

use std::{collections::BTreeMap, fs, sync::atomic::Ordering::SeqCst};

use super::{
    super::wraps::Whom,
    encryption::{get, key_error, keyring, kms, name, put, try_create},
    *,
};
use crate::{
    envelope::EncryptionContext,
    keys::{KeyError, KeyId, KeyScope, KeyService, MasterKey, Material, NewKey, fake::FakeMaster},
};

/// A store with a key that a counting provider holds.
struct Remote {
    fixture: Fixture,
    provider: Arc<FakeMaster>,
    key: KeyId,
}

impl Remote {
    fn new() -> Self {
        let fixture = Fixture::with_bucket(4096);
        let material = Material::Remote { provider: "cloud".into(), key: "remote".into() };
        let key = keyring(&fixture).create_key(&NewKey { material, ..NewKey::random() }).unwrap();
        Self { fixture, provider: Arc::new(FakeMaster::new()), key }
    }

    fn engine(&mut self, bucket_key: bool) -> Engine {
        self.fixture.encryption = kms(Some(&self.key), bucket_key);
        let providers: BTreeMap<String, Arc<dyn MasterKey>> =
            [("cloud".to_owned(), self.provider.clone() as _)].into();
        let keys = KeyService::new(keyring(&self.fixture), providers, KeyScope::default());
        self.fixture.start_with(keys, false)
    }

    fn calls(&self) -> usize {
        self.provider.calls.load(SeqCst)
    }
}

#[test]
fn row_b10_an_unreachable_key_service_is_an_error_that_ends_and_the_engine_lives_on() {
    let mut remote = Remote::new();
    let engine = remote.engine(false);
    put(&engine, "before", b"x");
    let outage = KeyError::Unavailable { key: "remote".into(), why: "no route".into() };
    remote.provider.fail_with(Some(outage));
    assert!(matches!(key_error(get(&engine, "before")), KeyError::Unavailable { .. }));
    assert!(matches!(key_error(try_create(&engine, "x")), KeyError::Unavailable { .. }));
    assert!(engine.lookup(&data(&engine), OsStr::new("x")).is_err(), "nothing is left behind");
    remote.provider.fail_with(None);
    assert_eq!(get(&engine, "before").unwrap(), b"x");
}

#[test]
fn row_e1_a_hundred_thousand_objects_cost_a_handful_of_calls_to_the_key_service() {
    let mut remote = Remote::new();
    let engine = remote.engine(true);
    put(&engine, "first", b"x");
    let bucket = engine.bucket(&name()).unwrap();
    let sealing = super::super::sealing::Sealing::Kms {
        key: remote.key.clone(),
        bucket_key: true,
        context: EncryptionContext::default(),
    };
    let path = || PathBuf::from("x");
    for _ in 0..100_000 {
        bucket.key_generation();
        bucket.wraps().new_object(&sealing, &bucket.asker(&path, Whom::Administrator)).unwrap();
    }
    assert!(remote.calls() <= 3, "{} calls", remote.calls());
    drop((bucket, engine));
    // Another day: one call opens the bucket key again, for reading and for writing.
    let before = remote.calls();
    let engine = remote.engine(true);
    for at in 0..20 {
        put(&engine, &at.to_string(), b"x");
        assert_eq!(get(&engine, "first").unwrap(), b"x");
    }
    assert_eq!(remote.calls() - before, 1);
}

#[test]
fn row_e1_without_bucket_keys_each_object_asks_the_key_service() {
    let mut remote = Remote::new();
    let engine = remote.engine(false);
    let before = remote.calls();
    for at in 0..10 {
        put(&engine, &at.to_string(), b"x");
    }
    assert_eq!(remote.calls() - before, 10);
    assert_eq!(get(&engine, "0").unwrap(), b"x");
    assert_eq!(remote.calls() - before, 11);
}

/// The bucket key is not in memory, so that telling which master key it is under would take using that.
#[test]
fn row_n3_no_key_is_used_for_who_may_not_use_it() {
    let mut remote = Remote::new();
    put(&remote.engine(true), "a", b"secret");
    let policy = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": {{"NumericEquals": {{"aws:userid": {}}}}}}}}}"#,
        caller().uid
    );
    keyring(&remote.fixture).set_policy(&remote.key, Some(&policy)).unwrap();
    let engine = remote.engine(true);
    let (item, _) = engine.lookup(&data(&engine), OsStr::new("a")).unwrap();
    let before = remote.calls();
    let other = Caller { uid: 4_000_001, ..caller() };
    for _ in 0..2 {
        assert!(matches!(engine.open(&other, &item, READ), Err(EngineError::Denied(_))));
    }
    assert_eq!(remote.calls(), before, "a denial costs no call");
    assert_eq!(get(&engine, "a").unwrap(), b"secret");
    assert_eq!(remote.calls(), before + 1);
    assert!(matches!(engine.open(&other, &item, READ), Err(EngineError::Denied(_))));
}

/// A change of attributes and a link tell the size of the file, for which a file that a crash left unfinished is opened:
/// the gate of replacements was held meanwhile, and everybody who changed a name waited for the key service.
#[test]
fn the_gate_of_replacements_is_open_while_the_key_service_is_asked() {
    let mut remote = Remote::new();
    put(&remote.engine(false), "left", b"content");
    fs::write(remote.fixture.store().join("data/.eob/open"), "").unwrap();
    let engine = Arc::new(remote.engine(false));
    let (free, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::downgrade(&engine));
    let noted = free.clone();
    remote.provider.when_called(move || {
        let engine = asked.upgrade().expect("it asks");
        noted.lock().unwrap().push(engine.shared.replacing.is_free());
    });
    let (item, attr) = engine.lookup(&data(&engine), OsStr::new("left")).unwrap();
    assert_eq!((attr.size, free.lock().unwrap().len()), (7, 1), "looking takes a call of the key service");
    engine.link(&caller(), &item, &data(&engine), OsStr::new("again")).unwrap();
    let mode = SetAttr { mode: Some(0o600), ..SetAttr::NOTHING };
    engine.set_attr(&caller(), &item, None, &mode).unwrap();
    assert_eq!(*free.lock().unwrap(), [true; 3]);
}
