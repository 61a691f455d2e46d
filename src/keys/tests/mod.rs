//! The key service over a keyring on disk, with a provider in memory; tests are named by the rows of S3's and KMS's
//! behaviour that they hold: B the modes, C the life cycle, N other accounts.

mod life_cycle;
mod naming;
mod permissions;
mod remote;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{fake::FakeMaster, *};
use crate::{
    crypto::Secret,
    envelope::{EncryptionContext, Id, WrappedKey},
};

/// A keyring directory, a clock that the test moves, and a provider called `cloud`.
struct Bench {
    root: tempfile::TempDir,
    clock: Arc<Hand>,
    cloud: Arc<FakeMaster>,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        create_key_file(&root.path().join("key")).unwrap();
        let bench =
            Self { root, clock: Arc::new(Hand(AtomicU64::new(START))), cloud: Arc::new(FakeMaster::new()) };
        let slots = [NewSlot::new("key", bench.unlock())];
        Keyring::create(bench.root.path(), Id::from_bytes([1; 16]), &slots).unwrap();
        bench
    }

    fn unlock(&self) -> Unlock {
        Unlock::KeyFile(self.root.path().join("key"))
    }

    /// The keyring as another process has it.
    fn keyring(&self) -> Keyring {
        Keyring::open(self.root.path(), &self.unlock()).unwrap().with_clock(self.clock.clone())
    }

    fn service(&self) -> KeyService {
        let providers: BTreeMap<String, Arc<dyn MasterKey>> =
            [("cloud".to_owned(), self.cloud.clone() as _)].into();
        KeyService::new(self.keyring(), providers, KeyScope::default())
    }
}

/// A clock that is set by hand.
struct Hand(AtomicU64);

impl Hand {
    fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn steady(&self) -> Duration {
        Duration::ZERO
    }
}

fn binding() -> Binding {
    Binding::bucket_key(Id::from_bytes([7; 16]))
}

fn wrap(service: &KeyService, key: &KeyId) -> Result<WrappedKey, KeyError> {
    service.wrap_key(key.as_str(), &Secret::copy_from(&[5; 32]), &EncryptionContext::default(), &binding())
}

fn opens(service: &KeyService, wrapped: &WrappedKey) -> Result<(), KeyError> {
    service.unwrap_key(wrapped, &binding()).map(|secret| assert_eq!(secret.expose(), &[5; 32]))
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// Later than anything that the system clock wrote into a fresh keyring matters for.
const START: u64 = 2_000_000_000;
