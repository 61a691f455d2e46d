//! `strongroom policy explain`: what a policy says about one request, and why.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use serde::Serialize;

use super::{
    exit::{Exit, Refusal},
    identities::{identity_policies, mode, principal},
    key_policies::{GovernedKey, KeyPolicies, KeyUse},
    output,
    policy::bucket_policy,
    sse::ContextPair,
};
use crate::{
    config::{Config, Switch},
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
    /// What for, such as s3:PutObject or kms:Decrypt
    #[arg(long)]
    action: String,
    /// The object, or the directory to be listed, by its path in the bucket
    #[arg(long, default_value = "", hide_default_value = true)]
    path: String,
    /// Encryption that the request names: AES256, aws:kms or aws:kms:dsse [default: none]
    #[arg(long, value_name = "ENCRYPTION")]
    sse: Option<String>,
    /// KMS key that the request names, or that the bucket's default would use: its policy is asked, too
    #[arg(long, value_name = "KEY")]
    sse_kms_key: Option<String>,
    /// A pair of the encryption context; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "sse_kms_key")]
    sse_context: Vec<ContextPair>,
    /// Whether a bucket key is used: on or off [default: on]
    #[arg(long, value_name = "on|off", hide_possible_values = true, requires = "sse_kms_key")]
    sse_bucket_key: Option<Switch>,
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
    /// What is decided about the use of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyReport>,
}

#[derive(Debug, Serialize)]
struct KeyReport {
    key: String,
    action: &'static str,
    bucket_key: bool,
    #[serde(flatten)]
    report: Box<Report>,
}

/// What a key's policy says.
struct KeyAnswer {
    key: String,
    action: Action,
    bucket_key: bool,
    explanation: Explanation,
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
        let principal = principal(config, &self.user)?;
        let identity = identity_policies(config, &principal)?;
        let action = self.action()?;
        let key = self.key(config)?;
        let answer = match &key {
            Some(key) => self.ask_key(key, action, (&bucket, &principal, &identity))?,
            None => None,
        };
        if action.is_about_keys() {
            let Some(answer) = answer else { return Err(self.no_key()) };
            let reason = key_reason(&answer);
            return if self.json {
                output::json(&report(answer.explanation, reason))
            } else {
                tell(&answer.explanation, &reason)
            };
        }
        let document = bucket_policy(&self.store, &bucket, self.policy.as_ref())?;
        let policies = Policies { resource: document.as_ref(), identity: &identity, mode: mode(config) };
        let object = if action.is_about_objects() { Some(self.object()?) } else { None };
        let arn = key.as_ref().map(|key| key.arn.as_str()).or(self.sse_kms_key.as_deref());
        let request = Request {
            principal: &principal,
            action,
            resource: Resource::of(&bucket, object.as_ref()),
            context: self.context().kms_key(arn),
        };
        let explanation = policies.explain(&request);
        let reason = reason(&explanation, document.as_ref(), &identity, policies.mode);
        if self.json {
            let key = answer.map(KeyReport::from);
            return output::json(&Report { key, ..report(explanation, reason) });
        }
        tell(&explanation, &reason)?;
        answer.map_or(Ok(()), |answer| tell(&answer.explanation, &key_reason(&answer)))
    }

    /// The key of the request, if the store lists it. Without a word about keys none is looked for.
    fn key(&self, config: &Config) -> anyhow::Result<Option<GovernedKey>> {
        let Some(name) = &self.sse_kms_key else { return Ok(None) };
        KeyPolicies::read(&self.store, config)?.find(name, None)
    }

    /// What the key's policy says about its use for `action`, which may need none.
    fn ask_key(
        &self,
        key: &GovernedKey,
        action: Action,
        (bucket, principal, identity): (&BucketName, &Principal, &[Arc<PolicyDocument>]),
    ) -> anyhow::Result<Option<KeyAnswer>> {
        use Action::{Decrypt, GenerateDataKey, GetObject, PutObject};
        if !matches!(action, Decrypt | GenerateDataKey | GetObject | PutObject) {
            return Ok(None);
        }
        let object = self.object()?;
        let pairs: Vec<_> = self.sse_context.iter().map(ContextPair::pair).collect();
        let bucket_key = self.sse_bucket_key.is_none_or(Switch::is_on);
        let context = self.context();
        let used = KeyUse { principal, bucket, object: &object, bucket_key, pairs: &pairs, context };
        let (action, (explanation, bucket_key)) = match action {
            PutObject => (GenerateDataKey, key.explain_new(used, identity)),
            GetObject => (Decrypt, (key.explain(Decrypt, &used, identity), bucket_key)),
            action => (action, (key.explain(action, &used, identity), bucket_key)),
        };
        Ok(Some(KeyAnswer { key: key.arn.clone(), action, bucket_key, explanation }))
    }

    fn no_key(&self) -> anyhow::Error {
        match &self.sse_kms_key {
            Some(name) => {
                Refusal::error(Exit::Failure, format!("the store has no key `{}`", name.escape_debug()))
            }
            None => Refusal::error(
                Exit::Usage,
                format!("{} is about a key: name it with --sse-kms-key", self.action),
            ),
        }
    }

    fn action(&self) -> anyhow::Result<Action> {
        let asked = |action: &Action| {
            !action.is_about_keys() || matches!(action, Action::GenerateDataKey | Action::Decrypt)
        };
        let known = Action::parse(&self.action).filter(asked);
        known.ok_or_else(|| {
            let names: Vec<_> =
                Action::ALL.iter().filter(|action| asked(action)).map(|a| a.as_str()).collect();
            let names = names.join(", ");
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

    fn context(&self) -> Context<'_> {
        let now = self.at.map_or_else(SystemTime::now, SystemTime::from);
        let context = Context::at(now)
            .encryption(self.sse.as_deref().filter(|sse| *sse != "none"))
            .with("strongroom:exe", self.exe.clone());
        if self.action.eq_ignore_ascii_case(Action::ListBucket.as_str()) {
            context.listing(&self.path, "/")
        } else {
            context
        }
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

/// The same for the use of a key.
fn key_reason(answer: &KeyAnswer) -> String {
    let KeyAnswer { key, action, bucket_key, explanation } = answer;
    let how = if *bucket_key { "through a bucket key" } else { "directly" };
    let said = match (&explanation.denial, &explanation.deciding) {
        (Some(denial), Some(by)) if denial.cause == Cause::ExplicitDeny => format!("denied by {by}"),
        (Some(_), Some(near)) => format!("denied because no statement allows it; nearest is {near}"),
        (Some(_), None) => "denied because no statement allows it".to_owned(),
        (None, Some(by)) => format!("allowed by {by}"),
        (None, None) => "allowed".to_owned(),
    };
    format!("{action} on `{key}`, {how}: {said}")
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

fn report(explanation: Explanation, reason: String) -> Report {
    Report {
        decision: if explanation.denial.is_some() { "deny" } else { "allow" },
        reason,
        deciding: explanation.deciding.map(Name::from),
        statements: explanation.statements.into_iter().map(Statement::from).collect(),
        key: None,
    }
}

impl From<KeyAnswer> for KeyReport {
    fn from(answer: KeyAnswer) -> Self {
        let (reason, action) = (key_reason(&answer), answer.action.as_str());
        let report = Box::new(report(answer.explanation, reason));
        Self { key: answer.key, action, bucket_key: answer.bucket_key, report }
    }
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
