//! A policy of a bucket, a key or a user, parsed once and evaluated for every request.
//!
//! Amazon S3 user guide, "Bucket policies"; AWS KMS developer guide, "Key policies"; IAM user guide, "Identity-based
//! policies and resource-based policies".

use super::{
    decision::{Decision, Named},
    element::Element,
    error::PolicyError,
    forecast::{Answer, Forecast},
    json,
    kind::Kind,
    memory::Memory,
    policies::Policies,
    principal::Reach,
    request::Request,
    scope::Scope,
    statement::{Effect, Statement},
};
use crate::name::BucketName;

/// Longest policy of a bucket or a user, in bytes.
pub const MAX_POLICY_BYTES: usize = 20 * 1024;

/// Longest key policy, in bytes.
pub const MAX_KEY_POLICY_BYTES: usize = 32 * 1024;

/// What decides when no statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The permission bits of the file system have allowed the request already; only an explicit `Deny` counts.
    #[default]
    Open,
    /// A request also needs an explicit `Allow`.
    Closed,
}

/// A checked policy. The text stays with the caller, who stores and returns it unchanged.
#[derive(Debug, Clone)]
pub struct PolicyDocument {
    pub(super) scope: Scope,
    id: Option<String>,
    pub(super) statements: Vec<Statement>,
    memory: Memory,
}

/// What one policy says about one request.
pub(super) struct Verdict<'p> {
    /// The first statement that denies it.
    pub(super) denied: Option<Named<'p>>,
    /// How the statements that allow it mean the principal, at the closest.
    pub(super) allowed: Option<Reach>,
    /// The first statement that would allow it if its conditions held.
    pub(super) nearest: Option<Named<'p>>,
}

impl PolicyDocument {
    /// Parses the policy `text` of `bucket`. Whatever S3 refuses or this product cannot enforce is refused with its place.
    pub fn parse(text: &str, bucket: &BucketName) -> Result<Self, PolicyError> {
        Self::parse_for(text, Scope::Bucket(bucket.clone()), MAX_POLICY_BYTES)
    }

    /// Parses the policy `text` of the key whose ARN is `key`.
    pub fn parse_key(text: &str, key: &str) -> Result<Self, PolicyError> {
        Self::parse_for(text, Scope::Key(key.to_owned()), MAX_KEY_POLICY_BYTES)
    }

    /// Parses the policy `text` of a user or group.
    pub fn parse_identity(text: &str) -> Result<Self, PolicyError> {
        Self::parse_for(text, Scope::Identity, MAX_POLICY_BYTES)
    }

    fn parse_for(text: &str, scope: Scope, most: usize) -> Result<Self, PolicyError> {
        if text.len() > most {
            return Err(PolicyError::TooLarge { bytes: text.len(), most });
        }
        let node = json::read(text)?;
        let root = Element::root(text, &node);
        let members = root.members()?;
        if let Some((_, element)) =
            members.iter().find(|(name, _)| !["Version", "Id", "Statement"].contains(name))
        {
            return Err(element.wrong_name("unknown element: a policy has Version, Id and Statement"));
        }
        let get = |name: &str| members.iter().find(|(key, _)| *key == name).map(|(_, element)| element);
        let variables = get("Version").map_or(Ok(false), has_variables)?;
        let id = get("Id").map(|id| id.string().map(str::to_owned)).transpose()?;
        let Some(list) = get("Statement") else {
            return Err(root.wrong("the policy lacks `Statement`: add one statement or a list of them"));
        };
        let statements = parse_statements(list, &scope, variables)?;
        Ok(Self { scope, id, statements, memory: Memory::default() })
    }

    /// The same policy with the statements of `further`, which is attached to the same, behind its own.
    #[must_use]
    pub fn and(mut self, further: Self) -> Self {
        self.statements.extend(further.statements);
        self.memory = Memory::default();
        self
    }

    /// What the policy is attached to.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The `Id` element.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Number of statements.
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// Decides about `request` where this is the only policy, and that of its resource.
    pub fn evaluate(&self, request: &Request<'_>, mode: Mode) -> Decision {
        Policies { resource: Some(self), identity: &[], mode }.evaluate(request)
    }

    /// Whether the policy denies or allows `request`, from what is remembered of its kind where that may be; else `None`.
    pub(super) fn answer(&self, request: &Request<'_>) -> Option<Answer> {
        let kind = Kind::of(request)?;
        let make = || Forecast::new(self, request);
        Some(self.memory.with(kind, make, |forecast| forecast.answer(self, request)))
    }

    /// What the statements say, without regard to other policies.
    pub(super) fn judge(&self, request: &Request<'_>) -> Verdict<'_> {
        let mut verdict = Verdict { denied: None, allowed: None, nearest: None };
        for (index, statement) in self.statements.iter().enumerate().filter(|(_, s)| s.concerns(request)) {
            let named = Named { scope: &self.scope, index, statement };
            match (statement.holds(request), statement.effect) {
                (true, Effect::Deny) => return Verdict { denied: Some(named), ..verdict },
                (true, Effect::Allow) if verdict.allowed != Some(Reach::Direct) => {
                    verdict.allowed = statement.reach(request);
                }
                (false, Effect::Allow) => verdict.nearest = verdict.nearest.or(Some(named)),
                (true, Effect::Allow) | (false, Effect::Deny) => {}
            }
        }
        verdict
    }
}

fn has_variables(version: &Element<'_>) -> Result<bool, PolicyError> {
    match version.string()? {
        "2012-10-17" => Ok(true),
        "2008-10-17" => Ok(false),
        other => Err(version.wrong(format!(
            "`{}` is not a version of the policy language: write `2012-10-17`",
            other.escape_debug()
        ))),
    }
}

fn parse_statements(
    list: &Element<'_>,
    scope: &Scope,
    variables: bool,
) -> Result<Vec<Statement>, PolicyError> {
    let mut statements: Vec<Statement> = Vec::new();
    for element in list.one_or_many()? {
        let statement = Statement::parse(&element, scope, variables)?;
        if statement.sid.is_some() && statements.iter().any(|earlier| earlier.sid == statement.sid) {
            return Err(element
                .wrong("another statement has the same `Sid`: change one, so that a denial can name it"));
        }
        statements.push(statement);
    }
    Ok(statements)
}
