//! The command line: parses, wires the rooms together, prints. The only room that knows every other.
//!
//! One file per noun. Results go to stdout, everything else to stderr; every exit code stands in [`exit`].
//! A passphrase is never taken from an argument or an environment variable.

mod args;
mod attr;
mod audit;
mod audit_log;
mod bucket;
mod bucket_encryption;
mod bucket_policy;
mod bucket_retention;
mod completions;
mod csv;
pub mod exit;
mod identities;
mod init;
mod inspect;
mod inventory;
mod job;
mod key;
mod key_customer;
mod key_grant;
mod key_history;
mod key_life;
mod key_make;
mod key_policies;
mod key_policy;
mod key_report;
mod key_usage;
mod log;
mod mount;
mod mount_helper;
mod mount_words;
mod mounts;
mod output;
mod passwd;
mod policy;
mod policy_explain;
mod policy_explanation;
mod policy_lint;
mod policy_simulate;
mod policy_simulation;
mod put;
mod reencrypt;
mod replicate;
mod rewrap;
mod sse;
mod status;
mod store;
mod sync;
mod tpm2;
mod umount;
mod unlock;
mod verify;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::Parser;

use args::Cli;
use exit::Exit;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments = mount_helper::normalised(std::env::args_os().collect());
    let helper = mount_helper::is_helper(&arguments);
    let exit = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.run().unwrap_or_else(|error| report(&error)),
        Err(error) => usage(&error),
    };
    if helper && exit != Exit::Done { Exit::Mount.into() } else { exit.into() }
}

/// Shows what the parser has to say: help, version, or what is wrong.
fn usage(error: &clap::Error) -> Exit {
    // Where it cannot be shown there is nobody to tell.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

fn report(error: &anyhow::Error) -> Exit {
    eprintln!("strongroom: {}", output::one_line(error));
    Exit::of(error)
}

/// The last component of the name a program was called by.
fn called_as(arguments: &[OsString]) -> Option<&str> {
    Path::new(arguments.first()?).file_name()?.to_str()
}
