//! `strongroom inspect`: what the header of a stored object says. Needs no key, so nothing in it is proven.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Serialize;

use super::{
    exit::{Exit, Refusal},
    output,
};
use crate::{
    config::ByteSize,
    envelope::{Provider, RecordType, WrapAlg, WrappedKey},
    object::{FormatError, HEADER_READ, Header, SseMode},
};

/// Show the header of a stored object, without keys
///
/// FILE is a file in the store, not in the mounted drive. Nothing shown is authenticated: `strongroom verify` does that.
/// An object that is being written can seem to have a wrong length.
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// A stored object, such as ~/vault/photos/a.jpg
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints. Sizes are bytes, ids and keys lower-case hex, times RFC 3339.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "these are independent facts of a header")]
struct Report {
    file: String,
    format_version: u8,
    cipher: &'static str,
    encryption: &'static str,
    layers: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key: Option<String>,
    bucket_key: bool,
    context: serde_json::Map<String, serde_json::Value>,
    object_id: String,
    bucket_id: String,
    size: u64,
    stored_length: u64,
    expected_length: Option<u64>,
    block_size: u64,
    dual_layer_geometry: bool,
    sealed: bool,
    never_synced: bool,
    commits: u64,
    created: Option<String>,
    key_commitment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    outer_key_commitment: Option<String>,
    rewraps: u32,
    hole_segments: Vec<[u64; 2]>,
    keys: Vec<KeyReport>,
}

#[derive(Debug, Serialize)]
struct KeyReport {
    wraps: &'static str,
    provider: &'static str,
    algorithm: &'static str,
    key: String,
    version: u32,
    context: serde_json::Map<String, serde_json::Value>,
}

impl Inspect {
    /// Runs the command.
    pub(super) fn run(&self) -> anyhow::Result<Exit> {
        let (start, stored) = read_start(&self.file)?;
        let header = Header::decode(&start).map_err(|error| self.refusal(&error))?;
        let report = Report::new(&self.file, &header, stored);
        if self.json {
            output::json(&report)?;
        } else {
            report.print()?;
        }
        if report.expected_length == Some(stored) {
            return Ok(Exit::Done);
        }
        Err(self.refusal(&FormatError::Length { stored, size: report.size }))
    }

    fn refusal(&self, error: &FormatError) -> anyhow::Error {
        let exit = if *error == FormatError::NotAnObject { Exit::Failure } else { Exit::Damage };
        Refusal::error(exit, format!("`{}`: {error}", self.file.display()))
    }
}

impl Report {
    fn new(file: &Path, header: &Header, stored: u64) -> Self {
        let (identity, state) = (&header.identity, &header.state);
        let geometry = &identity.geometry;
        Self {
            file: file.display().to_string(),
            format_version: 1,
            cipher: "AES-256-GCM",
            encryption: identity.mode.name(),
            layers: if identity.is_dual() { 2 } else { 1 },
            kms_key: kms_key(header),
            bucket_key: identity.bucket_key && identity.mode == SseMode::Kms,
            context: header.keys.find(RecordType::DataKey1).map(context).unwrap_or_default(),
            object_id: identity.object.to_string(),
            bucket_id: identity.bucket.to_string(),
            size: state.size,
            stored_length: stored,
            expected_length: (state.size <= geometry.max_size()).then(|| geometry.stored_len(state.size)),
            block_size: geometry.block_size(),
            dual_layer_geometry: geometry.wide(),
            sealed: identity.sealed,
            never_synced: state.birth,
            commits: state.generation,
            created: created(identity.created),
            key_commitment: hex::encode(identity.commitment),
            outer_key_commitment: identity.is_dual().then(|| hex::encode(identity.outer_commitment)),
            rewraps: header.keys.rewraps,
            hole_segments: state.null_extents.runs().iter().map(|run| [run.start, run.end]).collect(),
            keys: header.keys.records.iter().map(KeyReport::new).collect(),
        }
    }

    fn cipher(&self) -> String {
        if self.layers == 2 { format!("two layers of {}", self.cipher) } else { self.cipher.to_owned() }
    }

    fn print(&self) -> anyhow::Result<()> {
        let layers = if self.dual_layer_geometry { ", room for two layers" } else { "" };
        let mut rows = vec![
            ("object", self.object_id.clone()),
            ("bucket", self.bucket_id.clone()),
            (
                "encryption",
                format!("{} ({}, format version {})", self.encryption, self.cipher(), self.format_version),
            ),
        ];
        if let Some(key) = &self.kms_key {
            let through = if self.bucket_key { " (through a bucket key)" } else { "" };
            rows.push(("KMS key", format!("{key}{through}")));
        }
        let pairs = self.context.iter().map(|(key, value)| {
            let value = value.as_str().unwrap_or_default();
            ("context", format!("{}={}", key.escape_debug(), value.escape_debug()))
        });
        rows.extend(pairs);
        rows.extend([
            ("size", format!("{} bytes ({} bytes stored)", self.size, self.stored_length)),
            ("block size", format!("{}{layers}", ByteSize::new(self.block_size))),
            ("created", self.created.clone().unwrap_or_else(|| "unknown".to_owned())),
            ("commits", self.commits.to_string()),
            ("key commitment", self.key_commitment.clone()),
        ]);
        rows.extend(self.outer_key_commitment.iter().map(|it| ("outer key commitment", it.clone())));
        rows.extend(self.keys.iter().map(|key| ("key", key.to_string())));
        output::fields(&rows)
    }
}

impl KeyReport {
    fn new(record: &WrappedKey) -> Self {
        Self {
            wraps: wraps(record.kind),
            provider: provider(record.provider),
            algorithm: algorithm(record.alg),
            key: key_name(record),
            version: record.key_version,
            context: context(record),
        }
    }
}

impl std::fmt::Display for KeyReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wraps, provider, algorithm, key, version, .. } = self;
        write!(f, "{wraps}, wrapped by {provider} `{key}` version {version} ({algorithm})")
    }
}

/// The user's pairs of a wrapped key.
fn context(record: &WrappedKey) -> serde_json::Map<String, serde_json::Value> {
    record.context.pairs().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// The KMS key that the object depends on, by the name in the record: an id or an ARN.
fn kms_key(header: &Header) -> Option<String> {
    let kms = header.identity.mode.is_kms();
    let wrapped = header.keys.find(RecordType::DataKey1).filter(|_| kms)?;
    let by_bucket_key = wrapped.provider == Provider::BucketKey;
    let master = if by_bucket_key { header.keys.find(RecordType::EmbeddedBucketKey)? } else { wrapped };
    Some(key_name(master))
}

/// The header bytes and the length of the file.
fn read_start(path: &Path) -> anyhow::Result<(Vec<u8>, u64)> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    let meta = file.metadata().with_context(|| format!("cannot look at `{shown}`"))?;
    if !meta.is_file() {
        return Err(Refusal::error(
            Exit::Failure,
            format!("`{shown}` is not a file: name one stored object"),
        ));
    }
    let mut start = Vec::new();
    file.take(HEADER_READ as u64)
        .read_to_end(&mut start)
        .with_context(|| format!("cannot read `{shown}`"))?;
    Ok((start, meta.len()))
}

fn created(nanoseconds: u64) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(nanoseconds.into()).ok()?;
    Some(format!("{time:.0}"))
}

/// Names of keys are text; ids of bucket keys are bytes.
fn key_name(record: &WrappedKey) -> String {
    let text = std::str::from_utf8(&record.key_id).ok();
    let named = text.filter(|_| record.provider != Provider::BucketKey);
    named.map_or_else(|| hex::encode(&record.key_id), |name| name.escape_debug().to_string())
}

fn wraps(kind: RecordType) -> &'static str {
    match kind {
        RecordType::DataKey1 => "data key",
        RecordType::DataKey2 => "data key of the second layer",
        RecordType::Recovery => "recovery copy of the data key",
        RecordType::CustomerVerifier => "verifier of the customer key",
        RecordType::EmbeddedBucketKey => "bucket key",
    }
}

fn provider(provider: Provider) -> &'static str {
    match provider {
        Provider::Keyring => "keyring key",
        Provider::AwsKms => "AWS KMS key",
        Provider::Transit => "transit key",
        Provider::Pkcs11 => "PKCS#11 key",
        Provider::Tpm2 => "TPM 2.0 key",
        Provider::BucketKey => "bucket key",
        Provider::Customer => "customer key",
    }
}

fn algorithm(alg: WrapAlg) -> &'static str {
    match alg {
        WrapAlg::AesGcm => "AES-256-GCM",
        WrapAlg::HkdfAesGcm => "HKDF-SHA-256 and AES-256-GCM",
        WrapAlg::AesKwp => "AES-256-KWP",
        WrapAlg::ProviderBlob => "provider's own",
        WrapAlg::RsaOaep => "RSA-OAEP-SHA-256",
    }
}
