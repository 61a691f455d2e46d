//! What is fixed or configured about a bucket: the file `bucket` in its reserved directory.
//!
//! JSON. The MAC covers every other field under a key derived from the bucket's root secret, so that nobody without
//! the master key can weaken a setting.

use serde::{Deserialize, Serialize};

use crate::{
    crypto,
    envelope::{Id, WrappedKey},
    keys::BucketRoot,
    object::{BlockSize, Geometry},
};

/// What happens to an object whose request names no encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefaultEncryption {
    /// SSE-S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// It is stored as it is.
    #[serde(rename = "none")]
    None,
}

impl DefaultEncryption {
    /// The value of the `x-amz-server-side-encryption` header that it stands for.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::Aes256 => Some("AES256"),
            Self::None => None,
        }
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewBucket {
    /// Encryption of objects whose request names none.
    pub default_encryption: DefaultEncryption,
    /// Block size of all its objects, for good.
    pub block_size: BlockSize,
    /// Whether it has a journal.
    pub journal: JournalMode,
}

/// The settings of a bucket, authentic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Identity, part of every key of the bucket.
    pub id: Id,
    /// Encryption of objects whose request names none.
    pub default_encryption: DefaultEncryption,
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
    plaintext_allowed: bool,
    journal: JournalMode,
    root: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mac: String,
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
const VERSION: u32 = 1;

impl Settings {
    /// Settings of a new bucket.
    pub fn new(id: Id, new: NewBucket, plaintext_allowed: bool) -> Self {
        Self {
            id,
            default_encryption: new.default_encryption,
            plaintext_allowed: plaintext_allowed || new.default_encryption == DefaultEncryption::None,
            geometry: Geometry::new(new.block_size, false),
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
            default_encryption: self.default_encryption,
            plaintext_allowed: self.plaintext_allowed,
            journal: self.journal,
            root: hex::encode(record),
            mac: String::new(),
        };
        file.mac = hex::encode(file.mac(root));
        let mut bytes = serde_json::to_vec_pretty(&file).expect("plain fields always serialise");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the file; `open` unwraps the root secret of the bucket it names, which is handed back too.
    pub fn decode(
        bytes: &[u8],
        open: impl FnOnce(&WrappedKey, Id) -> Result<BucketRoot, crate::keys::KeyError>,
    ) -> Result<(Self, BucketRoot), SettingsError> {
        let damaged = |why: String| SettingsError::Damaged(why);
        let mut file: File = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        if file.format != FORMAT {
            return Err(damaged(format!("its format is `{}`", file.format)));
        }
        if file.version != VERSION {
            return Err(SettingsError::Version(file.version));
        }
        let record = hex::decode(&file.root).map_err(|e| damaged(e.to_string()))?;
        let mut rest = record.as_slice();
        let wrapped = WrappedKey::decode(&mut rest).map_err(|e| damaged(e.to_string()))?;
        let root = open(&wrapped, file.bucket_id)?;
        let mac = hex::decode(std::mem::take(&mut file.mac)).map_err(|e| damaged(e.to_string()))?;
        if !rest.is_empty() || !crypto::equal(&file.mac(&root), &mac) {
            return Err(SettingsError::Mac);
        }
        let block = BlockSize::from_bytes(file.block_size).ok_or_else(|| damaged("block size".into()))?;
        let settings = Self {
            id: file.bucket_id,
            default_encryption: file.default_encryption,
            plaintext_allowed: file.plaintext_allowed,
            geometry: Geometry::new(block, file.wide),
            journal: file.journal,
        };
        Ok((settings, root))
    }
}

impl File {
    /// HMAC over the compact JSON of the file without its MAC.
    fn mac(&self, root: &BucketRoot) -> [u8; 32] {
        let body = serde_json::to_vec(self).expect("plain fields always serialise");
        crypto::hmac_sha256(root.settings_mac_key().expose(), &[&body])
    }
}
