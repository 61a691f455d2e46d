//! `strongroom key alias|rotate|enable|disable|schedule-deletion|cancel-deletion`: what happens to a key.

use super::{
    exit::{Exit, Refusal},
    key::{Keys, StoreArgs},
    key_usage::Count,
    output,
};
use crate::{
    config::Config,
    keys::{AliasName, KeyId, StateChange},
};

/// Point an alias at a key, or remove it
#[derive(Debug, clap::Subcommand)]
pub(super) enum Alias {
    /// Point an alias at a key, also where it names another one
    ///
    /// Objects keep the key that they were made with; new ones get the key that the alias names from then on.
    Set {
        #[command(flatten)]
        store: StoreArgs,
        /// The alias: `alias/NAME`
        alias: String,
        /// The key
        key: String,
    },
    /// Remove an alias; the key stays
    Remove {
        #[command(flatten)]
        store: StoreArgs,
        /// The alias: `alias/NAME`
        alias: String,
    },
}

/// Give a key new material now, or a period after which it gets new material by itself
///
/// The key keeps its id and aliases, and all its old material to read what was written with it. No object changes.
/// Periods are looked at by every `key` command and by the mounted drive.
#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The key
    pub(super) key: String,
    /// Do not rotate now, but every DAYS days: 90 to 2560
    #[arg(long, value_name = "DAYS", conflicts_with = "never")]
    pub(super) every: Option<u32>,
    /// Do not rotate now, and no longer by itself
    #[arg(long)]
    pub(super) never: bool,
}

/// Make a disabled key usable again
#[derive(Debug, clap::Args)]
pub(super) struct Enable {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The key
    pub(super) key: String,
}

/// Stop a key from being used, until it is enabled again
///
/// Files that need it can no longer be opened, from this moment on; files that are open go on.
#[derive(Debug, clap::Args)]
pub(super) struct Disable {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The key
    pub(super) key: String,
}

/// Stop a key from being used, and destroy it after a waiting time
///
/// What only this key can open is lost then. Refused while objects still need the key, unless forced. The keyring's
/// backups in the store are cleared of it too; copies of the keyring elsewhere are not.
#[derive(Debug, clap::Args)]
pub(super) struct ScheduleDeletion {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The key
    pub(super) key: String,
    /// Days to wait: 7 to 30
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Also where objects still need the key
    #[arg(long)]
    force: bool,
}

/// Keep a key that waits for its deletion; it is disabled then
#[derive(Debug, clap::Args)]
pub(super) struct CancelDeletion {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The key
    pub(super) key: String,
}

impl Alias {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Set { store, alias, key } => {
                let keys = store.keys(config)?;
                let (alias, id) = (alias.parse::<AliasName>()?, keys.find(key)?);
                keys.keyring().set_alias(&alias, &id)?;
                output::line(format!("{alias} names key {id}"))
            }
            Self::Remove { store, alias } => {
                let alias = alias.parse::<AliasName>()?;
                store.keys(config)?.keyring().remove_alias(&alias)?;
                output::line(format!("{alias} removed"))
            }
        }
    }
}

impl Rotate {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let id = keys.find(&self.key)?;
        if self.every.is_none() && !self.never {
            let version = keys.keyring().rotate_key(&id)?;
            return output::line(format!("Key {id} has version {version}"));
        }
        keys.keyring().set_rotation(&id, self.every)?;
        output::line(match self.every {
            Some(days) => format!("Key {id} rotates every {days} days"),
            None => format!("Key {id} no longer rotates by itself"),
        })
    }
}

impl Enable {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let id = changed(&keys, &self.key, StateChange::Enable)?;
        output::line(format!("Key {id} is enabled"))
    }
}

impl Disable {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let id = changed(&keys, &self.key, StateChange::Disable)?;
        output::line(format!("Key {id} is disabled"))
    }
}

impl ScheduleDeletion {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let id = keys.find(&self.key)?;
        let count = Count::of(keys.store().path(), keys.service(), &id)?;
        if !self.force {
            refuse_if_needed(&id, &count)?;
        }
        keys.keyring().change_state(&id, None, StateChange::ScheduleDeletion { days: self.days })?;
        let end = keys.keyring().key(&id)?.deletion.map_or_else(|| "unknown".to_owned(), output::time);
        let lost = match count.objects {
            0 => String::new(),
            objects => format!("; {objects} objects cannot be read any more"),
        };
        output::line(format!("Key {id} is disabled and will be destroyed at {end}{lost}"))
    }
}

impl CancelDeletion {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let id = changed(&keys, &self.key, StateChange::CancelDeletion)?;
        output::line(format!("Key {id} stays and is disabled: `strongroom key enable` makes it usable"))
    }
}

fn changed(keys: &Keys, key: &str, change: StateChange) -> anyhow::Result<KeyId> {
    let id = keys.find(key)?;
    keys.keyring().change_state(&id, None, change)?;
    Ok(id)
}

fn refuse_if_needed(id: &KeyId, count: &Count) -> anyhow::Result<()> {
    let message = match count {
        Count { objects: 0, unreadable: 0, .. } => return Ok(()),
        Count { objects: 0, unreadable, .. } => format!(
            "{unreadable} files could not be looked at and may need key `{id}`: run `strongroom verify`, or delete the key with --force"
        ),
        Count { objects, .. } => format!(
            "{objects} objects still need key `{id}`: move them to another key first, or give them up with --force"
        ),
    };
    Err(Refusal::error(Exit::Failure, message))
}
