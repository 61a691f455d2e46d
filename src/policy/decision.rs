//! What an evaluation yields: a [`Grant`] that only this room can make, or a [`Denial`] that explains itself.

use std::fmt;

use super::{
    action::Action,
    condition::Condition,
    remedy::{Goal, remedy},
    request::{Request, Resource},
    scope::Scope,
    statement::{Effect, Statement},
};
use crate::name::BucketName;

/// The outcome for one request.
#[derive(Debug)]
#[must_use = "a request that was not decided must not be carried out"]
pub enum Decision {
    /// Go ahead, and hand the grant to whoever carries the request out.
    Allow(Grant),
    /// Refuse with `EACCES` and log the denial.
    Deny(Denial),
}

impl Decision {
    /// The grant, or the denial as an error.
    pub fn into_result(self) -> Result<Grant, Box<Denial>> {
        match self {
            Self::Allow(grant) => Ok(grant),
            Self::Deny(denial) => Err(Box::new(denial)),
        }
    }

    /// Whether the request may go ahead.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// Proof that one action on one bucket was allowed. It can neither be made elsewhere nor copied: carrying the
/// request out consumes it, so that a forgotten check does not compile.
///
/// ```compile_fail,E0599
/// fn twice(grant: strongroom::policy::Grant) -> (strongroom::policy::Grant, strongroom::policy::Grant) {
///     (grant.clone(), grant)
/// }
/// ```
#[derive(Debug)]
#[must_use = "a grant is for the operation that it allows"]
pub struct Grant {
    action: Action,
    of: Granted,
}

/// What a grant is about: the bucket, or the key.
#[derive(Debug, PartialEq, Eq)]
enum Granted {
    Bucket(ShortName),
    Key(Box<str>),
}

/// A bucket name in place, so that granting allocates nothing.
#[derive(Debug, PartialEq, Eq)]
struct ShortName([u8; 63], u8);

impl ShortName {
    fn of(name: &BucketName) -> Self {
        let bytes = name.as_str().as_bytes();
        let mut held = [0; 63];
        held.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self(held, u8::try_from(bytes.len()).expect("a bucket name has at most 63 bytes"))
    }
}

impl Grant {
    pub(super) fn mint(request: &Request<'_>) -> Self {
        match request.resource {
            Resource::Bucket(bucket) | Resource::Object(bucket, _) => {
                Self::without_policy(request.action, bucket)
            }
            Resource::Key(arn) => Self { action: request.action, of: Granted::Key(arn.into()) },
        }
    }

    /// The grant for a bucket that has no policy and is open: there is nothing that could deny.
    pub fn without_policy(action: Action, bucket: &BucketName) -> Self {
        Self { action, of: Granted::Bucket(ShortName::of(bucket)) }
    }

    /// The action that was allowed.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Whether the grant is for `action` in `bucket`; whoever consumes a grant asks this first.
    pub fn covers(&self, action: Action, bucket: &BucketName) -> bool {
        self.action == action && self.of == Granted::Bucket(ShortName::of(bucket))
    }

    /// Whether the grant is for `action` with the key whose ARN is `key`.
    pub fn covers_key(&self, action: Action, key: &str) -> bool {
        self.action == action && matches!(&self.of, Granted::Key(arn) if **arn == *key)
    }
}

/// Why a request was denied. Shown on one line, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Denial {
    /// What was to be done.
    pub action: Action,
    /// On which resource: `bucket` or `bucket/object`.
    pub resource: String,
    /// ARN of who asked.
    pub principal: String,
    /// The kind of denial.
    pub cause: Cause,
    /// The deciding statement; for a missing `Allow`, the first one whose conditions alone were not met.
    pub statement: Option<StatementName>,
    /// What that statement is not about, where it is about everything else (`NotResource`).
    pub exceptions: Vec<String>,
    /// The conditions of that statement that decided.
    pub conditions: Vec<DecidingCondition>,
}

/// The kind of a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A `Deny` statement applies.
    ExplicitDeny,
    /// The bucket needs an explicit `Allow` and no such statement applies.
    NoAllow,
    /// The policy belongs to another bucket, or the action does not fit the resource: a defect of the caller.
    Misdirected,
}

/// How to find a statement in its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementName {
    /// What kind of policy it is in; empty for that of the bucket.
    pub policy: &'static str,
    /// Position in the list, from 0.
    pub index: usize,
    /// Its `Sid`, if it has one.
    pub sid: Option<String>,
}

/// One condition of the deciding statement and what the request had for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidingCondition {
    /// Operator, as written.
    pub operator: String,
    /// Condition key, as written.
    pub key: String,
    /// The values of the policy, as written.
    pub wanted: Vec<String>,
    /// The values of the request; `None` if the key was absent.
    pub seen: Option<Vec<String>>,
    /// The setting with which this condition would no longer stand in the way, where one is known.
    pub remedy: Option<String>,
}

impl Denial {
    pub(super) fn explicit(request: &Request<'_>, by: Named<'_>) -> Self {
        let conditions = by.statement.conditions.iter().map(|c| seen(c, request, Goal::MakeFalse)).collect();
        Self { conditions, ..Self::new(request, Cause::ExplicitDeny, Some(by)) }
    }

    pub(super) fn implicit(request: &Request<'_>, nearest: Option<Named<'_>>) -> Self {
        let unmet = |c: &&Condition| !c.holds(request, Effect::Allow);
        let conditions = nearest.map_or_else(Vec::new, |by| {
            by.statement.conditions.iter().filter(unmet).map(|c| seen(c, request, Goal::MakeTrue)).collect()
        });
        Self { conditions, ..Self::new(request, Cause::NoAllow, nearest) }
    }

    /// What the deciding statement is about, if that is everything but something.
    pub fn left_out(&self) -> Option<String> {
        (!self.exceptions.is_empty())
            .then(|| format!("about everything but {}", quoted(&self.exceptions, " and ")))
    }

    pub(super) fn misdirected(request: &Request<'_>) -> Self {
        Self::new(request, Cause::Misdirected, None)
    }

    fn new(request: &Request<'_>, cause: Cause, by: Option<Named<'_>>) -> Self {
        Self {
            action: request.action,
            resource: request.resource.to_string(),
            principal: request.principal.arn().to_owned(),
            cause,
            statement: by.map(Named::name),
            exceptions: by.map_or_else(Vec::new, |by| by.statement.resources.exceptions().to_vec()),
            conditions: Vec::new(),
        }
    }
}

/// A statement and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'p> {
    pub(super) scope: &'p Scope,
    pub(super) index: usize,
    pub(super) statement: &'p Statement,
}

impl Named<'_> {
    pub(super) fn name(self) -> StatementName {
        StatementName { policy: self.scope.title(), index: self.index, sid: self.statement.sid.clone() }
    }
}

pub(super) fn seen(condition: &Condition, request: &Request<'_>, goal: Goal) -> DecidingCondition {
    let values = request.values(&condition.key);
    let values = values.as_slice();
    DecidingCondition {
        operator: condition.operator.name.clone(),
        key: condition.key_text.clone(),
        wanted: condition.wanted_text.clone(),
        seen: (!values.is_empty()).then(|| values.iter().map(|v| v.clone().into_owned()).collect()),
        remedy: remedy(condition, goal),
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (resource, principal) = (self.resource.escape_debug(), self.principal.escape_debug());
        write!(f, "{} on `{resource}` by `{principal}` denied ", self.action)?;
        match (self.cause, &self.statement) {
            (Cause::ExplicitDeny, Some(statement)) => write!(f, "by {statement}"),
            (Cause::NoAllow, Some(statement)) => {
                write!(f, "because no statement allows it; nearest is {statement}")
            }
            (Cause::NoAllow | Cause::ExplicitDeny, None) => f.write_str("because no statement allows it"),
            (Cause::Misdirected, _) => {
                f.write_str("because this policy cannot judge this action on this resource")
            }
        }?;
        if let Some(left_out) = self.left_out() {
            write!(f, ", which is {left_out}")?;
        }
        for (i, condition) in self.conditions.iter().enumerate() {
            write!(f, "{} {condition}", if i == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

/// Texts of policies and requests, so that none of them can break the line.
pub(super) fn quoted(texts: &[String], between: &str) -> String {
    texts.iter().map(|text| format!("`{}`", text.escape_debug())).collect::<Vec<_>>().join(between)
}

impl fmt::Display for StatementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sid {
            Some(sid) => {
                write!(f, "{}statement `{}` (Statement[{}])", self.policy, sid.escape_debug(), self.index)
            }
            None => write!(f, "{}Statement[{}]", self.policy, self.index),
        }
    }
}

impl fmt::Display for DecidingCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, key) = (&self.operator, self.key.escape_debug());
        write!(f, "{operator} {key} {}, ", quoted(&self.wanted, " or "))?;
        match &self.seen {
            Some(seen) => write!(f, "seen {}", quoted(seen, " or "))?,
            None => f.write_str("absent from the request")?,
        }
        match &self.remedy {
            Some(remedy) => write!(f, " ({})", remedy.escape_debug()),
            None => Ok(()),
        }
    }
}
