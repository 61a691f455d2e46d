//! What `policy simulate` prints: which requests of the past a new policy would decide differently, those alike together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::output;
use crate::policy::Explanation;

/// What came of a trial.
#[derive(Debug, Default)]
pub(super) struct Simulation {
    requests: u64,
    passed_over: u64,
    denied: Changes,
    allowed: Changes,
}

/// By user, action and what decides.
type Changes = BTreeMap<(String, &'static str, Option<String>), Change>;

/// One request under both policies.
#[derive(Default)]
pub(super) struct Judged {
    /// Whether it is allowed so far.
    pub(super) before: bool,
    /// Whether it is from now on.
    pub(super) after: bool,
    pub(super) action: &'static str,
    /// ARN of who asked.
    pub(super) user: String,
    pub(super) resource: String,
    /// The statement that decides from now on.
    pub(super) statement: Option<String>,
    /// What of it decides, if it denies: the resources that it leaves out, and its conditions.
    pub(super) conditions: Vec<String>,
}

/// What comes out, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    requests: u64,
    /// Lines that are no request to this bucket.
    passed_over: u64,
    newly_denied: Vec<&'a Change>,
    newly_allowed: Vec<&'a Change>,
}

/// Requests of one user that change alike.
#[derive(Debug, Serialize)]
struct Change {
    user: String,
    action: &'static str,
    statement: Option<String>,
    /// Of the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<String>,
    count: u64,
    example: String,
    first: String,
}

impl Judged {
    /// What is decided from now on.
    pub(super) fn by(after: &Explanation) -> Self {
        let statement = after.deciding.as_ref().map(ToString::to_string);
        let mut conditions = Vec::new();
        if let Some(denial) = &after.denial {
            conditions.extend(denial.left_out());
            conditions.extend(denial.conditions.iter().map(ToString::to_string));
        }
        Self { after: after.denial.is_none(), statement, conditions, ..Self::default() }
    }
}

impl Simulation {
    /// A line is no request to the bucket.
    pub(super) fn pass_over(&mut self) {
        self.passed_over += 1;
    }

    /// Counts a request of `time`.
    pub(super) fn note(&mut self, judged: Judged, time: jiff::Timestamp) {
        self.requests += 1;
        let changes = match (judged.before, judged.after) {
            (true, false) => &mut self.denied,
            (false, true) => &mut self.allowed,
            _ => return,
        };
        let key = (judged.user.clone(), judged.action, judged.statement.clone());
        let change = changes.entry(key).or_insert_with(|| Change {
            user: judged.user,
            action: judged.action,
            statement: judged.statement,
            conditions: judged.conditions,
            count: 0,
            example: judged.resource,
            first: time.to_string(),
        });
        change.count += 1;
    }

    /// The whole, for machines.
    pub(super) fn report(&self) -> Report<'_> {
        Report {
            requests: self.requests,
            passed_over: self.passed_over,
            newly_denied: self.denied.values().collect(),
            newly_allowed: self.allowed.values().collect(),
        }
    }

    /// Prints it for people.
    pub(super) fn print(&self) -> anyhow::Result<()> {
        let lines = |n: u64| if n == 1 { "line is" } else { "lines are" };
        output::line(format!(
            "{} requests judged; {} {} not about this bucket",
            self.requests,
            self.passed_over,
            lines(self.passed_over)
        ))?;
        for (heading, otherwise, changes) in [
            ("denied", "no statement allows it", &self.denied),
            ("allowed", "no statement denies it", &self.allowed),
        ] {
            let count: u64 = changes.values().map(|change| change.count).sum();
            output::line(format!("newly {heading}: {count}"))?;
            changes.values().try_for_each(|change| output::line(change.line(otherwise)))?;
        }
        Ok(())
    }
}

impl Change {
    fn line(&self, otherwise: &str) -> String {
        let Self { user, action, count, example, first, .. } = self;
        let by = self.statement.as_deref().unwrap_or(otherwise);
        let mut line = format!("  {count} x {action} by {user}, such as `{example}` at {first}: {by}");
        for condition in &self.conditions {
            line = format!("{line}; {condition}");
        }
        line
    }
}
