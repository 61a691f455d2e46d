//! `strongroom attr`: the encryption that a directory of a drive, or an empty file, asks for.
//!
//! The same as setting the extended attributes `user.s3.*` by hand.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rustix::{
    fs::{XattrFlags, getxattr, removexattr, setxattr},
    io::Errno,
};

use super::{
    exit::{Exit, Refusal},
    output,
    sse::ContextPair,
};
use crate::config::Switch;

/// Set, show and remove the encryption that is asked for in a directory of a mounted drive
///
/// New files ask for it, and new directories inherit it. On a file that is still empty it holds for the file.
#[derive(Debug, clap::Args)]
pub(super) struct Attr {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Ask for an encryption
    Set {
        /// A directory of the drive, or an empty file
        path: PathBuf,
        #[command(flatten)]
        asked: Asked,
    },
    /// Show what is asked for; of a file with content, what it has
    Get {
        /// A directory or file of the drive
        path: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask for nothing any more
    Delete {
        /// A directory of the drive
        path: PathBuf,
    },
}

/// An encryption to ask for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Asked {
    /// Encryption: AES256, aws:kms, aws:kms:dsse or bucket-default
    #[arg(long, value_name = "ENCRYPTION")]
    sse: String,
    /// KMS key: its id, an alias, or the ARN of either
    #[arg(long, visible_alias = "sse-kms-key", value_name = "KEY")]
    kms_key: Option<String>,
    /// Use bucket keys with `aws:kms`: on, or off to ask the key service for each object
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    bucket_key: Option<Switch>,
    /// A pair of the encryption context; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    context: Vec<ContextPair>,
}

const ENCRYPTION: &str = "user.s3.server-side-encryption";
const KMS_KEY: &str = "user.s3.server-side-encryption-aws-kms-key-id";
const BUCKET_KEY: &str = "user.s3.server-side-encryption-bucket-key-enabled";
const CONTEXT: &str = "user.s3.context";

/// Longest value, in bytes.
const MOST: usize = 4096;

impl Attr {
    /// Runs the command.
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        match &self.action {
            Action::Set { path, asked } => asked.set_on(path)?,
            Action::Get { path, json } => show(path, *json)?,
            Action::Delete { path } => delete(path)?,
        }
        Ok(Exit::Done)
    }
}

impl Asked {
    /// Makes `path` ask for this and nothing else.
    pub(super) fn set_on(&self, path: &Path) -> anyhow::Result<()> {
        let before = get(path, ENCRYPTION)?;
        if path.is_dir() && before.is_some() {
            removexattr(path, ENCRYPTION).map_err(|error| refused(path, error))?;
        }
        let context: BTreeMap<_, _> = self.context.iter().map(ContextPair::pair).collect();
        let context = (!context.is_empty()).then(|| serde_json::to_string(&context)).transpose()?;
        let bucket_key = self.bucket_key.map(|switch| (switch == Switch::On).to_string());
        for (name, value) in [
            (ENCRYPTION, Some(self.sse.clone())),
            (KMS_KEY, self.kms_key.clone()),
            (BUCKET_KEY, bucket_key),
            (CONTEXT, context),
        ] {
            if let Some(value) = value {
                let set = setxattr(path, name, value.as_bytes(), XattrFlags::empty());
                set.map_err(|error| refused(path, error))?;
            }
        }
        Ok(())
    }
}

fn show(path: &Path, json: bool) -> anyhow::Result<()> {
    let mut found = BTreeMap::new();
    for (word, name) in
        [("sse", ENCRYPTION), ("kms_key", KMS_KEY), ("bucket_key", BUCKET_KEY), ("context", CONTEXT)]
    {
        if let Some(value) = get(path, name)? {
            found.insert(word, value);
        }
    }
    if json {
        return output::json(&found);
    }
    if found.is_empty() {
        return output::line("Nothing is asked for here");
    }
    let rows: Vec<_> = found.into_iter().collect();
    output::fields(&rows)
}

fn delete(path: &Path) -> anyhow::Result<()> {
    match removexattr(path, ENCRYPTION) {
        Err(Errno::NODATA) => {
            Err(Refusal::error(Exit::Failure, format!("nothing is asked for in `{}`", path.display())))
        }
        done => done.map_err(|error| refused(path, error)),
    }
}

fn get(path: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let mut value = [0; MOST];
    match getxattr(path, name, &mut value) {
        Ok(len) => Ok(Some(String::from_utf8_lossy(value.get(..len).unwrap_or_default()).into_owned())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => {
            Err(io::Error::from(error)).with_context(|| format!("cannot read `{}`", path.display()))
        }
    }
}

fn refused(path: &Path, error: Errno) -> anyhow::Error {
    let shown = path.display();
    let message = match error {
        Errno::INVAL => format!(
            "`{shown}`: the encryption makes no sense; a KMS key, bucket keys and a context go with aws:kms"
        ),
        Errno::PERM => {
            format!("`{shown}` has content: its encryption was chosen when it was written; copy it")
        }
        Errno::ACCESS => {
            format!("`{shown}`: a policy or the permissions forbid it; the log of the drive says more")
        }
        Errno::OPNOTSUPP => format!("`{shown}` is no directory or file of a drive"),
        error => format!("cannot change `{shown}`: {error}"),
    };
    Refusal::error(Exit::Failure, message)
}
