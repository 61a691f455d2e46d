//! Repair: what a crash left of objects that were never synced is taken out of the buckets.
//!
//! Opening the engine for writing has replayed the journals by then. Everything else that is wrong is reported and
//! never written to: damage of what was synced is for backups or salvage.

use std::{ops::Range, path::Path};

use super::{
    Engine, Item, Progress, Report, Result,
    live::{Sync, is_unborn, read_header},
    lost_found::LostFound,
    verify::{Entry, Seen},
    wraps::Whom,
};
use crate::{
    name::{BucketName, FileName},
    object::{Header, PAGE},
    store::{
        Access, FileRef, Kind, NodeRef,
        journal::{Recovery, Tail},
        layout::{BUCKET_DIR, KEK_DIR, STORE_DIR, TMP_DIR, fixed},
        small::TEMPORARY,
    },
};

/// What repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Repairs {
    /// Buckets whose journals had to be replayed.
    pub recovered: Vec<Recovered>,
    /// What was taken out of the buckets.
    pub set_aside: Vec<SetAside>,
}

/// What the replay of a journal did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Recovered {
    /// The bucket.
    pub bucket: String,
    /// Whole frames in its journal.
    pub frames: u64,
    /// Of these, frames whose objects are gone.
    pub dropped: u64,
    /// The objects that were written to, as paths in the store.
    pub objects: Vec<String>,
    /// How the journal ended: `clean`, `torn` (in a frame that nobody was told is durable) or `damaged`.
    pub tail: &'static str,
}

/// Something that was moved to `.strongroom/lost+found` of the store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SetAside {
    /// Where it stood, as a path in the store.
    pub from: String,
    /// Where it stands, as a path in the store.
    pub to: String,
    /// Why.
    pub reason: String,
}

impl Engine {
    /// Verifies `only`, or every bucket, and sets aside what was never synced and cannot be read.
    pub fn repair(
        &self,
        only: Option<&BucketName>,
        progress: &mut Progress<'_>,
    ) -> Result<(Report, Repairs)> {
        self.require_writable()?;
        let (mut report, mut repairs) = (Report::default(), Repairs::default());
        let recoveries = self.shared.buckets.recoveries();
        let wanted = recoveries.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
        repairs.recovered = wanted.map(|(name, recovery)| Recovered::new(name, recovery)).collect();
        if only.is_none() {
            self.clear_store(&mut repairs)?;
        }
        for (name, root) in self.buckets_for(only, &mut report)? {
            let owner = super::buckets::file_name(&name);
            let mut mending = Mending {
                lost: LostFound::new(self.shared.root.clone(), owner),
                set_aside: &mut repairs.set_aside,
            };
            mending.clear_reserved(root.node())?;
            self.walk(&root, &mut |entry| {
                if let Some(seen) = self.mend(entry, self.see(entry.item, progress)?, &mut mending)? {
                    report.note(seen);
                }
                Ok(())
            })?;
        }
        Ok((report, repairs))
    }

    /// Unfinished small files of the store itself.
    fn clear_store(&self, repairs: &mut Repairs) -> Result<()> {
        let (store, _) = self.shared.root.lookup(&fixed(STORE_DIR))?;
        let lost = LostFound::new(self.shared.root.clone(), fixed(STORE_DIR));
        let mut mending = Mending { lost, set_aside: &mut repairs.set_aside };
        mending.clear_temporaries(&store, Path::new(""))
    }

    /// What is to be reported of a file after it was dealt with; `None` when it was set aside.
    fn mend(&self, entry: &Entry<'_>, seen: Seen, mending: &mut Mending<'_>) -> Result<Option<Seen>> {
        match seen {
            Seen::Damaged { altered: true, ref finding, .. } => {
                match never_synced(entry.item, &finding.ranges)? {
                    Some(why) => {
                        let reason = format!("{why}: {}", finding.reason);
                        mending.take(entry.dir.node(), entry.name, &entry.item.path(), reason)?;
                        Ok(None)
                    }
                    None => Ok(Some(seen)),
                }
            }
            Seen::Sound { size } => {
                self.cut_tail(entry.item, size, mending)?;
                Ok(Some(seen))
            }
            seen => Ok(Some(seen)),
        }
    }

    /// Bytes past the end of a sound object are copied away and cut off through the journal, which its next commit
    /// would do as well.
    fn cut_tail(&self, item: &Item, size: u64, mending: &mut Mending<'_>) -> Result<()> {
        let (wanted, stored) = (item.bucket()?.geometry().stored_len(size), item.node().stat()?.size);
        if stored <= wanted {
            return Ok(());
        }
        let to = mending.lost.copy(&item.node().open(Access::Read)?, wanted..stored, &item.path())?;
        let object = self.acquire(item, Access::ReadWrite, Whom::Administrator)?;
        let committed = object.commit(Sync::Settled);
        self.release(item);
        committed?;
        let reason = format!("{} bytes past the end of the object, never committed", stored - wanted);
        mending.note(&item.node().path(), &to, reason);
        Ok(())
    }
}

impl Recovered {
    fn new(name: &BucketName, recovery: &Recovery) -> Self {
        let Recovery { frames, dropped, objects, tail } = recovery;
        Self {
            bucket: name.to_string(),
            frames: *frames,
            dropped: *dropped,
            objects: objects.iter().map(|path| path.display().to_string()).collect(),
            tail: match tail {
                Tail::Clean => "clean",
                Tail::Torn => "torn",
                Tail::Damaged => "damaged",
            },
        }
    }
}

/// The repair of one bucket.
struct Mending<'a> {
    lost: LostFound,
    set_aside: &'a mut Vec<SetAside>,
}

impl Mending<'_> {
    /// Takes what unfinished work left in the reserved directory of the bucket at `root`.
    fn clear_reserved(&mut self, root: &NodeRef) -> Result<()> {
        let (reserved, _) = root.lookup(&fixed(BUCKET_DIR))?;
        let at = Path::new(BUCKET_DIR);
        self.clear_temporaries(&reserved, at)?;
        if let Some(kek) = subdirectory(&reserved, KEK_DIR)? {
            self.clear_temporaries(&kek, &at.join(KEK_DIR))?;
        }
        if let Some(tmp) = subdirectory(&reserved, TMP_DIR)? {
            for name in names(&tmp)? {
                let reason = "an object that was not finished".to_owned();
                self.take(&tmp, &name, &at.join(TMP_DIR).join(name.as_os_str()), reason)?;
            }
        }
        Ok(())
    }

    fn clear_temporaries(&mut self, dir: &NodeRef, at: &Path) -> Result<()> {
        for name in names(dir)? {
            if name.as_os_str().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                let reason = "a small file that was not finished".to_owned();
                self.take(dir, &name, &at.join(name.as_os_str()), reason)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, dir: &NodeRef, name: &FileName, path: &Path, reason: String) -> Result<()> {
        let from = dir.path().join(name.as_os_str());
        let to = self.lost.take(dir, name, path)?;
        self.note(&from, &to, reason);
        Ok(())
    }

    fn note(&mut self, from: &Path, to: &Path, reason: String) {
        let from = from.display().to_string();
        self.set_aside.push(SetAside { from, to: to.display().to_string(), reason });
    }
}

/// Why a file that cannot be read counts as left by a crash before its first sync, as far as it shows.
///
/// The birth flag alone is no proof, because it stays until the commit after the first sync. What a crash leaves of
/// content that was never flushed is zeros, or a file that is too short; other damage may have hit synced content. So
/// may whatever stands in a first page that is neither a header nor blank.
fn never_synced(item: &Item, lost: &[Range<u64>]) -> Result<Option<&'static str>> {
    let file = item.node().open(Access::Read)?;
    let bucket = item.bucket()?.id();
    if let Ok((_, header)) = read_header(&file)? {
        let born = header.state.birth && header.identity.bucket == bucket;
        return Ok((born && lacks_content(&file, &header, lost)?).then_some("never synced"));
    }
    Ok(is_unborn(&file)?.then_some("never committed"))
}

/// Whether the object lacks stored content: behind its end, in a tag page, or in a block that is `lost`.
fn lacks_content(file: &FileRef, header: &Header, lost: &[Range<u64>]) -> Result<bool> {
    let (geometry, size) = (&header.identity.geometry, header.state.size);
    if size > geometry.max_size() || file.stat()?.size < geometry.stored_len(size) {
        return Ok(size <= geometry.max_size());
    }
    for g in (1..geometry.segments(size)).filter(|g| !header.state.null_extents.contains(*g)) {
        if is_blank(file, geometry.tag_page_offset(g), PAGE)? {
            return Ok(true);
        }
    }
    let bs = geometry.block_size();
    for i in lost.iter().flat_map(|range| range.start / bs..range.end.div_ceil(bs)) {
        if is_blank(file, geometry.block_offset(i), geometry.block_len(i, size))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the stored bytes there, as far as the file has them, are all zero.
fn is_blank(file: &FileRef, offset: u64, len: u64) -> Result<bool> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let got = file.read_at(&mut bytes, offset)?;
    Ok(bytes.iter().take(got).all(|byte| *byte == 0))
}

/// The directory `name` in `dir`, if it is there.
fn subdirectory(dir: &NodeRef, name: &'static str) -> Result<Option<NodeRef>> {
    match dir.lookup(&fixed(name)) {
        Ok((node, stat)) => Ok((stat.kind == Kind::Directory).then_some(node)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn names(dir: &NodeRef) -> Result<Vec<FileName>> {
    let mut names = Vec::new();
    let mut entries = dir.entries()?;
    while let Some(entry) = entries.next()? {
        names.push(FileName::parse(&entry.name)?);
    }
    Ok(names)
}
