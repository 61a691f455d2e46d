//! An engine at work on a simulated disk, and the comparison of what it leaves with what it promised.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use rand::{RngExt, rngs::StdRng};

use super::{
    super::*,
    history::{End, History, Named, Past},
    start,
};
use crate::{
    engine::defects::Defects,
    store::{RenameMode, sim::SimDisk},
};

#[derive(Debug, Clone)]
pub(super) enum Op {
    Write { file: usize, offset: u64, len: usize },
    Resize { file: usize, size: u64 },
    Empty { file: usize },
    Punch { file: usize, offset: u64, len: u64 },
    Fsync { file: usize },
    Close { file: usize },
    Settle,
    Checkpoint,
    Replace { file: usize, len: usize },
    Unlink { file: usize },
    SyncDir,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Op {
    pub(super) fn random(rng: &mut StdRng) -> Self {
        let file = rng.random_range(0..NAMES.len());
        let block = rng.random_range(0..70u64) * 4096;
        let offset = if rng.random_bool(0.5) { block } else { rng.random_range(0..300_000) };
        let len = *[10, 100, 4096, 5000, 8192, 70_000, 131_072].get(rng.random_range(0..7usize)).unwrap();
        match rng.random_range(0..100) {
            0..40 => Self::Write { file, offset, len },
            40..47 => Self::Resize { file, size: offset },
            47..50 => Self::Empty { file },
            50..55 => Self::Punch { file, offset, len: len as u64 * 2 },
            55..75 => Self::Fsync { file },
            75..82 => Self::Close { file },
            82..87 => Self::Settle,
            87..90 => Self::Checkpoint,
            90..94 => Self::Replace { file, len },
            94..97 => Self::Unlink { file },
            _ => Self::SyncDir,
        }
    }
}

/// An engine on a disk, the files it has open, and what must be true of them.
pub(super) struct World {
    pub(super) disk: SimDisk,
    pub(super) engine: Engine,
    open: BTreeMap<usize, (OpenFile, Past)>,
    names: Vec<Named>,
    stamp: u8,
}

impl World {
    pub(super) fn start(disk: SimDisk, defects: Defects) -> Self {
        let engine = start(&disk, defects).unwrap();
        let mut names: Vec<Named> = NAMES.iter().map(|_| Named::default()).collect();
        names.iter_mut().for_each(Named::settles);
        Self { disk, engine, open: BTreeMap::new(), names, stamp: 0 }
    }

    /// Does one operation. An error means that the power is off; the operation may or may not have had its effect.
    pub(super) fn apply(&mut self, op: &Op) -> Result<()> {
        match *op {
            Op::Write { file, offset, len } => {
                let data = self.fresh(len);
                self.change(
                    file,
                    |open| open.write_at(offset, &data).map(drop),
                    |content| {
                        let offset = offset as usize;
                        content.resize(content.len().max(offset + len), 0);
                        content[offset..offset + len].copy_from_slice(&data);
                    },
                )
            }
            Op::Resize { file, size } => {
                self.change(file, |open| resize(open, size), |content| content.resize(size as usize, 0))
            }
            Op::Empty { file } => {
                self.opened(file)?;
                let (open, past) = self.open.get(&file).unwrap();
                past.borrow_mut().versions.push(Vec::new());
                self.engine.truncate(&caller(), open)
            }
            Op::Punch { file, offset, len } => self.change(
                file,
                |open| open.allocate(Allocate::Punch, offset, len),
                |content| {
                    let end = content.len().min((offset + len) as usize);
                    if let Some(range) = content.get_mut(offset as usize..end) {
                        range.fill(0);
                    }
                },
            ),
            Op::Fsync { file } => self.fsync(file),
            Op::Close { file } => {
                if let Some((open, past)) = self.open.remove(&file) {
                    self.engine.close(open);
                    // Much new data of a file that may have been synced waits for its flush.
                    if !self.disk.is_off() && past.borrow().is_new() {
                        past.borrow_mut().note_saved();
                    }
                }
                Ok(())
            }
            Op::Settle => {
                self.engine.shared.save_older_than(std::time::Duration::ZERO);
                if !self.disk.is_off() {
                    self.open.values().for_each(|(_, past)| past.borrow_mut().note_saved());
                }
                Ok(())
            }
            Op::Checkpoint => {
                for bucket in self.engine.shared.buckets.loaded() {
                    let _ = bucket.journal().map(crate::store::journal::Journal::checkpoint);
                }
                Ok(())
            }
            Op::Replace { file, len } => self.replace(file, len),
            Op::Unlink { file } => self.unlink(file),
            Op::SyncDir => {
                self.bucket()?.node().sync_dir()?;
                self.names.iter_mut().for_each(Named::settles);
                Ok(())
            }
        }
    }

    fn fresh(&mut self, len: usize) -> Vec<u8> {
        self.stamp = self.stamp.wrapping_add(1);
        (0..len).map(|i| u8::try_from(i % 247).unwrap() ^ self.stamp).collect()
    }

    /// Changes an open file and its history; the content after the operation is possible even if it fails.
    fn change(
        &mut self,
        file: usize,
        work: impl FnOnce(&OpenFile) -> Result<()>,
        model: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        self.opened(file)?;
        let (open, past) = self.open.get(&file).unwrap();
        let mut content = past.borrow().versions.last().cloned().unwrap_or_default();
        model(&mut content);
        past.borrow_mut().versions.push(content);
        work(open)
    }

    fn opened(&mut self, file: usize) -> Result<()> {
        if self.open.contains_key(&file) {
            return Ok(());
        }
        let bucket = self.bucket()?;
        let name = OsStr::new(NAMES[file]);
        let (open, past) = if let Some(past) = self.names[file].now.clone() {
            past.borrow_mut().reopened = true;
            let (item, _) = self.engine.lookup(&bucket, name)?;
            (self.engine.open(&caller(), &item, WRITE)?, past)
        } else {
            let past = Past::default();
            past.borrow_mut().versions.push(Vec::new());
            self.names[file].becomes(Some(past.clone()));
            (self.engine.create(&caller(), &bucket, name, 0o644, WRITE)?.2, past)
        };
        self.open.insert(file, (open, past));
        Ok(())
    }

    fn fsync(&mut self, file: usize) -> Result<()> {
        self.opened(file)?;
        let (open, past) = self.open.get(&file).unwrap();
        open.sync(self.stamp.is_multiple_of(2))?;
        let last = past.borrow().versions.len() - 1;
        past.borrow_mut().synced = Some(last);
        // The names up to its creation are in the same transaction of the host.
        let named = &mut self.names[file];
        if !past.borrow().renamed && named.now.as_ref().is_some_and(|now| Rc::ptr_eq(now, past)) {
            let kept = named.possible.iter().position(|p| p.as_ref().is_some_and(|p| Rc::ptr_eq(p, past)));
            named.possible.drain(..kept.unwrap_or(0));
        }
        Ok(())
    }

    /// Writes a new file, syncs it, and renames it over the old name.
    fn replace(&mut self, file: usize, len: usize) -> Result<()> {
        let content = self.fresh(len);
        let past = Past::new(RefCell::new(History {
            versions: vec![content.clone()],
            renamed: true,
            ..History::default()
        }));
        let bucket = self.bucket()?;
        let temporary = OsStr::new("temporary");
        let created = self.engine.create(&caller(), &bucket, temporary, 0o644, WRITE)?.2;
        created.write_at(0, &content)?;
        created.sync(false)?;
        past.borrow_mut().synced = Some(0);
        self.engine.close(created);
        if let Some((open, _)) = self.open.remove(&file) {
            self.engine.close(open);
        }
        self.names[file].becomes(Some(past));
        self.pin(file);
        let (from, to) = ((&bucket, temporary), (&bucket, OsStr::new(NAMES[file])));
        self.engine.rename(&caller(), from, to, RenameMode::Replace)
    }

    fn unlink(&mut self, file: usize) -> Result<()> {
        if self.names[file].now.is_none() {
            return Ok(());
        }
        if let Some((open, _)) = self.open.remove(&file) {
            self.engine.close(open);
        }
        self.names[file].becomes(None);
        self.pin(file);
        self.engine.unlink(&caller(), &self.bucket()?, OsStr::new(NAMES[file]))
    }

    fn bucket(&self) -> Result<Item> {
        Ok(self.engine.lookup(&self.engine.root(), OsStr::new("data"))?.0)
    }

    /// As the kernel adapter does before a known file loses its name.
    fn pin(&self, file: usize) {
        let item = self.bucket().and_then(|bucket| self.engine.lookup(&bucket, OsStr::new(NAMES[file])));
        if let Ok((item, _)) = item {
            let _ = item.pin();
        }
    }

    /// Ends it, recovers (with the same end again up to twice meanwhile), and checks what is there.
    pub(super) fn crash(
        self,
        rng: &mut StdRng,
        end: End,
        defects: Defects,
    ) -> std::result::Result<Self, String> {
        let Self { disk, engine, open, mut names, stamp } = self;
        let mut after = disk.power_cycle(rng, end.mode());
        disk.crash_after(1);
        drop(open);
        drop(engine);
        for _ in 0..rng.random_range(0..3) {
            end.comes_after(&after, rng.random_range(1..60), rng);
            drop(start(&after, defects));
            after = after.power_cycle(rng, end.mode());
        }
        let engine = start(&after, defects).map_err(|error| format!("recovery fails: {error}"))?;
        for (name, named) in NAMES.iter().zip(&mut names) {
            let found = check(&engine, name, named, end)?;
            // What a crash left without a header is empty and was never committed.
            let committed = |content: &Vec<u8>| !content.is_empty() || named.synced_as(content, end);
            named.now = found.map(|content| {
                let synced = committed(&content).then_some(0);
                Past::new(RefCell::new(History { versions: vec![content], synced, ..History::default() }))
            });
            named.settles();
        }
        let _ = engine.unlink(&caller(), &data(&engine), OsStr::new("temporary"));
        data(&engine).node().sync_dir().map_err(|error| error.to_string())?;
        Ok(Self { disk: after, engine, open: BTreeMap::new(), names, stamp })
    }
}

fn resize(open: &OpenFile, size: u64) -> Result<()> {
    match open.content() {
        crate::engine::file::Content::Encrypted(object) => object.set_size(size),
        crate::engine::file::Content::Plain(_) => unreachable!("the bucket encrypts"),
    }
}

/// What is found under `name`, after comparing it with what is possible. An unreadable leftover is removed.
fn check(
    engine: &Engine,
    name: &str,
    named: &Named,
    end: End,
) -> std::result::Result<Option<Vec<u8>>, String> {
    let bucket = data(engine);
    let (item, attr) = match engine.lookup(&bucket, OsStr::new(name)) {
        Ok(found) => found,
        Err(EngineError::Store(error)) if error.raw_os_error() == Some(libc::ENOENT) => {
            let may_be_missing =
                |past: &Option<Past>| past.as_ref().is_none_or(|past| past.borrow().synced.is_none());
            return if named.possible.iter().any(may_be_missing) {
                Ok(None)
            } else {
                Err(format!("`{name}` was synced and is gone"))
            };
        }
        Err(error) => return Err(format!("`{name}`: {error}")),
    };
    let content = engine.open(&caller(), &item, READ).and_then(|file| {
        let content = read_all(&file, attr.size as usize + 1);
        engine.close(file);
        content
    });
    let never_synced = |past: &Past| past.borrow().synced.is_none();
    let mut possible = named.possible.iter().flatten();
    match content {
        Ok(content) if possible.clone().any(|past| past.borrow().fits(&content, end)) => Ok(Some(content)),
        Ok(content) if end != End::Kill && possible.any(|past| past.borrow().had(&content)) => {
            Ok(Some(content))
        }
        Ok(content) => {
            let known = named.possible.iter().flatten().map(|past| {
                let past = past.borrow();
                let at = past.versions.iter().position(|version| *version == content);
                let sizes: Vec<usize> = past.versions.iter().map(Vec::len).collect();
                format!("content {at:?} of sizes {sizes:?}, synced {:?}", past.synced)
            });
            let known: Vec<String> = known.collect();
            Err(format!(
                "`{name}` has {} bytes that it never had since it was synced: {known:?}",
                content.len()
            ))
        }
        Err(_) if end.tears_pages() && possible.any(never_synced) => {
            let _ = item.pin();
            let removed = engine.unlink(&caller(), &bucket, OsStr::new(name));
            removed.map(|()| None).map_err(|error| format!("`{name}` cannot be removed: {error}"))
        }
        Err(error) => Err(format!("`{name}` was synced and cannot be read: {error}")),
    }
}
