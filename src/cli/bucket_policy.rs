//! `strongroom bucket policy`: the S3 bucket policy of a bucket.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{
    audit_log::{self, AuditPlan},
    bucket::{explained, unopened},
    exit::{Exit, Refusal},
    output,
    policy::read_policy,
};
use crate::{
    audit::{Event, EventName},
    config::Config,
    engine::{PolicyFile, PutPolicyError},
    name::BucketName,
    policy::{Lint, PolicyDocument, lint},
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
            Self::Put { of, file } => of.recorded(config, EventName::PutBucketPolicy, || put(of, file)),
            Self::Get { of } => get(of),
            Self::Delete { of } => of.recorded(config, EventName::DeleteBucketPolicy, || delete(of)),
        }
    }
}

fn put(of: &OfBucket, file: &Path) -> anyhow::Result<()> {
    let bucket = BucketName::parse(&of.bucket)?;
    let text = read_policy(file)?;
    for advice in parse(file, &text, &bucket)? {
        eprintln!("strongroom: `{}`, {advice}", file.display());
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
        event.request.bucket = Some(self.bucket.clone());
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

/// Checks that `text` is a policy for `bucket`; the advice about it.
fn parse(file: &Path, text: &str, bucket: &BucketName) -> anyhow::Result<Vec<Lint>> {
    let document = PolicyDocument::parse(text, bucket).with_context(|| format!("`{}`", file.display()))?;
    Ok(lint(&document))
}

fn none(bucket: &BucketName) -> anyhow::Error {
    Refusal::error(Exit::Failure, format!("the bucket `{bucket}` has no policy"))
}
