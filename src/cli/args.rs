//! The command line as a whole.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::{
    attr::Attr, audit::Audit, bucket::Bucket, completions::Completions, exit::Exit, init::Init,
    inspect::Inspect, inventory::ListInventory, key::Key, mount::Mount, mount_helper::MountHelper,
    passwd::Passwd, policy::Policy, put::Put, reencrypt::Reencrypt, replicate::Replicate, rewrap::Rewrap,
    status::Status, sync::Sync, umount::Umount, verify::Verify,
};
use crate::{
    config::{self, Config, LogLevel},
    crypto::harden_process,
};

/// Encrypted buckets as a drive: S3 server-side encryption, keys and policies for ordinary files
#[derive(Debug, Parser)]
#[command(name = "strongroom", version, max_term_width = 100, after_help = super::exit::help())]
pub(super) struct Cli {
    /// Configuration [default: `$XDG_CONFIG_HOME/strongroom/strongroom.toml`, else `/etc/strongroom/strongroom.toml`]
    #[arg(long, global = true, value_name = "FILE", help_heading = "General")]
    config: Option<PathBuf>,
    /// What goes to the log: off, error, warn, info or debug [default: as configured, else info]
    #[arg(long, global = true, value_name = "LEVEL", hide_possible_values = true, help_heading = "General")]
    log_level: Option<LogLevel>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(Init),
    Bucket(Bucket),
    Attr(Attr),
    Put(Put),
    Key(Key),
    Mount(Mount),
    Umount(Umount),
    Inspect(Inspect),
    Verify(Verify),
    Audit(Audit),
    Inventory(ListInventory),
    Rewrap(Rewrap),
    Reencrypt(Reencrypt),
    Replicate(Replicate),
    Passwd(Passwd),
    Policy(Policy),
    Status(Status),
    Sync(Sync),
    Completions(Completions),
    #[command(hide = true)]
    MountHelper(MountHelper),
}

impl Cli {
    /// Loads the configuration, applies the flags over it and runs the command.
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let mut config = config::load(self.config.as_deref())?;
        config.log.level = self.log_level.unwrap_or(config.log.level);
        super::log::start(config.log.level);
        super::unlock::configure(&config.unlock);
        if let Err(error) = harden_process() {
            log::warn!("other processes of this user may read the memory of this one: {error}");
        }
        self.command.run(&config)
    }
}

impl Command {
    fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        match self {
            Self::Init(command) => command.run(),
            Self::Bucket(command) => command.run(config),
            Self::Attr(command) => command.run(),
            Self::Put(command) => command.run(),
            Self::Key(command) => command.run(config),
            Self::Mount(command) => command.run(config),
            Self::Umount(command) => command.run(),
            Self::Inspect(command) => command.run(),
            Self::Verify(command) => command.run(config),
            Self::Audit(command) => command.run(config),
            Self::Inventory(command) => command.run(config),
            Self::Rewrap(command) => command.run(config),
            Self::Reencrypt(command) => command.run(config),
            Self::Replicate(command) => command.run(config),
            Self::Passwd(command) => command.run(config),
            Self::Policy(command) => command.run(config),
            Self::Status(command) => command.run(),
            Self::Sync(command) => command.run(),
            Self::Completions(command) => command.run(),
            Self::MountHelper(command) => command.run(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_flag_takes_a_passphrase() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                assert_ne!(arg.get_id(), "passphrase", "in `{}`", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
