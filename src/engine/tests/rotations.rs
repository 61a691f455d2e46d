//! A master key that is rotated, here or behind our back: when new objects are under its new version, and what looking
//! for it costs.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use super::{
    super::{
        sealing::Sealing,
        wraps::{KeySources, Whom, Wraps},
    },
    *,
};
use crate::{
    envelope::{EncryptionContext, RecordType},
    keys::{Clock, KeyError, KeyId, KeyScope, MasterKey, Material, NewKey, fake::FakeMaster},
    store::{
        LocalStore,
        layout::{BUCKET_DIR, fixed},
    },
};

/// Steady seconds that the test moves; dates are those of the system.
#[derive(Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn unix_seconds(&self) -> u64 {
        crate::keys::SystemClock::new().unix_seconds()
    }
    fn steady(&self) -> Duration {
        Duration::from_secs(self.0.load(SeqCst))
    }
}

/// The wraps of a bucket under a key that a provider holds, with a clock of their own.
struct Bench {
    fixture: Fixture,
    bucket: Arc<Bucket>,
    cloud: Arc<FakeMaster>,
    clock: Arc<Hand>,
    key: KeyId,
    wraps: Wraps,
}

impl Bench {
    fn new() -> Self {
        let fixture = Fixture::with_bucket(4096);
        let engine = fixture.engine();
        let bucket = engine.bucket(&BucketName::parse("data").unwrap()).unwrap();
        drop(engine);
        let keyring =
            Keyring::open(&fixture.store().join(STORE_DIR), &Unlock::KeyFile(fixture.key_file())).unwrap();
        let material = Material::Remote { provider: "cloud".to_owned(), key: "theirs".to_owned() };
        let key = keyring.create_key(&NewKey { material, ..NewKey::random() }).unwrap();
        let (cloud, clock) = (Arc::new(FakeMaster::new()), Arc::new(Hand::default()));
        let providers: BTreeMap<String, Arc<dyn MasterKey>> =
            [("cloud".to_owned(), cloud.clone() as _)].into();
        let service = Arc::new(KeyService::new(keyring, providers, KeyScope::default()));
        let sources = KeySources { service, customers: Arc::default(), clock: clock.clone() };
        let root = LocalStore::open(&fixture.store()).unwrap().root();
        let (dir, _) = root.lookup(&fixed("data")).unwrap();
        let (private, _) = dir.lookup(&fixed(BUCKET_DIR)).unwrap();
        let wraps = Wraps::new(sources, bucket.id(), bucket.geometry(), private);
        Self { fixture, bucket, cloud, clock, key, wraps }
    }

    /// The version of the master key that a new object is under.
    fn create(&self) -> std::result::Result<u32, EngineError> {
        let context = EncryptionContext::default();
        let sealing = Sealing::Kms { key: self.key.clone(), bucket_key: true, context };
        let asker = self.bucket.asker(&PathBuf::new, Whom::Administrator);
        let new = self.wraps.new_object(&sealing, &asker)?;
        let embedded = new.key_section.find(RecordType::EmbeddedBucketKey).unwrap();
        Ok(embedded.key_version)
    }

    fn wait(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, SeqCst);
    }

    /// Wraps and unwraps, and looks at the version.
    fn cost(&self) -> (usize, usize) {
        (self.cloud.calls.load(SeqCst), self.cloud.looks.load(SeqCst))
    }

    /// Bucket keys under the remote key and under that of SSE-S3.
    fn bucket_keys(&self) -> usize {
        std::fs::read_dir(self.fixture.store().join("data/.eob/kek")).unwrap().count()
    }
}

#[test]
fn a_hundred_thousand_objects_cost_a_handful_of_calls_and_follow_a_rotation_within_an_hour() {
    let bench = Bench::new();
    let (hours, objects) = (10, 100_000);
    let mut versions = Vec::with_capacity(objects);
    for object in 0..objects {
        if object == objects / 2 + 1 {
            bench.cloud.rotate();
        }
        if object % (objects / (hours * 10)) == 0 {
            bench.wait(360);
        }
        versions.push(bench.create().unwrap());
    }
    let late = versions.iter().skip(objects / 2 + 1).position(|version| *version == 2).unwrap();
    assert!(late <= objects / hours, "an hour: {late}");
    assert!(versions[objects / 2 + 1 + late..].iter().all(|version| *version == 2));
    assert_eq!(bench.bucket_keys(), 3, "that of SSE-S3, the old one, and a single new one");
    let (calls, looks) = bench.cost();
    assert!(calls <= 2 * hours + 2, "{calls} wraps and unwraps");
    assert!(looks <= hours + 1, "{looks} looks");
}

#[test]
fn a_provider_that_cannot_tell_is_asked_all_the_same_and_its_bucket_key_stays() {
    let bench = Bench::new();
    bench.cloud.set_silent(true);
    assert_eq!(bench.create().unwrap(), 1);
    bench.cloud.rotate();
    for _ in 0..48 {
        bench.wait(3600);
        assert_eq!(bench.create().unwrap(), 1);
    }
    assert_eq!(bench.bucket_keys(), 2);
}

#[test]
fn an_outage_or_a_missing_right_leaves_the_key_that_wraps() {
    let bench = Bench::new();
    assert_eq!(bench.create().unwrap(), 1);
    bench.cloud.rotate();
    bench.wait(3600);
    let unavailable = KeyError::Unavailable { key: "theirs".into(), why: "no route".into() };
    bench.cloud.fail_with(Some(unavailable));
    assert_eq!(bench.create().unwrap(), 1);
    bench.cloud.fail_with(None);
    assert_eq!(bench.create().unwrap(), 1, "asked again in an hour only");
    bench.wait(3600);
    assert_eq!(bench.create().unwrap(), 2);
    let disabled = KeyError::Disabled { key: "theirs".into() };
    bench.cloud.fail_with(Some(disabled.clone()));
    bench.wait(3600);
    let refused = bench.create().unwrap_err();
    assert!(matches!(refused, EngineError::BucketKey(error) if error.to_string() == disabled.to_string()));
}

/// What is rotated here is known at once.
#[test]
fn a_rotation_of_a_key_of_the_keyring_reaches_the_next_object() {
    let fixture = Fixture::with_bucket(4096);
    let engine = fixture.engine();
    let version = |name: &str| {
        engine.close(create(&engine, name));
        let stored = std::fs::read(fixture.store().join("data").join(name)).unwrap();
        let header = crate::object::Header::decode(&stored).unwrap();
        header.keys.find(RecordType::EmbeddedBucketKey).unwrap().key_version
    };
    assert_eq!(version("before"), 1);
    let unlock = Unlock::KeyFile(fixture.key_file());
    Keyring::open(&fixture.store().join(STORE_DIR), &unlock).unwrap().rotate_service_key().unwrap();
    assert_eq!(version("after"), 2);
    assert_eq!(version("and on"), 2);
    assert_eq!(std::fs::read_dir(fixture.store().join("data/.eob/kek")).unwrap().count(), 2);
    for name in ["before", "after"] {
        engine.close(open(&engine, name, READ).unwrap());
    }
}
