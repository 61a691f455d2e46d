//! `strongroom bucket`: buckets made, listed and deleted.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

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
    control::{BucketInfo, ControlError, Failure, Request},
    engine::{EngineError, StartError},
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

impl Bucket {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        match &self.action {
            Action::Create(create) => create.run(config)?,
            Action::List(list) => list.run(config)?,
            Action::Delete(delete) => delete.run(config)?,
            Action::Encryption(encryption) => return encryption.run(config),
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
        let store = StorePath::open(&self.store)?;
        if let Some(daemon) = store.daemon()? {
            let request = Request::CreateBucket { name: self.name.clone(), new, adopt: self.adopt };
            daemon.ask::<()>(request).map_err(|error| refused(error, &name))?;
        } else {
            let engine = store.engine(&self.unlock, config, Access::Write)?;
            engine.create_bucket(&name, new, self.adopt).map_err(|error| explained(error, &name))?;
        }
        output::line(format!("Bucket {name} made"))
    }
}

impl List {
    fn run(&self, config: &Config) -> anyhow::Result<()> {
        let store = StorePath::open(&self.store)?;
        let reports: Vec<BucketInfo> = match store.daemon()? {
            Some(daemon) => daemon.ask(Request::ListBuckets)?,
            None => BucketInfo::all(&store.engine(&self.unlock, config, Access::Read)?)?,
        };
        if self.json {
            return output::json(&reports);
        }
        let rows: Vec<_> = reports.iter().map(row).collect();
        output::table(["NAME", "DEFAULT ENCRYPTION", "BLOCK SIZE", "POLICY"], &rows)
    }
}

impl Delete {
    fn run(&self, config: &Config) -> anyhow::Result<()> {
        let name = BucketName::parse(&self.name)?;
        let store = StorePath::open(&self.store)?;
        if let Some(daemon) = store.daemon()? {
            let request = Request::DeleteBucket { name: self.name.clone() };
            daemon.ask::<()>(request).map_err(|error| refused(error, &name))?;
        } else {
            let engine = store.engine(&self.unlock, config, Access::Write)?;
            engine.delete_bucket(&name).map_err(|error| explained(error, &name))?;
        }
        output::line(format!("Bucket {name} deleted"))
    }
}

fn row(bucket: &BucketInfo) -> [String; 4] {
    let policy = if bucket.policy { "yes" } else { "no" }.to_owned();
    let block_size = ByteSize::new(bucket.block_size).to_string();
    [bucket.name.clone(), bucket.default_encryption.clone(), block_size, policy]
}

/// A daemon's refusal as what it means for a bucket, and what to do.
pub(super) fn refused(error: ControlError, name: &BucketName) -> anyhow::Error {
    let ControlError::Refused { failure, .. } = &error else { return error.into() };
    let kind = match failure {
        Failure::NotFound => ErrorKind::NotFound,
        Failure::Exists => ErrorKind::AlreadyExists,
        Failure::NotEmpty => ErrorKind::DirectoryNotEmpty,
        Failure::Damaged => return Refusal::error(Exit::Damage, error.to_string()),
        Failure::Denied | Failure::NoRule | Failure::BadRequest | Failure::Busy | Failure::Other => {
            return error.into();
        }
    };
    explained(EngineError::Store(kind.into()), name)
}

/// The bucket that a command is about, and how to unlock its store.
#[derive(Debug, clap::Args)]
pub(super) struct UnlockedBucket {
    /// The store
    pub(super) store: PathBuf,
    /// Name of the bucket
    pub(super) bucket: String,
    #[command(flatten)]
    pub(super) unlock: UnlockArgs,
}

/// Why the files of a bucket in the store at `store` could not be opened, and what to do.
pub(super) fn unopened(error: StartError, store: &Path, name: &BucketName) -> anyhow::Error {
    match error {
        StartError::Io { source, .. } if source.kind() == ErrorKind::NotFound && store.is_dir() => {
            explained(EngineError::Store(source), name)
        }
        error => error.into(),
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
