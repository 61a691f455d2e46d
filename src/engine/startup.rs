//! Making a store, and opening one.

use std::{path::Path, sync::Arc};

use super::{
    Committer, Engine, Options, Shared,
    admission::Admission,
    attributes::Explicit,
    audit::{Recorder, watched},
    buckets::Buckets,
    live::Budget,
    principals::Principals,
    table::ObjectTable,
    uploads::Uploads,
};
use crate::{
    crypto,
    envelope::Id,
    keys::{KeyService, Keyring, KeyringError, NewSlot},
    store::{Holder, LocalStore, NodeRef, StoreError, StoreLock, layout},
};

/// Why a store could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store directory or its lock.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The keyring of another store.
    #[error("the keyring belongs to another store: put back the `.strongroom` directory of this one")]
    ForeignKeyring,
    /// A primitive failed.
    #[error(transparent)]
    Crypto(#[from] crate::crypto::CryptoError),
    /// The system refused.
    #[error("cannot open `{path}`: {source}")]
    Io {
        /// What.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes a store in `path`, absent or empty, whose keyring opens with each of `slots`.
pub fn create_store(path: &Path, slots: &[NewSlot]) -> Result<(), StartError> {
    let io = |source| StartError::Io { path: path.display().to_string(), source };
    let store = LocalStore::open_or_make(path).map_err(io)?;
    let id = Id::random()?;
    layout::create_store(&store.root(), layout::StoreId::from_bytes(*id.as_bytes()))?;
    Keyring::create(&path.join(layout::STORE_DIR), id, slots)?;
    Ok(())
}

impl Engine {
    /// Opens the store at `path` with its `keys`: an unlocked keyring, or a service that has one; `purpose` tells others
    /// who holds it.
    ///
    /// Read-only, whatever `options` say, where the file system of the store is. Starts a thread: fork before, not after.
    pub fn start(
        path: &Path,
        keys: impl Into<KeyService>,
        purpose: &str,
        mut options: Options,
    ) -> Result<Self, StartError> {
        let io = |source| StartError::Io { path: path.display().to_string(), source };
        let (keys, store) = (watched(keys.into(), &options), LocalStore::open(path).map_err(io)?);
        let id = layout::open_store(&store.root())?;
        if id.as_bytes() != keys.store_id().as_bytes() {
            return Err(StartError::ForeignKeyring);
        }
        let lock = StoreLock::acquire(path, &Holder::this_process(purpose))?;
        if lock.is_read_only() && !options.read_only {
            log::warn!("`{}` lies on a read-only file system: nothing can be changed", path.display());
            options.read_only = true;
        }
        Self::assemble(store.root(), Arc::new(keys), Some(lock), options).map_err(io)
    }

    /// Tells others who holds the store, once there is more to say than when it was opened.
    pub fn describe(&self, holder: &Holder) -> Result<(), StoreError> {
        match &self.shared.lock {
            Some(lock) if !lock.is_read_only() => lock.describe(holder),
            _ => Ok(()),
        }
    }

    /// Draws a first random value. The generator of a process gathers its entropy for that, which takes up to a tenth
    /// of a second: who serves requests lets a thread do this meanwhile.
    pub fn warm_up() {
        if let Err(error) = crypto::random::<1>() {
            log::error!("{error}");
        }
    }

    /// An engine for the store at `root`, whose buckets are recovered first.
    pub(super) fn assemble(
        root: NodeRef,
        keys: Arc<KeyService>,
        lock: Option<StoreLock>,
        options: Options,
    ) -> std::io::Result<Self> {
        let buckets = Buckets::new(root.clone(), keys, &options);
        if !options.read_only {
            buckets.clear_leftovers();
        }
        buckets.load_all().map_err(std::io::Error::other)?;
        let owner = rustix::process::getuid().as_raw();
        let shared = Arc::new(Shared {
            root,
            buckets,
            objects: Arc::new(ObjectTable::new()),
            budget: Arc::new(Budget::new(options.limits.clone())),
            admission: Admission::new(Principals::new(owner, &options.access), options.access.mode),
            uploads: Uploads::default(),
            explicit: Explicit::default(),
            recorder: options.audit.clone().map(Recorder::new),
            options,
            jobs: super::jobs::Jobs::default(),
            replacing: super::replacing::Replacing::default(),
            lock,
        });
        let committer = Committer::start(&shared)?;
        Ok(Self { shared, committer })
    }
}
