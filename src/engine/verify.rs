//! Verification: every block of every object is read and authenticated.

use std::ops::Range;

use super::{Bucket, Engine, EngineError, Item, Result, item::Form, live::LiveObject};
use crate::{
    name::BucketName,
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
}

/// Told about progress: plaintext bytes of the piece just read.
pub type Progress<'a> = dyn FnMut(u64) + 'a;

impl Engine {
    /// Verifies `only`, or every bucket.
    pub fn verify(&self, only: Option<&BucketName>, progress: &mut Progress<'_>) -> Result<Report> {
        let names = match only {
            Some(name) => vec![name.clone()],
            None => self.bucket_names()?,
        };
        let mut report = Report::default();
        for name in names {
            match self.shared.buckets.find(&name) {
                Ok((dir, bucket)) => {
                    self.verify_dir(&Item::bucket_root(dir, bucket), &mut report, progress)?;
                }
                Err(error @ EngineError::Store(_)) => return Err(error),
                Err(error) => report.damaged.push(Finding {
                    object: name.to_string(),
                    ranges: Vec::new(),
                    reason: error.to_string(),
                }),
            }
        }
        Ok(report)
    }

    /// Total stored bytes of the regular files of `only` or of every bucket, for a progress bar.
    pub fn stored_bytes(&self, only: Option<&BucketName>) -> Result<u64> {
        let names = match only {
            Some(name) => vec![name.clone()],
            None => self.bucket_names()?,
        };
        let mut total = 0;
        for name in names {
            if let Ok((dir, bucket)) = self.shared.buckets.find(&name) {
                self.walk(&Item::bucket_root(dir, bucket), &mut |_, _, size| {
                    total += size;
                    Ok(())
                })?;
            }
        }
        Ok(total)
    }

    fn verify_dir(&self, dir: &Item, report: &mut Report, progress: &mut Progress<'_>) -> Result<()> {
        self.walk(dir, &mut |engine, item, _| engine.verify_file(item, report, progress))
    }

    /// Calls `visit` for every regular file below `dir`, directory by directory, without recursion.
    fn walk(&self, dir: &Item, visit: &mut dyn FnMut(&Self, &Item, u64) -> Result<()>) -> Result<()> {
        let mut directories = vec![dir.clone()];
        while let Some(dir) = directories.pop() {
            let mut listing = self.list(&dir)?;
            while let Some(entry) = listing.next()? {
                let (node, stat) = match dir.node().lookup(&crate::name::FileName::parse(&entry.name)?) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    found => found?,
                };
                let item = dir.child(node, stat.kind);
                match stat.kind {
                    Kind::Directory => directories.push(item),
                    Kind::File => visit(self, &item, stat.size)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn verify_file(&self, item: &Item, report: &mut Report, progress: &mut Progress<'_>) -> Result<()> {
        let stat = item.node().stat()?;
        if self.form(item, || Ok(stat.size))? == Form::Plain {
            report.plain += 1;
            progress(stat.size);
            return Ok(());
        }
        let finding = |ranges, reason: String| Finding {
            object: item.node().path().display().to_string(),
            ranges,
            reason,
        };
        match self.open_for_verification(item, item.bucket()?) {
            Err(EngineError::Integrity { reason, .. }) => {
                report.damaged.push(finding(Vec::new(), reason.to_string()));
            }
            Err(error) => report.damaged.push(finding(Vec::new(), error.to_string())),
            Ok(object) => {
                let (ranges, reason) = read_all(&object, progress)?;
                report.objects += 1;
                report.bytes += object.size();
                if let Some(reason) = reason {
                    report.damaged.push(finding(ranges, reason));
                }
            }
        }
        Ok(())
    }

    fn open_for_verification(&self, item: &Item, bucket: &std::sync::Arc<Bucket>) -> Result<LiveObject> {
        let file = item.node().open(Access::Read)?;
        let budget = self.shared.budget.clone();
        let peers = std::sync::Arc::downgrade(&self.shared.objects);
        LiveObject::open(bucket.clone(), item.node().clone(), file, false, budget, peers)
    }
}

/// Reads the whole object; the ranges that cannot be read, and the first reason.
fn read_all(object: &LiveObject, progress: &mut Progress<'_>) -> Result<(Vec<Range<u64>>, Option<String>)> {
    let mut reason = match object.check_freshness() {
        Err(EngineError::Integrity { reason, .. }) => Some(reason.to_string()),
        outcome => outcome.map(|()| None)?,
    };
    let mut lost: Vec<Range<u64>> = Vec::new();
    let mut buffer = zeroize::Zeroizing::new(vec![0; STEP]);
    let mut offset = 0;
    while offset < object.size() {
        match object.read_at(offset, &mut buffer) {
            Ok(got) => {
                offset += got as u64;
                progress(got as u64);
            }
            Err(EngineError::Integrity { reason: why, .. }) => {
                reason.get_or_insert(why.to_string());
                offset = read_blocks(object, offset, &mut lost);
                progress(STEP as u64);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((lost, reason))
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
                Some(last) if last.end == at => last.end = next,
                _ => lost.push(at..next),
            }
        }
        at = next;
    }
    end
}

/// Bytes read at a time: a multiple of every block size.
const STEP: usize = 1 << 20;
