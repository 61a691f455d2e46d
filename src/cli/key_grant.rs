//! `strongroom key grant`, `grants` and `revoke-grant`: what single users and groups may do with a key.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    exit::{Exit, Refusal},
    identities::resolve,
    key::StoreArgs,
    output,
    sse::ContextPair,
};
use crate::{
    config::{Config, Identity},
    engine::Who,
    envelope::Id,
    keys::{GrantOperation, Grantee, KeyGrant},
};

/// Let a user or the members of a group use a key, besides whom its policy allows
///
/// A grant allows and never denies: what the policy of the key or of the user denies stays denied. A key without a policy
/// serves everyone anyway.
#[derive(Debug, clap::Args)]
pub(super) struct Grant {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The key
    pub(super) key: String,
    #[command(flatten)]
    to: Whom,
    /// What for: `GenerateDataKey` (write new files), Decrypt (read), or both with a comma between
    #[arg(long, value_name = "OPERATIONS", required = true, value_delimiter = ',', value_parser = operation)]
    operations: Vec<GrantOperation>,
    /// A pair that the encryption context must have; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    constraint: Vec<ContextPair>,
}

/// Who gets a grant.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The user, by name or number
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The group, by name or number; whoever has it besides his primary group counts as well
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

/// List the grants of a key
#[derive(Debug, clap::Args)]
pub(super) struct Grants {
    #[command(flatten)]
    store: StoreArgs,
    /// The key
    key: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Take a grant back
#[derive(Debug, clap::Args)]
pub(super) struct RevokeGrant {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The key
    pub(super) key: String,
    /// The grant, by its id in the list
    grant: String,
}

/// A grant as `--json` prints it; times in seconds since 1970.
#[derive(Debug, Serialize)]
struct Report {
    grant: Id,
    grantee: String,
    operations: Vec<String>,
    constraints: BTreeMap<String, String>,
    created: u64,
}

impl Grant {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let grantee = self.to.grantee()?;
        let context: BTreeMap<_, _> = self.constraint.iter().map(ContextPair::pair).collect();
        let keys = self.store.keys(config)?;
        let id = keys.find(&self.key)?;
        let operations = self.operations.iter().copied().collect();
        let grant = keys.keyring().grant(&id, grantee, operations, context)?;
        keys.announce();
        if keys.keyring().key(&id)?.policy.is_none() {
            eprintln!("strongroom: key {id} has no policy: everyone may use it, with or without a grant");
        }
        output::line(grant)
    }
}

impl Grants {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let key = keys.keyring().key(&keys.find(&self.key)?)?;
        let reports: Vec<_> = key.grants.into_iter().map(Report::from).collect();
        if self.json {
            return output::json(&reports);
        }
        let rows: Vec<_> = reports.iter().map(Report::row).collect();
        output::table(["GRANT", "TO", "OPERATIONS", "CONSTRAINTS"], &rows)
    }
}

impl RevokeGrant {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let grant = Id::from_hex(&self.grant).ok_or_else(|| {
            Refusal::error(Exit::Usage, format!("`{}` is no grant: it has 32 hex digits", self.grant))
        })?;
        let keys = self.store.keys(config)?;
        keys.keyring().revoke_grant(&keys.find(&self.key)?, grant)?;
        keys.announce();
        output::line(format!("Grant {grant} revoked"))
    }
}

impl Whom {
    fn grantee(&self) -> anyhow::Result<Grantee> {
        let named = |name: &str, by_number: fn(u32) -> Identity, by_name: fn(String) -> Identity| {
            name.parse().map_or_else(|_| by_name(name.to_owned()), by_number)
        };
        let identity = match (&self.user, &self.group) {
            (Some(user), _) => named(user, Identity::Uid, Identity::UserName),
            (None, Some(group)) => named(group, Identity::Gid, Identity::GroupName),
            (None, None) => return Err(Refusal::error(Exit::Usage, "name a --user or a --group")),
        };
        Ok(match resolve(&identity)? {
            Who::User(uid) => Grantee::User(uid),
            Who::Group(gid) => Grantee::Group(gid),
        })
    }
}

impl From<KeyGrant> for Report {
    fn from(grant: KeyGrant) -> Self {
        Self {
            grant: grant.id,
            grantee: grant.grantee.to_string(),
            operations: grant.operations.iter().map(ToString::to_string).collect(),
            constraints: grant.context,
            created: grant.created,
        }
    }
}

impl Report {
    fn row(&self) -> [String; 4] {
        let pairs: Vec<_> = self.constraints.iter().map(|(name, value)| format!("{name}={value}")).collect();
        [self.grant.to_string(), self.grantee.clone(), self.operations.join(","), pairs.join(" ")]
    }
}

fn operation(name: &str) -> Result<GrantOperation, String> {
    GrantOperation::ALL.into_iter().find(|operation| operation.to_string() == name).ok_or_else(|| {
        "a drive uses keys for users in two ways: write `GenerateDataKey` or `Decrypt`".to_owned()
    })
}
