//! `strongroom key list`, `describe` and `usage`: what there is to know about keys.

use serde::Serialize;

use super::{
    audit_log,
    key::{Keys, StoreArgs},
    key_history::History,
    key_usage::Count,
    output,
};
use crate::{
    config::Config,
    keys::{AliasName, KeyId, KeyInfo, KeyState, Origin},
};

/// List the keys of a store
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show everything about a key, but not the key
#[derive(Debug, clap::Args)]
pub(super) struct Describe {
    #[command(flatten)]
    store: StoreArgs,
    /// The key
    key: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Count the objects that need a key, and tell when and by whom it was used
///
/// Reads the header of every object in the store, without opening any. Files that could not be read, such as damaged
/// ones or ones that are being written, are counted apart. `newest` is when the last of what needs the key was made. First and last
/// use, who used it and who tried in vain come from the audit log, where there is one; `audit verify` tells whether
/// that is authentic.
#[derive(Debug, clap::Args)]
pub(super) struct Usage {
    #[command(flatten)]
    store: StoreArgs,
    /// The key
    key: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A key as `--json` prints it; times in seconds since 1970.
#[derive(Debug, Serialize)]
struct Report {
    key: KeyId,
    arn: String,
    aliases: Vec<AliasName>,
    state: KeyState,
    description: String,
    managed: bool,
    created: u64,
    deletion: Option<u64>,
    origin: &'static str,
    expires: Option<u64>,
    provider: Option<String>,
    provider_key: Option<String>,
    rotation_days: Option<u32>,
    next_rotation: Option<u64>,
    has_policy: bool,
    grants: usize,
    versions: Vec<VersionReport>,
}

#[derive(Debug, Serialize)]
struct VersionReport {
    version: u32,
    state: KeyState,
    created: u64,
}

/// What `usage --json` prints; times in seconds since 1970.
#[derive(Debug, Serialize)]
struct UsageReport {
    key: KeyId,
    arn: String,
    #[serde(flatten)]
    count: Count,
    log: Option<History>,
}

impl List {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let reports: Vec<_> = keys.keyring().keys().into_iter().map(|key| Report::new(&keys, key)).collect();
        if self.json {
            return output::json(&reports);
        }
        let rows: Vec<_> = reports.iter().map(Report::row).collect();
        output::table(["KEY", "STATE", "ORIGIN", "VERSIONS", "ALIASES"], &rows)
    }
}

impl Describe {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let id = keys.find(&self.key)?;
        if self.json { print_json(&keys, &id) } else { Report::of(&keys, &id)?.print() }
    }
}

impl Usage {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let keys = self.store.keys(config)?;
        let key = keys.find(&self.key)?;
        let count = Count::of(keys.store().path(), keys.service(), &key)?;
        let arn = keys.service().arn(&key);
        let log = History::of(&audit_log::dir(keys.store().path(), &config.audit), &arn)?;
        let report = UsageReport { key, arn, count, log };
        if self.json { output::json(&report) } else { report.print() }
    }
}

/// Prints one key as JSON.
pub(super) fn print_json(keys: &Keys, id: &KeyId) -> anyhow::Result<()> {
    output::json(&Report::of(keys, id)?)
}

impl Report {
    fn of(keys: &Keys, id: &KeyId) -> anyhow::Result<Self> {
        Ok(Self::new(keys, keys.keyring().key(id)?))
    }

    fn new(keys: &Keys, key: KeyInfo) -> Self {
        let (origin, expires, provider, provider_key) = match key.origin {
            Origin::Local => ("local", None, None, None),
            Origin::Imported { expires } => ("imported", expires, None, None),
            Origin::Remote { provider, key } => ("remote", None, Some(provider), Some(key)),
        };
        let versions = key.versions.iter();
        Self {
            arn: keys.service().arn(&key.id),
            key: key.id,
            aliases: key.aliases,
            state: key.state,
            description: key.description,
            managed: key.managed,
            created: key.created,
            deletion: key.deletion,
            origin,
            expires,
            provider,
            provider_key,
            rotation_days: key.rotation.map(|rotation| rotation.period_days),
            next_rotation: key.rotation.map(|rotation| rotation.next),
            has_policy: key.policy.is_some(),
            grants: key.grants.len(),
            versions: versions
                .map(|v| VersionReport { version: v.version, state: v.state, created: v.created })
                .collect(),
        }
    }

    fn row(&self) -> [String; 5] {
        let aliases = self.aliases_line();
        let versions = self.versions.len().to_string();
        [self.key.to_string(), self.state.label().to_owned(), self.origin.to_owned(), versions, aliases]
    }

    fn aliases_line(&self) -> String {
        self.aliases.iter().map(AliasName::as_str).collect::<Vec<_>>().join(" ")
    }

    fn print(&self) -> anyhow::Result<()> {
        let mut rows = vec![
            ("key", self.key.to_string()),
            ("arn", self.arn.clone()),
            ("aliases", self.aliases_line()),
            ("state", self.state.label().to_owned()),
            ("description", self.description.clone()),
            ("created", output::time(self.created)),
            ("origin", self.origin_line()),
            ("rotation", self.rotation_line()),
            ("used by", self.users_line()),
        ];
        rows.retain(|(_, value)| !value.is_empty());
        rows.extend(self.deletion.map(|end| ("destroyed at", output::time(end))));
        rows.extend(self.versions.iter().map(|version| ("version", version.line())));
        output::fields(&rows)
    }

    fn origin_line(&self) -> String {
        match (self.expires, &self.provider, &self.provider_key) {
            (Some(end), ..) => format!("{}, until {}", self.origin, output::time(end)),
            (None, Some(provider), Some(key)) => format!("{}, `{key}` of provider `{provider}`", self.origin),
            _ => self.origin.to_owned(),
        }
    }

    fn users_line(&self) -> String {
        let grants = match self.grants {
            0 => String::new(),
            1 => ", and 1 grant".to_owned(),
            grants => format!(", and {grants} grants"),
        };
        if self.has_policy { format!("whom its policy allows{grants}") } else { format!("everyone{grants}") }
    }

    fn rotation_line(&self) -> String {
        match (self.rotation_days, self.next_rotation) {
            (Some(days), Some(next)) => format!("every {days} days, next at {}", output::time(next)),
            _ => "on demand".to_owned(),
        }
    }
}

impl VersionReport {
    fn line(&self) -> String {
        format!("{}, {}, made at {}", self.version, self.state.label(), output::time(self.created))
    }
}

impl UsageReport {
    fn print(&self) -> anyhow::Result<()> {
        let never = || "never".to_owned();
        let mut rows = vec![
            ("key", self.key.to_string()),
            ("objects", self.count.objects.to_string()),
            ("bucket keys", self.count.bucket_keys.to_string()),
            ("newest", self.count.newest.map_or_else(never, output::time)),
            ("could not be read", self.count.unreadable.to_string()),
        ];
        rows.extend(self.log.iter().flat_map(History::rows));
        output::fields(&rows)
    }
}
