//! `strongroom key policy`: who may use a key, as a KMS key policy.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{
    exit::{Exit, Refusal},
    key::StoreArgs,
    output,
    policy::{read_policy, shown},
    policy_lint::advice,
};
use crate::{config::Config, policy::PolicyDocument};

/// Say who may use a key, in a KMS key policy
///
/// Without one, everyone may who has access to the buckets. Holds for everyone who works through a mount, root too, from
/// the next open on; not for jobs and commands, which have the keys.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Policy {
    /// Check a policy and make it the key's
    Put {
        #[command(flatten)]
        store: StoreArgs,
        /// The key
        key: String,
        /// The policy, JSON of at most 32 KiB (`-`: stdin)
        file: PathBuf,
    },
    /// Print the key's policy as it was put
    Get {
        #[command(flatten)]
        store: StoreArgs,
        /// The key
        key: String,
    },
    /// Remove the key's policy: everyone may use it again
    Delete {
        #[command(flatten)]
        store: StoreArgs,
        /// The key
        key: String,
    },
}

impl Policy {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Put { store, key, file } => put(config, store, key, file),
            Self::Get { store, key } => get(config, store, key),
            Self::Delete { store, key } => delete(config, store, key),
        }
    }
}

fn put(config: &Config, store: &StoreArgs, key: &str, file: &Path) -> anyhow::Result<()> {
    let text = read_policy(file)?;
    let keys = store.keys(config)?;
    let id = keys.find(key)?;
    let document = PolicyDocument::parse_key(&text, &keys.service().arn(&id)).with_context(|| shown(file))?;
    for lint in advice(config, &document)? {
        eprintln!("strongroom: {}, {lint}", shown(file));
    }
    keys.keyring().set_policy(&id, Some(&text))?;
    keys.announce();
    output::line(format!("Policy of key {id} put"))
}

fn get(config: &Config, store: &StoreArgs, key: &str) -> anyhow::Result<()> {
    let keys = store.keys(config)?;
    let id = keys.find(key)?;
    match keys.keyring().key(&id)?.policy {
        Some(text) => output::line(text.trim_end()),
        None => Err(none(key)),
    }
}

fn delete(config: &Config, store: &StoreArgs, key: &str) -> anyhow::Result<()> {
    let keys = store.keys(config)?;
    let id = keys.find(key)?;
    if keys.keyring().key(&id)?.policy.is_none() {
        return Err(none(key));
    }
    keys.keyring().set_policy(&id, None)?;
    keys.announce();
    output::line(format!("Policy of key {id} deleted"))
}

fn none(key: &str) -> anyhow::Error {
    Refusal::error(Exit::Failure, format!("the key `{key}` has no policy: everyone may use it"))
}
