//! `strongroom policy lint`: is a policy valid, and does it do what it seems to?

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::{
    exit::{Exit, Refusal},
    identities::access,
    output,
    policy::{bucket_policy, read_policy, shown},
};
use crate::{
    config::Config,
    name::BucketName,
    policy::{Lint, PolicyDocument, lint, lint_principals, lint_users},
};

/// Check a policy: is it valid, and does it do what it seems to?
#[derive(Debug, clap::Args)]
pub(super) struct LintPolicy {
    /// The policy (`-`: stdin), or the store whose bucket has it
    target: PathBuf,
    /// Name of the bucket that the policy is for
    #[arg(required_unless_present_any = ["key", "identity"])]
    bucket: Option<String>,
    /// It is the policy of the key with this ARN
    #[arg(long, value_name = "ARN", conflicts_with_all = ["bucket", "identity"])]
    key: Option<String>,
    /// It is the policy of a user or group
    #[arg(long, conflicts_with = "bucket")]
    identity: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What there is to say about a policy for the users of this machine.
pub(super) fn advice(config: &Config, policy: &PolicyDocument) -> anyhow::Result<Vec<Lint>> {
    let access = access(config)?;
    let given: Vec<_> = access.arns.into_iter().map(|(_, arn)| arn).collect();
    let mut lints = lint(policy);
    lints.extend(lint_principals(policy, &access.account, &given));
    let is_given = |name: &str| given.iter().any(|arn| arn.user() == Some(name));
    lints.extend(lint_users(policy, &|name| is_given(name) || uzers::get_user_by_name(name).is_some()));
    Ok(lints)
}

/// Advice as `--json` prints it.
#[derive(Debug, Serialize)]
struct Advice {
    line: usize,
    column: usize,
    element: String,
    message: String,
}

impl LintPolicy {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let lints = advice(config, &self.policy()?)?;
        if self.json {
            return output::json(&lints.into_iter().map(Advice::from).collect::<Vec<_>>());
        }
        if lints.is_empty() {
            return output::line("The policy is valid");
        }
        lints.iter().try_for_each(output::line)
    }

    fn policy(&self) -> anyhow::Result<PolicyDocument> {
        let place = || shown(&self.target);
        if self.identity {
            return PolicyDocument::parse_identity(&read_policy(&self.target)?).with_context(place);
        }
        if let Some(key) = &self.key {
            return PolicyDocument::parse_key(&read_policy(&self.target)?, key).with_context(place);
        }
        let bucket = BucketName::parse(self.bucket.as_deref().unwrap_or_default())?;
        if !self.target.is_dir() {
            return PolicyDocument::parse(&read_policy(&self.target)?, &bucket).with_context(place);
        }
        let none = || Refusal::error(Exit::Failure, format!("the bucket `{bucket}` has no policy"));
        bucket_policy(&self.target, &bucket, None)?.ok_or_else(none)
    }
}

impl From<Lint> for Advice {
    fn from(lint: Lint) -> Self {
        Self {
            line: lint.place.line,
            column: lint.place.column,
            element: lint.place.path,
            message: lint.message,
        }
    }
}
