//! Who asks ([`Principal`]), and the `Principal` element of a statement that names who is meant.
//!
//! IAM user guide, "AWS JSON policy elements: Principal" and "AWS JSON policy elements: `NotPrincipal`".

use std::fmt;

use super::{element::Element, error::PolicyError};

/// A twelve-digit account number; all local users live in one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountId(String);

impl AccountId {
    /// Checks `text`: twelve digits.
    pub fn parse(text: &str) -> Option<Self> {
        is_account(text).then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Twelve zeroes.
impl Default for AccountId {
    fn default() -> Self {
        Self("0".repeat(12))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The local user who makes a request. Build it once per user and share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    uid: u32,
    gids: Vec<u32>,
    user: Option<String>,
    account: AccountId,
    /// The account of the store's own users.
    home: AccountId,
    arn: String,
    owner: bool,
}

/// The ARN of a user or role that an administrator gives to a local user or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalArn {
    account: AccountId,
    /// The user name; a role has none.
    user: Option<String>,
    text: String,
}

impl PrincipalArn {
    /// The ARN.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The user name; a role has none.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Checks `text`: `arn:aws:iam::<account>:user/<name>` or `:role/<name>`, with a path before the name if need be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "`{}` is not the ARN of a user or role: write `arn:aws:iam::<account>:user/<name>` or `:role/<name>`",
                text.escape_debug()
            )
        };
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", _, "iam", "", account, entity] = parts.as_slice() else { return Err(refused()) };
        let account = AccountId::parse(account).ok_or_else(refused)?;
        let (kind, path) = entity.split_once('/').ok_or_else(refused)?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c);
        if name.is_empty() || !path.chars().all(plain) || !["user", "role"].contains(&kind) {
            return Err(refused());
        }
        let user = (kind == "user").then(|| name.to_owned());
        Ok(Self { account, user, text: text.to_owned() })
    }
}

impl Principal {
    /// The user `uid` of `account`: `arn:aws:iam::<account>:user/<name>`, or `user/uid:<uid>` without a name.
    ///
    /// No account name may hold `:`, so a name can never pass for a bare number.
    pub fn new(account: AccountId, uid: u32, gids: Vec<u32>, user: Option<&str>) -> Self {
        let user = user.filter(|name| !name.is_empty() && !name.contains([':', '/'])).map(str::to_owned);
        let shown = user.clone().unwrap_or_else(|| format!("uid:{uid}"));
        let arn = format!("arn:aws:iam::{account}:user/{shown}");
        Self { uid, gids, user, home: account.clone(), account, arn, owner: false }
    }

    /// The same user under the ARN, and thereby the account, that an administrator gave him.
    #[must_use]
    pub fn known_as(self, given: &PrincipalArn) -> Self {
        Self { account: given.account.clone(), user: given.user.clone(), arn: given.text.clone(), ..self }
    }

    /// The same user as owner of the mount, whom no policy can lock out of the policy verbs.
    #[must_use]
    pub fn as_owner(mut self) -> Self {
        self.owner = true;
        self
    }

    /// Numeric user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// All group ids.
    pub fn gids(&self) -> &[u32] {
        &self.gids
    }

    /// User name, if the uid has one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The account.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The account that the store's buckets are in.
    pub(super) fn home(&self) -> &AccountId {
        &self.home
    }

    /// The ARN that policies match.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Whether this is the owner of the mount.
    pub fn is_owner(&self) -> bool {
        self.owner
    }
}

/// The `Principal` or `NotPrincipal` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PrincipalSet {
    listed: Vec<Listed>,
    inverted: bool,
}

/// How a statement means a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Himself, or everyone.
    Direct,
    /// His account, which in a key policy hands the decision over to identity policies.
    Account,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Listed {
    Everyone,
    Account(String),
    Arn(String),
    /// A service, federated or canonical user: never a local one.
    Foreign(String),
}

impl PrincipalSet {
    /// Everyone.
    pub(super) fn everyone() -> Self {
        Self { listed: vec![Listed::Everyone], inverted: false }
    }

    /// Parses the element; `inverted` for `NotPrincipal`.
    pub(super) fn parse(element: &Element<'_>, inverted: bool) -> Result<Self, PolicyError> {
        let mut listed = Vec::new();
        if element.is_object() {
            for (kind, names) in element.members()? {
                add_kind(kind, &names, &mut listed)?;
            }
        } else if element.string()? == "*" {
            listed.push(Listed::Everyone);
        }
        if listed.is_empty() {
            return Err(element.wrong(
                r#"a principal is "*" or an object such as {"AWS": "arn:aws:iam::123456789012:user/ann"}"#,
            ));
        }
        Ok(Self { listed, inverted })
    }

    /// How the statement means `principal`, if it does.
    pub(super) fn reach(&self, principal: &Principal) -> Option<Reach> {
        let direct = |listed: &Listed| !matches!(listed, Listed::Account(_));
        let mut meant = self.listed.iter().filter(|l| l.is(principal)).peekable();
        match (meant.peek().is_some(), self.inverted) {
            (true, true) | (false, false) => None,
            (false, true) => Some(Reach::Direct),
            (true, false) => Some(if meant.any(direct) { Reach::Direct } else { Reach::Account }),
        }
    }

    /// Whether every principal that `other` means is meant here too, as far as their words tell.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self == other
            || (!self.inverted && self.listed.contains(&Listed::Everyone))
            || (!self.inverted && !other.inverted && other.listed.iter().all(|l| self.listed.contains(l)))
    }

    /// The listed accounts and users that neither `account` has nor anybody was `given` as his ARN.
    pub(super) fn strangers<'l>(
        &'l self,
        account: &AccountId,
        given: &[PrincipalArn],
    ) -> impl Iterator<Item = &'l str> {
        let own = format!("arn:aws:iam::{account}:user/");
        self.listed.iter().filter_map(move |l| match l {
            Listed::Account(name) if *name != account.0 && given.iter().all(|g| g.account.0 != *name) => {
                Some(name.as_str())
            }
            Listed::Arn(name) if !name.starts_with(&own) && given.iter().all(|g| g.text != *name) => {
                Some(name.as_str())
            }
            _ => None,
        })
    }

    /// Whether the element is `NotPrincipal`.
    pub(super) fn is_inverted(&self) -> bool {
        self.inverted
    }

    /// The listed names that no local user can have.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &str> {
        self.listed
            .iter()
            .filter_map(|l| if let Listed::Foreign(name) = l { Some(name.as_str()) } else { None })
    }
}

impl Listed {
    fn is(&self, principal: &Principal) -> bool {
        match self {
            Self::Everyone => true,
            Self::Account(account) => account == principal.account.as_str(),
            Self::Arn(arn) => *arn == principal.arn,
            Self::Foreign(_) => false,
        }
    }
}

fn add_kind(kind: &str, names: &Element<'_>, listed: &mut Vec<Listed>) -> Result<(), PolicyError> {
    for name in names.one_or_many()? {
        let text = name.string()?;
        listed.push(match kind {
            "AWS" => aws(text).map_err(|problem| name.wrong(problem))?,
            "Service" | "Federated" | "CanonicalUser" => Listed::Foreign(text.to_owned()),
            _ => {
                return Err(names.wrong_name(
                    "unknown kind of principal: write `AWS` (or `Service`, `Federated`, `CanonicalUser`)",
                ));
            }
        });
    }
    Ok(())
}

fn aws(text: &str) -> Result<Listed, String> {
    if text == "*" {
        return Ok(Listed::Everyone);
    }
    if is_account(text) {
        return Ok(Listed::Account(text.to_owned()));
    }
    let shown = text.escape_debug();
    if text.contains(['*', '?']) || text.contains("${") {
        return Err(format!(
            "`{shown}`: a principal takes no wildcards or variables; write \"*\" and a Condition on `aws:PrincipalArn`"
        ));
    }
    match text.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "iam", "", account, "root"] if is_account(account) => {
            Ok(Listed::Account((*account).to_owned()))
        }
        ["arn", _, "iam" | "sts", "", account, entity, ..] if is_account(account) && entity.contains('/') => {
            Ok(Listed::Arn(text.to_owned()))
        }
        _ => Err(format!(
            "`{shown}` is not a principal: write an account number or `arn:aws:iam::<account>:user/<name>`"
        )),
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}
