//! Who may use which key: what the keyring says about it, as policies.
//!
//! A grant is one more `Allow` of the key's policy. A key without a policy has the one that AWS gives `aws/s3`: everyone
//! of the account may use it through the buckets.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use serde_json::{Value, json};

use crate::{
    keys::{GrantOperation, Grantee, KeyError, KeyGrant, KeyId, KeyPermissions, KeyService},
    policy::{AccountId, Action, PolicyDocument, PolicyError},
};

/// The policies of the keys of a store, kept for one generation of its key service. A leaf in the order of locks.
#[derive(Default)]
pub(super) struct KeyRules(RwLock<Option<Arc<Kept>>>);

/// The policies in one generation.
struct Kept {
    generation: u64,
    rules: HashMap<KeyId, Arc<KeyRule>>,
    /// Whether any key has a policy or grants.
    any: bool,
}

/// The policy of one key.
pub(super) struct KeyRule {
    /// Its ARN.
    pub(super) arn: String,
    /// The policy with the grants, or what is wrong with it.
    pub(super) policy: Result<PolicyDocument, String>,
    /// Whether the key has a policy of its own.
    pub(super) own: bool,
}

impl KeyRules {
    /// Whether any key has a policy or a grant.
    pub(super) fn any(&self, service: &KeyService, account: &AccountId) -> bool {
        self.kept(service, account).any
    }

    /// The policy of `key`. Keys without one have the usual one of `account`.
    pub(super) fn of(
        &self,
        service: &KeyService,
        key: &KeyId,
        account: &AccountId,
    ) -> Result<Arc<KeyRule>, KeyError> {
        let kept = self.kept(service, account);
        kept.rules.get(key).cloned().ok_or_else(|| KeyError::Unknown { key: key.to_string() })
    }

    fn kept(&self, service: &KeyService, account: &AccountId) -> Arc<Kept> {
        // Before the permissions are read: what changes meanwhile is read again then.
        let generation = service.generation();
        if let Some(kept) = &*self.0.read().unwrap_or_else(PoisonError::into_inner)
            && kept.generation == generation
        {
            return kept.clone();
        }
        let permissions = service.keyring().permissions();
        let any = permissions.iter().any(|of| of.policy.is_some() || !of.grants.is_empty());
        let rule =
            |of: &KeyPermissions| (of.key.clone(), Arc::new(KeyRule::new(of, service.arn(&of.key), account)));
        let kept = Arc::new(Kept { generation, rules: permissions.iter().map(rule).collect(), any });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
        kept
    }
}

impl KeyRule {
    fn new(of: &KeyPermissions, arn: String, account: &AccountId) -> Self {
        let policy = key_policy(of, &arn, account).map_err(|error| error.to_string());
        if let Err(reason) = &policy {
            log::error!("key `{}` serves nobody: its policy is broken: {reason}", of.key);
        }
        Self { arn, policy, own: of.policy.is_some() }
    }
}

/// What decides about the uses of the key whose ARN is `arn`: its policy, or the usual one of `account`, and its grants.
pub fn key_policy(
    of: &KeyPermissions,
    arn: &str,
    account: &AccountId,
) -> Result<PolicyDocument, PolicyError> {
    let policy = match &of.policy {
        Some(text) => PolicyDocument::parse_key(text, arn),
        None => PolicyDocument::parse_key(&usual(account).to_string(), arn),
    };
    // Each for itself: the bound of a policy's length is not one for all grants together.
    of.grants.iter().try_fold(policy?, |policy, grant| {
        let text = json!({ "Statement": statement(grant) }).to_string();
        Ok(policy.and(PolicyDocument::parse_key(&text, arn)?))
    })
}

/// The policy of `aws/s3`, which AWS shows and nobody can change.
fn usual(account: &AccountId) -> Value {
    json!({ "Statement": {
        "Sid": "EveryoneInTheAccountThroughTheBuckets",
        "Effect": "Allow",
        "Principal": "*",
        "Action": [Action::GenerateDataKey.as_str(), Action::Decrypt.as_str()],
        "Resource": "*",
        "Condition": { "StringEquals": { "kms:CallerAccount": account.as_str() } },
    }})
}

/// A grant as a statement. Its texts are literal: this version of the language has no variables.
fn statement(grant: &KeyGrant) -> Value {
    let actions: Vec<_> = grant.operations.iter().map(|operation| action(*operation).as_str()).collect();
    let (operator, key, number) = match grant.grantee {
        Grantee::User(uid) => ("NumericEquals", "aws:userid", uid),
        Grantee::Group(gid) => ("ForAnyValue:NumericEquals", "strongroom:gid", gid),
    };
    let pairs = grant.context.iter();
    let pairs = pairs.map(|(name, value)| (format!("kms:EncryptionContext:{name}"), json!(value)));
    let conditions =
        json!({ operator: { key: number.to_string() }, "StringEquals": Value::Object(pairs.collect()) });
    json!({
        "Sid": format!("grant {}", grant.id),
        "Effect": "Allow",
        "Principal": "*",
        "Action": actions,
        "Resource": "*",
        "Condition": conditions,
    })
}

fn action(operation: GrantOperation) -> Action {
    match operation {
        GrantOperation::GenerateDataKey => Action::GenerateDataKey,
        GrantOperation::Decrypt => Action::Decrypt,
    }
}
