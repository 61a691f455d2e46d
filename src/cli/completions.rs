//! `strongroom completions`.

use std::io::{self, Write};

use clap::CommandFactory;

use super::{args::Cli, exit::Exit};

/// Print shell completions
///
/// For bash: `strongroom completions bash > /etc/bash_completion.d/strongroom`
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    /// Runs the command.
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "strongroom", &mut script);
        match io::stdout().lock().write_all(&script) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(Exit::Done),
        }
    }
}
