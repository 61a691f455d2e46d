//! `strongroom bucket policy`: the S3 bucket policy of a bucket.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{
    audit_log::{self, AuditPlan},
    bucket::{explained, unopened},
    exit::{Exit, Refusal},
    output,
    policy::{read_policy, shown},
    policy_lint::advice,
};
use crate::{
    audit::{Event, EventName},
    config::Config,
    engine::{PolicyFile, PutPolicyError},
    name::BucketName,
    policy::PolicyDocument,
};

/// Change and show the S3 bucket policy of a bucket
#[derive(Debug, clap::Subcommand)]
pub(super) enum PolicyCommand {
    /// Check a policy and make it the bucket's
    Put {
        #[command(flatten)]
        of: OfBucket,
        /// The policy, JSON of at most 20 KiB (`-`: stdin)
        file: PathBuf,
    },
    /// Print the bucket's policy as it was put
    Get {
        #[command(flatten)]
        of: OfBucket,
    },
    /// Remove the bucket's policy
    Delete {
        #[command(flatten)]
        of: OfBucket,
    },
}

/// The bucket that a policy belongs to.
#[derive(Debug, clap::Args)]
pub(super) struct OfBucket {
    /// The store
    store: PathBuf,
    /// Name of the bucket
    bucket: String,
}

impl PolicyCommand {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Put { of, file } => {
                of.recorded(config, EventName::PutBucketPolicy, || put(config, of, file))
            }
            Self::Get { of } => get(of),
            Self::Delete { of } => of.recorded(config, EventName::DeleteBucketPolicy, || delete(of)),
        }
    }
}

fn put(config: &Config, of: &OfBucket, file: &Path) -> anyhow::Result<()> {
    let bucket = BucketName::parse(&of.bucket)?;
    let text = read_policy(file)?;
    let document = PolicyDocument::parse(&text, &bucket).with_context(|| shown(file))?;
    for lint in advice(config, &document)? {
        eprintln!("strongroom: {}, {lint}", shown(file));
    }
    of.policy(&bucket)?.put(&text).map_err(|error| match error {
        PutPolicyError::Engine(error) => explained(error, &bucket),
        PutPolicyError::Policy(error) => error.into(),
    })?;
    output::line(format!("Policy of {bucket} put"))
}

fn get(of: &OfBucket) -> anyhow::Result<()> {
    let bucket = BucketName::parse(&of.bucket)?;
    match of.policy(&bucket)?.get().map_err(|error| explained(error, &bucket))? {
        Some(text) => output::line(text.trim_end()),
        None => Err(none(&bucket)),
    }
}

fn delete(of: &OfBucket) -> anyhow::Result<()> {
    let bucket = BucketName::parse(&of.bucket)?;
    if of.policy(&bucket)?.delete().map_err(|error| explained(error, &bucket))? {
        return output::line(format!("Policy of {bucket} deleted"));
    }
    Err(none(&bucket))
}

impl OfBucket {
    /// Does `act` and records it in the audit log of the store.
    fn recorded(
        &self,
        config: &Config,
        name: EventName,
        act: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Ok(store) = self.store.canonicalize() else { return act() };
        let mut event = Event::new(name, audit_log::actor());
        event.request.bucket = Some(self.bucket.as_str().into());
        AuditPlan::new(&store, &config.audit)?.recorded(event, |_| act())
    }

    /// The policy. It needs no key and may be changed while the store is mounted.
    fn policy(&self, bucket: &BucketName) -> anyhow::Result<PolicyFile> {
        policy_file(&self.store, bucket)
    }
}

/// The stored policy of a bucket. It needs no key and may be changed while the store is mounted.
pub(super) fn policy_file(store: &Path, bucket: &BucketName) -> anyhow::Result<PolicyFile> {
    PolicyFile::of(store, bucket).map_err(|error| unopened(error, store, bucket))
}

fn none(bucket: &BucketName) -> anyhow::Error {
    Refusal::error(Exit::Failure, format!("the bucket `{bucket}` has no policy"))
}
