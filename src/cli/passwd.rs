//! `strongroom passwd`: the unlock slots of a store.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::{
    audit_log::{self, AuditPlan},
    exit::{Exit, Refusal},
    output,
    store::StorePath,
    unlock::{self, KeyPlace, Source, UnlockArgs},
};
use crate::{
    audit::{self, Event, EventName},
    config::Config,
    keys::{Keyring, NewSlot, SlotInfo, Unlock, create_key_file},
};

/// List, add, change and remove the unlock slots of a store
///
/// Each slot opens the same keyring with its own passphrase or key; no object is touched. Without ACTION, the
/// passphrase is changed.
///
/// Who copied the keyring while a slot opened it can open that copy, and every later keyring, with the old passphrase.
/// After a passphrase or key file leaked use `renew`, and delete the backups `keyring.bak.*` in the store.
#[derive(Debug, clap::Args)]
pub(super) struct Passwd {
    /// The store
    store: PathBuf,
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    unlock: UnlockArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the slots
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a slot
    Add(Add),
    /// Give a slot another passphrase or key file
    Change(Change),
    /// Remove a slot; the last one stays
    Remove {
        /// Number of the slot
        slot: u32,
    },
    /// Seal the keyring under a new key, with one new slot in place of all
    Renew(Add),
}

#[derive(Debug, clap::Args)]
struct Add {
    #[command(flatten)]
    new: NewUnlock,
    /// What the list of slots shows [default: `passphrase` or `key file`]
    #[arg(long)]
    label: Option<String>,
}

#[derive(Debug, Default, clap::Args)]
struct Change {
    /// Number of the slot [default: the only passphrase slot]
    slot: Option<u32>,
    #[command(flatten)]
    new: NewUnlock,
}

/// The unlock of the new slot; asked for on the terminal when nothing is given.
#[derive(Debug, Default, clap::Args)]
#[expect(clippy::struct_field_names, reason = "the names of the flags")]
pub(super) struct NewUnlock {
    /// Read the new passphrase from FILE (`-`: stdin)
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["new_passphrase_command", "new_key_file", "new_credential", "new_kernel_key"]
    )]
    new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from what COMMAND prints
    #[arg(
        long,
        value_name = "COMMAND",
        conflicts_with_all = ["new_key_file", "new_credential", "new_kernel_key"]
    )]
    new_passphrase_command: Option<String>,
    /// Use FILE as the new key file; it is made, with mode 0600, when it does not exist
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new_credential", "new_kernel_key"])]
    new_key_file: Option<PathBuf>,
    /// Use the systemd credential NAME as the new key
    #[arg(long, value_name = "NAME", conflicts_with = "new_kernel_key")]
    new_credential: Option<String>,
    /// Use the key NAME of type `user` in a keyring of the kernel as the new key
    #[arg(long, value_name = "NAME")]
    new_kernel_key: Option<String>,
}

/// A slot as `--json` prints it; `created` in seconds since 1970, memory in KiB.
#[derive(Debug, Serialize)]
struct SlotReport {
    slot: u32,
    label: String,
    kind: &'static str,
    created: u64,
    argon2id_memory_kib: Option<u32>,
    argon2id_passes: Option<u32>,
    argon2id_lanes: Option<u32>,
}

impl Passwd {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let store = StorePath::open(&self.store)?;
        let keyring = store.keyring(&self.unlock.unlock(store.path())?)?;
        let name = match &self.action {
            Some(Action::List { json }) => {
                list(&keyring, *json)?;
                return Ok(Exit::Done);
            }
            None | Some(Action::Change(_)) => EventName::ChangeUnlockSlot,
            Some(Action::Add(_)) => EventName::AddUnlockSlot,
            Some(Action::Remove { .. }) => EventName::RemoveUnlockSlot,
            Some(Action::Renew(_)) => EventName::RenewKeyring,
        };
        let event = Event::new(name, audit_log::actor());
        AuditPlan::new(store.path(), &config.audit)?.recorded(event, |event| {
            let slot = self.act(keyring, store.path(), config)?;
            event.request.more.insert("slot", slot.into());
            Ok(())
        })?;
        Ok(Exit::Done)
    }

    /// Changes a slot; its number.
    fn act(&self, keyring: Keyring, store: &Path, config: &Config) -> anyhow::Result<u32> {
        match &self.action {
            Some(Action::Add(add)) => self::add(&keyring, add, store),
            Some(Action::Change(change)) => self::change(&keyring, change, store),
            Some(Action::Remove { slot }) => remove(&keyring, *slot),
            Some(Action::Renew(new)) => renew(keyring, new, store, config),
            None | Some(Action::List { .. }) => change(&keyring, &Change::default(), store),
        }
    }
}

fn list(keyring: &Keyring, json: bool) -> anyhow::Result<()> {
    let slots: Vec<_> = keyring.slots().into_iter().map(SlotReport::from).collect();
    if json {
        return output::json(&slots);
    }
    let rows: Vec<_> = slots.iter().map(SlotReport::row).collect();
    output::table(["SLOT", "KIND", "CREATED", "LABEL"], &rows)
}

fn add(keyring: &Keyring, add: &Add, store: &Path) -> anyhow::Result<u32> {
    let number = keyring.add_slot(&add.new.slot(add.label.as_deref(), store)?)?;
    output::line(format!("Slot {number} added"))?;
    Ok(number)
}

fn change(keyring: &Keyring, change: &Change, store: &Path) -> anyhow::Result<u32> {
    let old = chosen(&keyring.slots(), change.slot)?;
    keyring.change_slot(old.id, &change.new.slot(label_to_keep(&old), store)?)?;
    output::line(format!("Slot {} changed", old.id))?;
    Ok(old.id)
}

fn remove(keyring: &Keyring, slot: u32) -> anyhow::Result<u32> {
    keyring.remove_slot(slot)?;
    output::line(format!("Slot {slot} removed"))?;
    Ok(slot)
}

fn renew(keyring: Keyring, new: &Add, store: &Path, config: &Config) -> anyhow::Result<u32> {
    let (slot, audit_root) = (new.new.slot(new.label.as_deref(), store)?, keyring.audit_root()?);
    let renewed = keyring.renew(&[slot])?;
    audit::carry_root(&audit_log::dir(store, &config.audit), &audit_root, &renewed.audit_root()?)?;
    let slot = renewed.slots().first().map(|slot| slot.id).context("a renewed keyring has its new slot")?;
    output::line(format!("Keyring renewed; its only slot is {slot}"))?;
    output::line(
        "The backups `.strongroom/keyring.bak.*` still open the old way: delete them, and copies elsewhere",
    )?;
    Ok(slot)
}

/// The slot to change: the one named, else the only passphrase slot.
fn chosen(slots: &[SlotInfo], number: Option<u32>) -> anyhow::Result<SlotInfo> {
    let mut found = slots.iter().filter(|slot| number.map_or(slot.kind == PASSPHRASE, |id| slot.id == id));
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot.clone()),
        (None, _) if number.is_some() => {
            Err(Refusal::error(Exit::Failure, "no slot has this number: see `strongroom passwd STORE list`"))
        }
        _ => {
            let message =
                "there is not exactly one passphrase slot: name the slot, see `strongroom passwd STORE list`";
            Err(Refusal::error(Exit::Usage, message))
        }
    }
}

/// A label that only repeats the kind is not kept, since the kind may change.
fn label_to_keep(slot: &SlotInfo) -> Option<&str> {
    Some(slot.label.as_str()).filter(|label| *label != slot.kind)
}

impl NewUnlock {
    /// The slot to be made; asks for a passphrase where nothing was given. `store` is for messages and commands.
    pub(super) fn slot(&self, label: Option<&str>, store: &Path) -> anyhow::Result<NewSlot> {
        let (kind, unlock) = self.unlock(store)?;
        Ok(NewSlot::new(label.unwrap_or(&kind), unlock))
    }

    /// The unlock, and the label of a slot that has no other.
    fn unlock(&self, store: &Path) -> anyhow::Result<(String, Unlock)> {
        let phrase = |phrase| (PASSPHRASE.to_owned(), Unlock::Passphrase(phrase));
        match self.source() {
            Source::PassphraseFile(file) => unlock::read_passphrase(&file).map(phrase),
            Source::PassphraseCommand(command) => unlock::run_command(&command, store).map(phrase),
            Source::Terminal => unlock::ask_new("New passphrase").map(phrase),
            Source::Key(KeyPlace::File(file)) => {
                create_key_file(&file)?;
                Ok((KEY_FILE.to_owned(), Unlock::KeyFile(file)))
            }
            Source::Key(place) => {
                let unlock = Unlock::from(place);
                Ok((unlock.origin(), unlock))
            }
        }
    }

    fn source(&self) -> Source {
        let flags = UnlockArgs {
            passphrase_file: self.new_passphrase_file.clone(),
            passphrase_command: self.new_passphrase_command.clone(),
            key_file: self.new_key_file.clone(),
            credential: self.new_credential.clone(),
            kernel_key: self.new_kernel_key.clone(),
        };
        flags.named().unwrap_or(Source::Terminal)
    }
}

impl From<SlotInfo> for SlotReport {
    fn from(slot: SlotInfo) -> Self {
        Self {
            slot: slot.id,
            label: slot.label,
            kind: slot.kind,
            created: slot.created,
            argon2id_memory_kib: slot.cost.map(|cost| cost.memory_kib),
            argon2id_passes: slot.cost.map(|cost| cost.passes),
            argon2id_lanes: slot.cost.map(|cost| cost.lanes),
        }
    }
}

impl SlotReport {
    fn row(&self) -> [String; 4] {
        let created = output::time(self.created);
        [self.slot.to_string(), self.kind.to_owned(), created, self.label.clone()]
    }
}

/// How [`SlotInfo::kind`] calls a passphrase slot.
const PASSPHRASE: &str = "passphrase";
/// The label of a slot for a key file.
const KEY_FILE: &str = "key file";
