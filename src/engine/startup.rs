//! Making a store, and opening one.

use std::{path::Path, sync::Arc};

use super::{
    Committer, Engine, Options, Shared, buckets::Buckets, live::Budget, principals::Principals,
    table::ObjectTable,
};
use crate::{
    envelope::Id,
    keys::{Keyring, KeyringError, NewSlot},
    store::{Holder, LocalStore, StoreError, StoreLock, layout},
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
    /// Opens the store at `path` with its unlocked `keyring`; `purpose` tells others who holds it.
    ///
    /// Starts a thread: fork before, not after.
    pub fn start(path: &Path, keyring: Keyring, purpose: &str, options: Options) -> Result<Self, StartError> {
        let io = |source| StartError::Io { path: path.display().to_string(), source };
        let store = LocalStore::open(path).map_err(io)?;
        let id = layout::open_store(&store.root())?;
        if id.as_bytes() != keyring.store_id().as_bytes() {
            return Err(StartError::ForeignKeyring);
        }
        let lock = StoreLock::acquire(path, &Holder::this_process(purpose))?;
        let root = store.root();
        let buckets = Buckets::new(root.clone(), Arc::new(keyring), options.new_bucket, options.read_only);
        if !options.read_only {
            buckets.clear_leftovers();
        }
        buckets.load_all().map_err(|error| io(std::io::Error::other(error)))?;
        let owner = rustix::process::getuid().as_raw();
        let shared = Arc::new(Shared {
            root,
            buckets,
            objects: Arc::new(ObjectTable::new()),
            budget: Arc::new(Budget::new(options.limits.clone())),
            principals: Principals::new(options.account.clone(), owner),
            options,
            _lock: lock,
        });
        let committer = Committer::start(&shared).map_err(io)?;
        Ok(Self { shared, committer })
    }
}
