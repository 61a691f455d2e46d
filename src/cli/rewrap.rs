//! `strongroom rewrap`: new wraps of the same keys.

use std::path::PathBuf;

use super::{
    exit::{Exit, Refusal},
    job::{FilterArgs, JobArgs},
    store::{Access, StorePath},
    unlock::UnlockArgs,
};
use crate::{config::Config, control::Job, engine, keys::KeyName, name::BucketName};

/// Wrap keys again, under the newest version of their master key; content is not touched
///
/// For after a rotation. Without `--deep` only the few records of each bucket are wrapped again. With it, the header of
/// each object is, too: its data key by the newest key of its bucket. Data key, size, inode number and modification time
/// of an object stay, and what the drive shows of it.
///
/// Can be stopped and run again at any time. An old copy of a header still opens with the old keys: against who has one,
/// only `strongroom reencrypt` helps. Works while the store is mounted and in use.
#[derive(Debug, clap::Args)]
pub(super) struct Rewrap {
    /// The store
    store: PathBuf,
    /// Only this bucket
    bucket: Option<String>,
    /// Wrap the data key of each object again
    #[arg(long)]
    deep: bool,
    /// Give each bucket a new key first, so that no data key stays under the one that wraps it now
    ///
    /// To go on after a stop, leave this out: else one more key is made.
    #[arg(long, requires = "deep")]
    new_bucket_key: bool,
    /// Move objects to another key: SSE-S3 and SSE-KMS objects become SSE-KMS objects under KEY (id, alias, or ARN)
    ///
    /// For anything else, such as SSE-S3 as the target, there is `strongroom reencrypt`.
    #[arg(long, value_name = "KEY", requires = "deep")]
    to_key: Option<KeyName>,
    /// Whether bucket keys wrap the data keys of SSE-KMS objects: on or off [default: as it is]
    #[arg(long, value_name = "on|off", requires = "deep", value_parser = on_or_off)]
    to_bucket_key: Option<bool>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

impl Rewrap {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        if self.filter.needs_objects() && !self.deep {
            let message = "--prefix, --mode and --older-than choose objects: add --deep";
            return Err(Refusal::error(Exit::Usage, message));
        }
        let bucket = self.bucket.as_deref().map(BucketName::parse).transpose()?;
        let selection = self.job.selection(bucket.clone(), self.filter.filter());
        let job = engine::Rewrap {
            selection,
            deep: self.deep,
            new_bucket_key: self.new_bucket_key,
            to_key: self.to_key.clone(),
            to_bucket_key: self.to_bucket_key,
        };
        let store = StorePath::open(&self.store)?;
        if let Some(daemon) = store.daemon()? {
            return self.job.follow_daemon(&daemon, Job::Rewrap(job), bucket.as_ref());
        }
        let engine = store.engine(&self.unlock, config, Access::Write)?;
        if let Some(name) = &bucket {
            engine.bucket(name).map_err(|error| super::bucket::explained(error, name))?;
        }
        self.job.follow(|watch| engine.rewrap(&job, watch))
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write `on` or `off`".to_owned()),
    }
}
