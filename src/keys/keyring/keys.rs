//! What can be asked of and done to the keys of a keyring. Purge caches of unwrapped keys after a change.

use super::{
    FileStamp, KeyInfo, Keyring, KeyringError, NewKey, NewSlot, SERVICE_KEY, StateChange, Unlock, Upkeep,
    contents::Contents,
    document::{Damage, Document, Kind},
    info::Origin,
    key::Key,
    slot,
};
use crate::{
    crypto::Secret,
    keys::{AliasName, KeyError, KeyId, KeyState},
};

impl Keyring {
    /// Every key.
    pub fn keys(&self) -> Vec<KeyInfo> {
        self.read().key_infos(self.now())
    }

    /// One key.
    pub fn key(&self, id: &KeyId) -> Result<KeyInfo, KeyringError> {
        let found = self.keys().into_iter().find(|key| key.id == *id);
        found.ok_or_else(|| KeyringError::NoSuchKey(id.to_string()))
    }

    /// The state of a key as a whole, now.
    pub fn key_state(&self, id: &KeyId) -> Result<KeyState, KeyError> {
        Ok(self.read().named(id.as_str())?.state(self.now()))
    }

    /// The key that `alias` names.
    pub fn alias_target(&self, alias: &AliasName) -> Option<KeyId> {
        self.read().aliases.get(alias).cloned()
    }

    /// Adds a key under a random id.
    pub fn create_key(&self, new: &NewKey) -> Result<KeyId, KeyringError> {
        self.change(|contents, now| contents.create_key(new, now))
    }

    /// The key of `alias/aws/s3`, which is made when it is not there yet.
    pub fn managed_key(&self) -> Result<KeyId, KeyringError> {
        self.change_if(|contents, now| {
            let before = contents.keys.len();
            let id = contents.managed_key(now)?;
            Ok((id, contents.keys.len() > before))
        })
    }

    /// Adds a version to the service key and returns it; older versions only unwrap from then on.
    pub fn rotate_service_key(&self) -> Result<u32, KeyringError> {
        self.rotate_key(&SERVICE_KEY.parse()?)
    }

    /// Adds a version to `key` and returns it; older versions only unwrap from then on.
    ///
    /// The date of the next automatic rotation stays, as in AWS KMS.
    pub fn rotate_key(&self, key: &KeyId) -> Result<u32, KeyringError> {
        self.change(|contents, now| contents.key_mut(key)?.rotate(now))
    }

    /// Rotates `key` every `days` (90 to 2560) from now on, or no longer with `None`.
    pub fn set_rotation(&self, key: &KeyId, days: Option<u32>) -> Result<(), KeyringError> {
        self.change(|contents, now| contents.key_mut(key)?.set_rotation(days, now))
    }

    /// Points `alias` at `key`, also where it named another one.
    pub fn set_alias(&self, alias: &AliasName, key: &KeyId) -> Result<(), KeyringError> {
        self.change(|contents, _| contents.set_alias(alias, key))
    }

    /// Removes an alias; the key stays.
    pub fn remove_alias(&self, alias: &AliasName) -> Result<(), KeyringError> {
        self.change(|contents, _| contents.remove_alias(alias))
    }

    /// Changes the state of one version of `key`, or of all with `None`.
    pub fn change_state(
        &self,
        key: &KeyId,
        version: Option<u32>,
        change: StateChange,
    ) -> Result<(), KeyringError> {
        self.change(|contents, now| contents.key_mut(key)?.change_state(version, change, now))
    }

    /// Brings back the material of an imported key, which must be the same, until `expires` (seconds since 1970).
    pub fn import_again(
        &self,
        key: &KeyId,
        material: &Secret<32>,
        expires: Option<u64>,
    ) -> Result<(), KeyringError> {
        self.change(|contents, now| {
            if expires.is_some_and(|end| end <= now) {
                return Err(KeyringError::ExpiryPast);
            }
            contents.key_mut(key)?.import_again(material, expires)
        })
    }

    /// When [`Keyring::maintain`] next has something to do, in seconds since 1970.
    pub fn next_upkeep(&self) -> Option<u64> {
        self.read().next_upkeep()
    }

    /// Does what is due: automatic rotations, deletions whose waiting time is over, erasure of expired material.
    ///
    /// Where material was erased, the backups that still hold it are removed. Cheap when nothing is due.
    pub fn maintain(&self) -> Result<Vec<Upkeep>, KeyringError> {
        if self.next_upkeep().is_none_or(|due| self.now() < due) {
            return Ok(Vec::new());
        }
        let done = self.change_if(|contents, now| {
            let done = contents.maintain(now)?;
            let changed = !done.is_empty();
            Ok((done, changed))
        })?;
        if done.iter().any(|upkeep| !matches!(upkeep, Upkeep::Rotated { .. })) {
            self.forget_older()?;
        }
        Ok(done)
    }

    /// Writes the keyring once more, so that one good backup stays, and removes all backups from before.
    fn forget_older(&self) -> Result<(), KeyringError> {
        let kept = self.change(|contents, _| Ok(contents.generation))?;
        self.place.forget_before(kept)
    }

    /// One key with all its versions and aliases, sealed for `slot`: the bytes of a backup file.
    pub fn export_key(&self, id: &KeyId, slot: &NewSlot) -> Result<Vec<u8>, KeyringError> {
        let krk = Secret::random()?;
        let now = self.now();
        let mut contents = {
            let all = self.read();
            let key = all.key(id).ok_or_else(|| KeyringError::NoSuchKey(id.to_string()))?;
            check_exportable(key)?;
            let aliases = all.aliases.iter().filter(|(_, key)| *key == id);
            let aliases = aliases.map(|(alias, key)| (alias.clone(), key.clone())).collect();
            Contents { aliases, keys: vec![key.duplicate()], ..Contents::new(all.store) }
        };
        contents.add_slot(slot, &krk, now)?;
        Ok(Document::seal(&contents, &krk, Kind::Backup)?)
    }

    /// Adds the key of a backup, under its old id, with those of its aliases that are free here.
    pub fn import_key(&self, backup: &[u8], unlock: &Unlock) -> Result<KeyId, KeyringError> {
        let refused = |damage: Damage| KeyringError::NotABackup(damage.0);
        let document = Document::parse(backup, Kind::Backup).map_err(refused)?;
        let krk = slot::open_any(&document.slots, &document.store_id, unlock)?;
        let contents = document.open(&krk).map_err(refused)?;
        let aliases: Vec<_> = contents.aliases.into_keys().collect();
        let Ok([key]) = <[Key; 1]>::try_from(contents.keys) else {
            return Err(KeyringError::NotABackup("it does not hold one key".to_owned()));
        };
        check_exportable(&key)?;
        self.change(|contents, _| contents.restore_key(key, &aliases))
    }

    /// The keys that a remote provider holds, each with its provider's name and its own name there.
    pub(in crate::keys) fn remote_keys(&self) -> Vec<(KeyId, String, String)> {
        let remote = |key: &Key| match &key.meta.origin {
            Origin::Remote { provider, key: name } => Some((key.id.clone(), provider.clone(), name.clone())),
            Origin::Local | Origin::Imported { .. } => None,
        };
        self.read().keys.iter().filter_map(remote).collect()
    }

    /// A stamp that changes whenever another process replaces the file; one system call.
    pub(in crate::keys) fn stamp(&self) -> Result<FileStamp, KeyringError> {
        self.place.stamp()
    }

    /// How many keys have expired material.
    pub(in crate::keys) fn expired_keys(&self) -> u64 {
        let now = self.now();
        self.read().keys.iter().map(|key| u64::from(key.is_expired(now))).sum()
    }
}

/// Whether a copy of the key makes sense apart from its keyring.
fn check_exportable(key: &Key) -> Result<(), KeyringError> {
    let (state, advice) = match key.meta.origin {
        _ if key.id.as_str() == SERVICE_KEY => {
            ("the service key", "it belongs to this store alone, keep copies of the keyring instead")
        }
        Origin::Remote { .. } => ("held by its provider", "back it up there"),
        _ if key.versions.iter().all(|version| version.material.is_none()) => {
            ("without material", "there is nothing left to back up")
        }
        Origin::Local | Origin::Imported { .. } => return Ok(()),
    };
    Err(KeyringError::State { key: key.id.to_string(), state, advice })
}
