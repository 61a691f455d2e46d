//! `strongroom passwd`: the unlock slots of a store.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::{
    audit_log::{self, AuditPlan},
    exit::{Exit, Refusal},
    output,
    store::StorePath,
    tpm2::{self, NewTpm2},
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
    /// Give a slot another passphrase or key, or bind it to the TPM as it is now
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
    new: New,
    /// What the list of slots shows [default: `passphrase`, `key file` or `TPM2`]
    #[arg(long)]
    label: Option<String>,
}

#[derive(Debug, Default, clap::Args)]
struct Change {
    /// Number of the slot [default: the only passphrase slot; with --new-tpm2, the only TPM2 slot]
    slot: Option<u32>,
    #[command(flatten)]
    new: New,
}

/// How a new slot is unlocked.
#[derive(Debug, Default, clap::Args)]
struct New {
    #[command(flatten)]
    unlock: NewUnlock,
    #[command(flatten)]
    tpm2: NewTpm2,
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
    tpm2_pcrs: Option<Vec<u8>>,
    tpm2_pin: Option<bool>,
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
            Some(Action::Add(add)) => self.add(&keyring, add, store),
            Some(Action::Change(change)) => self.change(&keyring, change, store),
            Some(Action::Remove { slot }) => remove(&keyring, *slot),
            Some(Action::Renew(new)) => self.renew(keyring, new, store, config),
            None | Some(Action::List { .. }) => self.change(&keyring, &Change::default(), store),
        }
    }

    fn add(&self, keyring: &Keyring, add: &Add, store: &Path) -> anyhow::Result<u32> {
        let slot = self.slot(&add.new, add.label.as_deref(), None, store)?;
        let number = keyring.add_slot(&slot)?;
        output::line(format!("Slot {number} added"))?;
        Ok(number)
    }

    fn change(&self, keyring: &Keyring, change: &Change, store: &Path) -> anyhow::Result<u32> {
        let old = chosen(&keyring.slots(), change)?;
        let slot = self.slot(&change.new, label_to_keep(&old), Some(&old), store)?;
        keyring.change_slot(old.id, &slot)?;
        output::line(format!("Slot {} changed", old.id))?;
        tpm2::warn_if_alone(&keyring.slots());
        Ok(old.id)
    }

    fn renew(&self, keyring: Keyring, new: &Add, store: &Path, config: &Config) -> anyhow::Result<u32> {
        let slot = self.slot(&new.new, new.label.as_deref(), None, store)?;
        let audit_root = keyring.audit_root()?;
        let renewed = keyring.renew(&[slot])?;
        audit::carry_root(&audit_log::dir(store, &config.audit), &audit_root, &renewed.audit_root()?)?;
        let slots = renewed.slots();
        let slot = slots.first().map(|slot| slot.id).context("a renewed keyring has its new slot")?;
        output::line(format!("Keyring renewed; its only slot is {slot}"))?;
        output::line(
            "The backups `.strongroom/keyring.bak.*` still open the old way: delete them, and copies elsewhere",
        )?;
        tpm2::warn_if_alone(&slots);
        Ok(slot)
    }

    /// A slot to be made, in the place of `old`.
    fn slot(
        &self,
        new: &New,
        label: Option<&str>,
        old: Option<&SlotInfo>,
        store: &Path,
    ) -> anyhow::Result<NewSlot> {
        match new.tpm2.slot(label, self.unlock.tpm2.device(), old)? {
            Some(bound) => Ok(bound),
            None => new.unlock.slot(label, store),
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

fn remove(keyring: &Keyring, slot: u32) -> anyhow::Result<u32> {
    keyring.remove_slot(slot)?;
    output::line(format!("Slot {slot} removed"))?;
    tpm2::warn_if_alone(&keyring.slots());
    Ok(slot)
}

/// The slot to change: the one named, else the only one of the kind that it is to have.
fn chosen(slots: &[SlotInfo], change: &Change) -> anyhow::Result<SlotInfo> {
    let kind = if change.new.tpm2.is_asked_for() { tpm2::LABEL } else { PASSPHRASE };
    let mut found = slots.iter().filter(|slot| change.slot.map_or(slot.kind == kind, |id| slot.id == id));
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot.clone()),
        (None, _) if change.slot.is_some() => {
            Err(Refusal::error(Exit::Failure, "no slot has this number: see `strongroom passwd STORE list`"))
        }
        _ => {
            let message = format!(
                "there is not exactly one {kind} slot: name the slot, see `strongroom passwd STORE list`"
            );
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
            // The flags here have none for a TPM.
            Source::Tpm2 | Source::Terminal => unlock::ask_new("New passphrase").map(phrase),
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
            ..UnlockArgs::default()
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
            tpm2_pcrs: slot.tpm2.as_ref().map(|tpm2| tpm2.pcrs.numbers().collect()),
            tpm2_pin: slot.tpm2.map(|tpm2| tpm2.pin),
        }
    }
}

impl SlotReport {
    fn row(&self) -> [String; 4] {
        let created = output::time(self.created);
        [self.slot.to_string(), self.kind(), created, self.label.clone()]
    }

    /// The kind, and what a TPM asks for.
    fn kind(&self) -> String {
        let pcrs = self.tpm2_pcrs.iter().filter(|pcrs| !pcrs.is_empty()).map(|pcrs| {
            let numbers: Vec<_> = pcrs.iter().map(u8::to_string).collect();
            format!("PCR {}", numbers.join("+"))
        });
        let asked: Vec<_> = pcrs.chain((self.tpm2_pin == Some(true)).then(|| "PIN".to_owned())).collect();
        if asked.is_empty() { self.kind.to_owned() } else { format!("{} ({})", self.kind, asked.join(", ")) }
    }
}

/// How [`SlotInfo::kind`] calls a passphrase slot.
const PASSPHRASE: &str = "passphrase";
/// The label of a slot for a key file.
const KEY_FILE: &str = "key file";
