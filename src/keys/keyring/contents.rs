//! An opened keyring in memory: its slots, and its keys with their versions and states.

use super::{KeyringError, NewSlot, SlotInfo, check_name, slot::Slot};
use crate::{
    crypto::Secret,
    envelope::Id,
    keys::{KeyError, KeyState},
};

/// A key as the list of keys shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub key: String,
    /// Version, counted from 1.
    pub version: u32,
    /// State of this version.
    pub state: KeyState,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// For a version that waits for its deletion: when it may be destroyed.
    pub not_after: Option<u64>,
}

/// A change to the state of a key version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange {
    /// Disabled becomes enabled (the newest version) or retired (older ones).
    Enable,
    /// Enabled or retired becomes disabled.
    Disable,
    /// Waits this many days (7 to 30), then may be destroyed.
    ScheduleDeletion {
        /// Days to wait.
        days: u32,
    },
    /// Pending deletion becomes disabled, as in AWS KMS.
    CancelDeletion,
    /// Erases the material of a version whose waiting time is over.
    Destroy,
}

pub(super) struct Contents {
    pub(super) store: Id,
    pub(super) generation: u64,
    pub(super) slots: Vec<Slot>,
    pub(super) keys: Vec<Key>,
}

/// A named key; `versions` is never empty and ascends.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) versions: Vec<Version>,
}

pub(super) struct Version {
    pub(super) number: u32,
    pub(super) state: KeyState,
    pub(super) created: u64,
    pub(super) not_after: Option<u64>,
    /// `None` exactly when destroyed.
    pub(super) material: Option<Secret<32>>,
}

impl Contents {
    pub(super) fn new(store: Id) -> Self {
        Self { store, generation: 1, slots: Vec::new(), keys: Vec::new() }
    }

    pub(super) fn slot_infos(&self) -> Vec<SlotInfo> {
        self.slots.iter().map(Slot::info).collect()
    }

    pub(super) fn key_infos(&self) -> Vec<KeyInfo> {
        self.keys.iter().flat_map(|key| key.versions.iter().map(|version| version.info(&key.id))).collect()
    }

    /// Adds a slot and returns its number, one above the highest.
    pub(super) fn add_slot(
        &mut self,
        new: &NewSlot,
        root: &Secret<32>,
        now: u64,
    ) -> Result<u32, KeyringError> {
        if self.slots.len() >= MAX_SLOTS {
            return Err(KeyringError::Full("more than 16 slots"));
        }
        let highest = self.slots.iter().map(|slot| slot.id).max().unwrap_or(0);
        let id = highest.checked_add(1).ok_or(KeyringError::Full("a slot number above 2^32"))?;
        self.slots.push(Slot::seal(&self.store, (id, now), new, root)?);
        Ok(id)
    }

    /// Puts `new` in place of every slot.
    pub(super) fn replace_slots(
        &mut self,
        new: &[NewSlot],
        root: &Secret<32>,
        now: u64,
    ) -> Result<(), KeyringError> {
        if new.is_empty() {
            return Err(KeyringError::NoSlot);
        }
        self.slots.clear();
        new.iter().try_for_each(|slot| self.add_slot(slot, root, now).map(|_| ()))
    }

    pub(super) fn remove_slot(&mut self, id: u32) -> Result<(), KeyringError> {
        let at = self.slot_at(id)?;
        if self.slots.len() == 1 {
            return Err(KeyringError::LastSlot(id));
        }
        self.slots.remove(at);
        Ok(())
    }

    /// Seals slot `id` anew for another unlock.
    pub(super) fn change_slot(
        &mut self,
        id: u32,
        new: &NewSlot,
        root: &Secret<32>,
        now: u64,
    ) -> Result<(), KeyringError> {
        let at = self.slot_at(id)?;
        let changed = Slot::seal(&self.store, (id, now), new, root)?;
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = changed;
        }
        Ok(())
    }

    fn slot_at(&self, id: u32) -> Result<usize, KeyringError> {
        self.slots.iter().position(|slot| slot.id == id).ok_or(KeyringError::NoSuchSlot(id))
    }

    pub(super) fn create_key(&mut self, id: &str, now: u64) -> Result<(), KeyringError> {
        check_name(id)?;
        if self.key(id).is_some() {
            return Err(KeyringError::KeyExists(id.to_owned()));
        }
        self.keys.push(Key { id: id.to_owned(), versions: vec![Version::new(1, now)?] });
        Ok(())
    }

    /// Adds a version and retires the one before it; returns the new version.
    pub(super) fn rotate_key(&mut self, id: &str, now: u64) -> Result<u32, KeyringError> {
        let key = self.key_mut(id)?;
        let newest = key.versions.last_mut().ok_or_else(|| KeyringError::NoSuchKey(id.to_owned()))?;
        if newest.state != KeyState::Enabled {
            return Err(newest.wrong_state(id, "only an enabled key can be rotated, enable it first"));
        }
        let version = newest.number.checked_add(1).ok_or(KeyringError::Full("a version above 2^32"))?;
        let fresh = Version::new(version, now)?;
        newest.state = KeyState::Retired;
        key.versions.push(fresh);
        Ok(version)
    }

    /// Applies `change` to one version, or to all that are not destroyed.
    pub(super) fn change_state(
        &mut self,
        id: &str,
        version: Option<u32>,
        change: StateChange,
        now: u64,
    ) -> Result<(), KeyringError> {
        let key = self.key_mut(id)?;
        let newest = key.versions.last().map_or(0, |newest| newest.number);
        let mut matched = false;
        for found in &mut key.versions {
            let wanted = version.map_or(found.state != KeyState::Destroyed, |wanted| wanted == found.number);
            if wanted {
                matched = true;
                found.check_service(id, newest)?;
                found.apply(id, change, found.number == newest, now)?;
            }
        }
        let unknown = || KeyringError::NoSuchKey(version.map_or(id.to_owned(), |v| version_name(id, v)));
        if matched { Ok(()) } else { Err(unknown()) }
    }

    fn key(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    fn key_mut(&mut self, id: &str) -> Result<&mut Key, KeyringError> {
        let found = self.keys.iter_mut().find(|key| key.id == id);
        found.ok_or_else(|| KeyringError::NoSuchKey(id.to_owned()))
    }

    /// The newest version of `id`, if it may wrap.
    pub(super) fn wrapping(&self, id: &str) -> Result<(u32, &Secret<32>), KeyError> {
        let newest = self.key(id).and_then(|key| key.versions.last());
        let newest = newest.ok_or_else(|| KeyError::Unknown { key: id.to_owned() })?;
        newest.state.check_wrap(id)?;
        newest.material(id).map(|material| (newest.number, material))
    }

    /// Version `version` of `id`, if it may unwrap.
    pub(super) fn unwrapping(&self, id: &str, version: u32) -> Result<&Secret<32>, KeyError> {
        let name = version_name(id, version);
        let found = self.key(id).and_then(|key| key.versions.iter().find(|v| v.number == version));
        let found = found.ok_or_else(|| KeyError::Unknown { key: name.clone() })?;
        found.state.check_unwrap(&name)?;
        found.material(&name)
    }
}

impl Version {
    fn new(number: u32, now: u64) -> Result<Self, KeyringError> {
        let material = Some(Secret::random()?);
        Ok(Self { number, state: KeyState::Enabled, created: now, not_after: None, material })
    }

    fn info(&self, key: &str) -> KeyInfo {
        KeyInfo {
            key: key.to_owned(),
            version: self.number,
            state: self.state,
            created: self.created,
            not_after: self.not_after,
        }
    }

    fn material(&self, name: &str) -> Result<&Secret<32>, KeyError> {
        self.material.as_ref().ok_or_else(|| KeyError::Destroyed { key: name.to_owned() })
    }

    /// SSE-S3 has no switch: the newest service key stays enabled, older versions may go once nothing needs them.
    fn check_service(&self, id: &str, newest: u32) -> Result<(), KeyringError> {
        if id == super::SERVICE_KEY && self.number == newest {
            return Err(self.wrong_state(id, "the newest service key always stays so, rotate it first"));
        }
        Ok(())
    }

    fn apply(&mut self, id: &str, change: StateChange, newest: bool, now: u64) -> Result<(), KeyringError> {
        use KeyState::{Destroyed, Disabled, Enabled, PendingDeletion, Retired};
        let (state, not_after) = match (change, self.state) {
            (StateChange::Enable, Disabled) => (if newest { Enabled } else { Retired }, None),
            (StateChange::Enable, Enabled | Retired) => (self.state, None),
            (StateChange::Disable, Enabled | Retired | Disabled)
            | (StateChange::CancelDeletion, PendingDeletion) => (Disabled, None),
            (StateChange::ScheduleDeletion { days }, Enabled | Retired | Disabled) => {
                (PendingDeletion, Some(now.saturating_add(waiting_seconds(days)?)))
            }
            (StateChange::Destroy, PendingDeletion) if self.not_after.is_some_and(|end| end <= now) => {
                self.material = None;
                (Destroyed, None)
            }
            _ => return Err(self.wrong_state(id, "see the states a key can go through")),
        };
        (self.state, self.not_after) = (state, not_after);
        Ok(())
    }

    fn wrong_state(&self, id: &str, advice: &'static str) -> KeyringError {
        let (key, state) = (version_name(id, self.number), self.state.label());
        KeyringError::State { key, state, advice }
    }
}

fn waiting_seconds(days: u32) -> Result<u64, KeyringError> {
    if (7..=30).contains(&days) {
        Ok(u64::from(days) * 24 * 60 * 60)
    } else {
        Err(KeyringError::Waiting(days))
    }
}

/// A version as messages name it.
fn version_name(id: &str, version: u32) -> String {
    format!("{id} version {version}")
}

/// Most slots of a keyring: trying a passphrase costs one argon2id for each.
pub(super) const MAX_SLOTS: usize = 16;
