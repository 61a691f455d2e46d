//! `strongroom policy`: tools that explain policies. None of them needs a key or changes anything.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    bucket_policy::policy_file, exit::Exit, policy_explain::Explain, policy_lint::LintPolicy,
    policy_simulate::Simulate,
};
use crate::{
    config::Config,
    name::BucketName,
    policy::{MAX_KEY_POLICY_BYTES, PolicyDocument},
};

/// Explain, check and try out policies; no key is needed
#[derive(Debug, clap::Args)]
pub(super) struct Policy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Explain(Explain),
    Lint(LintPolicy),
    Simulate(Simulate),
}

impl Policy {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        match &self.action {
            Action::Explain(explain) => explain.run(config),
            Action::Lint(lint) => lint.run(config),
            Action::Simulate(simulate) => simulate.run(config),
        }?;
        Ok(Exit::Done)
    }
}

/// The policy of `bucket` in `file`, else the one stored for it in `store`.
pub(super) fn bucket_policy(
    store: &Path,
    bucket: &BucketName,
    file: Option<&PathBuf>,
) -> anyhow::Result<Option<PolicyDocument>> {
    let (text, place) = if let Some(file) = file {
        (Some(read_policy(file)?), shown(file))
    } else {
        let stored = policy_file(store, bucket)?.get();
        (stored.map_err(|error| super::bucket::explained(error, bucket))?, format!("policy of `{bucket}`"))
    };
    text.map(|text| PolicyDocument::parse(&text, bucket)).transpose().context(place)
}

/// What messages call a policy that is read from `file`.
pub(super) fn shown(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { format!("`{}`", file.display()) }
}

/// Reads at most one byte more than any policy may have, which is enough to be refused for its length.
pub(super) fn read_policy(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let bound = MAX_KEY_POLICY_BYTES as u64 + 1;
    let done = if file == Path::new("-") {
        io::stdin().lock().take(bound).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|opened| opened.take(bound).read_to_string(&mut text))
    };
    done.with_context(|| format!("cannot read the policy {}", shown(file)))?;
    Ok(text)
}
