//! `strongroom bucket encryption`: the default encryption of a bucket, and what it blocks.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    bucket::{UnlockedBucket, explained, refused},
    exit::{Exit, Refusal},
    job::JobArgs,
    output,
    store::{Access, StorePath, default_encryption},
};
use crate::{
    config::{Config, DefaultEncryption, Switch},
    control::{Job, Request},
    engine::{
        self, BucketEncryption, Caller, Encryption, EncryptionChange, EncryptionType, Reencrypt, Selection,
    },
    name::BucketName,
};

/// Change and show the default encryption of a bucket and the encryptions it blocks
///
/// A change touches new objects only, also those of a mounted drive. Existing objects keep what they have, unless
/// `put --apply` encrypts them anew.
#[derive(Debug, clap::Subcommand)]
pub(super) enum EncryptionCommand {
    /// Set how objects are stored whose creation asks for nothing
    Put {
        #[command(flatten)]
        of: UnlockedBucket,
        /// `AES256` (the store's own key), `aws:kms` (a KMS key), `aws:kms:dsse` (two layers), or none (plain files)
        #[arg(long, value_name = "ENCRYPTION", hide_possible_values = true)]
        sse: DefaultEncryption,
        /// KMS key: its id, an alias, or the ARN of either [default: alias/aws/s3]
        #[arg(long, value_name = "KEY")]
        kms_key: Option<String>,
        /// Use bucket keys with `aws:kms`: on, or off to ask the key service for each object [default: on]
        #[arg(long, value_name = "on|off", hide_possible_values = true)]
        bucket_key: Option<Switch>,
        /// Then encrypt what exists anew where it is stored otherwise, as `strongroom reencrypt` does
        #[arg(long)]
        apply: bool,
    },
    /// Print the configuration
    Get {
        #[command(flatten)]
        of: UnlockedBucket,
        /// Print JSON, as S3's `GetBucketEncryption` does
        #[arg(long)]
        json: bool,
    },
    /// Return to the default of S3, `AES256`; what is blocked stays blocked
    Delete {
        #[command(flatten)]
        of: UnlockedBucket,
    },
    /// Refuse writes with these encryptions: SSE-C, NONE (plain), AES256, `aws:kms`, `aws:kms:dsse`
    Block {
        #[command(flatten)]
        of: UnlockedBucket,
        /// What to refuse; reading existing objects stays possible
        #[arg(required = true)]
        encryption: Vec<EncryptionType>,
    },
    /// Allow writes with these encryptions again; new buckets block SSE-C
    Unblock {
        #[command(flatten)]
        of: UnlockedBucket,
        /// What to allow
        #[arg(required = true)]
        encryption: Vec<EncryptionType>,
    },
}

impl EncryptionCommand {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let (of, change) = match self {
            Self::Get { of, json } => return of.get(config, *json).map(|()| Exit::Done),
            Self::Put { of, sse, kms_key, bucket_key, apply } => {
                if *apply && *sse == DefaultEncryption::None {
                    let message = "--apply encrypts what exists, which `none` does not ask for: leave it out";
                    return Err(Refusal::error(Exit::Usage, message));
                }
                let key = kms_key.clone().unwrap_or_default();
                let change = EncryptionChange::Default(default_encryption(*sse, &key, *bucket_key)?);
                return of.change(config, change, *apply);
            }
            Self::Delete { of } => (of, EncryptionChange::Reset),
            Self::Block { of, encryption } => {
                (of, EncryptionChange::Block(encryption.iter().copied().collect()))
            }
            Self::Unblock { of, encryption } => {
                (of, EncryptionChange::Unblock(encryption.iter().copied().collect()))
            }
        };
        of.change(config, change, false)
    }
}

impl UnlockedBucket {
    fn get(&self, config: &Config, json: bool) -> anyhow::Result<()> {
        let name = BucketName::parse(&self.bucket)?;
        let store = StorePath::open(&self.store)?;
        let encryption: BucketEncryption = if let Some(daemon) = store.daemon()? {
            let request = Request::GetEncryption { bucket: self.bucket.clone() };
            daemon.ask(request).map_err(|error| refused(error, &name))?
        } else {
            let engine = store.engine(&self.unlock, config, Access::Read)?;
            engine.encryption(&Caller::this_process(), &name).map_err(|error| explained(error, &name))?
        };
        if json { output::json(&Configuration::new(&encryption)) } else { print(&encryption) }
    }

    /// Makes the change; with `apply` what exists follows it.
    fn change(&self, config: &Config, change: EncryptionChange, apply: bool) -> anyhow::Result<Exit> {
        let name = BucketName::parse(&self.bucket)?;
        let store = StorePath::open(&self.store)?;
        let job = apply.then(|| following(&name));
        if let Some(daemon) = store.daemon()? {
            let request = Request::ChangeEncryption { bucket: self.bucket.clone(), change };
            let changed: BucketEncryption = daemon.ask(request).map_err(|error| refused(error, &name))?;
            print(&changed)?;
            let run = |job| JobArgs::default().follow_daemon(&daemon, Job::Reencrypt(job), Some(&name));
            return job.map_or(Ok(Exit::Done), run);
        }
        let engine = store.engine(&self.unlock, config, Access::Write)?;
        let changed = engine.change_encryption(&Caller::this_process(), &name, &change);
        print(&changed.map_err(|error| explained(error, &name))?)?;
        let run = |job| JobArgs::default().follow(|watch| engine.reencrypt(&job, watch));
        job.map_or(Ok(Exit::Done), run)
    }
}

/// The job after which what is stored in the bucket has its default encryption.
fn following(bucket: &BucketName) -> Reencrypt {
    let selection = Selection { bucket: Some(bucket.clone()), ..Selection::default() };
    Reencrypt { selection, encryption: Encryption::BucketDefault, ..Reencrypt::default() }
}

fn print(encryption: &BucketEncryption) -> anyhow::Result<()> {
    let default = &encryption.default;
    let mut rows = vec![("default encryption", default.header().unwrap_or("none").to_owned())];
    if matches!(default.kind(), EncryptionType::Kms | EncryptionType::DualKms) {
        let key = default.key().map_or_else(|| "alias/aws/s3".to_owned(), ToString::to_string);
        rows.push(("KMS key", key));
    }
    if let engine::DefaultEncryption::Kms { bucket_key, .. } = default {
        rows.push(("bucket key", if *bucket_key { "on" } else { "off" }.to_owned()));
    }
    let blocked: Vec<_> = encryption.blocked.iter().map(|kind| kind.name()).collect();
    rows.push(("blocked", if blocked.is_empty() { "nothing".to_owned() } else { blocked.join(", ") }));
    output::fields(&rows)
}

/// The answer of `GetBucketEncryption`.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketEncryption.html>
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    server_side_encryption_configuration: Rules,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rules {
    rules: [Rule; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    apply_server_side_encryption_by_default: Option<ByDefault>,
    bucket_key_enabled: bool,
    blocked_encryption_types: Blocked,
}

#[derive(Debug, Serialize)]
struct ByDefault {
    #[serde(rename = "SSEAlgorithm")]
    algorithm: &'static str,
    #[serde(rename = "KMSMasterKeyID", skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Blocked {
    encryption_type: BTreeSet<EncryptionType>,
}

impl Configuration {
    fn new(encryption: &BucketEncryption) -> Self {
        let default = &encryption.default;
        let by_default = default
            .header()
            .map(|algorithm| ByDefault { algorithm, key: default.key().map(ToString::to_string) });
        let rule = Rule {
            apply_server_side_encryption_by_default: by_default,
            bucket_key_enabled: matches!(default, engine::DefaultEncryption::Kms { bucket_key: true, .. }),
            blocked_encryption_types: Blocked { encryption_type: encryption.blocked.clone() },
        };
        Self { server_side_encryption_configuration: Rules { rules: [rule] } }
    }
}
