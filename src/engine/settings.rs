//! What is fixed or configured about a bucket: the file `bucket` in its reserved directory.
//!
//! JSON. The MAC covers every other field under a key derived from the bucket's root secret, so that nobody without
//! the master key can weaken a setting. Id, geometry and journal are for good; the encryption configuration may change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{BucketEncryption, DefaultEncryption, EncryptionType};
use crate::{
    crypto,
    envelope::{Id, WrappedKey},
    keys::BucketRoot,
    object::{BlockSize, Geometry},
};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBucket {
    /// Encryption of objects whose request names none.
    pub default_encryption: DefaultEncryption,
    /// Block size of all its objects, for good.
    #[serde(with = "block_size")]
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

/// What every version of the file begins with.
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
    /// Of another version.
    #[error("the settings file has version {0}, and this strongroom reads {VERSION}: use one that reads it")]
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
        if head.version != VERSION {
            return Err(SettingsError::Version(head.version));
        }
        let mut file: File = serde_json::from_slice(bytes).map_err(damaged)?;
        let proof = std::mem::take(&mut file.mac);
        let record = hex::decode(&file.root).map_err(damaged)?;
        let mut rest = record.as_slice();
        let wrapped = WrappedKey::decode(&mut rest).map_err(damaged)?;
        let root = open(&wrapped, file.bucket_id)?;
        let proof = hex::decode(proof).map_err(damaged)?;
        if !rest.is_empty() || !crypto::equal(&mac(&file, &root), &proof) {
            return Err(SettingsError::Mac);
        }
        Ok((file.read()?, root, wrapped))
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

/// HMAC over the compact JSON of the file without its MAC.
fn mac(file: &File, root: &BucketRoot) -> [u8; 32] {
    let body = serde_json::to_vec(file).expect("plain fields always serialise");
    crypto::hmac_sha256(root.settings_mac_key().expose(), &[&body])
}

fn damaged(why: impl std::fmt::Display) -> SettingsError {
    SettingsError::Damaged(why.to_string())
}

/// A block size as a number of bytes.
mod block_size {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::object::BlockSize;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
    pub(super) fn serialize<S: Serializer>(size: &BlockSize, serializer: S) -> Result<S::Ok, S::Error> {
        size.bytes().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlockSize, D::Error> {
        let bytes = u64::deserialize(deserializer)?;
        BlockSize::from_bytes(bytes).ok_or_else(|| D::Error::custom("a block has 4 KiB to 1 MiB"))
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

    #[test]
    fn row_i1_every_default_comes_back_and_no_byte_of_it_can_be_changed() {
        let id = Id::random().unwrap();
        let (_dir, keyring, root, wrapped) = made(id);
        let decode = |bytes: &[u8]| {
            Settings::decode(bytes, |wrapped, id| BucketRoot::open(wrapped, id, &keyring))
                .map(|(settings, ..)| settings)
        };
        for default in DefaultEncryption::samples() {
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
    fn a_file_of_another_version_or_format_is_refused_before_any_key_is_asked_for() {
        let id = Id::random().unwrap();
        let (_dir, _keyring, root, wrapped) = made(id);
        let text =
            String::from_utf8(settings(id, DefaultEncryption::Aes256).encode(&root, &wrapped)).unwrap();
        let decode = |text: &str| Settings::decode(text.as_bytes(), |_, _| unreachable!()).map(drop);
        let later = text.replace("\"version\": 2", "\"version\": 3");
        assert_eq!(decode(&later), Err(SettingsError::Version(3)));
        let other = text.replace(FORMAT, "something");
        assert!(matches!(decode(&other), Err(SettingsError::Damaged(_))));
    }
}
