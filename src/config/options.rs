//! The options. Their meaning and defaults are described in `config/strongroom.toml`, not here.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    AccountId, AuditFail, AuditSwitch, AuditSync, ByteSize, DefaultEncryption, Identity, InodeCache,
    JournalSwitch, Life, LogLevel, PolicyMode, Region, RequestBucketKey, RequestEncryption, Span, Switch,
    Threads, Timeout, Transport, parse_block_size,
};
use crate::{
    keys::{ProviderSettings, Tpm2Device},
    object::BlockSize,
};

/// Every option.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How drives are mounted.
    pub mount: MountOptions,
    /// What new buckets are like.
    pub bucket: BucketOptions,
    /// Bounds on memory.
    pub memory: MemoryOptions,
    /// When data is stored and checked.
    pub engine: EngineOptions,
    /// What policies see.
    pub policy: PolicyOptions,
    /// ARNs of users and groups.
    pub principals: BTreeMap<Identity, String>,
    /// Files with the policies of users and groups.
    pub identity_policies: BTreeMap<Identity, PathBuf>,
    /// What the requests of users, groups and programs ask for.
    pub profiles: BTreeMap<Identity, Profile>,
    /// What is logged.
    pub log: LogOptions,
    /// How stores are unlocked.
    pub unlock: UnlockOptions,
    /// What is recorded of requests.
    pub audit: AuditOptions,
    /// Key services, by the names that the keys of a store call them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub provider: BTreeMap<String, ProviderSettings>,
}

/// How drives are mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools, reason = "these are independent switches")]
pub struct MountOptions {
    /// Allow no change.
    pub read_only: bool,
    /// Let other users in.
    pub allow_other: bool,
    /// Unmount when unused.
    pub idle_timeout: Timeout,
    /// Something else may change the store meanwhile.
    pub shared_store: bool,
    /// Life of cached names and attributes.
    pub ttl: Life,
    /// Files and directories that the kernel may remember at once.
    pub inode_cache: InodeCache,
    /// Worker threads.
    pub threads: Threads,
    /// Let the kernel gather writes.
    pub writeback: bool,
    /// Show `EACCES` where a key cannot be used.
    pub plain_errno: bool,
    /// Encryption that creations ask for.
    pub sse: RequestEncryption,
    /// How requests come from the kernel.
    pub transport: Transport,
    /// The KMS key they name; empty for none.
    pub sse_kms_key: String,
    /// The encryption context they bring.
    pub sse_context: BTreeMap<String, String>,
    /// What they say about bucket keys.
    pub sse_bucket_key: RequestBucketKey,
    /// File of customer keys; empty for none.
    pub sse_c_key_file: PathBuf,
    /// Customer key in the kernel's keyring; empty for none.
    pub sse_c_keyring: String,
}

/// What new buckets are like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BucketOptions {
    /// Block size.
    #[serde(serialize_with = "show_block_size", deserialize_with = "read_block_size")]
    pub block_size: BlockSize,
    /// Default encryption.
    pub default_encryption: DefaultEncryption,
    /// Its KMS key; empty for `alias/aws/s3`.
    pub kms_key: String,
    /// Whether `aws:kms` uses bucket keys.
    pub bucket_key: Switch,
    /// Room for two layers.
    pub dual_layer: bool,
    /// Whether synced data is protected by a journal.
    pub journal: JournalSwitch,
}

/// Bounds on memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryOptions {
    /// Unstored data of one object.
    pub dirty_per_object: ByteSize,
    /// Unstored data of all objects.
    pub dirty_total: ByteSize,
    /// Cached tag pages of all objects.
    pub tag_cache: ByteSize,
}

/// When data is stored and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineOptions {
    /// Longest wait of written data.
    pub commit_interval: Span,
    /// Largest object that is checked whole when it is opened.
    pub strict_open_limit: ByteSize,
}

/// What policies see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyOptions {
    /// Account id in ARNs.
    pub account: AccountId,
    /// Region in ARNs of keys, and of the service that uses them.
    pub region: Region,
    /// What decides where no policy does.
    pub mode: PolicyMode,
}

/// What the requests of somebody ask for, as the options of the same names in [`MountOptions`].
#[allow(missing_docs, reason = "described there")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub sse: RequestEncryption,
    #[serde(default)]
    pub sse_kms_key: String,
    #[serde(default)]
    pub sse_context: BTreeMap<String, String>,
    #[serde(default)]
    pub sse_bucket_key: RequestBucketKey,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogOptions {
    /// Least severity.
    pub level: LogLevel,
    /// Where to, in the background; empty is the system log.
    pub file: PathBuf,
}

/// How stores are unlocked where nothing else says so; empty is not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnlockOptions {
    /// With a key file.
    pub key_file: PathBuf,
    /// With a key in a keyring of the kernel.
    pub kernel_key: String,
    /// With the TPM.
    pub tpm2: bool,
    /// With the passphrase that a command prints.
    pub passphrase_command: String,
    /// The TPM, however it is asked for.
    pub tpm2_device: Tpm2Device,
    /// File of its PIN; empty to ask.
    pub tpm2_pin_file: PathBuf,
}

/// What is recorded of requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditOptions {
    /// Whether there is an audit log.
    pub enabled: AuditSwitch,
    /// Directory of its files; empty is in the store.
    pub dir: PathBuf,
    /// What becomes of requests whose event cannot be written.
    pub fail: AuditFail,
    /// When lines are handed to the disk.
    pub sync: AuditSync,
    /// Size from which on the next file is begun.
    pub file_size: ByteSize,
    /// Files that stay.
    pub keep_files: u32,
    /// Whether the system journal gets every line, too.
    pub journald: bool,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            allow_other: false,
            idle_timeout: Timeout::Never,
            shared_store: false,
            ttl: Life::Auto,
            inode_cache: InodeCache::default(),
            threads: Threads::Auto,
            writeback: false,
            plain_errno: false,
            sse: RequestEncryption::None,
            transport: Transport::Auto,
            sse_kms_key: String::new(),
            sse_context: BTreeMap::new(),
            sse_bucket_key: RequestBucketKey::Default,
            sse_c_key_file: PathBuf::new(),
            sse_c_keyring: String::new(),
        }
    }
}

impl Default for BucketOptions {
    fn default() -> Self {
        Self {
            block_size: BlockSize::DEFAULT,
            default_encryption: DefaultEncryption::Aes256,
            kms_key: String::new(),
            bucket_key: Switch::On,
            dual_layer: false,
            journal: JournalSwitch::On,
        }
    }
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            dirty_per_object: ByteSize::new(4 << 20),
            dirty_total: ByteSize::new(256 << 20),
            tag_cache: ByteSize::new(64 << 20),
        }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { commit_interval: Span::seconds(5), strict_open_limit: ByteSize::new(64 << 20) }
    }
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            enabled: AuditSwitch::Auto,
            dir: PathBuf::new(),
            fail: AuditFail::Open,
            sync: AuditSync::Never,
            file_size: ByteSize::new(64 << 20),
            keep_files: 32,
            journald: false,
        }
    }
}

/// Reads and writes a type through its text form.
macro_rules! as_text {
    ($($type:ty),+) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )+ };
}
as_text!(ByteSize, Life, Span, Timeout);

fn read_block_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BlockSize, D::Error> {
    parse_block_size(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn show_block_size<S: Serializer>(size: &BlockSize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&ByteSize::new(size.bytes()))
}
