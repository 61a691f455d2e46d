//! `strongroom bucket`: buckets made, listed and deleted.

use std::{collections::BTreeSet, io::ErrorKind, path::PathBuf};

use serde::Serialize;

use super::{
    bucket_encryption::EncryptionCommand,
    bucket_policy::PolicyCommand,
    bucket_retention::RetentionCommand,
    exit::{Exit, Refusal},
    output,
    store::{Access, StorePath, new_bucket},
    unlock::UnlockArgs,
};
use crate::{
    config::{BucketOptions, ByteSize, Config, DefaultEncryption, JournalSwitch, Switch, parse_block_size},
    engine::{self, EncryptionType, Engine, EngineError},
    envelope::Id,
    name::BucketName,
    object::BlockSize,
};

/// Make, list and delete buckets, and manage their encryption and policies
#[derive(Debug, clap::Args)]
pub(super) struct Bucket {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Create(Create),
    List(List),
    Delete(Delete),
    #[command(subcommand)]
    Encryption(EncryptionCommand),
    #[command(subcommand)]
    Policy(PolicyCommand),
    #[command(subcommand)]
    Retention(RetentionCommand),
}

/// Make a bucket
///
/// While the store is mounted, `mkdir` at the root of the drive does the same with the configured defaults.
#[derive(Debug, clap::Args)]
struct Create {
    /// The store
    store: PathBuf,
    /// Name of the bucket, by the S3 rules: 3 to 63 of a-z, 0-9, `-` and `.`
    name: String,
    /// How objects are stored whose creation asks for nothing [default: as configured, else AES256]
    #[arg(long, value_name = "ENCRYPTION", hide_possible_values = true, long_help = DEFAULT_ENCRYPTION)]
    default_encryption: Option<DefaultEncryption>,
    /// KMS key of that default: its id, an alias, or the ARN of either [default: as configured, else alias/aws/s3]
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,
    /// Use bucket keys with `aws:kms`: on, or off to ask the key service for each object [default: as configured, else on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    bucket_key: Option<Switch>,
    /// Room for two layers of encryption (`aws:kms:dsse`); fixed for good, and costs twice the space for tags
    #[arg(long)]
    dual_layer: bool,
    /// Block size: 4KiB, 8KiB ... 1MiB; fixed for good [default: as configured, else 4KiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_block_size)]
    block_size: Option<BlockSize>,
    /// Keep synced data safe in a power cut: on, or off for scratch data [default: as configured, else on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    journal: Option<JournalSwitch>,
    /// Make a bucket of an existing directory; its files stay as they are, unencrypted
    #[arg(long)]
    adopt: bool,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// List the buckets
#[derive(Debug, clap::Args)]
struct List {
    /// The store
    store: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// Delete an empty bucket
#[derive(Debug, clap::Args)]
struct Delete {
    /// The store
    store: PathBuf,
    /// Name of the bucket
    name: String,
    #[command(flatten)]
    unlock: UnlockArgs,
}

/// A bucket as `--json` prints it; sizes in bytes.
#[derive(Debug, Serialize)]
struct Report {
    name: String,
    id: Id,
    default_encryption: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_key: Option<bool>,
    blocked_encryption: BTreeSet<EncryptionType>,
    dual_layer: bool,
    plaintext_allowed: bool,
    block_size: u64,
    journal: engine::JournalMode,
    policy: bool,
}

impl Bucket {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        match &self.action {
            Action::Create(create) => create.run(config)?,
            Action::List(list) => list.run(config)?,
            Action::Delete(delete) => delete.run(config)?,
            Action::Encryption(encryption) => encryption.run(config)?,
            Action::Policy(policy) => policy.run(config)?,
            Action::Retention(retention) => retention.run(config)?,
        }
        Ok(Exit::Done)
    }
}

impl Create {
    fn run(&self, config: &Config) -> anyhow::Result<()> {
        let name = BucketName::parse(&self.name)?;
        let options = BucketOptions {
            block_size: self.block_size.unwrap_or(config.bucket.block_size),
            default_encryption: self.default_encryption.unwrap_or(config.bucket.default_encryption),
            journal: self.journal.unwrap_or(config.bucket.journal),
            kms_key: self.kms_key.clone().unwrap_or_else(|| config.bucket.kms_key.clone()),
            bucket_key: self.bucket_key.unwrap_or(config.bucket.bucket_key),
            dual_layer: self.dual_layer || config.bucket.dual_layer,
        };
        let new = new_bucket(&options)?;
        let engine = StorePath::open(&self.store)?.engine(&self.unlock, config, Access::Write)?;
        let created = engine.create_bucket(&name, new, self.adopt);
        created.map_err(|error| explained(error, &name))?;
        output::line(format!("Bucket {name} made"))
    }
}

impl List {
    fn run(&self, config: &Config) -> anyhow::Result<()> {
        let engine = StorePath::open(&self.store)?.engine(&self.unlock, config, Access::Read)?;
        let names = engine.bucket_names()?;
        let reports =
            names.iter().map(|name| Report::new(&engine, name)).collect::<anyhow::Result<Vec<_>>>()?;
        if self.json {
            return output::json(&reports);
        }
        let rows: Vec<_> = reports.iter().map(Report::row).collect();
        output::table(["NAME", "DEFAULT ENCRYPTION", "BLOCK SIZE", "POLICY"], &rows)
    }
}

impl Delete {
    fn run(&self, config: &Config) -> anyhow::Result<()> {
        let name = BucketName::parse(&self.name)?;
        let engine = StorePath::open(&self.store)?.engine(&self.unlock, config, Access::Write)?;
        engine.delete_bucket(&name).map_err(|error| explained(error, &name))?;
        output::line(format!("Bucket {name} deleted"))
    }
}

impl Report {
    fn new(engine: &Engine, name: &BucketName) -> anyhow::Result<Self> {
        let bucket = engine.bucket(name).map_err(|error| explained(error, name))?;
        let settings = bucket.settings();
        let default = &settings.encryption.default;
        let bucket_key = if let engine::DefaultEncryption::Kms { bucket_key, .. } = default {
            Some(*bucket_key)
        } else {
            None
        };
        Ok(Self {
            name: name.to_string(),
            id: settings.id,
            default_encryption: default.header().unwrap_or("none"),
            kms_key: default.key().map(ToString::to_string),
            bucket_key,
            blocked_encryption: settings.encryption.blocked.clone(),
            dual_layer: settings.geometry.wide(),
            plaintext_allowed: settings.plaintext_allowed,
            block_size: settings.geometry.block_size(),
            journal: settings.journal,
            policy: engine.bucket(name)?.has_policy()?,
        })
    }

    fn row(&self) -> [String; 4] {
        let encryption = self.default_encryption.to_owned();
        let policy = if self.policy { "yes" } else { "no" }.to_owned();
        [self.name.clone(), encryption, ByteSize::new(self.block_size).to_string(), policy]
    }
}

/// An engine's error as what it means for a bucket, and what to do.
pub(super) fn explained(error: EngineError, name: &BucketName) -> anyhow::Error {
    let kind = if let EngineError::Store(error) = &error { Some(error.kind()) } else { None };
    let message = match kind {
        Some(ErrorKind::NotFound) => {
            format!(
                "there is no bucket `{name}`: see `strongroom bucket list`, or make it with `bucket create`"
            )
        }
        Some(ErrorKind::AlreadyExists) => {
            format!(
                "`{name}` exists already: choose another name, or make a bucket of a plain directory with --adopt"
            )
        }
        Some(ErrorKind::DirectoryNotEmpty) => {
            format!("the bucket `{name}` is not empty: delete its objects first")
        }
        Some(_) => return anyhow::Error::from(error).context(format!("bucket `{name}`")),
        None => return error.into(),
    };
    Refusal::error(Exit::Failure, message)
}

const DEFAULT_ENCRYPTION: &str = "How objects are stored whose creation asks for nothing: AES256 (encrypted with keys of this store), aws:kms (with a KMS key), aws:kms:dsse (in two layers), or none (plain files) [default: as configured, else AES256]";
