//! `strongroom reencrypt`: new data keys.

use std::path::PathBuf;

use super::{
    exit::{Exit, Refusal},
    job::{FilterArgs, JobArgs},
    sse::{self, SseArgs},
    store::{Access, StorePath},
    unlock::UnlockArgs,
};
use crate::{config::Config, control::Job, engine, name::BucketName};

/// Encrypt objects anew: S3's COPY of each object onto itself
///
/// Each gets a new data key, id, and modification time, by the encryption that is asked for or is the bucket's default;
/// plain objects are encrypted. Owner, mode and extended attributes stay. An object that is encrypted so already is left
/// as it is, unless `--force` is given. The new object is complete before it takes the place of the old one.
///
/// Can be stopped and run again at any time; after `--force`, go on with `--force --older-than TIME`. Objects with hard
/// links, and objects that are open, are left as they are. Works while the store is mounted and in use.
#[derive(Debug, clap::Args)]
pub(super) struct Reencrypt {
    /// The store
    store: PathBuf,
    /// The bucket
    bucket: String,
    /// Keep the access and modification times
    #[arg(long)]
    preserve: bool,
    /// Also encrypt anew what is encrypted so already
    #[arg(long)]
    force: bool,
    /// Also encrypt anew what governance retention keeps, if the policies let you do s3:BypassGovernanceRetention
    ///
    /// The new object is retained from then on. Compliance retention is never bypassed.
    #[arg(long)]
    bypass_governance_retention: bool,
    #[command(flatten)]
    sse: SseArgs,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
}

impl Reencrypt {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let name = BucketName::parse(&self.bucket)?;
        let options = self.sse.over(config.mount.clone());
        let job = engine::Reencrypt {
            selection: self.job.selection(Some(name.clone()), self.filter.filter()),
            encryption: sse::requested(&options)?,
            preserve: self.preserve,
            force: self.force,
            bypass_governance: self.bypass_governance_retention,
        };
        let store = StorePath::open(&self.store)?;
        if let Some(daemon) = store.daemon()? {
            if self.sse.brings_customer_keys() {
                let message =
                    "the store is mounted: give the drive the customer key with `key customer add` instead";
                return Err(Refusal::error(Exit::Usage, message));
            }
            return self.job.follow_daemon(&daemon, Job::Reencrypt(job), Some(&name));
        }
        let engine = store.engine_for(&self.unlock, config, &options, Access::Write)?;
        engine.bucket(&name).map_err(|error| super::bucket::explained(error, &name))?;
        self.job.follow(|watch| engine.reencrypt(&job, watch))
    }
}
