//! `strongroom init`: a new store and its keyring.

use std::{fs, path::PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::{
    exit::Exit,
    output,
    unlock::{self, Source, UnlockArgs},
};
use crate::{
    envelope::Id,
    keys::{Keyring, NewSlot, Unlock, create_key_file},
    store::{
        LocalStore, NodeRef, StoreError,
        layout::{self, StoreId},
    },
};

/// Make a new store
///
/// Without further options the passphrase is asked for, twice. A key file that does not exist is made, with mode 0600;
/// keep a copy of it elsewhere: without it, or another unlock slot, nothing in the store can be read again.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// A new or empty directory
    store: PathBuf,
    #[command(flatten)]
    unlock: UnlockArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    store: PathBuf,
    store_id: Id,
    key_file: Option<PathBuf>,
    key_file_made: bool,
}

impl Init {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<Exit> {
        let root = self.open_root()?;
        let id = self.claim(&root)?;
        let (slot, key_file, key_file_made) = self.slot()?;
        let dir = self.store.join(layout::STORE_DIR);
        Keyring::create(&dir, id, &[slot]).context("cannot make the keyring")?;
        let store = self.store.canonicalize().unwrap_or_else(|_| self.store.clone());
        let report = Report { store, store_id: id, key_file, key_file_made };
        if self.json { output::json(&report)? } else { report.print(&self.store)? }
        Ok(Exit::Done)
    }

    fn open_root(&self) -> anyhow::Result<NodeRef> {
        let opened = LocalStore::open_or_make(&self.store);
        Ok(opened.with_context(|| format!("cannot make the store `{}`", self.store.display()))?.root())
    }

    /// Writes the marker. A store that an interrupted `init` left without a keyring is taken over.
    fn claim(&self, root: &NodeRef) -> anyhow::Result<Id> {
        let fresh = Id::random().context("cannot draw an id")?;
        let id = match layout::create_store(root, StoreId::from_bytes(*fresh.as_bytes())) {
            Err(StoreError::AlreadyAStore) if self.is_unfinished()? => layout::open_store(root)?,
            created => {
                created.with_context(|| format!("`{}`", self.store.display()))?;
                return Ok(fresh);
            }
        };
        Ok(Id::from_bytes(*id.as_bytes()))
    }

    /// Whether there is neither a keyring nor a trace of one, nor a bucket.
    fn is_unfinished(&self) -> anyhow::Result<bool> {
        let names = |dir: PathBuf| -> std::io::Result<Vec<_>> {
            fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
        };
        let inside = names(self.store.join(layout::STORE_DIR)).context("cannot list the store's directory")?;
        let outside = names(self.store.clone()).context("cannot list the store")?;
        let begun = inside.iter().any(|name| name.to_string_lossy().starts_with("keyring") && name != "keyring.lock");
        Ok(!begun && outside.iter().all(|name| name == layout::STORE_DIR || name == "lost+found"))
    }

    /// The first slot; for a key file, its path and whether it was made.
    fn slot(&self) -> anyhow::Result<(NewSlot, Option<PathBuf>, bool)> {
        let passphrase = |phrase| (NewSlot::new("passphrase", Unlock::Passphrase(phrase)), None, false);
        match self.unlock.source() {
            Source::PassphraseFile(file) => unlock::read_passphrase(&file).map(passphrase),
            Source::Terminal => unlock::ask_new("New passphrase").map(passphrase),
            Source::KeyFile(file) => {
                let made = create_key_file(&file)?;
                Ok((NewSlot::new("key file", Unlock::KeyFile(file.clone())), Some(file), made))
            }
        }
    }
}

impl Report {
    fn print(&self, given: &std::path::Path) -> anyhow::Result<()> {
        let shown = given.display();
        output::line(format!("Store {} is at {shown}", self.store_id))?;
        if let Some(file) = self.key_file.as_ref().filter(|_| self.key_file_made) {
            output::line(format!("Made the key file {}: keep a copy of it elsewhere", file.display()))?;
        }
        output::line(format!("Next: strongroom bucket create {shown} NAME"))
    }
}
