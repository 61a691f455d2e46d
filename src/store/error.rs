//! What can be wrong with a store as a whole. Single operations fail with plain `io::Error`s.

use std::io;

use super::Holder;

/// Why a store could not be created, opened or locked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The marker is missing.
    #[error(
        "this directory is not a store (it has no `.strongroom/store`); check the path or create a store there"
    )]
    NotAStore,
    /// Creation where one is.
    #[error("this directory is a store already; use it, or choose another directory")]
    AlreadyAStore,
    /// Creation where something else is.
    #[error(
        "the directory is not empty (it holds `{found}`); choose an empty or a new directory for a store"
    )]
    NotEmpty {
        /// A name in it.
        found: String,
    },
    /// A later format.
    #[error("the store has version {found}, this program knows version {known}; use a matching program")]
    Version {
        /// Version in the marker.
        found: u32,
        /// Version that this program reads.
        known: u32,
    },
    /// An unreadable marker.
    #[error("`.strongroom/store` is damaged or not ours: {reason}; restore that file from a backup")]
    Marker {
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else has the lock.
    #[error("the store is in use by {holder}; end that process first")]
    Locked {
        /// Who.
        holder: Holder,
    },
    /// The system refused.
    #[error("cannot {what}: {source}")]
    Io {
        /// The step, as in "cannot ...".
        what: &'static str,
        /// Its error.
        source: io::Error,
    },
}
