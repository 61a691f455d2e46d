//! The one place where policy, keys, object cipher and store meet: request in, stored bytes out.
//!
//! A face (the kernel adapter, later others) hands in names, items and byte buffers; the engine checks names, asks the
//! policy, finds keys, seals and opens. It knows nothing of any face's types.
//! It must never store what a policy denied, never serve what failed authentication, never hold a lock across a
//! call to a key provider.
//!
//! Lock order: gate of replacements, bucket table, object table shard, object. Policy and key caches are leaves.

mod acquire;
mod admission;
mod attributes;
mod audit;
mod bucket;
mod bucket_encryption;
mod bucket_policy;
mod buckets;
mod changes;
mod clock;
mod closed;
mod committer;
mod crash_mark;
mod ctime;
mod default_encryption;
mod defects;
mod encryption;
mod error;
mod file;
mod hidden;
mod item;
mod jobs;
mod key_rules;
mod key_use;
mod listing;
mod live;
mod lost_found;
mod moving;
mod namespace;
mod open;
mod plain;
mod policies;
mod principals;
mod process;
mod programs;
mod repair;
mod replacing;
mod request;
mod retained;
mod retention;
mod salvage;
mod scratch;
mod sealing;
mod settings;
mod startup;
mod table;
mod tags;
mod uploads;
mod verify;
mod wrapping_keys;
mod wraps;
mod wreck;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

pub use audit::{kms_code, upkeep_event};
pub use bucket::Bucket;
pub use bucket_encryption::{EncryptionChange, EncryptionFile, ShownEncryption};
pub use default_encryption::{BucketEncryption, ConfigurationError, DefaultEncryption};
pub use defects::Defects;
pub use encryption::{
    Encryption, EncryptionHeaders, EncryptionType, NamedEncryption, RequestError, UnknownEncryption,
};
pub use error::{EngineError, PeerCause, PeerError, Result};
pub use file::OpenFile;
pub use item::{Attr, Item, ListEntry};
pub use jobs::{
    Answer, Beginning, Done, Each, Entry, Filter, Inventory, Line, Outcome, Receiver, Reencrypt, Replica,
    Replicas, Replicate, Rewrap, Selection, Settled, Stored, Totals, Watch,
};
pub use key_rules::key_policy;
pub use key_use::via_service;
pub use listing::OpenDir;
pub use policies::{PolicyFile, PutPolicyError};
pub use principals::{Access, Profiled, Who, read_identity_policy};
pub use repair::{Recovered, Repairs, SetAside};
pub use replacing::{Face, Kept};
pub use request::{Allocate, Caller, OpenFlags, SetAttr};
pub use retained::RetentionError;
pub use retention::Retention;
pub use salvage::{Salvage, Salvaged};
pub use settings::{JournalMode, NewBucket, Settings, SettingsError};
pub use startup::{StartError, create_store};
pub use verify::{Finding, Findings, Progress, Report};

use self::{
    admission::Admission, attributes::Explicit, audit::Recorder, buckets::Buckets, committer::Committer,
    jobs::Jobs, live::Budget, replacing::Replacing, table::ObjectTable, uploads::Uploads,
};
use crate::{
    audit::AuditLog,
    keys::{CustomerKeys, KeyService},
    store::{NodeRef, StoreLock, journal},
};

/// How much memory the data path may use, and when it saves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Unsaved bytes of one object before it is saved.
    pub dirty_per_object: u64,
    /// Unsaved bytes of all objects together.
    pub dirty_total: u64,
    /// Bytes of tag pages kept for all open objects together; each may keep eight pages in any case.
    pub tag_cache: u64,
    /// Objects up to this size have all their tag pages checked when opened; after a crash those that were never synced
    /// have all their blocks checked.
    pub strict_open: u64,
    /// Unsaved changes are saved after at most this long.
    pub commit_interval: std::time::Duration,
    /// Fresh data of a commit, from this many bytes on, is stored in place and flushed instead of being logged.
    pub bulk: u64,
    /// Size of each bucket's journal.
    pub journal: journal::Settings,
    /// None outside tests.
    #[doc(hidden)]
    pub defects: Defects,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dirty_per_object: 4 << 20,
            dirty_total: 256 << 20,
            tag_cache: 64 << 20,
            strict_open: 64 << 20,
            commit_interval: std::time::Duration::from_secs(5),
            bulk: 1 << 20,
            journal: journal::Settings::default(),
            defects: Defects::default(),
        }
    }
}

/// How an engine serves its store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Refuse every change.
    pub read_only: bool,
    /// The encryption that requests name.
    pub encryption: Encryption,
    /// The customer keys that are known; keys may come and go while the store is in use.
    pub customer_keys: Arc<CustomerKeys>,
    /// What buckets made with `mkdir` start with.
    pub new_bucket: NewBucket,
    /// What decides about access besides the policies of buckets.
    pub access: Access,
    /// Memory and saving.
    pub limits: Limits,
    /// Where requests are recorded, if they are.
    pub audit: Option<Arc<AuditLog>>,
}

/// A store in use.
pub struct Engine {
    shared: Arc<Shared>,
    /// Ends its thread when dropped.
    committer: Committer,
}

/// What the engine's own thread shares with it.
struct Shared {
    root: NodeRef,
    options: Options,
    buckets: Buckets,
    objects: Arc<ObjectTable>,
    budget: Arc<Budget>,
    admission: Admission,
    recorder: Option<Recorder>,
    /// Held while the rule or the settings of a bucket are replaced; a leaf but for the policies that are asked.
    administration: Mutex<()>,
    jobs: Jobs,
    replacing: Replacing,
    uploads: Uploads,
    explicit: Explicit,
    /// Held for as long as the store is in use; a store that is no directory has none.
    lock: Option<StoreLock>,
}

impl Engine {
    /// The root of the mount: its directories are the buckets.
    pub fn root(&self) -> Item {
        Item::root(self.shared.root.clone())
    }

    /// Whether every change is refused.
    pub fn read_only(&self) -> bool {
        self.shared.options.read_only
    }

    /// The keys of the store.
    pub fn keys(&self) -> &Arc<KeyService> {
        self.shared.buckets.keys()
    }

    /// The customer keys that are known; they may come and go.
    pub fn customer_keys(&self) -> &CustomerKeys {
        &self.shared.options.customer_keys
    }

    fn require_writable(&self) -> Result<()> {
        if self.read_only() { Err(EngineError::ReadOnly("the mount".to_owned())) } else { Ok(()) }
    }

    /// Saves every open object and waits for the disk.
    pub fn sync_all(&self) -> Result<()> {
        let mut outcome = Ok(());
        for object in self.shared.objects.all() {
            if let Err(error) = object.commit(live::Sync::All) {
                log::error!("could not save an object: {error}");
                outcome = Err(error);
            }
        }
        self.shared.root.sync_dir()?;
        outcome
    }

    /// Makes everything in the store durable, also names and what was closed without a sync: what `syncfs(2)` would do,
    /// which Linux does not pass on to a FUSE daemon.
    pub fn sync_store(&self) -> Result<()> {
        self.sync_all()?;
        Ok(self.shared.root.sync_store()?)
    }

    /// Closes the buckets: everything is stored in place.
    fn close_buckets(&self) {
        let objects = self.shared.objects.all();
        for bucket in self.shared.buckets.loaded() {
            let unsaved =
                |object: &&Arc<live::LiveObject>| object.bucket().id() == bucket.id() && !object.is_settled();
            if objects.iter().any(|object| unsaved(&object)) {
                log::error!("bucket `{}` has unsaved objects: the next mount recovers it", bucket.name());
            } else if let Err(error) = bucket.close() {
                log::error!("bucket `{}` will be recovered by the next mount: {error}", bucket.name());
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.committer.stop();
        if let Err(error) = self.sync_all() {
            log::error!("at the end: {error}");
        }
        if !self.read_only() {
            self.close_buckets();
        }
    }
}
