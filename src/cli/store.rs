//! Opening the store that a command names.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;

use super::{
    audit_log::AuditPlan,
    exit::{Exit, Refusal},
    identities::access,
    sse,
    unlock::UnlockArgs,
};
use crate::{
    config::{BucketOptions, Config, DefaultEncryption, JournalSwitch, MountOptions, Switch},
    control::{Client, ControlError, Request, Status},
    engine::{self, EncryptionType, Engine, Limits, NewBucket},
    envelope::Id,
    keys::{KeyNameError, KeyScope, KeyService, Keyring, Unlock, open_providers},
    store::{Holder, LocalStore, holder, layout},
};

/// A store directory that was found to be one.
#[derive(Debug)]
pub(super) struct StorePath {
    path: PathBuf,
    id: Id,
}

impl StorePath {
    /// Checks that `path` is a store.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let path = path.canonicalize().with_context(|| format!("cannot open the store `{shown}`"))?;
        let root =
            LocalStore::open(&path).with_context(|| format!("cannot open the store `{shown}`"))?.root();
        let id = layout::open_store(&root).with_context(|| format!("`{shown}`"))?;
        Ok(Self { path, id: Id::from_bytes(*id.as_bytes()) })
    }

    /// The absolute path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The id in its marker.
    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// Unlocks the keyring.
    pub(super) fn keyring(&self, unlock: &Unlock) -> anyhow::Result<Keyring> {
        Ok(Keyring::open(&self.path.join(layout::STORE_DIR), unlock)?)
    }

    /// A way to the daemon that has the store in use; `None` while nobody has.
    pub(super) fn daemon(&self) -> anyhow::Result<Option<Client>> {
        let Some(holder) = holder(&self.path)? else { return Ok(None) };
        let client = Client::new(&self.path).with_context(|| format!("the store is in use by {holder}"))?;
        match client.ask::<Status>(Request::Status) {
            Ok(_) => Ok(Some(client)),
            // Another command has the store for a moment, or the drive takes no requests.
            Err(ControlError::Unheard(error)) => {
                ::log::debug!("{holder} does not answer: {error}");
                Err(busy(&holder))
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Refuses a store that somebody has in use, before a passphrase is asked for.
    pub(super) fn require_free(&self) -> anyhow::Result<()> {
        let Some(holder) = holder(&self.path)? else { return Ok(()) };
        Err(busy(&holder))
    }

    /// Opens the store for an administrative command, with the locks and checks that a mount has.
    pub(super) fn engine(
        &self,
        unlock: &UnlockArgs,
        config: &Config,
        access: Access,
    ) -> anyhow::Result<Engine> {
        self.engine_for(unlock, config, &config.mount, access)
    }

    /// The same for a command that has options of a mount.
    pub(super) fn engine_for(
        &self,
        unlock: &UnlockArgs,
        config: &Config,
        mount: &MountOptions,
        access: Access,
    ) -> anyhow::Result<Engine> {
        self.require_free()?;
        let keyring = self.keyring(&unlock.unlock(&self.path)?)?;
        let audit = match access {
            Access::Read => None,
            Access::Write => AuditPlan::new(&self.path, &config.audit)?.command(&keyring)?,
        };
        let mount = MountOptions { read_only: access == Access::Read, ..mount.clone() };
        let options = engine::Options { audit, ..engine_options(config, &mount)? };
        sse::read_customer_keys(&mount, &options.customer_keys)?;
        let keys = key_service(keyring, config)?;
        Ok(Engine::start(&self.path, keys, "strongroom", options)?)
    }
}

fn busy(holder: &Holder) -> anyhow::Error {
    let mount = Path::new(&holder.purpose);
    let end = if mount.is_absolute() {
        format!("run `strongroom umount {}` first", mount.display())
    } else {
        "try again when it has ended".to_owned()
    };
    Refusal::error(Exit::Busy, format!("the store is in use by {holder}: {end}"))
}

/// What an administrative command may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Look.
    Read,
    /// Change.
    Write,
}

/// The engine's options under `config`, with the mount's own options in `mount`.
pub(super) fn engine_options(config: &Config, mount: &MountOptions) -> anyhow::Result<engine::Options> {
    Ok(engine::Options {
        read_only: mount.read_only,
        encryption: sse::requested(mount)?,
        customer_keys: Arc::default(),
        new_bucket: new_bucket(&config.bucket)?,
        access: access(config)?,
        limits: Limits {
            dirty_per_object: config.memory.dirty_per_object.bytes(),
            dirty_total: config.memory.dirty_total.bytes(),
            tag_cache: config.memory.tag_cache.bytes(),
            strict_open: config.engine.strict_open_limit.bytes(),
            commit_interval: config.engine.commit_interval.duration(),
            ..Limits::default()
        },
        audit: None,
    })
}

/// The service for the keys of `keyring`, with the account and the providers of `config`. Contacts nobody.
pub(super) fn key_service(keyring: Keyring, config: &Config) -> anyhow::Result<KeyService> {
    Ok(KeyService::new(keyring, open_providers(&config.provider)?, key_scope(config)?))
}

/// The region and account of the ARNs of keys.
pub(super) fn key_scope(config: &Config) -> anyhow::Result<KeyScope> {
    Ok(KeyScope::new(config.policy.region.as_str(), config.policy.account.as_str())?)
}

/// What buckets are made with under these options.
pub(super) fn new_bucket(options: &BucketOptions) -> anyhow::Result<NewBucket> {
    // It always has a value, which means nothing but with bucket keys.
    let bucket_key = (options.default_encryption == DefaultEncryption::Kms).then_some(options.bucket_key);
    Ok(NewBucket {
        block_size: options.block_size,
        dual_layer: options.dual_layer,
        default_encryption: default_encryption(options.default_encryption, &options.kms_key, bucket_key)?,
        journal: match options.journal {
            JournalSwitch::On => engine::JournalMode::On,
            JournalSwitch::Off => engine::JournalMode::Off,
        },
    })
}

/// The default encryption of these names; `key` may be empty.
pub(super) fn default_encryption(
    named: DefaultEncryption,
    key: &str,
    bucket_key: Option<Switch>,
) -> anyhow::Result<engine::DefaultEncryption> {
    let kind = match named {
        DefaultEncryption::Aes256 => EncryptionType::Aes256,
        DefaultEncryption::Kms => EncryptionType::Kms,
        DefaultEncryption::DualKms => EncryptionType::DualKms,
        DefaultEncryption::None => EncryptionType::None,
    };
    let usage = |why: String| Refusal::error(Exit::Usage, why);
    let key = Some(key).filter(|key| !key.is_empty()).map(str::parse).transpose();
    let key = key.map_err(|error: KeyNameError| usage(error.to_string()))?;
    engine::DefaultEncryption::new(kind, key, bucket_key.map(Switch::is_on))
        .map_err(|error| usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_gives_the_engines_defaults() {
        let config = Config::default();
        let options = engine_options(&config, &config.mount).unwrap();
        assert_eq!(options.limits, Limits::default());
        assert_eq!(options.access, engine::Access::default());
    }
}
