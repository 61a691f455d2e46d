//! What is told about keys, and what is asked for them: no secret stands in any of it.

use serde::{Deserialize, Serialize};

use super::{KeyGrant, KeyringError, key::DAY};
use crate::{
    crypto::Secret,
    keys::{AliasName, KeyId, KeyState},
};

/// A key as the list of keys shows it. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// What its maker wrote about it.
    pub description: String,
    /// When it was made.
    pub created: u64,
    /// State of the key as a whole.
    pub state: KeyState,
    /// For a key that waits for its deletion: when it is destroyed.
    pub deletion: Option<u64>,
    /// Where its material comes from.
    pub origin: Origin,
    /// Its automatic rotation.
    pub rotation: Option<Rotation>,
    /// Whether it is the key of `alias/aws/s3`, which cannot be disabled or deleted.
    pub managed: bool,
    /// The text of its policy.
    pub policy: Option<String>,
    /// Its grants.
    pub grants: Vec<KeyGrant>,
    /// Its aliases, sorted.
    pub aliases: Vec<AliasName>,
    /// Its versions, oldest first. A remote key has one, whatever its provider does.
    pub versions: Vec<VersionInfo>,
}

/// A key as its file lists it to whoever can read that. Nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// Its id.
    pub id: KeyId,
    /// Its aliases, sorted.
    pub aliases: Vec<AliasName>,
    /// For a key that a provider holds: the provider's own name for it.
    pub remote: Option<String>,
    /// The text of its policy.
    pub policy: Option<String>,
    /// Its grants.
    pub grants: Vec<KeyGrant>,
}

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Version, counted from 1.
    pub version: u32,
    /// State of this version.
    pub state: KeyState,
    /// When it was made.
    pub created: u64,
    /// For a version that waits for its deletion: when it may be destroyed.
    pub not_after: Option<u64>,
}

/// Where the material of a key is or comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// Made here.
    Local,
    /// Brought from elsewhere.
    Imported {
        /// When it stops working and is erased, in seconds since 1970.
        expires: Option<u64>,
    },
    /// Held by a provider, which wraps and unwraps.
    Remote {
        /// Name of the provider's section in the configuration.
        provider: String,
        /// The provider's own name for the key: ARN, transit key name, PKCS#11 URI.
        key: String,
    },
}

/// Automatic rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Days from one rotation to the next, 90 to 2560.
    pub period_days: u32,
    /// When the next one is due, in seconds since 1970.
    pub next: u64,
}

impl Rotation {
    /// Rotation every `days`, first in `days` from `now`.
    pub(super) fn every(days: u32, now: u64) -> Result<Self, KeyringError> {
        if !(90..=2560).contains(&days) {
            return Err(KeyringError::Period(days));
        }
        Ok(Self { period_days: days, next: now.saturating_add(u64::from(days) * DAY) })
    }
}

/// A key to be made.
#[derive(Debug)]
pub struct NewKey {
    /// What the list of keys shows, at most 8192 bytes.
    pub description: String,
    /// A first alias; it must be free.
    pub alias: Option<AliasName>,
    /// Rotate it every so many days (90 to 2560); only for [`Material::Random`].
    pub rotation_days: Option<u32>,
    /// Its material.
    pub material: Material,
}

impl NewKey {
    /// A key with random material and nothing else.
    pub fn random() -> Self {
        Self { description: String::new(), alias: None, rotation_days: None, material: Material::Random }
    }
}

/// The material of a new key.
#[derive(Debug)]
pub enum Material {
    /// 32 random bytes.
    Random,
    /// 32 bytes from elsewhere, until `expires` (seconds since 1970).
    Imported {
        /// The bytes.
        material: Secret<32>,
        /// When it stops working.
        expires: Option<u64>,
    },
    /// Held by a provider of the configuration.
    Remote {
        /// Name of the provider.
        provider: String,
        /// The provider's own name for the key.
        key: String,
    },
}

/// A change to the state of a key version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange {
    /// Disabled becomes enabled (the newest version) or retired (older ones).
    Enable,
    /// Enabled or retired becomes disabled.
    Disable,
    /// Waits this many days (7 to 30), then is destroyed.
    ScheduleDeletion {
        /// Days to wait.
        days: u32,
    },
    /// Pending deletion becomes disabled, as in AWS KMS.
    CancelDeletion,
}

impl StateChange {
    /// Whether it leaves the key unusable.
    pub(super) fn takes_away(self) -> bool {
        !matches!(self, Self::Enable | Self::CancelDeletion)
    }

    /// What to do where the state of a key does not allow it.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Enable | Self::Disable => "cancel the deletion first, what is destroyed stays so",
            Self::ScheduleDeletion { .. } => "cancel the deletion first to choose another time",
            Self::CancelDeletion => "there is no deletion to cancel",
        }
    }
}

/// What time brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upkeep {
    /// The key has a new version.
    Rotated {
        /// The key.
        key: KeyId,
        /// Its new version.
        version: u32,
    },
    /// The waiting time of its deletion was over; the material is gone.
    Destroyed {
        /// The key.
        key: KeyId,
    },
    /// The imported material expired and is gone from the keyring.
    Expired {
        /// The key.
        key: KeyId,
    },
}

impl std::fmt::Display for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rotated { key, version } => write!(f, "key `{key}` was due: it has version {version} now"),
            Self::Destroyed { key } => write!(f, "key `{key}` waited long enough: it was destroyed"),
            Self::Expired { key } => write!(f, "the imported material of key `{key}` expired: it was erased"),
        }
    }
}
