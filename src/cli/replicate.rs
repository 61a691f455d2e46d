//! `strongroom replicate`: the objects of a store in another one.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{
    exit::{Exit, Refusal},
    job::{FilterArgs, JobArgs},
    store::{Access, StorePath},
    tpm2::Tpm2Args,
    unlock::UnlockArgs,
};
use crate::{
    config::Config,
    control::{Job, Unlocking},
    engine,
    keys::{KeyName, Unlock},
    name::BucketName,
    store::layout::STORE_DIR,
};

/// Copy objects into another store, encrypted anew by its keys
///
/// An object without encryption takes the default of the target's bucket; one with SSE-S3 keeps its mode; one with a
/// KMS key is copied only with `--replica-key`. Times, owners,
/// modes, extended attributes, links and directories are kept. Every copy is read back and compared before it takes its
/// name. What is there already and current is left; what the source has no more stays in the target.
///
/// Can be stopped and run again at any time. The source may be mounted and in use, the target may not.
#[derive(Debug, clap::Args)]
pub(super) struct Replicate {
    /// The source: a store, or a bucket of one (STORE/BUCKET)
    source: PathBuf,
    /// The target: a store, or a bucket of one, which is made if it is missing
    target: PathBuf,
    /// Also copy KMS objects, under this key of the target (id, alias, or ARN), which is tried first
    #[arg(long, value_name = "KEY")]
    replica_key: Option<KeyName>,
    /// Unlock the source with a passphrase file (`-`: stdin)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["src_key_file", "src_tpm2"], help_heading = "Unlocking")]
    src_passphrase_file: Option<PathBuf>,
    /// Unlock the source with a key file
    #[arg(long, value_name = "FILE", conflicts_with = "src_tpm2", help_heading = "Unlocking")]
    src_key_file: Option<PathBuf>,
    /// Unlock the source with the TPM
    #[arg(long, help_heading = "Unlocking")]
    src_tpm2: bool,
    /// Read the PIN of the source's TPM slot from FILE
    #[arg(long, value_name = "FILE", requires = "src_tpm2", help_heading = "Unlocking")]
    src_tpm2_pin_file: Option<PathBuf>,
    /// Unlock the target with a passphrase file (`-`: stdin)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dst_key_file", "dst_tpm2"], help_heading = "Unlocking")]
    dst_passphrase_file: Option<PathBuf>,
    /// Unlock the target with a key file
    #[arg(long, value_name = "FILE", conflicts_with = "dst_tpm2", help_heading = "Unlocking")]
    dst_key_file: Option<PathBuf>,
    /// Unlock the target with the TPM
    #[arg(long, help_heading = "Unlocking")]
    dst_tpm2: bool,
    /// Read the PIN of the target's TPM slot from FILE
    #[arg(long, value_name = "FILE", requires = "dst_tpm2", help_heading = "Unlocking")]
    dst_tpm2_pin_file: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    job: JobArgs,
}

impl Replicate {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let (source, bucket) = split(&self.source)?;
        let (target, to) = split(&self.target)?;
        if to.is_some() && bucket.is_none() {
            let message = "the target names a bucket: name one of the source, too, as STORE/BUCKET";
            return Err(Refusal::error(Exit::Usage, message));
        }
        let (source, target) = (StorePath::open(&source)?, StorePath::open(&target)?);
        if source.path() == target.path() {
            return Err(Refusal::error(Exit::Usage, "source and target are the same store"));
        }
        let selection = self.job.selection(bucket.clone(), self.filter.filter());
        let job = engine::Replicate { selection, target: to, replica_key: self.replica_key.clone() };
        if let Some(daemon) = source.daemon().context("the source")? {
            target.require_free().context("the target")?;
            let keys = Unlocking::from(&anchored(self.target_keys().unlock(target.path())?)?);
            let job = Job::Replicate { job, target: target.path().to_owned(), unlock: keys };
            return self.job.follow_daemon(&daemon, job, bucket.as_ref());
        }
        let from = source.engine(&self.source_keys(), config, Access::Read).context("the source")?;
        let into = target.engine(&self.target_keys(), config, Access::Write).context("the target")?;
        if let Some(name) = &bucket {
            from.bucket(name).map_err(|error| super::bucket::explained(error, name))?;
        }
        self.job.follow(|watch| from.replicate(&into, &job, watch))
    }

    fn source_keys(&self) -> UnlockArgs {
        UnlockArgs {
            passphrase_file: self.src_passphrase_file.clone(),
            key_file: self.src_key_file.clone(),
            tpm2: Tpm2Args::new(self.src_tpm2, self.src_tpm2_pin_file.as_deref()),
            ..UnlockArgs::default()
        }
    }

    fn target_keys(&self) -> UnlockArgs {
        UnlockArgs {
            passphrase_file: self.dst_passphrase_file.clone(),
            key_file: self.dst_key_file.clone(),
            tpm2: Tpm2Args::new(self.dst_tpm2, self.dst_tpm2_pin_file.as_deref()),
            ..UnlockArgs::default()
        }
    }
}

/// The same for a process that has another working directory.
fn anchored(unlock: Unlock) -> anyhow::Result<Unlock> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).with_context(|| format!("cannot find `{}`", path.display()))
    };
    Ok(match unlock {
        Unlock::KeyFile(path) => Unlock::KeyFile(absolute(path)?),
        Unlock::Credential(path) => Unlock::Credential(absolute(path)?),
        Unlock::Passphrase(_) | Unlock::KernelKey(_) | Unlock::Tpm2(_) => unlock,
    })
}

/// A store, or a store and a bucket of it.
fn split(path: &Path) -> anyhow::Result<(PathBuf, Option<BucketName>)> {
    let parent = path.parent().filter(|parent| parent.join(STORE_DIR).is_dir());
    let (Some(store), Some(name), false) = (parent, path.file_name(), path.join(STORE_DIR).is_dir()) else {
        return Ok((path.to_owned(), None));
    };
    Ok((store.to_owned(), Some(BucketName::parse(&name.to_string_lossy())?)))
}
