//! Options that are one of a few words.

use serde::{Deserialize, Serialize};

/// What decides where no policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// The permissions of files.
    #[default]
    Open,
    /// Nothing: what no policy allows is denied.
    Closed,
}

/// Whether there is an audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AuditSwitch {
    /// One is kept.
    On,
    /// None is written.
    Off,
    /// One that was begun is continued.
    Auto,
}

/// What becomes of requests whose event cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AuditFail {
    /// They go on.
    Open,
    /// They fail.
    Closed,
}

/// When lines are handed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditSync {
    /// With each batch.
    Batch,
    /// When the system likes.
    Never,
}

/// Encryption that each creation asks for, as `x-amz-server-side-encryption` does in S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum RequestEncryption {
    /// Ask for `AES256`.
    #[serde(rename = "AES256")]
    #[value(name = "AES256")]
    Aes256,
    /// Ask for `aws:kms`.
    #[serde(rename = "aws:kms")]
    #[value(name = "aws:kms")]
    Kms,
    /// Ask for `aws:kms:dsse`.
    #[serde(rename = "aws:kms:dsse")]
    #[value(name = "aws:kms:dsse")]
    DualKms,
    /// Bring the customer's own key (SSE-C).
    #[serde(rename = "customer")]
    #[value(name = "customer")]
    Customer,
    /// Ask for what the bucket has as its default.
    #[serde(rename = "bucket-default")]
    #[value(name = "bucket-default")]
    BucketDefault,
    /// Ask for nothing: strict policies refuse it, else the bucket's default applies.
    #[serde(rename = "none")]
    #[value(name = "none")]
    None,
}

/// How requests come from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Over `io_uring` where the kernel offers it.
    Auto,
    /// Over `/dev/fuse` alone.
    Classic,
    /// Over `io_uring`, or not at all.
    Uring,
}

/// Encryption of objects whose creation asked for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum DefaultEncryption {
    /// `AES256` (SSE-S3).
    #[serde(rename = "AES256")]
    #[value(name = "AES256")]
    Aes256,
    /// `aws:kms` (SSE-KMS).
    #[serde(rename = "aws:kms")]
    #[value(name = "aws:kms")]
    Kms,
    /// `aws:kms:dsse` (DSSE-KMS).
    #[serde(rename = "aws:kms:dsse")]
    #[value(name = "aws:kms:dsse")]
    DualKms,
    /// Plain files.
    #[serde(rename = "none")]
    #[value(name = "none")]
    None,
}

/// What each creation says about bucket keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestBucketKey {
    /// Nothing: the bucket's default decides.
    #[default]
    Default,
    /// Use one.
    On,
    /// Ask the key service for each object.
    Off,
}

impl From<Switch> for RequestBucketKey {
    fn from(switch: Switch) -> Self {
        if switch.is_on() { Self::On } else { Self::Off }
    }
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

impl Switch {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// Whether a bucket has a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum JournalSwitch {
    /// What was synced survives a power cut in the middle of overwriting it.
    On,
    /// Overwritten in place: faster where much is synced, not safe in a power cut.
    Off,
}

/// Least severity that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// And what looks wrong.
    Warn,
    /// And what happens.
    #[default]
    Info,
    /// And how.
    Debug,
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}
