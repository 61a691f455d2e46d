//! `strongroom key create`, `import` and `export-backup`: how keys come, and how copies of them go.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use zeroize::Zeroizing;

use super::{
    exit::{Exit, Refusal},
    key::{Keys, StoreArgs, read_bounded},
    key_report, output,
    passwd::NewUnlock,
    unlock,
};
use crate::{
    config::Config,
    crypto::Secret,
    keys::{AliasName, KeyId, Material, NewKey, Unlock},
};

/// Make a key, or list one that a provider holds
///
/// The key has a random id and random material, which never leaves the keyring unless it is exported. With
/// `--provider`, nothing is made: the named key of the provider is tried and listed, so that objects may use it.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(flatten)]
    about: About,
    /// Rotate the key by itself every DAYS days: 90 to 2560 [default: never]
    #[arg(long, value_name = "DAYS", conflicts_with = "provider")]
    rotation_days: Option<u32>,
    /// The provider that holds the key, by the name of its section in the configuration
    #[arg(long, value_name = "NAME", requires = "provider_key")]
    provider: Option<String>,
    /// The provider's own name for the key: ARN, transit key name or PKCS#11 URI
    #[arg(long, value_name = "REF", requires = "provider")]
    provider_key: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is noted about a new key.
#[derive(Debug, clap::Args)]
struct About {
    /// A first alias for the key: `alias/NAME`
    #[arg(long)]
    alias: Option<String>,
    /// What the list of keys shows, at most 8192 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
}

/// Bring in a key: 32 bytes from a file, or a key from a backup
///
/// Imported material is not rotated. With `--expires` the key stops working at that time and its material is erased;
/// `--again KEY` brings the same material back.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    #[command(flatten)]
    about: About,
    /// A file of 32 random bytes, mode 0600
    #[arg(long, value_name = "FILE", required_unless_present = "backup", conflicts_with = "backup")]
    material: Option<PathBuf>,
    /// When the material expires: a time such as 2027-12-31T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME", conflicts_with = "backup")]
    expires: Option<jiff::Timestamp>,
    /// Bring back the material of KEY, which must be the same
    #[arg(long, value_name = "KEY", conflicts_with_all = ["backup", "alias", "description"])]
    pub(super) again: Option<String>,
    /// A file that `export-backup` wrote; the key keeps its id, versions and free aliases
    #[arg(long, value_name = "FILE", conflicts_with_all = ["alias", "description"])]
    backup: Option<PathBuf>,
    /// Read the passphrase of the backup from FILE (`-`: stdin) [default: ask on the terminal]
    #[arg(long, value_name = "FILE", requires = "backup", conflicts_with = "backup_key_file")]
    backup_passphrase_file: Option<PathBuf>,
    /// Open the backup with this key file
    #[arg(long, value_name = "FILE", requires = "backup")]
    backup_key_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Write a copy of one key, sealed under a passphrase or key file of its own
///
/// The copy has all versions of the key as they are now; after a rotation, make another. Without a flag the passphrase
/// of the copy is asked for on the terminal. `key import --backup` brings it into any store.
#[derive(Debug, clap::Args)]
pub(super) struct ExportBackup {
    #[command(flatten)]
    pub(super) store: StoreArgs,
    /// The key
    pub(super) key: String,
    /// The file to make, with mode 0600
    file: PathBuf,
    #[command(flatten)]
    unlock: NewUnlock,
}

impl Create {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let material = match (&self.provider, &self.provider_key) {
            (Some(provider), Some(key)) => {
                let key = keys.service().probe(provider, key)?;
                Material::Remote { provider: provider.clone(), key }
            }
            _ => Material::Random,
        };
        let new = NewKey { rotation_days: self.rotation_days, ..self.about.key(material)? };
        let id = keys.keyring().create_key(&new)?;
        made(&keys, &id, self.json)
    }
}

impl Import {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let id = match (&self.backup, &self.material) {
            (Some(backup), _) => {
                let bytes = read_bounded(backup, MAX_BACKUP)?;
                keys.keyring().import_key(&bytes, &self.backup_unlock(backup)?)?
            }
            (None, Some(file)) => self.import(&keys, &read_material(file)?)?,
            (None, None) => return Err(Refusal::error(Exit::Usage, "name a file: --material or --backup")),
        };
        made(&keys, &id, self.json)
    }

    fn import(&self, keys: &Keys, material: &Secret<32>) -> anyhow::Result<KeyId> {
        let expires = self.expires.map(|time| u64::try_from(time.as_second())).transpose();
        let expires = expires.context("a time before 1970 is no expiry")?;
        let Some(again) = &self.again else {
            let material = Material::Imported { material: material.duplicate(), expires };
            return Ok(keys.keyring().create_key(&self.about.key(material)?)?);
        };
        let id = keys.find(again)?;
        keys.keyring().import_again(&id, material, expires)?;
        Ok(id)
    }

    fn backup_unlock(&self, backup: &Path) -> anyhow::Result<Unlock> {
        Ok(match (&self.backup_passphrase_file, &self.backup_key_file) {
            (Some(file), _) => Unlock::Passphrase(unlock::read_passphrase(file)?),
            (None, Some(file)) => Unlock::KeyFile(file.clone()),
            (None, None) => {
                Unlock::Passphrase(unlock::ask(&format!("Passphrase of {}: ", backup.display()))?)
            }
        })
    }
}

impl ExportBackup {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let id = keys.find(&self.key)?;
        let bytes = keys.keyring().export_key(&id, &self.unlock.slot(None, keys.store().path())?)?;
        let shown = self.file.display();
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file);
        let mut file = opened.with_context(|| format!("cannot make `{shown}`"))?;
        let written = file.write_all(&bytes).and_then(|()| file.sync_all());
        written.with_context(|| format!("cannot write `{shown}`"))?;
        output::line(format!("Backup of key {id} written to {shown}"))
    }
}

impl About {
    fn key(&self, material: Material) -> anyhow::Result<NewKey> {
        let alias = self.alias.as_deref().map(str::parse::<AliasName>).transpose()?;
        Ok(NewKey { description: self.description.clone(), alias, rotation_days: None, material })
    }
}

fn made(keys: &Keys, id: &KeyId, json: bool) -> anyhow::Result<()> {
    keys.about(id);
    if json { key_report::print_json(keys, id) } else { output::line(keys.service().arn(id)) }
}

/// The 32 bytes in a file that nobody else can read.
fn read_material(path: &Path) -> anyhow::Result<Secret<32>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    unlock::refuse_public(path, &file)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    file.take(33).read_to_end(&mut bytes).with_context(|| format!("cannot read `{shown}`"))?;
    let uniform = bytes.iter().all(|byte| Some(byte) == bytes.first());
    Secret::from_slice(&bytes).filter(|_| !uniform).ok_or_else(|| {
        let advice = "a key has 32 random bytes, make some with `head -c 32 /dev/urandom`";
        Refusal::error(Exit::Failure, format!("`{shown}` is no key material: {advice}"))
    })
}

/// Most bytes of a backup file.
const MAX_BACKUP: u64 = 4 * 1024 * 1024;
