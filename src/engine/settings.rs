//! What is fixed or configured about a bucket: the file `bucket` in its reserved directory.
//!
//! JSON. The MAC covers every other field under a key derived from the bucket's root secret, so that nobody without
//! the master key can weaken a setting. Id, geometry and journal are for good; the encryption configuration may change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::encryption::EncryptionType;
use crate::{
    crypto,
    envelope::{Id, WrappedKey},
    keys::{BucketRoot, KeyName},
    object::{BlockSize, Geometry},
};

/// What happens to an object whose request names no encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "algorithm", deny_unknown_fields)]
pub enum DefaultEncryption {
    /// SSE-S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// SSE-KMS.
    #[serde(rename = "aws:kms")]
    Kms {
        /// The key; `alias/aws/s3` without one. An alias is followed anew for each object.
        #[serde(with = "key_name")]
        key: Option<KeyName>,
        /// Whether data keys are wrapped by bucket keys unless the request says otherwise.
        bucket_key: bool,
    },
    /// DSSE-KMS, in buckets with room for two layers.
    #[serde(rename = "aws:kms:dsse")]
    DualKms {
        /// The key, as for SSE-KMS.
        #[serde(with = "key_name")]
        key: Option<KeyName>,
    },
    /// It is stored as it is.
    #[serde(rename = "none")]
    None,
}

impl DefaultEncryption {
    /// The default called `algorithm`; a key or a bucket-key setting only where that has one.
    pub fn new(
        algorithm: EncryptionType,
        key: Option<KeyName>,
        bucket_key: Option<bool>,
    ) -> Result<Self, ConfigurationError> {
        let what = key.as_ref().map(|_| "a KMS key").or(bucket_key.map(|_| "a bucket-key setting"));
        Ok(match algorithm {
            EncryptionType::Kms => Self::Kms { key, bucket_key: bucket_key.unwrap_or(true) },
            EncryptionType::DualKms if bucket_key.is_some() => {
                return Err(ConfigurationError::BucketKeyForDual);
            }
            EncryptionType::DualKms => Self::DualKms { key },
            EncryptionType::Customer => return Err(ConfigurationError::CustomerDefault),
            EncryptionType::Aes256 | EncryptionType::None => match what {
                Some(what) => return Err(ConfigurationError::NeedsKms { what }),
                None if algorithm == EncryptionType::Aes256 => Self::Aes256,
                None => Self::None,
            },
        })
    }

    /// The encryption that it stands for.
    pub fn kind(&self) -> EncryptionType {
        match self {
            Self::Aes256 => EncryptionType::Aes256,
            Self::Kms { .. } => EncryptionType::Kms,
            Self::DualKms { .. } => EncryptionType::DualKms,
            Self::None => EncryptionType::None,
        }
    }

    /// The value of the `x-amz-server-side-encryption` header that it stands for.
    pub fn header(&self) -> Option<&'static str> {
        self.kind().header()
    }

    /// The key that it names.
    pub fn key(&self) -> Option<&KeyName> {
        match self {
            Self::Kms { key, .. } | Self::DualKms { key } => key.as_ref(),
            Self::Aes256 | Self::None => None,
        }
    }
}

/// What a bucket does with requests for encryption. Changes touch new objects only.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEncryption {
    /// Encryption of objects whose request names none.
    pub default: DefaultEncryption,
    /// What no object may be written with.
    pub blocked: BTreeSet<EncryptionType>,
}

impl BucketEncryption {
    /// That of a new bucket: customer keys are blocked, as on S3.
    pub fn new(default: DefaultEncryption) -> Self {
        Self { default, blocked: [EncryptionType::Customer].into() }
    }

    /// Whether it makes sense in a bucket of this geometry: a default that is not blocked and that has the layers it needs.
    pub fn check(&self, geometry: &Geometry) -> Result<(), ConfigurationError> {
        let kind = self.default.kind();
        if self.blocked.contains(&kind) {
            return Err(ConfigurationError::BlockedDefault(kind));
        }
        if kind == EncryptionType::DualKms && !geometry.wide() {
            return Err(ConfigurationError::NotDual);
        }
        Ok(())
    }
}

/// Why an encryption configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// Something that only the KMS modes have.
    #[error("{what} is given, but the encryption is not `aws:kms`: name that, or leave it out")]
    NeedsKms {
        /// What is given.
        what: &'static str,
    },
    /// Bucket keys for the mode that has none.
    #[error("bucket keys do not go with `aws:kms:dsse`: leave the setting out")]
    BucketKeyForDual,
    /// SSE-C as default.
    #[error("customer keys (SSE-C) cannot be a default: nobody would bring the key; name another encryption")]
    CustomerDefault,
    /// The default would refuse every request that names nothing.
    #[error("`{0}` is blocked in this bucket and cannot be its default: unblock it, or choose another")]
    BlockedDefault(EncryptionType),
    /// No room for a second layer.
    #[error("the bucket has no room for a second layer: make one with `bucket create --dual-layer`")]
    NotDual,
}

/// Whether commits of synced objects go through a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JournalMode {
    /// They do: what was synced survives a power cut, whatever was being overwritten.
    #[default]
    On,
    /// They are written in place, as other encrypting file systems do: for scratch data.
    Off,
}

/// What a new bucket is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBucket {
    /// Encryption of objects whose request names none.
    pub default_encryption: DefaultEncryption,
    /// Block size of all its objects, for good.
    pub block_size: BlockSize,
    /// Whether its objects have room for two layers (DSSE), for good.
    pub dual_layer: bool,
    /// Whether it has a journal.
    pub journal: JournalMode,
}

/// The settings of a bucket, authentic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Identity, part of every key of the bucket.
    pub id: Id,
    /// What becomes of requests for encryption.
    pub encryption: BucketEncryption,
    /// Whether plain objects may be here; without it a file without header is damage.
    pub plaintext_allowed: bool,
    /// Layout of all objects.
    pub geometry: Geometry,
    /// Whether commits go through a journal.
    pub journal: JournalMode,
}

/// The file, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    bucket_id: Id,
    block_size: u64,
    wide: bool,
    default_encryption: DefaultEncryption,
    blocked_encryption: BTreeSet<EncryptionType>,
    plaintext_allowed: bool,
    journal: JournalMode,
    root: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mac: String,
}

/// The file of version 1: two defaults, and nothing blocked but what did not exist.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstFile {
    format: String,
    version: u32,
    bucket_id: Id,
    block_size: u64,
    wide: bool,
    default_encryption: FirstDefault,
    plaintext_allowed: bool,
    journal: JournalMode,
    root: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mac: String,
}

#[derive(Serialize, Deserialize)]
enum FirstDefault {
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "none")]
    None,
}

/// What tells one version of the file from another.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// Why a settings file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not a settings file.
    #[error(
        "the settings file is damaged ({0}): restore `.eob/bucket` of this bucket from a copy of the store"
    )]
    Damaged(String),
    /// From the future.
    #[error("the settings file has version {0}: use a newer strongroom")]
    Version(u32),
    /// Altered, or of another store.
    #[error("the settings file was altered: its MAC does not match")]
    Mac,
    /// The root secret could not be unwrapped.
    #[error(transparent)]
    Key(#[from] crate::keys::KeyError),
}

/// Longest settings file, in bytes.
pub(super) const MAX_SETTINGS: usize = 64 * 1024;
const FORMAT: &str = "strongroom-bucket";
const VERSION: u32 = 2;
const FIRST_VERSION: u32 = 1;

impl Settings {
    /// Settings of a new bucket.
    pub fn new(id: Id, new: NewBucket, plaintext_allowed: bool) -> Self {
        Self {
            id,
            plaintext_allowed: plaintext_allowed || new.default_encryption == DefaultEncryption::None,
            encryption: BucketEncryption::new(new.default_encryption),
            geometry: Geometry::new(new.block_size, new.dual_layer),
            journal: new.journal,
        }
    }

    /// The content of the file.
    pub fn encode(&self, root: &BucketRoot, wrapped_root: &WrappedKey) -> Vec<u8> {
        let mut record = Vec::new();
        wrapped_root.encode(&mut record);
        let mut file = File {
            format: FORMAT.to_owned(),
            version: VERSION,
            bucket_id: self.id,
            block_size: self.geometry.block_size(),
            wide: self.geometry.wide(),
            default_encryption: self.encryption.default.clone(),
            blocked_encryption: self.encryption.blocked.clone(),
            plaintext_allowed: self.plaintext_allowed,
            journal: self.journal,
            root: hex::encode(record),
            mac: String::new(),
        };
        file.mac = hex::encode(mac(&file, root));
        let mut bytes = serde_json::to_vec_pretty(&file).expect("plain fields always serialise");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the file; `open` unwraps the root secret of the bucket it names, which is handed back with its wrap.
    pub fn decode(
        bytes: &[u8],
        open: impl FnOnce(&WrappedKey, Id) -> Result<BucketRoot, crate::keys::KeyError>,
    ) -> Result<(Self, BucketRoot, WrappedKey), SettingsError> {
        let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
        if head.format != FORMAT {
            return Err(damaged(format!("its format is `{}`", head.format)));
        }
        match head.version {
            VERSION => {
                let mut file: File = serde_json::from_slice(bytes).map_err(damaged)?;
                let proof = std::mem::take(&mut file.mac);
                let (root, wrapped) = prove(&file, (&file.root, file.bucket_id), &proof, open)?;
                Ok((file.read()?, root, wrapped))
            }
            FIRST_VERSION => {
                let mut file: FirstFile = serde_json::from_slice(bytes).map_err(damaged)?;
                let proof = std::mem::take(&mut file.mac);
                let (root, wrapped) = prove(&file, (&file.root, file.bucket_id), &proof, open)?;
                Ok((File::from(file).read()?, root, wrapped))
            }
            other => Err(SettingsError::Version(other)),
        }
    }
}

impl File {
    fn read(self) -> Result<Settings, SettingsError> {
        let block = BlockSize::from_bytes(self.block_size).ok_or_else(|| damaged("block size"))?;
        Ok(Settings {
            id: self.bucket_id,
            encryption: BucketEncryption {
                default: self.default_encryption,
                blocked: self.blocked_encryption,
            },
            plaintext_allowed: self.plaintext_allowed,
            geometry: Geometry::new(block, self.wide),
            journal: self.journal,
        })
    }
}

impl From<FirstFile> for File {
    fn from(first: FirstFile) -> Self {
        let default = match first.default_encryption {
            FirstDefault::Aes256 => DefaultEncryption::Aes256,
            FirstDefault::None => DefaultEncryption::None,
        };
        let BucketEncryption { default, blocked } = BucketEncryption::new(default);
        Self {
            format: first.format,
            version: VERSION,
            bucket_id: first.bucket_id,
            block_size: first.block_size,
            wide: first.wide,
            default_encryption: default,
            blocked_encryption: blocked,
            plaintext_allowed: first.plaintext_allowed,
            journal: first.journal,
            root: first.root,
            mac: String::new(),
        }
    }
}

/// Unwraps the root secret and checks that `file`, whose MAC was taken out, is authentic.
fn prove(
    file: &impl Serialize,
    (record, id): (&str, Id),
    proof: &str,
    open: impl FnOnce(&WrappedKey, Id) -> Result<BucketRoot, crate::keys::KeyError>,
) -> Result<(BucketRoot, WrappedKey), SettingsError> {
    let record = hex::decode(record).map_err(damaged)?;
    let mut rest = record.as_slice();
    let wrapped = WrappedKey::decode(&mut rest).map_err(damaged)?;
    let root = open(&wrapped, id)?;
    let proof = hex::decode(proof).map_err(damaged)?;
    if !rest.is_empty() || !crypto::equal(&mac(file, &root), &proof) {
        return Err(SettingsError::Mac);
    }
    Ok((root, wrapped))
}

/// HMAC over the compact JSON of the file without its MAC.
fn mac(file: &impl Serialize, root: &BucketRoot) -> [u8; 32] {
    let body = serde_json::to_vec(file).expect("plain fields always serialise");
    crypto::hmac_sha256(root.settings_mac_key().expose(), &[&body])
}

fn damaged(why: impl std::fmt::Display) -> SettingsError {
    SettingsError::Damaged(why.to_string())
}

/// A key by its name, as text.
mod key_name {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::keys::KeyName;

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<S: Serializer>(key: &Option<KeyName>, serializer: S) -> Result<S::Ok, S::Error> {
        key.as_ref().map(ToString::to_string).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<KeyName>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse()).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        envelope::EncryptionContext,
        keys::{Keyring, NewSlot, SERVICE_KEY, Unlock, create_key_file},
    };

    /// A keyring, and the root secret of a bucket under it.
    fn made(id: Id) -> (tempfile::TempDir, Keyring, BucketRoot, WrappedKey) {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        create_key_file(&key).unwrap();
        let slot = NewSlot::new("test", Unlock::KeyFile(key));
        let keyring = Keyring::create(dir.path(), Id::random().unwrap(), &[slot]).unwrap();
        let user = EncryptionContext::default();
        let (root, wrapped) = BucketRoot::create(&keyring, SERVICE_KEY, id, &user).unwrap();
        (dir, keyring, root, wrapped)
    }

    fn settings(id: Id, default: DefaultEncryption) -> Settings {
        let new = NewBucket {
            default_encryption: default,
            block_size: BlockSize::DEFAULT,
            dual_layer: true,
            journal: JournalMode::On,
        };
        Settings::new(id, new, false)
    }

    fn defaults() -> Vec<DefaultEncryption> {
        let key = || Some("alias/backups".parse().unwrap());
        vec![
            DefaultEncryption::Aes256,
            DefaultEncryption::Kms { key: None, bucket_key: true },
            DefaultEncryption::Kms { key: key(), bucket_key: false },
            DefaultEncryption::DualKms { key: key() },
            DefaultEncryption::None,
        ]
    }

    #[test]
    fn row_i1_every_default_comes_back_and_no_byte_of_it_can_be_changed() {
        let id = Id::random().unwrap();
        let (_dir, keyring, root, wrapped) = made(id);
        let decode = |bytes: &[u8]| {
            Settings::decode(bytes, |wrapped, id| BucketRoot::open(wrapped, id, &keyring))
                .map(|(settings, ..)| settings)
        };
        for default in defaults() {
            let mut settings = settings(id, default);
            settings.encryption.blocked.insert(EncryptionType::None);
            let bytes = settings.encode(&root, &wrapped);
            assert_eq!(decode(&bytes).as_ref(), Ok(&settings));
            for at in 0..bytes.len() {
                let mut altered = bytes.clone();
                altered[at] ^= 1;
                // Blanks between the fields say nothing.
                assert!(decode(&altered).is_err() || decode(&altered).as_ref() == Ok(&settings), "byte {at}");
            }
        }
    }

    #[test]
    fn settings_of_the_first_version_are_read_with_customer_keys_blocked() {
        let id = Id::random().unwrap();
        let (_dir, keyring, root, wrapped) = made(id);
        let mut record = Vec::new();
        wrapped.encode(&mut record);
        let mut file = FirstFile {
            format: FORMAT.to_owned(),
            version: FIRST_VERSION,
            bucket_id: id,
            block_size: 4096,
            wide: true,
            default_encryption: FirstDefault::None,
            plaintext_allowed: true,
            journal: JournalMode::On,
            root: hex::encode(record),
            mac: String::new(),
        };
        file.mac = hex::encode(mac(&file, &root));
        let read = |file: &FirstFile| {
            let bytes = serde_json::to_vec(file).unwrap();
            Settings::decode(&bytes, |wrapped, id| BucketRoot::open(wrapped, id, &keyring))
                .map(|(settings, ..)| settings)
        };
        assert_eq!(read(&file), Ok(settings(id, DefaultEncryption::None)));
        file.version = 3;
        assert_eq!(read(&file), Err(SettingsError::Version(3)));
        (file.version, file.default_encryption) = (FIRST_VERSION, FirstDefault::Aes256);
        assert_eq!(read(&file), Err(SettingsError::Mac));
    }

    #[test]
    fn row_f9_customer_keys_and_row_e7_misplaced_bucket_keys_are_no_default() {
        let key = || Some("alias/k".parse().unwrap());
        for (algorithm, key, bucket_key) in [
            (EncryptionType::Customer, None, None),
            (EncryptionType::Aes256, key(), None),
            (EncryptionType::Aes256, None, Some(true)),
            (EncryptionType::None, key(), None),
            (EncryptionType::DualKms, key(), Some(true)),
        ] {
            assert!(DefaultEncryption::new(algorithm, key, bucket_key).is_err(), "{algorithm}");
        }
        for default in defaults() {
            let bucket_key = match &default {
                DefaultEncryption::Kms { bucket_key, .. } => Some(*bucket_key),
                _ => None,
            };
            let again = DefaultEncryption::new(default.kind(), default.key().cloned(), bucket_key);
            assert_eq!(again, Ok(default));
        }
    }

    #[test]
    fn row_i7_a_blocked_type_and_row_g1_a_missing_second_layer_are_no_default() {
        let (single, dual) =
            (Geometry::new(BlockSize::DEFAULT, false), Geometry::new(BlockSize::DEFAULT, true));
        let dsse = BucketEncryption::new(DefaultEncryption::DualKms { key: None });
        assert_eq!(dsse.check(&single), Err(ConfigurationError::NotDual));
        assert_eq!(dsse.check(&dual), Ok(()));
        let mut plain = BucketEncryption::new(DefaultEncryption::None);
        assert_eq!(plain.check(&single), Ok(()));
        plain.blocked.insert(EncryptionType::None);
        let refused = Err(ConfigurationError::BlockedDefault(EncryptionType::None));
        assert_eq!(plain.check(&single), refused);
    }
}
