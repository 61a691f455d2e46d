//! `strongroom inventory`: how each object is encrypted. Needs no key.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    csv,
    exit::Exit,
    identities::access,
    job::FilterArgs,
    store::{StorePath, key_scope},
};
use crate::{
    config::Config,
    engine::{Entry, Inventory},
    name::BucketName,
};

/// List how each object is encrypted, and whether its bucket's policy would take it so today
///
/// Needs no key and works while the store is mounted; what is read from headers is not authenticated. Exit code 1 if
/// some place could not be looked at.
#[derive(Debug, clap::Args)]
pub(super) struct ListInventory {
    /// The store
    store: PathBuf,
    /// Only this bucket
    bucket: Option<String>,
    /// csv or json (an array, one object a line)
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Write to FILE [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Csv,
    Json,
}

impl ListInventory {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Exit> {
        let bucket = self.bucket.as_deref().map(BucketName::parse).transpose()?;
        let store = StorePath::open(&self.store)?;
        let inventory = Inventory::open(store.path(), &access(config)?, key_scope(config)?)?;
        let mut list = List { out: self.out()?, format: self.format, rows: 0 };
        list.begin()?;
        let listed = inventory.list(bucket.as_ref(), &self.filter.filter(), &mut |entry| list.add(entry));
        let unseen = match (listed, &bucket) {
            (Err(error), Some(name)) => return Err(super::bucket::explained(error, name)),
            (listed, _) => listed?,
        };
        list.end()?;
        Ok(if unseen == 0 { Exit::Done } else { Exit::Failure })
    }

    fn out(&self) -> anyhow::Result<Box<dyn Write>> {
        Ok(match self.output.as_deref() {
            Some(path) => Box::new(BufWriter::new(create(path)?)),
            None => Box::new(BufWriter::new(io::stdout().lock())),
        })
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("cannot make `{}`", path.display()))
}

/// The list as it grows.
struct List {
    out: Box<dyn Write>,
    format: Format,
    rows: u64,
}

impl List {
    fn begin(&mut self) -> io::Result<()> {
        match self.format {
            Format::Json => self.out.write_all(b"["),
            Format::Csv => csv::row(&mut self.out, COLUMNS),
        }
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.rows += 1;
        if self.format == Format::Json {
            self.out.write_all(if self.rows == 1 { b"\n" } else { b",\n" })?;
            return Ok(serde_json::to_writer(&mut self.out, entry)?);
        }
        let text = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
        let context = entry.encryption_context.as_ref().map(serde_json::to_string).transpose()?;
        csv::row(
            &mut self.out,
            [
                &entry.bucket,
                &entry.key,
                &*entry.size.to_string(),
                &entry.last_modified,
                entry.encryption_status,
                entry.bucket_key_status.unwrap_or_default(),
                entry.kms_key.as_deref().unwrap_or_default(),
                &text(entry.key_version),
                entry.bucket_key_id.as_deref().unwrap_or_default(),
                &context.unwrap_or_default(),
                entry.wrapped_since.as_deref().unwrap_or_default(),
                &text(entry.rewraps),
                &entry.policy,
                entry.note.as_deref().unwrap_or_default(),
            ],
        )
    }

    fn end(&mut self) -> io::Result<()> {
        if self.format == Format::Json {
            self.out.write_all(b"\n]\n")?;
        }
        self.out.flush()
    }
}

const COLUMNS: [&str; 14] = [
    "Bucket",
    "Key",
    "Size",
    "LastModifiedDate",
    "EncryptionStatus",
    "BucketKeyStatus",
    "KmsKey",
    "KeyVersion",
    "BucketKeyId",
    "EncryptionContext",
    "WrappedSince",
    "Rewraps",
    "Policy",
    "Note",
];
