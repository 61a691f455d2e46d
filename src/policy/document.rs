//! A bucket policy, parsed once and evaluated for every request.
//!
//! Amazon S3 user guide, "Bucket policies"; IAM user guide, "Policy evaluation logic".

use super::{
    decision::{Decision, Denial, Grant},
    element::Element,
    error::PolicyError,
    json,
    request::Request,
    statement::{Effect, Statement},
};
use crate::name::BucketName;

/// Longest policy text, in bytes.
pub const MAX_POLICY_BYTES: usize = 20 * 1024;

/// What decides when no statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The permission bits of the file system have allowed the request already; only an explicit `Deny` counts.
    Open,
    /// A request also needs an explicit `Allow`.
    Closed,
}

/// A checked policy of one bucket. The text stays with the caller, who stores and returns it unchanged.
#[derive(Debug, Clone)]
pub struct PolicyDocument {
    bucket: BucketName,
    id: Option<String>,
    pub(super) statements: Vec<Statement>,
}

impl PolicyDocument {
    /// Parses the policy `text` of `bucket`. Whatever S3 refuses or this product cannot enforce is refused with its place.
    pub fn parse(text: &str, bucket: &BucketName) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge { bytes: text.len() });
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
        Ok(Self { bucket: bucket.clone(), id, statements: parse_statements(list, bucket, variables)? })
    }

    /// The bucket whose policy this is.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// The `Id` element.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Number of statements.
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// Decides about `request`: an explicit `Deny` anywhere, then an explicit `Allow`, then `mode`.
    ///
    /// The owner of the mount is exempt for the three policy verbs, so that no policy can lock him out.
    pub fn evaluate(&self, request: &Request<'_>, mode: Mode) -> Decision {
        if *request.bucket != self.bucket || !request.fits_together() {
            return Decision::Deny(Denial::misdirected(request));
        }
        if owner_is_exempt(request) {
            return Decision::Allow(Grant::mint(request));
        }
        let mut allowed = mode == Mode::Open;
        let mut nearest = None;
        for (index, statement) in self.statements.iter().enumerate().filter(|(_, s)| s.concerns(request)) {
            match (statement.holds(request), statement.effect) {
                (true, Effect::Deny) => return Decision::Deny(Denial::explicit(request, index, statement)),
                (true, Effect::Allow) => allowed = true,
                (false, Effect::Allow) => nearest = nearest.or(Some((index, statement))),
                (false, Effect::Deny) => {}
            }
        }
        if allowed {
            Decision::Allow(Grant::mint(request))
        } else {
            Decision::Deny(Denial::implicit(request, nearest))
        }
    }
}

/// Decides about a request to a bucket that may have no policy: without one, `mode` alone decides.
pub fn evaluate(policy: Option<&PolicyDocument>, request: &Request<'_>, mode: Mode) -> Decision {
    match policy {
        Some(policy) => policy.evaluate(request, mode),
        None if !request.fits_together() => Decision::Deny(Denial::misdirected(request)),
        None if mode == Mode::Open || owner_is_exempt(request) => Decision::Allow(Grant::mint(request)),
        None => Decision::Deny(Denial::implicit(request, None)),
    }
}

fn owner_is_exempt(request: &Request<'_>) -> bool {
    request.principal.is_owner() && request.action.is_policy_verb()
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
    bucket: &BucketName,
    variables: bool,
) -> Result<Vec<Statement>, PolicyError> {
    let mut statements: Vec<Statement> = Vec::new();
    for element in list.one_or_many()? {
        let statement = Statement::parse(&element, bucket, variables)?;
        if statement.sid.is_some() && statements.iter().any(|earlier| earlier.sid == statement.sid) {
            return Err(element
                .wrong("another statement has the same `Sid`: change one, so that a denial can name it"));
        }
        statements.push(statement);
    }
    Ok(statements)
}
