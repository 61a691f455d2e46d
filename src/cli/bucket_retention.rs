//! `strongroom bucket retention`: how long the objects of a bucket cannot be changed.

use std::path::PathBuf;

use serde::Serialize;

use super::{
    bucket::{UnlockedBucket, explained, refused},
    exit::{Exit, Refusal},
    output,
    store::{Access, StorePath},
};
use crate::{
    config::Config,
    control::{ControlError, Failure, Request},
    engine::{Caller, Retention, RetentionError},
    name::BucketName,
    policy::LockMode,
};

/// Keep objects from being changed or deleted for some days, by anybody
///
/// For so many days after its last change an object can be read and not be overwritten, cut, renamed or deleted through
/// the drive, by root neither. New objects can be made. A mounted drive is asked to change it, and needs no unlocking.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RetentionCommand {
    /// Set the retention of a bucket
    Put(Put),
    /// Show the retention of a bucket
    Get {
        #[command(flatten)]
        of: UnlockedBucket,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End the retention of a bucket; in compliance mode this is refused
    Delete {
        #[command(flatten)]
        of: UnlockedBucket,
        /// Weaken a governance retention, as s3:BypassGovernanceRetention allows
        #[arg(long)]
        bypass_governance: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Put {
    #[command(flatten)]
    of: UnlockedBucket,
    /// Days after its last change in which an object cannot be changed, 1 to 36500
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
    /// Who may weaken it: governance (the owner, with --bypass-governance) or compliance (nobody)
    #[arg(long, hide_possible_values = true)]
    mode: Mode,
    /// Let retained objects grow at their end
    #[arg(long)]
    append_only: bool,
    /// Directory in the bucket whose objects are not retained, such as a backup's locks; may be given again
    #[arg(long, value_name = "DIR")]
    except: Vec<PathBuf>,
    /// Weaken a governance retention, as s3:BypassGovernanceRetention allows
    #[arg(long)]
    bypass_governance: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Mode {
    Governance,
    Compliance,
}

/// A retention as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    mode: String,
    days: u32,
    append_only: bool,
    except: Vec<PathBuf>,
}

impl RetentionCommand {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Put(put) => put.of.store(config, Some(&put.rule()?), put.bypass_governance),
            Self::Get { of, json } => of.show(config, *json),
            Self::Delete { of, bypass_governance } => of.store(config, None, *bypass_governance),
        }
    }
}

impl Put {
    fn rule(&self) -> anyhow::Result<Retention> {
        let plain = |dir: &PathBuf| {
            dir.components().all(|part| matches!(part, std::path::Component::Normal(_)))
                && dir.to_str().is_some()
        };
        if let Some(odd) = self.except.iter().find(|dir| dir.as_os_str().is_empty() || !plain(dir)) {
            let message =
                format!("`{}` is no directory of a bucket: give its path in the bucket", odd.display());
            return Err(Refusal::error(Exit::Usage, message));
        }
        Ok(Retention {
            mode: match self.mode {
                Mode::Governance => LockMode::Governance,
                Mode::Compliance => LockMode::Compliance,
            },
            days: self.days,
            append_only: self.append_only,
            except: self.except.clone(),
        })
    }
}

impl UnlockedBucket {
    fn store(&self, config: &Config, rule: Option<&Retention>, bypass: bool) -> anyhow::Result<()> {
        let name = BucketName::parse(&self.bucket)?;
        let store = StorePath::open(&self.store)?;
        if let Some(daemon) = store.daemon()? {
            let bucket = self.bucket.clone();
            let request = Request::PutRetention { bucket, rule: rule.cloned(), bypass };
            daemon.ask::<()>(request).map_err(|error| match error {
                ControlError::Refused { failure: Failure::NoRule, .. } => none(&name),
                error => refused(error, &name),
            })?;
        } else {
            let engine = store.engine(&self.unlock, config, Access::Write)?;
            let put = engine.put_retention(&Caller::this_process(), &name, rule, bypass);
            put.map_err(|error| match error {
                RetentionError::NoRule => none(&name),
                RetentionError::Engine(error) => explained(error, &name),
                refused => Refusal::error(Exit::Failure, refused.to_string()),
            })?;
        }
        output::line(format!("Retention of {name} {}", if rule.is_some() { "set" } else { "ended" }))
    }

    fn show(&self, config: &Config, json: bool) -> anyhow::Result<()> {
        let name = BucketName::parse(&self.bucket)?;
        let store = StorePath::open(&self.store)?;
        let rule: Option<Retention> = if let Some(daemon) = store.daemon()? {
            let request = Request::GetRetention { bucket: self.bucket.clone() };
            daemon.ask(request).map_err(|error| refused(error, &name))?
        } else {
            let engine = store.engine(&self.unlock, config, Access::Read)?;
            engine.retention(&Caller::this_process(), &name).map_err(|error| explained(error, &name))?
        };
        let rule = rule.ok_or_else(|| none(&name))?;
        let report = Report {
            mode: rule.mode.as_str().to_lowercase(),
            days: rule.days,
            append_only: rule.append_only,
            except: rule.except,
        };
        if json {
            return output::json(&report);
        }
        let except: Vec<_> = report.except.iter().map(|dir| dir.display().to_string()).collect();
        output::fields(&[
            ("Mode", report.mode),
            ("Days", report.days.to_string()),
            ("Append only", if report.append_only { "yes" } else { "no" }.to_owned()),
            ("Except", if except.is_empty() { "nothing".to_owned() } else { except.join(", ") }),
        ])
    }
}

fn none(bucket: &BucketName) -> anyhow::Error {
    Refusal::error(Exit::Failure, format!("the bucket `{bucket}` has no retention"))
}
