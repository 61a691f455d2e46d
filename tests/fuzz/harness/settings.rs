//! Settings files of buckets: as they are, and with their MAC put right.

use std::sync::LazyLock;

use serde_json::Value;
use strongroom::{
    crypto::hmac_sha256,
    engine::{DefaultEncryption, JournalMode, NewBucket, Settings},
    envelope::{EncryptionContext, Id},
    keys::{BucketRoot, Keyring, SERVICE_KEY},
    object::BlockSize,
};

use super::keyring::FIXTURE;

struct Original {
    keyring: Keyring,
    root: BucketRoot,
    settings: Settings,
    bytes: Vec<u8>,
}

static ORIGINAL: LazyLock<Original> = LazyLock::new(|| {
    let keyring = FIXTURE.keyring();
    let id = Id::from_bytes([3; 16]);
    let (root, wrapped) =
        BucketRoot::create(&keyring, SERVICE_KEY, id, &EncryptionContext::default()).unwrap();
    let new = NewBucket {
        default_encryption: DefaultEncryption::Aes256,
        block_size: BlockSize::DEFAULT,
        dual_layer: false,
        journal: JournalMode::On,
    };
    let settings = Settings::new(id, new, false);
    let bytes = settings.encode(&root, &wrapped);
    Original { keyring, root, settings, bytes }
});

/// Reads `data` as settings.
pub fn run(data: &[u8]) -> bool {
    let original = &*ORIGINAL;
    if let Ok(settings) = decode(data) {
        assert!(settings == original.settings, "altered settings were accepted");
    }
    with_mac(data).is_some_and(|bytes| decode(&bytes).is_ok())
}

fn decode(bytes: &[u8]) -> Result<Settings, strongroom::engine::SettingsError> {
    Settings::decode(bytes, |wrapped, id| BucketRoot::open(wrapped, id, &ORIGINAL.keyring))
        .map(|(settings, ..)| settings)
}

fn with_mac(data: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(data).ok()?;
    let fields = value.as_object_mut()?;
    fields.shift_remove("mac");
    let body = serde_json::to_vec(fields).unwrap();
    let mac = hmac_sha256(ORIGINAL.root.settings_mac_key().expose(), &[&body]);
    fields.insert("mac".to_owned(), hex::encode(mac).into());
    Some(serde_json::to_vec(&value).unwrap())
}

/// The settings of a new bucket.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![ORIGINAL.bytes.clone()]
}
