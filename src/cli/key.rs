//! `strongroom key`: the keys of a store. Works while the store is mounted: the keyring has a lock of its own, and the
//! daemon follows what changes.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::Context;

use super::{
    audit_log::{self, AuditPlan},
    exit::{Exit, Refusal},
    key_customer, key_grant, key_life, key_make, key_policy, key_report,
    store::{StorePath, key_service},
    unlock::UnlockArgs,
};
use crate::{
    audit::{Event, EventName},
    config::Config,
    control::Request,
    engine::upkeep_event,
    keys::{KeyId, KeyName, KeyService, Keyring, Upkeep},
};

/// Make, list, rotate, disable and delete the keys of a store
///
/// KEY is an id, an ARN `arn:aws:kms:REGION:ACCOUNT:key/ID`, an alias `alias/NAME`, or the ARN of an alias. The key
/// `service` is that of SSE-S3. All of this works while the store is mounted.
#[derive(Debug, clap::Args)]
pub(super) struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Create(key_make::Create),
    List(key_report::List),
    Describe(key_report::Describe),
    #[command(subcommand)]
    Alias(key_life::Alias),
    Rotate(key_life::Rotate),
    Enable(key_life::Enable),
    Disable(key_life::Disable),
    ScheduleDeletion(key_life::ScheduleDeletion),
    CancelDeletion(key_life::CancelDeletion),
    Import(key_make::Import),
    ExportBackup(key_make::ExportBackup),
    Usage(key_report::Usage),
    #[command(subcommand)]
    Policy(key_policy::Policy),
    Grant(key_grant::Grant),
    Grants(key_grant::Grants),
    RevokeGrant(key_grant::RevokeGrant),
    #[command(subcommand)]
    Customer(key_customer::Customer),
}

/// The store of a command, and how to unlock it.
#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// The store
    store: PathBuf,
    #[command(flatten)]
    unlock: UnlockArgs,
    /// The key that the command turned out to be about, for the audit log.
    #[arg(skip)]
    about: Rc<OnceCell<String>>,
}

/// The unlocked keys of a store.
pub(super) struct Keys {
    store: StorePath,
    service: KeyService,
    about: Rc<OnceCell<String>>,
}

impl Key {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        match self.action.change() {
            Some((name, store, key)) => store.recorded(config, name, key, || self.act(config)),
            None => self.act(config),
        }?;
        Ok(Exit::Done)
    }

    fn act(&self, config: &Config) -> anyhow::Result<()> {
        match &self.action {
            Action::Create(create) => create.run(config),
            Action::List(list) => list.run(config),
            Action::Describe(describe) => describe.run(config),
            Action::Alias(alias) => alias.run(config),
            Action::Rotate(rotate) => rotate.run(config),
            Action::Enable(enable) => enable.run(config),
            Action::Disable(disable) => disable.run(config),
            Action::ScheduleDeletion(schedule) => schedule.run(config),
            Action::CancelDeletion(cancel) => cancel.run(config),
            Action::Import(import) => import.run(config),
            Action::ExportBackup(export) => export.run(config),
            Action::Usage(usage) => usage.run(config),
            Action::Policy(policy) => policy.run(config),
            Action::Grant(grant) => grant.run(config),
            Action::Grants(grants) => grants.run(config),
            Action::RevokeGrant(revoke) => revoke.run(config),
            Action::Customer(customer) => customer.run(),
        }
    }
}

impl Action {
    /// What the audit log calls a command that changes or copies a key, and the key as it was named.
    fn change(&self) -> Option<(EventName, &StoreArgs, Option<&str>)> {
        use key_life::Alias;
        use key_policy::Policy;
        Some(match self {
            Self::List(_)
            | Self::Describe(_)
            | Self::Usage(_)
            | Self::Customer(_)
            | Self::Policy(Policy::Get { .. })
            | Self::Grants(_) => return None,
            Self::Policy(Policy::Put { store, key, .. }) => (EventName::PutKeyPolicy, store, Some(key)),
            Self::Policy(Policy::Delete { store, key }) => (EventName::DeleteKeyPolicy, store, Some(key)),
            Self::Grant(it) => (EventName::CreateGrant, &it.store, Some(&it.key)),
            Self::RevokeGrant(it) => (EventName::RevokeGrant, &it.store, Some(&it.key)),
            Self::Create(it) => (EventName::CreateKey, &it.store, None),
            Self::Alias(Alias::Set { store, key, .. }) => (EventName::UpdateAlias, store, Some(key)),
            Self::Alias(Alias::Remove { store, alias }) => (EventName::DeleteAlias, store, Some(alias)),
            Self::Rotate(it) if it.never => (EventName::DisableKeyRotation, &it.store, Some(&it.key)),
            Self::Rotate(it) if it.every.is_some() => {
                (EventName::EnableKeyRotation, &it.store, Some(&it.key))
            }
            Self::Rotate(it) => (EventName::RotateKeyOnDemand, &it.store, Some(&it.key)),
            Self::Enable(it) => (EventName::EnableKey, &it.store, Some(&it.key)),
            Self::Disable(it) => (EventName::DisableKey, &it.store, Some(&it.key)),
            Self::ScheduleDeletion(it) => (EventName::ScheduleKeyDeletion, &it.store, Some(&it.key)),
            Self::CancelDeletion(it) => (EventName::CancelKeyDeletion, &it.store, Some(&it.key)),
            Self::Import(it) => (EventName::ImportKeyMaterial, &it.store, it.again.as_deref()),
            Self::ExportBackup(it) => (EventName::ExportKeyBackup, &it.store, Some(&it.key)),
        })
    }
}

impl StoreArgs {
    /// Does `act` and records it in the audit log of the store.
    fn recorded(
        &self,
        config: &Config,
        name: EventName,
        key: Option<&str>,
        act: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Ok(store) = self.store.canonicalize() else { return act() };
        let mut event = Event::new(name, audit_log::actor());
        event.request.key_id = key.map(str::to_owned);
        AuditPlan::new(&store, &config.audit)?.recorded(event, |event| {
            let outcome = act();
            if let Some(arn) = self.about.get() {
                event.about_key(arn.clone());
            }
            outcome
        })
    }

    /// Unlocks the keys, and does what is due: automatic rotations and deletions.
    pub(super) fn keys(&self, config: &Config) -> anyhow::Result<Keys> {
        let store = StorePath::open(&self.store)?;
        let keyring = store.keyring(&self.unlock.unlock(store.path())?)?;
        let done = keyring.maintain().unwrap_or_else(|error| {
            // Where nothing can be written, what is asked for may still be read.
            log::warn!("rotations and deletions that are due wait: {error}");
            Vec::new()
        });
        let keys = Keys { store, service: key_service(keyring, config)?, about: self.about.clone() };
        keys.record(&done, config)?;
        Ok(keys)
    }
}

impl Keys {
    /// Records what time brought about.
    fn record(&self, done: &[Upkeep], config: &Config) -> anyhow::Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let log = AuditPlan::new(self.store.path(), &config.audit)?.command(self.keyring())?;
        for upkeep in done {
            log::info!("{upkeep}");
            log.iter().try_for_each(|log| log.emit(upkeep_event(upkeep, &self.service)))?;
        }
        Ok(())
    }

    /// Notes for the audit log that the command is about `key`.
    pub(super) fn about(&self, key: &KeyId) {
        self.about.get_or_init(|| self.service.arn(key));
    }

    /// The store.
    pub(super) fn store(&self) -> &StorePath {
        &self.store
    }

    /// The key service.
    pub(super) fn service(&self) -> &KeyService {
        &self.service
    }

    /// The keyring.
    pub(super) fn keyring(&self) -> &Keyring {
        self.service.keyring()
    }

    /// Lets the daemon that has the store in use, if any, know that keys changed.
    pub(super) fn announce(&self) {
        let told = self.store.daemon().and_then(|daemon| match daemon {
            Some(daemon) => Ok(daemon.ask::<()>(Request::RefreshKeys)?),
            None => Ok(()),
        });
        if let Err(error) = told {
            log::warn!("the drive learns of this at the next file that is opened: {error}");
        }
    }

    /// Lets the daemon that has the store in use, if any, cut off the open files of `key`; how many there were.
    pub(super) fn revoke(&self, key: &KeyId) -> anyhow::Result<usize> {
        match self.store.daemon()? {
            Some(daemon) => Ok(daemon.ask(Request::RevokeKey { key: key.clone() })?),
            None => Ok(0),
        }
    }

    /// The key that `text` names.
    pub(super) fn find(&self, text: &str) -> anyhow::Result<KeyId> {
        let id = self.service.find(&text.parse::<KeyName>()?)?;
        self.about(&id);
        Ok(id)
    }
}

/// The content of a file, at most `limit` bytes.
pub(super) fn read_bounded(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    use std::io::Read;
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read `{shown}`"))?;
    if bytes.len() as u64 > limit {
        return Err(Refusal::error(Exit::Failure, format!("`{shown}` is longer than {limit} bytes")));
    }
    Ok(bytes)
}
