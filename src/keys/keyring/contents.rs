//! An opened keyring in memory: its slots, its keys and their aliases.

use std::collections::BTreeMap;

use super::{
    KeyInfo, KeyringError, Material, NewKey, NewSlot, SERVICE_KEY, SlotInfo, Upkeep, check_name,
    info::{Origin, Rotation},
    key::{Key, KeyMeta, Version, import_check},
    permissions,
    slot::Slot,
};
use crate::{
    crypto::Secret,
    envelope::Id,
    keys::{AliasName, KeyError, KeyId, KeyState, hexbytes::HexArray},
};

pub(super) struct Contents {
    pub(super) store: Id,
    pub(super) generation: u64,
    pub(super) slots: Vec<Slot>,
    pub(super) aliases: BTreeMap<AliasName, KeyId>,
    pub(super) keys: Vec<Key>,
}

impl Contents {
    pub(super) fn new(store: Id) -> Self {
        Self { store, generation: 1, slots: Vec::new(), aliases: BTreeMap::new(), keys: Vec::new() }
    }

    pub(super) fn slot_infos(&self) -> Vec<SlotInfo> {
        self.slots.iter().map(Slot::info).collect()
    }

    pub(super) fn key_infos(&self, now: u64) -> Vec<KeyInfo> {
        self.keys.iter().map(|key| key.info(self.aliases_of(&key.id), now)).collect()
    }

    fn aliases_of(&self, id: &KeyId) -> Vec<AliasName> {
        self.aliases.iter().filter(|(_, key)| *key == id).map(|(alias, _)| alias.clone()).collect()
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

    /// Adds the key of SSE-S3.
    pub(super) fn create_service_key(&mut self, now: u64) -> Result<(), KeyringError> {
        let (id, meta) = (SERVICE_KEY.parse()?, KeyMeta::local("SSE-S3", now));
        self.keys.push(Key { id, meta, versions: vec![Version::new(1, now, Some(Secret::random()?))] });
        Ok(())
    }

    /// Adds a key under a random id, with its alias.
    pub(super) fn create_key(&mut self, new: &NewKey, now: u64) -> Result<KeyId, KeyringError> {
        let key = new.key(now)?;
        let id = key.id.clone();
        if let Some(listed) = self.listed_remote(&key.meta.origin, now) {
            return Err(KeyringError::KeyExists(listed.clone()));
        }
        self.keys.push(key);
        if let Some(alias) = &new.alias {
            if let Some(taken) = self.aliases.get(alias) {
                return Err(KeyringError::AliasTaken { alias: alias.clone(), key: taken.clone() });
            }
            self.set_alias(alias, &id)?;
        }
        Ok(id)
    }

    /// The key with which a remote key is listed already.
    fn listed_remote(&self, origin: &Origin, now: u64) -> Option<&KeyId> {
        let same = |key: &&Key| matches!(origin, Origin::Remote { .. }) && key.meta.origin == *origin;
        self.keys.iter().find(|key| same(key) && key.state(now) != KeyState::Destroyed).map(|key| &key.id)
    }

    /// The key of `alias/aws/s3`, made with yearly rotation if it is not there yet.
    pub(super) fn managed_key(&mut self, now: u64) -> Result<KeyId, KeyringError> {
        let alias = AliasName::aws_s3();
        if let Some(id) = self.aliases.get(&alias) {
            return Ok(id.clone());
        }
        let description = "SSE-KMS where no key is named".to_owned();
        let mut key = NewKey { description, rotation_days: Some(365), ..NewKey::random() }.key(now)?;
        key.meta.managed = true;
        let id = key.id.clone();
        self.aliases.insert(alias, id.clone());
        self.keys.push(key);
        Ok(id)
    }

    /// Adds a key that a backup brought, with those of its aliases that are free.
    pub(super) fn restore_key(&mut self, mut key: Key, aliases: &[AliasName]) -> Result<KeyId, KeyringError> {
        let id = key.id.clone();
        if self.key(&id).is_some() {
            return Err(KeyringError::KeyExists(id));
        }
        // The key of `alias/aws/s3` is this store's own; another store's is an ordinary key here.
        key.meta.managed = false;
        self.keys.push(key);
        for alias in aliases.iter().filter(|alias| !alias.is_managed()) {
            self.aliases.entry(alias.clone()).or_insert_with(|| id.clone());
        }
        Ok(id)
    }

    /// Points `alias` at a key, away from another one if need be.
    pub(super) fn set_alias(&mut self, alias: &AliasName, id: &KeyId) -> Result<(), KeyringError> {
        if alias.is_managed() {
            return Err(KeyringError::ManagedAlias(alias.clone()));
        }
        let key = self.key_mut(id)?;
        let state = key.versions.last().map_or(KeyState::Destroyed, |newest| newest.state);
        if id.as_str() == SERVICE_KEY || matches!(state, KeyState::PendingDeletion | KeyState::Destroyed) {
            let advice = "an alias names a key that requests can use, choose another key";
            return Err(KeyringError::State { key: id.to_string(), state: state.label(), advice });
        }
        self.aliases.insert(alias.clone(), id.clone());
        Ok(())
    }

    pub(super) fn remove_alias(&mut self, alias: &AliasName) -> Result<(), KeyringError> {
        if alias.is_managed() {
            return Err(KeyringError::ManagedAlias(alias.clone()));
        }
        self.aliases.remove(alias).map(|_| ()).ok_or_else(|| KeyringError::NoSuchAlias(alias.clone()))
    }

    /// Does what time demands: rotations, destructions, erasure of expired material.
    pub(super) fn maintain(&mut self, now: u64) -> Result<Vec<Upkeep>, KeyringError> {
        let mut done = Vec::new();
        for key in &mut self.keys {
            if key.destroy_if_due(now) {
                done.push(Upkeep::Destroyed { key: key.id.clone() });
            }
            if key.erase_if_expired(now) {
                done.push(Upkeep::Expired { key: key.id.clone() });
            }
            if let Some(version) = key.rotate_if_due(now)? {
                done.push(Upkeep::Rotated { key: key.id.clone(), version });
            }
        }
        let keys = &self.keys;
        let gone = |id: &KeyId| keys.iter().any(|k| k.id == *id && k.state(now) == KeyState::Destroyed);
        self.aliases.retain(|_, id| !gone(id));
        Ok(done)
    }

    /// When [`Contents::maintain`] next has something to do, in seconds since 1970.
    pub(super) fn next_upkeep(&self) -> Option<u64> {
        self.keys.iter().flat_map(Key::dates).min()
    }

    pub(super) fn key(&self, id: &KeyId) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == *id)
    }

    pub(super) fn key_mut(&mut self, id: &KeyId) -> Result<&mut Key, KeyringError> {
        let found = self.keys.iter_mut().find(|key| key.id == *id);
        found.ok_or_else(|| KeyringError::NoSuchKey(id.to_string()))
    }

    /// The key of this name, for use.
    pub(super) fn named(&self, id: &str) -> Result<&Key, KeyError> {
        let found = self.keys.iter().find(|key| key.id.as_str() == id);
        found.ok_or_else(|| KeyError::Unknown { key: id.to_owned() })
    }
}

impl NewKey {
    fn key(&self, now: u64) -> Result<Key, KeyringError> {
        check_description(&self.description)?;
        let id = KeyId::random()?;
        let mut meta = KeyMeta::local(&self.description, now);
        let material = match &self.material {
            Material::Random => Some(Secret::random()?),
            Material::Imported { expires: Some(end), .. } if *end <= now => {
                return Err(KeyringError::ExpiryPast);
            }
            Material::Imported { material, expires } => {
                meta.origin = Origin::Imported { expires: *expires };
                meta.check = Some(HexArray(import_check(&id, material)));
                Some(material.duplicate())
            }
            Material::Remote { provider, key } => {
                check_name(provider)?;
                check_reference(key)?;
                meta.origin = Origin::Remote { provider: provider.clone(), key: key.clone() };
                None
            }
        };
        let mut key = Key { id, meta, versions: vec![Version::new(1, now, material)] };
        if self.rotation_days.is_some() {
            key.set_rotation(self.rotation_days, now)?;
        }
        Ok(key)
    }
}

impl Key {
    /// Every moment at which time will change this key.
    fn dates(&self) -> impl Iterator<Item = u64> {
        let expiry = match self.meta.origin {
            Origin::Imported { expires } if self.versions.iter().any(|v| v.material.is_some()) => expires,
            _ => None,
        };
        let deletions = self.versions.iter().filter(|v| v.state == KeyState::PendingDeletion);
        deletions.filter_map(|v| v.not_after).chain(expiry).chain(self.rotation_due())
    }
}

fn check_description(text: &str) -> Result<(), KeyringError> {
    let good = text.len() <= MAX_DESCRIPTION && !text.chars().any(char::is_control);
    if good { Ok(()) } else { Err(KeyringError::Description) }
}

/// A provider's own name for a key: 1 to 2048 bytes without control characters.
fn check_reference(text: &str) -> Result<(), KeyringError> {
    let good = (1..=2048).contains(&text.len()) && !text.chars().any(char::is_control);
    if good { Ok(()) } else { Err(KeyringError::Reference(text.to_owned())) }
}

/// Whether stored metadata is something that this version could have written.
pub(super) fn is_possible(meta: &KeyMeta) -> bool {
    let imported = matches!(meta.origin, Origin::Imported { .. });
    let rotates = |rotation: Rotation| Rotation::every(rotation.period_days, 0).is_ok();
    check_description(&meta.description).is_ok()
        && permissions::are_possible(meta)
        && meta.check.is_some() == imported
        && meta.rotation.is_none_or(|rotation| meta.origin == Origin::Local && rotates(rotation))
        && match &meta.origin {
            Origin::Remote { provider, key } => check_name(provider).is_ok() && check_reference(key).is_ok(),
            Origin::Local | Origin::Imported { .. } => true,
        }
}

/// Most slots of a keyring: trying a passphrase costs one argon2id for each.
pub(super) const MAX_SLOTS: usize = 16;
/// Most bytes of a description, as in AWS KMS.
const MAX_DESCRIPTION: usize = 8192;
