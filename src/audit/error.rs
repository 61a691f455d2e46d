//! Why an audit log cannot be used.

use std::{io, path::PathBuf};

use crate::crypto::CryptoError;

/// Why an audit log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is none.
    #[error("there is no audit log in `{}`: mount the store with `--audit on` to begin one", .0.display())]
    NoLog(PathBuf),
    /// The log cannot be begun, because nothing was unlocked.
    #[error(
        "the audit log in `{}` is begun by the first command that unlocks the store: mount it with `--audit on`",
        .0.display()
    )]
    NotBegun(PathBuf),
    /// Lines without a state: nothing can be appended to them.
    #[error(
        "the state of the audit log in `{}` is missing or damaged: verify it, and move the directory away to begin a new one",
        .0.display()
    )]
    StateLost(PathBuf),
    /// The system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log takes no lines, and requests may not go on without.
    #[error("the audit log cannot be written ({0}): make room or repair it, requests are refused until then")]
    Unwritable(String),
    /// The keys of the store do not belong to the log.
    #[error("the secret of the audit log does not open: it was altered, or belongs to another store")]
    ForeignRoot,
    /// A primitive failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// An error of `action` on `path`.
pub(super) fn io_error(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.into();
    move |source| AuditError::Io { action, path, source }
}
