//! The command line: parses, wires the rooms together, prints. The only room that knows every other.
//!
//! One file per noun. Results go to stdout, everything else to stderr; every exit code stands in [`exit`].
//! A passphrase is never taken from an argument or an environment variable.

mod args;
mod completions;
pub mod exit;
mod init;
mod inspect;
mod log;
mod mount_words;
mod mounts;
mod output;
mod passwd;
mod status;
mod store;
mod umount;
mod unlock;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::Parser;

use args::Cli;
use exit::Exit;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let helper = false;
    let cli = Cli::parse_from(arguments);
    let exit = cli.run().unwrap_or_else(|error| report(&error));
    let exit = if helper && exit != Exit::Done { Exit::Mount } else { exit };
    exit.into()
}

fn report(error: &anyhow::Error) -> Exit {
    eprintln!("strongroom: {}", output::one_line(error));
    Exit::of(error)
}

/// The last component of the name a program was called by.
fn called_as(arguments: &[OsString]) -> Option<&str> {
    Path::new(arguments.first()?).file_name()?.to_str()
}
