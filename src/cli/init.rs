//! `strongroom init`: a new store and its keyring.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;

use super::{
    exit::Exit,
    output,
    store::StorePath,
    tpm2,
    unlock::{self, KeyPlace, Source, UnlockArgs},
};
use crate::{
    engine::create_store,
    envelope::Id,
    keys::{NewSlot, Unlock, create_key_file},
    store::{StoreError, layout},
};

/// Make a new store
///
/// Without further options the passphrase is asked for, twice. A key file that does not exist is made, with mode 0600;
/// keep a copy of it elsewhere: without it, or another unlock slot, nothing in the store can be read again.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
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
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        if self.is_unfinished() {
            let marker = self.store.join(layout::STORE_DIR).join(layout::STORE_FILE);
            fs::remove_file(&marker)
                .with_context(|| format!("cannot remove the unfinished `{}`", marker.display()))?;
        }
        self.refuse_store()?;
        let (slot, key_file, key_file_made) = self.slot()?;
        if let Err(error) = create_store(&self.store, &[slot]) {
            if let Some(file) = key_file.filter(|_| key_file_made) {
                // It opens nothing; where it cannot be removed it does no harm.
                let _ = fs::remove_file(file);
            }
            return Err(error).with_context(|| format!("`{}`", self.store.display()));
        }
        let store = StorePath::open(&self.store)?;
        let report = Report { store: store.path().to_owned(), store_id: store.id(), key_file, key_file_made };
        if self.json {
            output::json(&report)?;
        } else {
            report.print(&self.store)?;
        }
        if self.unlock.source() == Source::Tpm2 {
            tpm2::warn_alone();
        }
        Ok(Exit::Done)
    }

    /// Says so before a passphrase is asked for, not after.
    fn refuse_store(&self) -> anyhow::Result<()> {
        match StorePath::open(&self.store) {
            Ok(_) => Err(StoreError::AlreadyAStore).with_context(|| format!("`{}`", self.store.display())),
            Err(_) => Ok(()),
        }
    }

    /// Whether an `init` was interrupted here: a marker, but no keyring nor a trace of one, and no bucket.
    fn is_unfinished(&self) -> bool {
        let names = |dir: &Path| -> std::io::Result<Vec<OsString>> {
            fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
        };
        let (Ok(inside), Ok(outside)) = (names(&self.store.join(layout::STORE_DIR)), names(&self.store))
        else {
            return false;
        };
        let begun = |name: &OsString| name.to_string_lossy().starts_with("keyring") && name != "keyring.lock";
        let ours = |name: &OsString| name == layout::STORE_DIR || name == "lost+found";
        inside.iter().any(|name| name == layout::STORE_FILE)
            && !inside.iter().any(begun)
            && outside.iter().all(ours)
    }

    /// The first slot; for a key file, its path and whether it was made.
    fn slot(&self) -> anyhow::Result<(NewSlot, Option<PathBuf>, bool)> {
        let passphrase = |phrase| (NewSlot::new("passphrase", Unlock::Passphrase(phrase)), None, false);
        match self.unlock.source() {
            Source::PassphraseFile(file) => unlock::read_passphrase(&file).map(passphrase),
            Source::Terminal => unlock::ask_new("New passphrase").map(passphrase),
            Source::PassphraseCommand(command) => unlock::run_command(&command, &self.store).map(passphrase),
            Source::Key(KeyPlace::File(file)) => {
                let made = create_key_file(&file)?;
                Ok((NewSlot::new("key file", Unlock::KeyFile(file.clone())), Some(file), made))
            }
            Source::Tpm2 => Ok((NewSlot::new(tpm2::LABEL, self.unlock.tpm2.first()?), None, false)),
            Source::Key(place) => {
                let unlock = Unlock::from(place);
                Ok((NewSlot::new(unlock.origin(), unlock), None, false))
            }
        }
    }
}

impl Report {
    fn print(&self, given: &Path) -> anyhow::Result<()> {
        let shown = given.display();
        output::line(format!("Store {} is at {shown}", self.store_id))?;
        if let Some(file) = self.key_file.as_ref().filter(|_| self.key_file_made) {
            output::line(format!("Made the key file {}: keep a copy of it elsewhere", file.display()))?;
        }
        output::line(format!("Next: strongroom bucket create {shown} NAME"))
    }
}
