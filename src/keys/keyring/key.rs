//! One key of an opened keyring: what it is, its versions, and the states it goes through.
//!
//! The rules are those of AWS KMS: <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>. A version
//! never changes its material; a rotation adds one, and the older ones go on unwrapping.

use serde::{Deserialize, Serialize};

use super::{
    KeyGrant, KeyringError, SERVICE_KEY,
    info::{KeyInfo, Origin, Rotation, StateChange, VersionInfo},
};
use crate::{
    crypto::{self, Secret},
    keys::{AliasName, KeyError, KeyId, KeyState, hexbytes::HexArray},
};

/// A key; `versions` is never empty and ascends.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) meta: KeyMeta,
    pub(super) versions: Vec<Version>,
}

/// What stands beside the material, in clear, under the MAC of the whole file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyMeta {
    pub(super) description: String,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) origin: Origin,
    /// Proof of the material that was imported, so that only the same comes back; `None` unless imported.
    pub(super) check: Option<HexArray<32>>,
    pub(super) rotation: Option<Rotation>,
    /// The key of `alias/aws/s3`: made on first use, never disabled or deleted.
    pub(super) managed: bool,
    /// The text of its policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) grants: Vec<KeyGrant>,
}

pub(super) struct Version {
    pub(super) number: u32,
    pub(super) state: KeyState,
    pub(super) created: u64,
    pub(super) not_after: Option<u64>,
    /// `None` when destroyed, held by a remote provider, or imported and expired.
    pub(super) material: Option<Secret<32>>,
}

impl KeyMeta {
    pub(super) fn local(description: &str, created: u64) -> Self {
        let description = description.to_owned();
        Self {
            description,
            created,
            origin: Origin::Local,
            check: None,
            rotation: None,
            managed: false,
            policy: None,
            grants: Vec::new(),
        }
    }
}

impl Key {
    pub(super) fn duplicate(&self) -> Self {
        let versions = self.versions.iter().map(Version::duplicate).collect();
        Self { id: self.id.clone(), meta: self.meta.clone(), versions }
    }

    pub(super) fn info(&self, aliases: Vec<AliasName>, now: u64) -> KeyInfo {
        KeyInfo {
            id: self.id.clone(),
            description: self.meta.description.clone(),
            created: self.meta.created,
            state: self.state(now),
            deletion: self.versions.last().and_then(|newest| newest.not_after),
            origin: self.meta.origin.clone(),
            rotation: self.meta.rotation,
            managed: self.meta.managed,
            policy: self.meta.policy.clone(),
            grants: self.meta.grants.clone(),
            aliases,
            versions: self.versions.iter().map(Version::info).collect(),
        }
    }

    /// The state of the key as a whole: that of its newest version, unless its material has expired.
    pub(super) fn state(&self, now: u64) -> KeyState {
        let newest = self.versions.last().map_or(KeyState::Destroyed, |newest| newest.state);
        if newest == KeyState::Enabled && self.is_expired(now) { KeyState::Unavailable } else { newest }
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        matches!(self.meta.origin, Origin::Imported { expires: Some(end) } if end <= now)
    }

    /// The number of the newest version.
    pub(super) fn newest(&self) -> Option<u32> {
        self.versions.last().map(|newest| newest.number)
    }

    /// The newest version, if it may wrap.
    pub(super) fn wrapping(&self, now: u64) -> Result<(u32, &Secret<32>), KeyError> {
        let name = self.id.as_str();
        self.state(now).check_wrap(name)?;
        let newest = self.versions.last().ok_or_else(|| KeyError::Unknown { key: name.to_owned() })?;
        self.material(newest, name).map(|material| (newest.number, material))
    }

    /// Version `version`, if it may unwrap.
    pub(super) fn unwrapping(&self, version: u32, now: u64) -> Result<&Secret<32>, KeyError> {
        let name = self.version_name(version);
        let found = self.versions.iter().find(|v| v.number == version);
        let found = found.ok_or_else(|| KeyError::Unknown { key: name.clone() })?;
        found.state.check_unwrap(&name)?;
        if self.is_expired(now) {
            return Err(KeyError::Expired { key: name });
        }
        self.material(found, &name)
    }

    fn material<'a>(&self, version: &'a Version, name: &str) -> Result<&'a Secret<32>, KeyError> {
        let key = name.to_owned();
        version.material.as_ref().ok_or(match self.meta.origin {
            Origin::Imported { .. } => KeyError::Expired { key },
            Origin::Local | Origin::Remote { .. } => KeyError::Unknown { key },
        })
    }

    /// Adds a version and retires the one before it; returns the new version.
    pub(super) fn rotate(&mut self, now: u64) -> Result<u32, KeyringError> {
        let advice = match self.meta.origin {
            Origin::Local => None,
            Origin::Imported { .. } => {
                Some("import the new material as another key and move the alias to it")
            }
            Origin::Remote { .. } => Some("rotate it at its provider"),
        };
        if let Some(advice) = advice {
            return Err(self.refused("not made here", advice));
        }
        let name = self.id.to_string();
        let newest = self.versions.last_mut().ok_or_else(|| KeyringError::NoSuchKey(name.clone()))?;
        if newest.state != KeyState::Enabled {
            let advice = "only an enabled key can be rotated, enable it first";
            return Err(KeyringError::State { key: name, state: newest.state.label(), advice });
        }
        let number = newest.number.checked_add(1).ok_or(KeyringError::Full("a version above 2^32"))?;
        let fresh = Version::new(number, now, Some(Secret::random()?));
        newest.state = KeyState::Retired;
        self.versions.push(fresh);
        Ok(number)
    }

    /// Sets or, with `None`, ends the automatic rotation, in days.
    pub(super) fn set_rotation(&mut self, days: Option<u32>, now: u64) -> Result<(), KeyringError> {
        if self.meta.managed {
            return Err(KeyringError::Managed(self.id.clone()));
        }
        if days.is_some() && self.meta.origin != Origin::Local {
            return Err(self.refused("not made here", "only keys made here are rotated by a period"));
        }
        self.meta.rotation = days.map(|days| Rotation::every(days, now)).transpose()?;
        Ok(())
    }

    /// Rotates if the period is over and the key enabled; returns the new version.
    pub(super) fn rotate_if_due(&mut self, now: u64) -> Result<Option<u32>, KeyringError> {
        let Some(rotation) = self.meta.rotation.filter(|_| self.rotation_due().is_some_and(|at| at <= now))
        else {
            return Ok(None);
        };
        let version = self.rotate(now)?;
        self.meta.rotation = Some(Rotation::every(rotation.period_days, now)?);
        Ok(Some(version))
    }

    /// When it is to be rotated; a key that is not enabled waits until it is.
    pub(super) fn rotation_due(&self) -> Option<u64> {
        let enabled = self.versions.last().is_some_and(|newest| newest.state == KeyState::Enabled);
        self.meta.rotation.filter(|_| enabled).map(|rotation| rotation.next)
    }

    /// Erases imported material that has expired. Returns whether there was any.
    pub(super) fn erase_if_expired(&mut self, now: u64) -> bool {
        if !self.is_expired(now) {
            return false;
        }
        let erased = self.versions.iter_mut().filter_map(|version| version.material.take());
        erased.count() > 0
    }

    /// Brings back the material of an imported key, which must be the same, with a new expiry.
    pub(super) fn import_again(
        &mut self,
        material: &Secret<32>,
        expires: Option<u64>,
    ) -> Result<(), KeyringError> {
        let Some(HexArray(check)) = self.meta.check else {
            return Err(self.refused("not imported", "only imported keys take material"));
        };
        if !crypto::equal(&check, &import_check(&self.id, material)) {
            let advice = "only the same material can come back, import other material as another key";
            return Err(self.refused("made of other material", advice));
        }
        for version in self.versions.iter_mut().filter(|version| version.state != KeyState::Destroyed) {
            version.material = Some(material.duplicate());
        }
        self.meta.origin = Origin::Imported { expires };
        Ok(())
    }

    /// Erases the versions whose waiting time is over. Returns whether there were any.
    pub(super) fn destroy_if_due(&mut self, now: u64) -> bool {
        let mut any = false;
        for due in self.versions.iter_mut().filter(|version| version.is_due(now)) {
            any = true;
            (due.material, due.state, due.not_after) = (None, KeyState::Destroyed, None);
        }
        any
    }

    /// Applies `change` to one version, or to all that are not destroyed.
    pub(super) fn change_state(
        &mut self,
        version: Option<u32>,
        change: StateChange,
        now: u64,
    ) -> Result<(), KeyringError> {
        if self.meta.managed && change.takes_away() {
            return Err(KeyringError::Managed(self.id.clone()));
        }
        let newest = self.versions.last().map_or(0, |newest| newest.number);
        let mut matched = false;
        for found in &mut self.versions {
            let wanted = version.map_or(found.state != KeyState::Destroyed, |wanted| wanted == found.number);
            if wanted {
                matched = true;
                found.check_service(&self.id, newest)?;
                found.apply(&self.id, change, found.number == newest, now)?;
            }
        }
        match version {
            _ if matched => Ok(()),
            Some(number) => Err(KeyringError::NoSuchKey(self.version_name(number))),
            None => Err(self.refused(KeyState::Destroyed.label(), "what is destroyed stays so")),
        }
    }

    fn refused(&self, state: &'static str, advice: &'static str) -> KeyringError {
        KeyringError::State { key: self.id.to_string(), state, advice }
    }

    /// A version as messages name it.
    fn version_name(&self, version: u32) -> String {
        version_name(&self.id, version)
    }
}

impl Version {
    pub(super) fn new(number: u32, created: u64, material: Option<Secret<32>>) -> Self {
        Self { number, state: KeyState::Enabled, created, not_after: None, material }
    }

    fn duplicate(&self) -> Self {
        let material = self.material.as_ref().map(Secret::duplicate);
        Self { material, ..*self }
    }

    fn info(&self) -> VersionInfo {
        VersionInfo {
            version: self.number,
            state: self.state,
            created: self.created,
            not_after: self.not_after,
        }
    }

    /// Whether its waiting time is over.
    fn is_due(&self, now: u64) -> bool {
        self.state == KeyState::PendingDeletion && self.not_after.is_some_and(|end| end <= now)
    }

    /// SSE-S3 has no switch: the newest service key stays enabled, older versions may go once nothing needs them.
    fn check_service(&self, id: &KeyId, newest: u32) -> Result<(), KeyringError> {
        if id.as_str() == SERVICE_KEY && self.number == newest {
            return Err(self.wrong_state(id, "the newest service key always stays so, rotate it first"));
        }
        Ok(())
    }

    fn apply(&mut self, id: &KeyId, change: StateChange, newest: bool, now: u64) -> Result<(), KeyringError> {
        use KeyState::{Disabled, Enabled, PendingDeletion, Retired};
        let (state, not_after) = match (change, self.state) {
            (StateChange::Enable, Disabled) => (if newest { Enabled } else { Retired }, None),
            (StateChange::Enable, Enabled | Retired) => (self.state, None),
            (StateChange::Disable, Enabled | Retired | Disabled)
            | (StateChange::CancelDeletion, PendingDeletion) => (Disabled, None),
            (StateChange::ScheduleDeletion { days }, Enabled | Retired | Disabled) => {
                (PendingDeletion, Some(now.saturating_add(waiting_seconds(days)?)))
            }
            _ => return Err(self.wrong_state(id, change.advice())),
        };
        (self.state, self.not_after) = (state, not_after);
        Ok(())
    }

    fn wrong_state(&self, id: &KeyId, advice: &'static str) -> KeyringError {
        KeyringError::State { key: version_name(id, self.number), state: self.state.label(), advice }
    }
}

fn version_name(id: &KeyId, version: u32) -> String {
    format!("{id} version {version}")
}

/// Recognises imported material without telling anything about it: it is 32 random bytes.
pub(super) fn import_check(id: &KeyId, material: &Secret<32>) -> [u8; 32] {
    crypto::hmac_sha256(material.expose(), &[b"EOB1/keyring-import", id.as_str().as_bytes()])
}

fn waiting_seconds(days: u32) -> Result<u64, KeyringError> {
    if (7..=30).contains(&days) { Ok(u64::from(days) * DAY) } else { Err(KeyringError::Waiting(days)) }
}

/// Seconds of a day.
pub(super) const DAY: u64 = 24 * 60 * 60;
