//! The local keyring: master keys in one file, unlocked by passphrases, key files or a TPM.
//!
//! A 32-byte key-ring key (KRK) seals every key version and authenticates the whole file; each slot seals the random
//! root secret that it follows from (see `root`) under one way to unlock. The file is replaced as a whole (see `file`),
//! never changed in place, and its ten predecessors stay as `keyring.bak.<generation>`.
//!
//! Removing or changing a slot keeps root and KRK. Whoever has an old copy of the file *and* its passphrase therefore
//! still opens that copy and every later one: after a passphrase leaked, [`Keyring::renew`] makes others; then delete
//! the backups, rotate the keys, and re-encrypt what must stay secret.
//!
//! Lock order: the lock file, then the contents in memory. The contents are never locked while a file is read or
//! written, nor while a provider is asked.

mod contents;
mod document;
mod error;
mod file;
mod info;
mod key;
mod keys;
mod master;
mod permissions;
mod root;
mod slot;
#[cfg(test)]
mod tests;
mod tpm2_slot;
mod unlock;

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

pub use error::{KeyringError, SlotRefusal};
pub use file::Backup;
pub(super) use file::FileStamp;
pub use info::{KeyInfo, ListedKey, Material, NewKey, Origin, Rotation, StateChange, Upkeep, VersionInfo};
pub use permissions::{GrantOperation, Grantee, KeyGrant, KeyPermissions};
pub use slot::{NewSlot, SlotInfo};
pub use tpm2_slot::{Tpm2Info, Tpm2Unlock};
pub use unlock::{Passphrase, Unlock, create_key_file};

use super::{Clock, SystemClock};
use crate::{
    crypto::{Secret, Zeroizing},
    envelope::Id,
};
use contents::Contents;
use document::{Damage, Document, Kind};
pub(super) use file::read_private;
use file::{MAX_FILE, Place};
use root::{Root, krk_of};

/// Name of the key that SSE-S3 uses; every keyring has it.
pub const SERVICE_KEY: &str = "service";

/// An opened keyring. Shared between threads; changes by other processes are seen by [`Keyring::reload`].
pub struct Keyring {
    place: Place,
    krk: Secret<32>,
    root: Root,
    clock: Arc<dyn Clock>,
    contents: RwLock<Contents>,
}

impl Keyring {
    /// Makes the keyring of store `store_id` in `dir`, with the service key and one slot for each of `slots`.
    ///
    /// Refused when a keyring, or a backup of one, is already there.
    pub fn create(dir: &Path, store_id: Id, slots: &[NewSlot]) -> Result<Self, KeyringError> {
        let (place, clock, root) = (Place::new(dir), SystemClock::new(), Secret::random()?);
        let lock = place.lock()?;
        if place.keyring().symlink_metadata().is_ok() || !place.backups()?.is_empty() {
            return Err(KeyringError::Exists(place.keyring()));
        }
        let now = clock.unix_seconds();
        let mut contents = Contents::new(store_id);
        contents.replace_slots(slots, &root, now)?;
        contents.create_service_key(now)?;
        let (krk, root, clock) = (krk_of(&root), Root::new(root), Arc::new(clock));
        let keyring = Self { place, krk, root, clock, contents: RwLock::new(contents) };
        keyring.write(&lock, None, &keyring.read())?;
        Ok(keyring)
    }

    /// Opens the keyring in `dir`. A passphrase is tried against every passphrase slot.
    pub fn open(dir: &Path, unlock: &Unlock) -> Result<Self, KeyringError> {
        let place = Place::new(dir);
        Self::open_file(&place.keyring(), place, unlock)
    }

    /// Opens a backup of the keyring in `dir`, to unwrap with it when the keyring itself is lost.
    ///
    /// Changes still go to the keyring itself, and are refused while that is damaged.
    pub fn open_backup(dir: &Path, backup: &Backup, unlock: &Unlock) -> Result<Self, KeyringError> {
        Self::open_file(&backup.path, Place::new(dir), unlock)
    }

    /// The backups in `dir`, newest first.
    pub fn backups(dir: &Path) -> Result<Vec<Backup>, KeyringError> {
        Place::new(dir).backups()
    }

    /// The keys that the keyring in `dir` lists, without unlocking it: nothing of it is proven.
    pub fn listed(dir: &Path) -> Result<Vec<ListedKey>, KeyringError> {
        Ok(unproven(dir)?.listed())
    }

    /// Whether every TPM2 slot of the keyring in `dir` wants a PIN, without unlocking it: nothing of it is proven.
    pub fn wants_pin(dir: &Path) -> Result<bool, KeyringError> {
        let slots = unproven(dir)?.slots;
        let mut bound = slots.iter().filter_map(|slot| slot.info().tpm2).peekable();
        Ok(bound.peek().is_some() && bound.all(|tpm2| tpm2.pin))
    }

    /// The same keyring with another source of time.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The store that this keyring belongs to; compare it with the store at hand.
    pub fn store_id(&self) -> Id {
        self.read().store
    }

    /// Counts changes. A generation below the last one seen on this machine means that someone put back an old file.
    pub fn generation(&self) -> u64 {
        self.read().generation
    }

    /// The slots, in the order of their numbers.
    pub fn slots(&self) -> Vec<SlotInfo> {
        self.read().slot_infos()
    }

    /// The secret that the audit log of the store begins with and is verified with.
    pub fn audit_root(&self) -> Result<Secret<32>, KeyringError> {
        self.root.audit()
    }

    /// For whoever serves requests: wipes what only slots and the audit root need. Neither can be had from this keyring
    /// afterwards.
    pub fn forget_root(&mut self) {
        self.root.forget();
    }

    /// Adds a slot and returns its number.
    pub fn add_slot(&self, slot: &NewSlot) -> Result<u32, KeyringError> {
        let root = self.root.secret()?;
        self.change(|contents, now| contents.add_slot(slot, root, now))
    }

    /// Removes a slot; the last one stays.
    pub fn remove_slot(&self, id: u32) -> Result<(), KeyringError> {
        self.change(|contents, _| contents.remove_slot(id))
    }

    /// Replaces the unlock of slot `id` (a new passphrase).
    pub fn change_slot(&self, id: u32, slot: &NewSlot) -> Result<(), KeyringError> {
        let root = self.root.secret()?;
        self.change(|contents, now| contents.change_slot(id, slot, root, now))
    }

    /// Seals everything under a new root secret, with `slots` in place of all present ones.
    ///
    /// Other processes that have the keyring open must open it again. The backups still open with the old slots.
    pub fn renew(self, slots: &[NewSlot]) -> Result<Self, KeyringError> {
        let lock = self.place.lock()?;
        let mut contents = self.read_current()?;
        let (old, now, root) = (contents.generation, self.clock.unix_seconds(), Secret::random()?);
        contents.generation = self.next_generation(old)?;
        contents.replace_slots(slots, &root, now)?;
        let (krk, root) = (krk_of(&root), Root::new(root));
        let renewed = Self { krk, root, contents: RwLock::new(contents), ..self };
        renewed.write(&lock, Some(old), &renewed.read())?;
        Ok(renewed)
    }

    /// Reads the file again, to see changes of other processes. Returns whether it changed.
    pub fn reload(&self) -> Result<bool, KeyringError> {
        let fresh = self.read_current()?;
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        // A writer in this process may have gone ahead since the file was read.
        let changed = fresh.generation > contents.generation;
        if changed {
            *contents = fresh;
        }
        Ok(changed)
    }

    fn open_file(path: &Path, place: Place, unlock: &Unlock) -> Result<Self, KeyringError> {
        let bytes = read(&place, path)?;
        Self::open_bytes(&bytes, path, place, unlock)
    }

    fn open_bytes(bytes: &[u8], path: &Path, place: Place, unlock: &Unlock) -> Result<Self, KeyringError> {
        let parsed = Document::parse(bytes, Kind::Keyring);
        let document = parsed.map_err(|damage| damaged(&place, path, damage))?;
        let root = slot::open_any(&document.slots, &document.store_id, unlock)?;
        let krk = krk_of(&root);
        // In older keyrings the slots seal the key-ring key itself, which then is the root as well.
        let krk = if document.belongs_to(&krk) { krk } else { root.duplicate() };
        let root = Root::new(root);
        let contents = document.open(&krk).map_err(|damage| damaged(&place, path, damage))?;
        let clock = Arc::new(SystemClock::new());
        Ok(Self { place, krk, root, clock, contents: RwLock::new(contents) })
    }

    /// Applies `change` to what stands in the file now, under the lock, and writes the result.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Contents, u64) -> Result<T, KeyringError>,
    ) -> Result<T, KeyringError> {
        self.change_if(|contents, now| change(contents, now).map(|value| (value, true)))
    }

    /// The same; nothing is written when `change` says that it changed nothing.
    fn change_if<T>(
        &self,
        change: impl FnOnce(&mut Contents, u64) -> Result<(T, bool), KeyringError>,
    ) -> Result<T, KeyringError> {
        let lock = self.place.lock()?;
        let mut contents = self.read_current()?;
        let old = contents.generation;
        let (value, changed) = change(&mut contents, self.now())?;
        if changed {
            contents.generation = self.next_generation(old)?;
            self.write(&lock, Some(old), &contents)?;
        }
        *self.contents.write().unwrap_or_else(PoisonError::into_inner) = contents;
        Ok(value)
    }

    fn now(&self) -> u64 {
        self.clock.unix_seconds()
    }

    /// One above every generation that exists, also above the backups that a restored one left behind.
    fn next_generation(&self, old: u64) -> Result<u64, KeyringError> {
        let kept = self.place.backups()?.first().map_or(0, |newest| newest.generation);
        old.max(kept).checked_add(1).ok_or(KeyringError::Full("a generation above 2^64"))
    }

    fn write(
        &self,
        lock: &file::WriteLock,
        old: Option<u64>,
        contents: &Contents,
    ) -> Result<(), KeyringError> {
        let bytes = Document::seal(contents, &self.krk, Kind::Keyring)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(KeyringError::Full("more than 4 MiB"));
        }
        let path = self.place.keyring();
        let verify = |bytes: &[u8]| {
            let back = Document::parse(bytes, Kind::Keyring).and_then(|document| document.open(&self.krk));
            back.map(|_| ()).map_err(|damage| damaged(&self.place, &path, damage))
        };
        self.place.replace(lock, old, &bytes, verify)
    }

    fn read_current(&self) -> Result<Contents, KeyringError> {
        // Before the file: a writer in this process replaces the file first and what is in memory after.
        let seen = self.generation();
        let path = self.place.keyring();
        let parsed = Document::parse(&read(&self.place, &path)?, Kind::Keyring);
        let opened = parsed.and_then(|document| document.open(&self.krk));
        let contents = opened.map_err(|damage| damaged(&self.place, &path, damage))?;
        if contents.generation < seen {
            return Err(KeyringError::RolledBack { seen, found: contents.generation });
        }
        Ok(contents)
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("store_id", &self.store_id())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

/// The keyring in `dir`, before anything in it is proven.
fn unproven(dir: &Path) -> Result<Document, KeyringError> {
    let place = Place::new(dir);
    let path = place.keyring();
    let parsed = Document::parse(&read(&place, &path)?, Kind::Keyring);
    parsed.map_err(|damage| damaged(&place, &path, damage))
}

/// The bytes of a keyring file; a missing or impossible file counts as damaged.
fn read(place: &Place, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    use std::io::ErrorKind::{InvalidData, NotFound};
    read_private(path, MAX_FILE).map_err(|error| match error {
        KeyringError::Io { source, .. } if source.kind() == NotFound => {
            damaged(place, path, Damage("it is missing".to_owned()))
        }
        KeyringError::Io { source, .. } if source.kind() == InvalidData => {
            damaged(place, path, Damage(source.to_string()))
        }
        other => other,
    })
}

fn damaged(place: &Place, path: &Path, damage: Damage) -> KeyringError {
    // The damage is the news; a directory that cannot be listed merely shows no backups.
    let mut backups = place.backups().unwrap_or_default();
    backups.retain(|backup| backup.path != path);
    KeyringError::Damaged { path: path.to_owned(), why: damage.0, backups }
}

/// Names of slots and keys: 1 to 256 bytes without control characters.
fn check_name(name: &str) -> Result<(), KeyringError> {
    let good = (1..=256).contains(&name.len()) && !name.chars().any(char::is_control);
    if good { Ok(()) } else { Err(KeyringError::BadName(name.to_owned())) }
}
