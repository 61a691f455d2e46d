//! Opening the store that a command names.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{exit::{Exit, Refusal}, unlock::UnlockArgs};
use crate::{
    envelope::Id,
    keys::Keyring,
    store::{LocalStore, layout},
};

/// A store directory that was found to be one.
#[derive(Debug)]
pub struct StorePath {
    path: PathBuf,
    id: Id,
}

impl StorePath {
    /// Checks that `path` is a store.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let path = path.canonicalize().with_context(|| format!("cannot open the store `{shown}`"))?;
        let root = LocalStore::open(&path).with_context(|| format!("cannot open the store `{shown}`"))?.root();
        let id = layout::open_store(&root).with_context(|| format!("`{shown}`"))?;
        Ok(Self { path, id: Id::from_bytes(*id.as_bytes()) })
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id in its marker.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The directory of the keyring.
    pub fn keyring_dir(&self) -> PathBuf {
        self.path.join(layout::STORE_DIR)
    }

    /// Unlocks the keyring, and checks that it belongs to this store.
    pub fn unlock(&self, unlock: &UnlockArgs) -> anyhow::Result<Keyring> {
        let keyring = Keyring::open(&self.keyring_dir(), &unlock.unlock(&self.path)?)?;
        if keyring.store_id() == self.id {
            return Ok(keyring);
        }
        let message = format!(
            "the keyring in `{}` belongs to another store: restore this store's own `keyring` file",
            self.keyring_dir().display()
        );
        Err(Refusal::error(Exit::Damage, message))
    }
}

/// Whether a mount is at `dir`: it lies on another device than its parent.
pub fn is_mount_point(dir: &Path) -> bool {
    let device = |path: &Path| path.symlink_metadata().map(|meta| meta.dev());
    match (device(dir), device(&dir.join(".."))) {
        (Ok(own), Ok(above)) => own != above,
        _ => false,
    }
}
