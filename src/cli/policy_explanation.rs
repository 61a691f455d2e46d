//! What `policy explain` prints: a decision in one sentence, and every statement with its conditions.

use serde::Serialize;

use super::output;
use crate::policy::{Action, Cause, ExplainedStatement, Explanation, Mode, StatementName, TestedCondition};

/// An explanation, to be told.
pub(super) struct Told {
    explanation: Explanation,
    reason: String,
    /// What the policy of the key says besides.
    key: Option<KeyAnswer>,
}

/// What a key's policy says.
pub(super) struct KeyAnswer {
    /// Its ARN.
    pub(super) key: String,
    /// What it is used for.
    pub(super) action: Action,
    /// Whether a bucket key is.
    pub(super) bucket_key: bool,
    /// The decision.
    pub(super) explanation: Explanation,
}

impl Told {
    /// What is decided in a bucket; `governed` if there is any policy, of the bucket or of who asks.
    pub(super) fn about_the_bucket(explanation: Explanation, governed: bool, mode: Mode) -> Self {
        let reason = reason(&explanation, |explanation| {
            let denied = explanation.statements.iter().any(|s| s.applies && s.effect == "Deny");
            if denied || mode == Mode::Closed {
                "allowed: the owner may always do this"
            } else if governed {
                "allowed: no statement denies it, the permissions of the file decide"
            } else {
                "allowed: there is no policy, the permissions of the file decide"
            }
        });
        Self { explanation, reason, key: None }
    }

    /// The same with what the policy of the key says besides.
    pub(super) fn with_key(self, key: Option<KeyAnswer>) -> Self {
        Self { key, ..self }
    }

    /// Whether a condition that was tested asks for `key`, which the request has not.
    pub(super) fn wants(&self, key: &str) -> bool {
        let explanations = [Some(&self.explanation), self.key.as_ref().map(|answer| &answer.explanation)];
        let mut conditions =
            explanations.into_iter().flatten().flat_map(|it| &it.statements).flat_map(|it| &it.conditions);
        conditions.any(|it| it.condition.key.eq_ignore_ascii_case(key) && it.condition.seen.is_none())
    }

    /// Prints it for people.
    pub(super) fn print(self) -> anyhow::Result<()> {
        output::line(&self.reason)?;
        for statement in &self.explanation.statements {
            output::line(format!("  {} {}: {statement}", statement.effect, statement.name))?;
            statement.conditions.iter().try_for_each(|it| output::line(format!("    {it}")))?;
        }
        self.key.map_or(Ok(()), |answer| Self::from(answer).print())
    }

    /// Prints it for machines.
    pub(super) fn print_json(self) -> anyhow::Result<()> {
        output::json(&Report::from(self))
    }
}

impl From<KeyAnswer> for Told {
    fn from(answer: KeyAnswer) -> Self {
        let KeyAnswer { key, action, bucket_key, explanation } = answer;
        let how = if bucket_key { "through a bucket key" } else { "directly" };
        let said = reason(&explanation, |_| "allowed");
        Self { reason: format!("{action} on `{key}`, {how}: {said}"), explanation, key: None }
    }
}

/// The decision in one sentence; `otherwise` says why something is allowed that no statement allows.
fn reason(explanation: &Explanation, otherwise: impl FnOnce(&Explanation) -> &'static str) -> String {
    match (&explanation.denial, &explanation.deciding) {
        (Some(denial), Some(by)) if denial.cause == Cause::ExplicitDeny => format!("denied by {by}"),
        (Some(_), Some(near)) => format!("denied because no statement allows it; nearest is {near}"),
        (Some(_), None) => "denied because no statement allows it".to_owned(),
        (None, Some(by)) => format!("allowed by {by}"),
        (None, None) => otherwise(explanation).to_owned(),
    }
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exceptions: Vec<String>,
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

impl From<Told> for Report {
    fn from(told: Told) -> Self {
        let explanation = told.explanation;
        Self {
            decision: if explanation.denial.is_some() { "deny" } else { "allow" },
            reason: told.reason,
            deciding: explanation.deciding.map(Name::from),
            statements: explanation.statements.into_iter().map(Statement::from).collect(),
            key: told.key.map(KeyReport::from),
        }
    }
}

impl From<KeyAnswer> for KeyReport {
    fn from(answer: KeyAnswer) -> Self {
        let (key, action, bucket_key) = (answer.key.clone(), answer.action.as_str(), answer.bucket_key);
        Self { key, action, bucket_key, report: Box::new(Told::from(answer).into()) }
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
            exceptions: explained.exceptions,
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
