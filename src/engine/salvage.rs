//! Salvage: copies of damaged objects, with every block that authenticates and a list of what is lost.
//!
//! The store is read as it stands; nothing in it is changed, not even by replaying a journal. A bucket whose settings
//! cannot be used is read by what the headers of its objects say, which their keys prove block by block.

use std::{path::Path, sync::Arc};

use super::{
    Bucket, Engine, EngineError, Finding, Item, Progress, Report, Result,
    default_encryption::{BucketEncryption, DefaultEncryption},
    settings::{JournalMode, MAX_SETTINGS, Settings},
    verify::{Entry, Seen},
    wraps::Whom,
    wreck::Wreck,
};
use crate::{
    envelope::Id,
    keys::BucketRoot,
    name::{BucketName, FileName},
    object::{BlockSize, FormatError, Geometry, HEADER_READ, Header, ObjectKeys},
    store::{
        Access, Birth, FileRef, NodeRef,
        journal::Journal,
        layout::{BUCKET_DIR, BUCKET_FILE, WAL_DIR, fixed},
        small,
    },
};

/// What salvage did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Salvage {
    /// What is to be known about whole buckets.
    pub notes: Vec<String>,
    /// The objects that were copied, or could not be.
    pub objects: Vec<Salvaged>,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Salvaged {
    /// Path in the store.
    pub object: String,
    /// Path of the copy in the target directory; none when nothing of the object can be read.
    pub saved_as: Option<String>,
    /// Plaintext bytes.
    pub size: u64,
    /// Whether size and holes are proven. If not, the size follows from the stored length.
    pub certain: bool,
    /// Bytes that were copied; what is neither copied nor lost is a hole.
    pub recovered: u64,
    /// Byte ranges that are lost, and zeros in the copy.
    pub lost: Vec<std::ops::Range<u64>>,
    /// What is wrong.
    pub reason: String,
}

impl Engine {
    /// Verifies `only`, or every bucket, and writes what can be read of damaged objects below `target`.
    pub fn salvage(
        &self,
        only: Option<&BucketName>,
        target: &NodeRef,
        progress: &mut Progress<'_>,
    ) -> Result<(Report, Salvage)> {
        let (mut report, mut salvage) = (Report::default(), Salvage::default());
        for name in self.names_for(only)? {
            if let Err(error) = self.salvage_bucket(&name, target, (&mut report, &mut salvage), progress) {
                // Without room in the target there is no point in going on.
                if matches!(&error, EngineError::Store(error) if error.raw_os_error() == Some(libc::ENOSPC)) {
                    return Err(error);
                }
                salvage.notes.push(format!("bucket `{name}`: given up: {error}"));
                let (object, reason) = (name.to_string(), error.to_string());
                report.damaged.push(Finding { object, ranges: Vec::new(), reason });
            }
        }
        Ok((report, salvage))
    }

    fn salvage_bucket(
        &self,
        name: &BucketName,
        target: &NodeRef,
        (report, salvage): (&mut Report, &mut Salvage),
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let source = Source::open(self, name, &mut salvage.notes)?;
        let root = Item::bucket_root(source.root.clone(), source.bucket.clone());
        self.walk(&root, &mut |entry| {
            let seen = match &source.broken {
                Some(reason) => damage(entry, reason.clone()),
                None => self.see(entry.item, progress).unwrap_or_else(|e| damage(entry, e.to_string())),
            };
            if let Seen::Damaged { finding, .. } = &seen {
                let reason = finding.reason.clone();
                let salvaged = source.save(self, entry, reason, target, progress)?;
                salvage.objects.push(salvaged);
            }
            report.note(seen);
            Ok(())
        })
    }
}

/// A bucket to salvage from.
struct Source {
    name: BucketName,
    root: NodeRef,
    private: NodeRef,
    /// The bucket, or where its settings are broken one without an identity.
    bucket: Arc<Bucket>,
    /// Why its settings cannot be used.
    broken: Option<String>,
}

impl Source {
    fn open(engine: &Engine, name: &BucketName, notes: &mut Vec<String>) -> Result<Self> {
        let (root, _) = engine.shared.root.lookup(&super::buckets::file_name(name))?;
        let (private, _) = root.lookup(&fixed(BUCKET_DIR))?;
        let (settings, broken) = match read_settings(engine, &private) {
            Ok(settings) => (settings, None),
            Err(reason) => {
                (assumed(Id::from_bytes([0; 16]), Geometry::new(BlockSize::DEFAULT, false)), Some(reason))
            }
        };
        match &broken {
            Some(reason) => notes.push(format!(
                "bucket `{name}`: {reason}; objects are read by their own headers, and which bucket they belong to is \
                 not proven"
            )),
            None if !is_settled(&private, settings.id) => notes.push(format!(
                "bucket `{name}`: its journal holds changes that its files lack: run `strongroom verify --repair` \
                 first, or what is salvaged is older than it could be"
            )),
            None => {}
        }
        let bucket = open_bucket(engine, name, settings, &private)?;
        Ok(Self { name: name.clone(), root, private, bucket, broken })
    }

    /// Copies what can be read of the object at `entry`.
    fn save(
        &self,
        engine: &Engine,
        entry: &Entry<'_>,
        reason: String,
        target: &NodeRef,
        progress: &mut Progress<'_>,
    ) -> Result<Salvaged> {
        let mut salvaged = Salvaged {
            object: entry.item.node().path().display().to_string(),
            saved_as: None,
            size: 0,
            certain: false,
            recovered: 0,
            lost: Vec::new(),
            reason,
        };
        let wreck = match self.wreck(engine, entry.item) {
            Ok(wreck) => wreck,
            Err(error) => {
                salvaged.size = self.bucket.geometry().plain_len(entry.size).unwrap_or(entry.size);
                salvaged.lost.push(0..salvaged.size);
                salvaged.add(&match error {
                    EngineError::Integrity { reason, .. } => reason.to_string(),
                    error => error.to_string(),
                });
                return Ok(salvaged);
            }
        };
        let path = entry.item.path();
        let (copy, out) = create(target, self.name.as_str().as_ref(), &path)?;
        let copied = wreck.copy(&out, progress)?;
        salvaged.saved_as = Some(copy.path().display().to_string());
        (salvaged.size, salvaged.certain) = (wreck.size(), wreck.is_authentic());
        (salvaged.recovered, salvaged.lost) = (copied.recovered, copied.lost);
        if !salvaged.certain {
            salvaged.add("header damaged: size and holes are not certain");
        }
        if copied.stale {
            salvaged.add(&FormatError::Accumulator.to_string());
        }
        Ok(salvaged)
    }

    /// Unwraps the keys of a damaged object.
    fn wreck(&self, engine: &Engine, item: &Item) -> Result<Wreck> {
        let refused = |reason| super::item::damaged(item.node(), reason);
        let file = item.node().open(Access::Read)?;
        let start = read_start(&file)?;
        let header = Header::decode_remains(&start).map_err(refused)?;
        let identity = &header.identity;
        let bucket = match &self.broken {
            Some(_) => {
                let settings = assumed(identity.bucket, identity.geometry);
                open_bucket(engine, &self.name, settings, &self.private)?
            }
            None if identity.bucket == self.bucket.id() => self.bucket.clone(),
            None => {
                return Err(refused(FormatError::Malformed(
                    "bucket: this object was made in another bucket",
                )));
            }
        };
        let path = || item.path();
        let asker = bucket.asker(&path, Whom::Administrator);
        let data_keys = bucket.wraps().data_keys(identity, &header.keys, &asker)?;
        let keys = ObjectKeys::open(&data_keys, identity).map_err(refused)?;
        Wreck::new(file, &start, header, keys)
    }
}

impl Salvaged {
    /// Adds to what is wrong, unless it is known.
    fn add(&mut self, more: &str) {
        if !self.reason.contains(more) {
            self.reason = format!("{}; {more}", self.reason);
        }
    }
}

fn damage(entry: &Entry<'_>, reason: String) -> Seen {
    let object = entry.item.node().path().display().to_string();
    Seen::Damaged { size: None, finding: Finding { object, ranges: Vec::new(), reason }, altered: false }
}

fn read_settings(engine: &Engine, private: &NodeRef) -> std::result::Result<Settings, String> {
    let bytes = small::read(private, &fixed(BUCKET_FILE), MAX_SETTINGS)
        .map_err(|error| format!("its settings `{BUCKET_DIR}/{BUCKET_FILE}` cannot be read: {error}"))?;
    let service = &*engine.shared.buckets.sources().service;
    Settings::decode(&bytes, |wrapped, id| BucketRoot::open(wrapped, id, service))
        .map(|(settings, ..)| settings)
        .map_err(|error| error.to_string())
}

/// Settings for reading objects of bucket `id` alone.
fn assumed(id: Id, geometry: Geometry) -> Settings {
    Settings {
        id,
        encryption: BucketEncryption::new(DefaultEncryption::Aes256),
        plaintext_allowed: false,
        geometry,
        journal: JournalMode::Off,
    }
}

fn open_bucket(
    engine: &Engine,
    name: &BucketName,
    settings: Settings,
    private: &NodeRef,
) -> Result<Arc<Bucket>> {
    let sources = engine.shared.buckets.sources().clone();
    let closed = (None, super::crash_mark::Crashes::default());
    Bucket::open(name.clone(), settings, private.clone(), closed, sources).map(Arc::new)
}

/// Whether the journal has nothing to replay, as far as it can be read.
fn is_settled(private: &NodeRef, id: Id) -> bool {
    private
        .lookup(&fixed(WAL_DIR))
        .and_then(|(wal, _)| Journal::has_nothing(&wal, id.as_bytes()))
        .unwrap_or(false)
}

fn read_start(file: &FileRef) -> Result<Vec<u8>> {
    let mut start = vec![0; HEADER_READ];
    let got = match file.read_at(&mut start, 0) {
        // A bad place further on is no reason to give up the first page, which is nearly always the whole header.
        Err(_) => file.read_at(start.split_at_mut(4096).0, 0)?,
        Ok(got) => got,
    };
    start.truncate(got);
    Ok(start)
}

/// Makes the file `bucket`/`path` below `target`, which only its owner can use.
fn create(target: &NodeRef, bucket: &std::ffi::OsStr, path: &Path) -> Result<(NodeRef, FileRef)> {
    let owner = target.stat()?;
    let birth = |mode| Birth { mode, umask: 0, uid: owner.uid, gid: owner.gid };
    let mut dir = target.clone();
    for part in std::iter::once(bucket).chain(path.parent().unwrap_or(Path::new(""))) {
        let name = FileName::parse(part)?;
        dir = match dir.create_dir(&name, &birth(0o700)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => dir.lookup(&name)?.0,
            made => made?.0,
        };
    }
    let name = FileName::parse(path.file_name().unwrap_or_default())?;
    let (node, _, file) = dir.create_file(&name, &birth(0o600))?;
    Ok((node, file))
}
