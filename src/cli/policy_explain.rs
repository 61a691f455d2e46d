//! `strongroom policy explain`: what a policy says about one request, and why.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::SystemTime};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    bucket::{explained, unopened},
    exit::{Exit, Refusal},
    identities::{identity_policies, mode, principal},
    output,
    policy::bucket_policy,
    sse::requested,
};
use crate::{
    config::{Config, MountOptions, RequestEncryption},
    engine::{EncryptionFile, ShownEncryption},
    keys::{KeyName, KeyScope},
    name::{BucketName, ObjectName},
    policy::{
        Action, Cause, Context, ExplainedStatement, Explanation, Mode, Policies, PolicyDocument, Principal,
        Request, Resource, StatementName, TestedCondition,
    },
};

/// Tell what the policies say about one request, and why
///
/// Shows the decision, the statement that makes it, each condition with the value that it sees, and what would turn it.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The store
    store: PathBuf,
    /// Name of the bucket
    bucket: String,
    /// Who asks: a user name or number
    #[arg(long = "as", value_name = "USER")]
    user: String,
    /// What for, such as s3:PutObject
    #[arg(long)]
    action: String,
    /// The object, or the directory to be listed, by its path in the bucket
    #[arg(long, default_value = "", hide_default_value = true)]
    path: String,
    /// Encryption that the request names, as `mount --sse` has it, or that an existing object has [default: none]
    #[arg(long, value_name = "ENCRYPTION", hide_possible_values = true)]
    sse: Option<RequestEncryption>,
    /// KMS key that is used, by its id or ARN; where an alias names it, policies see the key that it stands for
    #[arg(long, value_name = "KEY")]
    sse_kms_key: Option<KeyName>,
    /// Program that asks, by its absolute path
    #[arg(long, value_name = "PATH")]
    exe: Option<String>,
    /// When, such as 2026-01-31T18:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// The policy in this file instead of the stored one (`-`: stdin)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An explanation as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    decision: &'static str,
    reason: String,
    deciding: Option<Name>,
    statements: Vec<Statement>,
}

#[derive(Debug, Serialize)]
struct Name {
    policy: &'static str,
    statement: usize,
    sid: Option<String>,
}

#[derive(Debug, Serialize)]
struct Statement {
    #[serde(flatten)]
    name: Name,
    effect: &'static str,
    applies: bool,
    passes_by: Option<&'static str>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Serialize)]
struct Condition {
    operator: String,
    key: String,
    wanted: Vec<String>,
    seen: Option<Vec<String>>,
    holds: bool,
    remedy: Option<String>,
    trap: Option<String>,
}

impl Explain {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let bucket = BucketName::parse(&self.bucket)?;
        let document = bucket_policy(&self.store, &bucket, self.policy.as_ref())?;
        let principal = self.principal(config)?;
        let identity = identity_policies(config, &principal)?;
        let policies = Policies { resource: document.as_ref(), identity: &identity, mode: mode(config) };
        let action = self.action()?;
        let object = if action.is_about_objects() { Some(self.object()?) } else { None };
        let shown = self.encryption(action, &bucket)?;
        let kms_key = self.kms_key(config, &shown)?;
        let context = self
            .context()
            .encryption(shown.header)
            .customer_algorithm(shown.customer.then_some(CUSTOMER_ALGORITHM))
            .kms_key(kms_key.as_deref());
        let resource = Resource::of(&bucket, object.as_ref());
        let request = Request { principal: &principal, action, resource, context };
        let explanation = policies.explain(&request);
        if let (Some(alias), None) = (&shown.kms_key, &kms_key)
            && explanation
                .statements
                .iter()
                .flat_map(|s| &s.conditions)
                .any(TestedCondition::is_about_the_key)
        {
            let message =
                format!("policies see the key that `{alias}` stands for: give it with --sse-kms-key");
            return Err(Refusal::error(Exit::Usage, message));
        }
        let reason = reason(&explanation, document.as_ref(), &identity, policies.mode);
        if self.json { report(explanation, reason) } else { tell(&explanation, &reason) }
    }

    fn action(&self) -> anyhow::Result<Action> {
        let known = Action::parse(&self.action).filter(|action| !action.is_about_keys());
        known.ok_or_else(|| {
            let names = Action::ALL.iter().filter(|action| !action.is_about_keys());
            let names = names.map(|action| action.as_str()).collect::<Vec<_>>().join(", ");
            Refusal::error(
                Exit::Usage,
                format!("`{}` is no action of the drive: give one of {names}", self.action),
            )
        })
    }

    fn object(&self) -> anyhow::Result<ObjectName> {
        if self.path.is_empty() {
            return Err(Refusal::error(
                Exit::Usage,
                format!("{} is about an object: name it with --path", self.action),
            ));
        }
        Ok(ObjectName::parse(self.path.as_ref())?)
    }

    /// Who asks. The owner of the store counts as the owner of its mounts.
    fn principal(&self, config: &Config) -> anyhow::Result<Principal> {
        let principal = principal(config, &self.user)?;
        let owner = fs::metadata(&self.store).with_context(|| format!("`{}`", self.store.display()))?.uid();
        Ok(if principal.uid() == owner { principal.as_owner() } else { principal })
    }

    /// What the policies see of the encryption, the default of the bucket applied to a PUT.
    fn encryption(&self, action: Action, bucket: &BucketName) -> anyhow::Result<ShownEncryption> {
        let puts = action == Action::PutObject;
        if !puts && self.sse.is_none() && self.sse_kms_key.is_none() {
            return Ok(ShownEncryption::default());
        }
        let sse = self.sse.unwrap_or(RequestEncryption::None);
        let requested = requested(&MountOptions { sse, ..MountOptions::default() })?;
        let file = EncryptionFile::of(&self.store, bucket);
        let file = file.map_err(|error| unopened(error, &self.store, bucket))?;
        file.shown(&requested).map_err(|error| explained(error, bucket))
    }

    /// The ARN of the effective key; `None` also for an alias, since only who has unlocked the store knows what it stands for.
    fn kms_key(&self, config: &Config, shown: &ShownEncryption) -> anyhow::Result<Option<String>> {
        let Some(effective) = &shown.kms_key else {
            return match &self.sse_kms_key {
                Some(_) => Err(Refusal::error(
                    Exit::Usage,
                    "--sse-kms-key is given, but no KMS key is used: give --sse aws:kms too".to_owned(),
                )),
                None => Ok(None),
            };
        };
        let scope = KeyScope::new(KeyScope::default().region(), config.policy.account.as_str())?;
        match self.sse_kms_key.as_ref().unwrap_or(effective) {
            KeyName::Id(id) => Ok(Some(scope.key_arn(id))),
            KeyName::Arn(scope, id) => Ok(Some(scope.key_arn(id))),
            KeyName::Alias(_) | KeyName::AliasArn(..) => Ok(None),
        }
    }

    fn context(&self) -> Context<'_> {
        let now = self.at.map_or_else(SystemTime::now, SystemTime::from);
        let context = Context::at(now).with("strongroom:exe", self.exe.clone());
        if self.action.eq_ignore_ascii_case(Action::ListBucket.as_str()) {
            context.listing(&self.path, "/")
        } else {
            context
        }
    }
}

/// The only algorithm of customer keys.
const CUSTOMER_ALGORITHM: &str = "AES256";

impl TestedCondition {
    fn is_about_the_key(&self) -> bool {
        self.condition.key.eq_ignore_ascii_case("s3:x-amz-server-side-encryption-aws-kms-key-id")
    }
}

/// The decision in one sentence.
fn reason(
    explanation: &Explanation,
    document: Option<&PolicyDocument>,
    identity: &[Arc<PolicyDocument>],
    mode: Mode,
) -> String {
    match (&explanation.denial, &explanation.deciding) {
        (Some(denial), Some(by)) if denial.cause == Cause::ExplicitDeny => format!("denied by {by}"),
        (Some(_), Some(near)) => format!("denied because no statement allows it; nearest is {near}"),
        (Some(_), None) => "denied because no statement allows it".to_owned(),
        (None, Some(by)) => format!("allowed by {by}"),
        (None, None) if document.is_none() && identity.is_empty() => {
            "allowed: there is no policy, the permissions of the file decide".to_owned()
        }
        (None, None) if mode == Mode::Open => {
            "allowed: no statement denies it, the permissions of the file decide".to_owned()
        }
        (None, None) => "allowed: the owner may always do this".to_owned(),
    }
}

fn tell(explanation: &Explanation, reason: &str) -> anyhow::Result<()> {
    output::line(reason)?;
    for statement in &explanation.statements {
        output::line(format!("  {} {}: {}", statement.effect, statement.name, standing(statement)))?;
        for condition in &statement.conditions {
            output::line(format!("    {condition}"))?;
        }
    }
    Ok(())
}

fn standing(statement: &ExplainedStatement) -> String {
    match statement.passes_by {
        Some(element) => format!("not about this request ({element})"),
        None if statement.applies => "applies".to_owned(),
        None => "does not apply".to_owned(),
    }
}

fn report(explanation: Explanation, reason: String) -> anyhow::Result<()> {
    output::json(&Report {
        decision: if explanation.denial.is_some() { "deny" } else { "allow" },
        reason,
        deciding: explanation.deciding.map(Name::from),
        statements: explanation.statements.into_iter().map(Statement::from).collect(),
    })
}

impl From<StatementName> for Name {
    fn from(name: StatementName) -> Self {
        let policy = if name.policy.is_empty() { "bucket policy" } else { name.policy.trim_end() };
        Self { policy, statement: name.index, sid: name.sid }
    }
}

impl From<ExplainedStatement> for Statement {
    fn from(explained: ExplainedStatement) -> Self {
        Self {
            name: explained.name.into(),
            effect: explained.effect,
            applies: explained.applies,
            passes_by: explained.passes_by,
            conditions: explained.conditions.into_iter().map(Condition::from).collect(),
        }
    }
}

impl From<TestedCondition> for Condition {
    fn from(tested: TestedCondition) -> Self {
        let condition = tested.condition;
        Self {
            operator: condition.operator,
            key: condition.key,
            wanted: condition.wanted,
            seen: condition.seen,
            holds: tested.holds,
            remedy: condition.remedy,
            trap: tested.trap,
        }
    }
}
