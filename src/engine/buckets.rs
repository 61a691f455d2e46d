//! The buckets of a store: found, made, deleted.
//!
//! A bucket is built under the store's reserved directory and renamed into place, and moved back there to be
//! deleted, so that a crash leaves a whole bucket or none.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use super::{
    Bucket, EngineError, NewBucket, Options, Result,
    changes::Changes,
    crash_mark::{self, Crashes},
    default_encryption::BucketEncryption,
    retention::BucketRetention,
    settings::{MAX_SETTINGS, Settings},
    wraps::KeySources,
};
use crate::{
    envelope::{EncryptionContext, Id},
    keys::{BucketRoot, KeyService, SERVICE_KEY, SystemClock},
    name::{BucketName, FileName},
    object::Geometry,
    store::{
        Birth, Kind, NodeKey, NodeRef, RenameMode,
        journal::{self, Journal, Recovery},
        layout::{BUCKET_DIR, BUCKET_FILE, KEK_DIR, STORE_DIR, TMP_DIR, WAL_DIR, fixed},
        small,
    },
};

/// The buckets of one store.
pub(super) struct Buckets {
    root: NodeRef,
    sources: KeySources,
    changes: Arc<Changes>,
    defaults: NewBucket,
    read_only: bool,
    journal: journal::Settings,
    loaded: RwLock<HashMap<BucketName, (NodeKey, Arc<Bucket>)>>,
    /// What journals had to be replayed since the store was opened.
    recoveries: Mutex<BTreeMap<BucketName, Recovery>>,
}

impl Buckets {
    pub(super) fn new(root: NodeRef, service: Arc<KeyService>, options: &Options) -> Self {
        let changes = Arc::new(Changes::new());
        match root.lookup(&fixed(STORE_DIR)) {
            Ok((keyring, _)) => changes.watch(&keyring),
            Err(error) => log::debug!("changes of keys are looked for: {error}"),
        }
        let (customers, clock) = (options.customer_keys.clone(), Arc::new(SystemClock::new()));
        Self {
            root,
            sources: KeySources { service, customers, clock },
            changes,
            defaults: options.new_bucket.clone(),
            read_only: options.read_only,
            journal: options.limits.journal,
            loaded: RwLock::default(),
            recoveries: Mutex::default(),
        }
    }

    /// The keys of the store.
    pub(super) fn keys(&self) -> &Arc<KeyService> {
        &self.sources.service
    }

    /// What `mkdir` makes.
    pub(super) fn defaults(&self) -> NewBucket {
        self.defaults.clone()
    }

    /// The bucket called `name` and its directory; `ENOENT` where there is none.
    pub(super) fn find(&self, name: &BucketName) -> Result<(NodeRef, Arc<Bucket>)> {
        let (dir, stat) = self.root.lookup(&file_name(name))?;
        if stat.kind != Kind::Directory {
            return Err(not_found());
        }
        let known = self.loaded.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some((key, bucket)) = known
            && key == stat.key
        {
            return Ok((dir, bucket));
        }
        let bucket = Arc::new(self.load(name, &dir)?);
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let entry = loaded.entry(name.clone()).or_insert_with(|| (stat.key, bucket.clone()));
        if entry.0 != stat.key {
            *entry = (stat.key, bucket);
        }
        Ok((dir, entry.1.clone()))
    }

    fn load(&self, name: &BucketName, dir: &NodeRef) -> Result<Bucket> {
        let (private, _) = dir.lookup(&fixed(BUCKET_DIR))?;
        let damaged = |reason: String| EngineError::Bucket { bucket: name.to_string(), reason };
        let bytes = small::read(&private, &fixed(BUCKET_FILE), MAX_SETTINGS).map_err(|error| {
            damaged(format!("its settings `{BUCKET_DIR}/{BUCKET_FILE}` cannot be read: {error}"))
        })?;
        let service = &*self.sources.service;
        let (settings, root, _) =
            Settings::decode(&bytes, |wrapped, id| BucketRoot::open(wrapped, id, service))
                .map_err(|error| damaged(error.to_string()))?;
        let journal = self.open_journal(name, dir, &private, &settings)?;
        let crashes = if self.read_only { Crashes::default() } else { crash_mark::open(&private, &root)? };
        let retention = BucketRetention::open(
            settings.id,
            private.clone(),
            root.retention_mac_key(),
            self.changes.clone(),
        );
        let shared = (self.sources.clone(), self.changes.clone());
        let bucket = Bucket::open(name.clone(), settings, private, (journal, crashes), shared)?;
        Ok(bucket.with_retention(retention))
    }

    /// Opens the journal of a bucket, which recovers the bucket from it; what that did is logged. Without the right to
    /// write, a journal with anything in it is refused.
    fn open_journal(
        &self,
        name: &BucketName,
        dir: &NodeRef,
        private: &NodeRef,
        settings: &Settings,
    ) -> Result<Option<Journal>> {
        let (wal, _) = private.lookup(&fixed(WAL_DIR))?;
        if self.read_only {
            if Journal::has_nothing(&wal, settings.id.as_bytes())? {
                return Ok(None);
            }
            return Err(EngineError::Bucket {
                bucket: name.to_string(),
                reason:
                    "it was not closed cleanly and must be recovered: mount the store for writing once, or \
                             run `strongroom verify --repair`"
                        .to_owned(),
            });
        }
        // A journal that was switched off may still hold what was committed before.
        let (journal, report) = Journal::open(wal, dir, *settings.id.as_bytes(), self.journal)?;
        if !report.is_idle() {
            log::warn!("bucket `{name}`: {report}");
            self.recoveries.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), report);
        }
        Ok(Some(journal))
    }

    /// Loads every bucket, so that all are recovered before anything is served. One that cannot be loaded is logged and
    /// stays out of reach.
    pub(super) fn load_all(&self) -> Result<()> {
        for name in self.names()? {
            if let Err(error) = self.find(&name) {
                log::error!("bucket `{name}` cannot be used: {error}");
            }
        }
        Ok(())
    }

    /// What the keys of objects are wrapped with.
    pub(super) fn sources(&self) -> &KeySources {
        &self.sources
    }

    /// What tells that settings changed.
    pub(super) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// What recovery did to the buckets that were not closed cleanly.
    pub(super) fn recoveries(&self) -> BTreeMap<BucketName, Recovery> {
        self.recoveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The loaded buckets.
    pub(super) fn loaded(&self) -> Vec<Arc<Bucket>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.values().map(|(_, bucket)| bucket.clone()).collect()
    }

    /// Names of the buckets, sorted.
    pub(super) fn names(&self) -> Result<Vec<BucketName>> {
        names_in(&self.root)
    }

    /// Whether the directory called `name` has a bucket's reserved directory.
    pub(super) fn is_bucket(&self, name: &BucketName) -> bool {
        is_bucket_in(&self.root, name)
    }

    /// Makes a bucket whose directory is born as `birth` says. With `adopt`, an existing directory becomes a bucket
    /// and keeps its plain files.
    pub(super) fn create(&self, name: &BucketName, new: NewBucket, birth: &Birth, adopt: bool) -> Result<()> {
        self.check_new(&new)?;
        let existing = match self.root.lookup(&file_name(name)) {
            Ok((dir, _)) if adopt && !self.is_bucket(name) => Some(dir),
            Ok(_) => return Err(EngineError::os(libc::EEXIST)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let (store, _) = self.root.lookup(&fixed(STORE_DIR))?;
        let building = FileName::parse(format!("{BUILDING}{}", Id::random()?).as_ref())?;
        let (dir, _) = store.create_dir(&building, birth)?;
        self.furnish(&dir, new, existing.is_some())?;
        let placed = match existing {
            Some(existing) => dir
                .rename(&fixed(BUCKET_DIR), &existing, &fixed(BUCKET_DIR), RenameMode::NoReplace)
                .and_then(|()| existing.sync_dir())
                .and_then(|()| store.remove_dir(&building)),
            None => store.rename(&building, &self.root, &file_name(name), RenameMode::NoReplace),
        };
        if let Err(error) = placed {
            remove_tree(&store, &building)?;
            return Err(error.into());
        }
        Ok(self.root.sync_dir()?)
    }

    /// Refuses what could not be used: layers without room, a key that does not exist.
    fn check_new(&self, new: &NewBucket) -> Result<()> {
        let geometry = Geometry::new(new.block_size, new.dual_layer);
        BucketEncryption::new(new.default_encryption.clone()).check(&geometry)?;
        if let Some(key) = new.default_encryption.key() {
            self.sources.service.resolve(key)?;
        }
        Ok(())
    }

    /// Fills a bucket directory with its reserved directory, durably.
    fn furnish(&self, dir: &NodeRef, new: NewBucket, plaintext: bool) -> Result<()> {
        let owner = dir.stat()?;
        let private = Birth { mode: 0o700, umask: 0, uid: owner.uid, gid: owner.gid };
        let (reserved, _) = dir.create_dir(&fixed(BUCKET_DIR), &private)?;
        for name in [KEK_DIR, WAL_DIR, TMP_DIR] {
            reserved.create_dir(&fixed(name), &private)?;
        }
        let id = Id::random()?;
        let user = EncryptionContext::default();
        let (root, wrapped) = BucketRoot::create(&*self.sources.service, SERVICE_KEY, id, &user)?;
        let settings = Settings::new(id, new, plaintext);
        small::replace(&reserved, &fixed(BUCKET_FILE), &settings.encode(&root, &wrapped), 0o600)?;
        let name = BucketName::parse("building").expect("a fixed name");
        let shared = (self.sources.clone(), self.changes.clone());
        let bucket = Bucket::open(name, settings, reserved, (None, Crashes::default()), shared)?;
        bucket.wraps().make_first_key()?;
        Ok(dir.sync_dir()?)
    }

    /// Deletes an empty bucket.
    pub(super) fn delete(&self, name: &BucketName) -> Result<()> {
        let (dir, stat) = self.root.lookup(&file_name(name))?;
        if stat.kind != Kind::Directory || !self.is_bucket(name) {
            return Err(not_found());
        }
        let mut entries = dir.entries()?;
        while let Some(entry) = entries.next()? {
            if entry.name != BUCKET_DIR {
                return Err(EngineError::os(libc::ENOTEMPTY));
            }
        }
        let (store, _) = self.root.lookup(&fixed(STORE_DIR))?;
        let doomed = FileName::parse(format!("{DELETED}{}", Id::random()?).as_ref())?;
        self.root.rename(&file_name(name), &store, &doomed, RenameMode::NoReplace)?;
        self.loaded.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.root.sync_dir()?;
        remove_tree(&store, &doomed)
    }

    /// Removes what a crash left of buckets that were being made or deleted.
    pub(super) fn clear_leftovers(&self) {
        if let Err(error) = self.try_clear_leftovers() {
            log::warn!("leftovers of unfinished buckets stay in `{STORE_DIR}`: {error}");
        }
    }

    fn try_clear_leftovers(&self) -> Result<()> {
        let (store, _) = self.root.lookup(&fixed(STORE_DIR))?;
        let mut entries = store.entries()?;
        let mut doomed = Vec::new();
        while let Some(entry) = entries.next()? {
            let name = entry.name.to_string_lossy();
            if name.starts_with(BUILDING) || name.starts_with(DELETED) {
                doomed.push(FileName::parse(&entry.name)?);
            }
        }
        doomed.iter().try_for_each(|name| remove_tree(&store, name))
    }
}

/// Names of the buckets of the store at `root`, sorted.
pub(super) fn names_in(root: &NodeRef) -> Result<Vec<BucketName>> {
    let mut names = Vec::new();
    let mut entries = root.entries()?;
    while let Some(entry) = entries.next()? {
        let name = entry.name.to_str().and_then(|name| BucketName::parse(name).ok());
        names.extend(name.filter(|name| is_bucket_in(root, name)));
    }
    names.sort_unstable();
    Ok(names)
}

fn is_bucket_in(root: &NodeRef, name: &BucketName) -> bool {
    root.lookup(&file_name(name))
        .and_then(|(dir, _)| dir.lookup(&fixed(BUCKET_DIR)))
        .is_ok_and(|(_, stat)| stat.kind == Kind::Directory)
}

/// Removes a directory of ours and what is in it; bounded by the shape that a bucket's reserved directory has.
fn remove_tree(parent: &NodeRef, name: &FileName) -> Result<()> {
    let (node, stat) = parent.lookup(name)?;
    if stat.kind != Kind::Directory {
        return Ok(parent.unlink(name)?);
    }
    let mut entries = node.entries()?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next()? {
        names.push(FileName::parse(&entry.name)?);
    }
    for child in &names {
        remove_tree(&node, child)?;
    }
    Ok(parent.remove_dir(name)?)
}

pub(super) fn file_name(name: &BucketName) -> FileName {
    FileName::parse(name.as_str().as_ref()).expect("bucket names are file names")
}

/// `ENOENT`.
pub(super) fn not_found() -> EngineError {
    EngineError::os(libc::ENOENT)
}

const BUILDING: &str = "new-";
const DELETED: &str = "deleted-";
