//! `strongroom sync`: what `sync -f` would do, if Linux told a FUSE daemon of it.

use std::path::PathBuf;

use super::{exit::Exit, store::StorePath};
use crate::control::Request;

/// Make everything durable that was written to a mounted store
///
/// Returns when the disk has it, also files that were closed without `fsync`, and names. `sync -f` on the drive does not do
/// that: Linux does not pass it on. Nothing is to be done for a store that nobody has in use.
#[derive(Debug, clap::Args)]
pub(super) struct Sync {
    /// The store
    store: PathBuf,
}

impl Sync {
    /// Runs the command.
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        if let Some(daemon) = StorePath::open(&self.store)?.daemon()? {
            daemon.ask::<()>(Request::Flush)?;
        }
        Ok(Exit::Done)
    }
}
