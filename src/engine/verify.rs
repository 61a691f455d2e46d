//! Verification: every block of every object is read and authenticated.

use std::ops::Range;

use super::{
    Bucket, Engine, EngineError, Item, Result,
    item::Form,
    live::{LiveObject, Opening, read_header},
    scratch,
    wraps::Whom,
};
use crate::{
    envelope::RecordType,
    keys::{BucketKeyError, KeyError},
    name::{BucketName, FileName},
    object::SseMode,
    store::{Access, Kind},
};

/// What verification found about one object.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Path in the store.
    pub object: String,
    /// Byte ranges of plaintext that cannot be read; empty when the whole object cannot.
    pub ranges: Vec<Range<u64>>,
    /// What is wrong.
    pub reason: String,
}

/// The outcome of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Encrypted objects that were read to the end.
    pub objects: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
    /// Plain objects, which nothing authenticates.
    pub plain: u64,
    /// Damaged objects.
    pub damaged: Vec<Finding>,
    /// Objects that nothing can be said about, because their key is missing or may not be used.
    pub keyless: Vec<Finding>,
}

impl Report {
    /// Counts what was found about one file.
    pub(super) fn note(&mut self, seen: Seen) {
        match seen {
            Seen::Plain => self.plain += 1,
            Seen::Sound { size } => self.count(size),
            Seen::Keyless { finding } => self.keyless.push(finding),
            Seen::Damaged { size, finding, .. } => {
                if let Some(size) = size {
                    self.count(size);
                }
                self.damaged.push(finding);
            }
        }
    }

    /// Hands the findings over.
    fn hand_over(&mut self, to: &mut Findings<'_>) -> Result<()> {
        self.damaged.drain(..).try_for_each(|finding| to(true, &finding))?;
        Ok(self.keyless.drain(..).try_for_each(|finding| to(false, &finding))?)
    }

    fn count(&mut self, size: u64) {
        self.objects += 1;
        self.bytes += size;
    }
}

/// A regular file on the way through a bucket.
pub(super) struct Entry<'a> {
    /// Where it stands.
    pub(super) dir: &'a Item,
    /// Under which name.
    pub(super) name: &'a FileName,
    /// The file.
    pub(super) item: &'a Item,
    /// Stored bytes.
    pub(super) size: u64,
}

/// What was found about one file.
pub(super) enum Seen {
    /// Its key is missing or may not be used.
    Keyless {
        /// Which, and why.
        finding: Finding,
    },
    /// Nothing authenticates it.
    Plain,
    /// All of it was read.
    Sound {
        /// Plaintext bytes.
        size: u64,
    },
    /// Some of it was not.
    Damaged {
        /// Plaintext bytes, where the header could be used.
        size: Option<u64>,
        /// What is wrong.
        finding: Finding,
        /// The stored bytes are to blame, not a key or the disk.
        altered: bool,
    },
}

/// Why something could not be read.
struct Lost {
    reason: String,
    altered: bool,
}

impl From<EngineError> for Lost {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Integrity { reason, .. } => Self { reason: reason.to_string(), altered: true },
            other => Self { reason: other.to_string(), altered: false },
        }
    }
}

/// Told about progress: plaintext bytes of the piece just read.
pub type Progress<'a> = dyn FnMut(u64) + 'a;

/// Told about each object that is not sound: whether it is damaged, or else without its key, and what was found.
pub type Findings<'a> = dyn FnMut(bool, &Finding) -> std::io::Result<()> + 'a;

impl Engine {
    /// Verifies `only`, or every bucket.
    pub fn verify(&self, only: Option<&BucketName>, progress: &mut Progress<'_>) -> Result<Report> {
        let mut report = Report::default();
        for (_, found) in self.buckets_for(only, &mut report)? {
            self.walk(&found, &mut |entry| {
                report.note(self.see(entry.item, progress)?);
                Ok(())
            })?;
        }
        Ok(report)
    }

    /// The same, telling `findings` of each as it is found; the report has none of them then. However many there are,
    /// nothing of them is kept. A failure of `findings` ends it.
    pub fn verify_each(
        &self,
        only: Option<&BucketName>,
        progress: &mut Progress<'_>,
        findings: &mut Findings<'_>,
    ) -> Result<Report> {
        let mut report = Report::default();
        for (_, found) in self.buckets_for(only, &mut report)? {
            self.walk(&found, &mut |entry| {
                report.note(self.see(entry.item, progress)?);
                report.hand_over(findings)
            })?;
        }
        report.hand_over(findings)?;
        Ok(report)
    }

    /// Total stored bytes of the regular files of `only` or of every bucket, for a progress bar.
    pub fn stored_bytes(&self, only: Option<&BucketName>) -> Result<u64> {
        let mut total = 0;
        for (_, found) in self.buckets_for(only, &mut Report::default())? {
            self.walk(&found, &mut |entry| {
                total += entry.size;
                Ok(())
            })?;
        }
        Ok(total)
    }

    /// The root directories of the buckets that can be used; those that cannot go into the report.
    pub(super) fn buckets_for(
        &self,
        only: Option<&BucketName>,
        report: &mut Report,
    ) -> Result<Vec<(BucketName, Item)>> {
        let mut found = Vec::new();
        for name in self.names_for(only)? {
            match self.shared.buckets.find(&name) {
                Ok((dir, bucket)) => found.push((name, Item::bucket_root(dir, bucket))),
                Err(error) => report.damaged.push(Finding {
                    object: name.to_string(),
                    ranges: Vec::new(),
                    reason: error.to_string(),
                }),
            }
        }
        Ok(found)
    }

    /// `only`, or the names of all buckets.
    pub(super) fn names_for(&self, only: Option<&BucketName>) -> Result<Vec<BucketName>> {
        only.map_or_else(|| self.bucket_names(), |name| Ok(vec![name.clone()]))
    }

    /// Calls `visit` for every regular file below `dir`. Kept are the directories on the way alone.
    pub(super) fn walk(&self, dir: &Item, visit: &mut dyn FnMut(&Entry<'_>) -> Result<()>) -> Result<()> {
        let mut way = vec![(dir.clone(), self.list(dir)?)];
        while let Some((dir, listing)) = way.last_mut() {
            let Some(entry) = listing.next()? else {
                way.pop();
                continue;
            };
            let name = FileName::parse(&entry.name)?;
            let (node, stat) = match dir.node().lookup(&name) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                found => found?,
            };
            let item = dir.child(node, stat.kind);
            match stat.kind {
                Kind::Directory => {
                    let listing = self.list(&item)?;
                    way.push((item, listing));
                }
                Kind::File => visit(&Entry { dir, name: &name, item: &item, size: stat.size })?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the whole of one regular file.
    pub(super) fn see(&self, item: &Item, progress: &mut Progress<'_>) -> Result<Seen> {
        let stat = item.node().stat()?;
        if item.form(|| Ok(stat.size))? == Form::Plain {
            progress(stat.size);
            return Ok(Seen::Plain);
        }
        let object = item.node().path().display().to_string();
        let damage = |size, ranges, lost: Lost| {
            let finding = Finding { object, ranges, reason: lost.reason };
            Seen::Damaged { size, finding, altered: lost.altered }
        };
        Ok(match self.open_for_verification(item, item.bucket()?) {
            Err(error) if is_keyless(&error, item) => {
                let reason = error.to_string();
                let finding =
                    Finding { object: item.node().path().display().to_string(), ranges: Vec::new(), reason };
                Seen::Keyless { finding }
            }
            Err(error) => damage(None, Vec::new(), error.into()),
            Ok(object) => match read_all(&object, progress) {
                (_, None) => Seen::Sound { size: object.size() },
                (ranges, Some(lost)) => damage(Some(object.size()), ranges, lost),
            },
        })
    }

    fn open_for_verification(&self, item: &Item, bucket: &std::sync::Arc<Bucket>) -> Result<LiveObject> {
        let (file, stat) = item.node().open_and_stat(Access::Read)?;
        let budget = self.shared.budget.clone();
        let peers = std::sync::Arc::downgrade(&self.shared.objects);
        let (bucket, node) = (bucket.clone(), item.node().clone());
        LiveObject::open(
            bucket,
            node,
            (file, &stat),
            (Opening::Verifying, Whom::Administrator),
            budget,
            peers,
        )
    }
}

/// Whether the object could not be opened for want of its key. A key that refuses a wrapped key speaks of damage, but for a
/// customer key: there, the right one is not among those that are known. So does a header without its wrapped keys.
fn is_keyless(error: &EngineError, item: &Item) -> bool {
    let (EngineError::Key(error) | EngineError::BucketKey(BucketKeyError::Key(error))) = error else {
        return false;
    };
    let Ok(Ok((_, header))) = item.node().open(Access::Read).and_then(|file| read_header(&file)) else {
        return false;
    };
    let mode = header.identity.mode;
    let further = match mode {
        SseMode::S3 | SseMode::Kms => None,
        SseMode::Customer => Some(RecordType::CustomerVerifier),
        SseMode::DualKms => Some(RecordType::DataKey2),
    };
    let mut records = further.into_iter().chain([RecordType::DataKey1]);
    let whole = records.all(|kind| header.keys.find(kind).is_some());
    whole && (mode == SseMode::Customer || !matches!(error, KeyError::Rejected { .. }))
}

/// Reads the whole object; the ranges that cannot be read, and the first reason.
fn read_all(object: &LiveObject, progress: &mut Progress<'_>) -> (Vec<Range<u64>>, Option<Lost>) {
    let mut reason = object.check_freshness().err().map(Lost::from);
    let mut lost: Vec<Range<u64>> = Vec::new();
    let step = usize::try_from(object.size().min(STEP as u64)).expect("a step at most");
    scratch::with_plain(step, |buffer| {
        let mut offset = 0;
        while offset < object.size() {
            match object.read_at(offset, buffer) {
                Ok(got) => {
                    offset += got as u64;
                    progress(got as u64);
                }
                Err(error) => {
                    reason.get_or_insert(error.into());
                    offset = read_blocks(object, offset, &mut lost);
                    progress(STEP as u64);
                }
            }
        }
    });
    (lost, reason)
}

/// Reads the step at `offset` block by block and notes those that fail; where the next step begins.
fn read_blocks(object: &LiveObject, offset: u64, lost: &mut Vec<Range<u64>>) -> u64 {
    let end = (offset + STEP as u64).min(object.size());
    let block = object.bucket().geometry().block_size();
    let mut at = offset;
    while at < end {
        let next = (at + block).min(end);
        let mut probe = [0];
        if object.read_at(at, &mut probe).is_err() {
            match lost.last_mut() {
                Some(run) if run.end == at => run.end = next,
                _ => lost.push(at..next),
            }
        }
        at = next;
    }
    end
}

/// Bytes read at a time: a multiple of every block size.
const STEP: usize = 1 << 20;
