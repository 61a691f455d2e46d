//! The policies of keys for the tools that explain: as the keyring lists them to whoever can read it. No key is needed, and
//! nothing is proven.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;

use super::{
    identities::{account, mode},
    store::key_scope,
};
use crate::{
    config::Config,
    engine::{key_policy, via_service},
    keys::{AliasName, KeyName, KeyPermissions, KeyScope, Keyring, ListedKey},
    name::{BucketName, ObjectName},
    policy::{
        AccountId, Action, Context, Explanation, Mode, Policies, PolicyDocument, Principal, Request, Resource,
    },
    store::layout::STORE_DIR,
};

/// The keys of a store and what decides about them.
pub(super) struct KeyPolicies {
    keys: Vec<ListedKey>,
    scope: KeyScope,
    account: AccountId,
    mode: Mode,
}

/// One key of them.
pub(super) struct GovernedKey {
    /// Its ARN.
    pub(super) arn: String,
    policy: PolicyDocument,
    /// The configured mode where it has a policy of its own, else the open one.
    mode: Mode,
    via: String,
}

/// A use of a key, as its policy sees it.
pub(super) struct KeyUse<'a> {
    /// Who.
    pub(super) principal: &'a Principal,
    /// For which object.
    pub(super) bucket: &'a BucketName,
    /// In the bucket.
    pub(super) object: &'a ObjectName,
    /// Whether through a bucket key, whose context names the bucket alone.
    pub(super) bucket_key: bool,
    /// The user's pairs.
    pub(super) pairs: &'a [(String, String)],
    /// The time and the process.
    pub(super) context: Context<'a>,
}

impl KeyPolicies {
    /// Those of `store`.
    pub(super) fn read(store: &Path, config: &Config) -> anyhow::Result<Self> {
        let keys = Keyring::listed(&store.join(STORE_DIR))?;
        Ok(Self { keys, scope: key_scope(config)?, account: account(config), mode: mode(config) })
    }

    /// The key called `text`, an id, alias or ARN, if it is listed. `policy` is tried in place of its own.
    pub(super) fn find(&self, text: &str, policy: Option<&str>) -> anyhow::Result<Option<GovernedKey>> {
        let name: KeyName = text.parse()?;
        let has = |key: &&ListedKey, alias: &AliasName| key.aliases.contains(alias);
        let found = self.keys.iter().find(|key| match &name {
            _ if key.remote.as_deref() == Some(text) => true,
            KeyName::Id(id) => key.id == *id,
            KeyName::Alias(alias) => has(key, alias),
            KeyName::Arn(scope, id) => *scope == self.scope && key.id == *id,
            KeyName::AliasArn(scope, alias) => *scope == self.scope && has(key, alias),
        });
        found.map(|key| self.governed(key, policy)).transpose()
    }

    fn governed(&self, key: &ListedKey, policy: Option<&str>) -> anyhow::Result<GovernedKey> {
        let remote = key.remote.clone().filter(|name| name.starts_with("arn:"));
        let arn = remote.unwrap_or_else(|| self.scope.key_arn(&key.id));
        let policy = policy.map(str::to_owned).or_else(|| key.policy.clone());
        let mode = if policy.is_some() { self.mode } else { Mode::Open };
        let all = KeyPermissions { key: key.id.clone(), policy, grants: key.grants.clone() };
        let policy =
            key_policy(&all, &arn, &self.account).with_context(|| format!("policy of key `{}`", key.id))?;
        Ok(GovernedKey { arn, policy, mode, via: via_service(self.scope.region()) })
    }
}

impl GovernedKey {
    /// What is decided about `used`, and why.
    pub(super) fn explain(
        &self,
        action: Action,
        used: &KeyUse<'_>,
        identity: &[Arc<PolicyDocument>],
    ) -> Explanation {
        let arn = Resource::of(used.bucket, (!used.bucket_key).then_some(used.object)).arn();
        let mut pairs = vec![("aws:s3:arn", &*arn)];
        pairs.extend(used.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let context = used.context.clone().via_service(Some(&self.via)).with_encryption_context(&pairs);
        let request =
            Request { principal: used.principal, action, resource: Resource::Key(&self.arn), context };
        Policies { resource: Some(&self.policy), identity, mode: self.mode }.explain(&request)
    }

    /// What is decided about making an object: with a bucket key that takes `kms:Decrypt` too, and who lacks that gets
    /// none.
    pub(super) fn explain_new(
        &self,
        used: KeyUse<'_>,
        identity: &[Arc<PolicyDocument>],
    ) -> (Explanation, bool) {
        let shared = used.bucket_key && self.explain(Action::Decrypt, &used, identity).denial.is_none();
        let used = KeyUse { bucket_key: shared, ..used };
        (self.explain(Action::GenerateDataKey, &used, identity), shared)
    }
}
