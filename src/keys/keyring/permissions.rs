//! Who may use a key, as the keyring keeps it: the text of a policy and a list of grants.
//!
//! Both stand in clear under the MAC of the file. This room stores them and does not judge: what they mean is for who
//! asks the policies.
//! <https://docs.aws.amazon.com/kms/latest/developerguide/grants.html>

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Keyring, KeyringError, SERVICE_KEY,
    contents::Contents,
    key::{Key, KeyMeta},
};
use crate::{envelope::Id, keys::KeyId};

/// What one user, or the members of one group, may do with a key besides what its policy says. Nothing is denied by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyGrant {
    /// Its id, to revoke it by.
    pub id: Id,
    /// To whom.
    pub grantee: Grantee,
    /// What for; never none.
    pub operations: BTreeSet<GrantOperation>,
    /// Pairs that the encryption context of a use must have, others aside.
    pub context: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

/// Whom a grant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Grantee {
    /// The user with this number.
    User(u32),
    /// Every process that has the group with this number.
    Group(u32),
}

/// What a grant can be for: the two ways in which a drive uses keys for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GrantOperation {
    /// Make the data key of a new object.
    GenerateDataKey,
    /// Unwrap the data key of an object.
    Decrypt,
}

impl GrantOperation {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::GenerateDataKey, Self::Decrypt];
}

impl std::fmt::Display for GrantOperation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::GenerateDataKey => "GenerateDataKey",
            Self::Decrypt => "Decrypt",
        })
    }
}

impl std::fmt::Display for Grantee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(uid) => write!(f, "uid:{uid}"),
            Self::Group(gid) => write!(f, "gid:{gid}"),
        }
    }
}

/// The permissions of one key, as the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPermissions {
    /// The key.
    pub key: KeyId,
    /// The text of its policy.
    pub policy: Option<String>,
    /// Its grants.
    pub grants: Vec<KeyGrant>,
}

impl Keyring {
    /// Makes `policy` that of `key`, or removes it. Whether it makes sense is for the caller to check.
    ///
    /// The keys of SSE-S3 and of `alias/aws/s3` have none and take none.
    pub fn set_policy(&self, key: &KeyId, policy: Option<&str>) -> Result<(), KeyringError> {
        if policy.is_some_and(|text| text.len() > MAX_POLICY) {
            return Err(KeyringError::Full("a policy of more than 64 KiB"));
        }
        self.change(|contents, _| {
            contents.governable(key)?.meta.policy = policy.map(str::to_owned);
            Ok(())
        })
    }

    /// Lets `grantee` use `key` for `operations` with an encryption context that has these pairs. The id of the grant.
    pub fn grant(
        &self,
        key: &KeyId,
        grantee: Grantee,
        operations: BTreeSet<GrantOperation>,
        context: BTreeMap<String, String>,
    ) -> Result<Id, KeyringError> {
        let id = Id::random()?;
        check_constraint(&context)?;
        self.change(|contents, created| {
            let grants = &mut contents.governable(key)?.meta.grants;
            if operations.is_empty() {
                return Err(KeyringError::NoOperation);
            }
            if grants.len() >= MAX_GRANTS {
                return Err(KeyringError::Full("more than 1000 grants of one key"));
            }
            grants.push(KeyGrant { id, grantee, operations, context, created });
            Ok(id)
        })
    }

    /// Takes a grant back.
    pub fn revoke_grant(&self, key: &KeyId, grant: Id) -> Result<(), KeyringError> {
        self.change(|contents, _| {
            let grants = &mut contents.governable(key)?.meta.grants;
            let before = grants.len();
            grants.retain(|kept| kept.id != grant);
            let found = grants.len() < before;
            found.then_some(()).ok_or_else(|| KeyringError::NoSuchGrant { key: key.clone(), grant })
        })
    }

    /// The permissions of every key.
    pub fn permissions(&self) -> Vec<KeyPermissions> {
        self.read().keys.iter().map(Key::permissions).collect()
    }
}

impl Contents {
    /// The key, if its permissions can be changed.
    fn governable(&mut self, id: &KeyId) -> Result<&mut Key, KeyringError> {
        let key = self.key_mut(id)?;
        if key.meta.managed || id.as_str() == SERVICE_KEY {
            return Err(KeyringError::Ungoverned(id.clone()));
        }
        Ok(key)
    }
}

impl Key {
    fn permissions(&self) -> KeyPermissions {
        let (policy, grants) = (self.meta.policy.clone(), self.meta.grants.clone());
        KeyPermissions { key: self.id.clone(), policy, grants }
    }
}

/// Names whose case alone tells them apart are one in a condition, where case does not count.
fn check_constraint(context: &BTreeMap<String, String>) -> Result<(), KeyringError> {
    let names: BTreeSet<_> = context.keys().map(|name| name.to_lowercase()).collect();
    let bytes: usize = context.iter().map(|(name, value)| name.len() + value.len()).sum();
    let good = names.len() == context.len() && !names.contains("") && bytes <= MAX_CONSTRAINT;
    if good { Ok(()) } else { Err(KeyringError::Constraint) }
}

/// Whether stored permissions are something that this version could have written.
pub(super) fn are_possible(meta: &KeyMeta) -> bool {
    let any = meta.policy.is_some() || !meta.grants.is_empty();
    !(meta.managed && any)
        && meta.policy.as_ref().is_none_or(|text| text.len() <= MAX_POLICY)
        && meta.grants.len() <= MAX_GRANTS
        && meta.grants.iter().all(|g| !g.operations.is_empty() && check_constraint(&g.context).is_ok())
}

/// Longest policy that is stored, in bytes; what is a good length is for its parser.
const MAX_POLICY: usize = 64 * 1024;
/// Most bytes of the pairs that a grant asks for.
const MAX_CONSTRAINT: usize = 4096;
/// Most grants of a key.
const MAX_GRANTS: usize = 1000;
