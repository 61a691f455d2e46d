//! Power cuts at every moment, on a simulated disk: what was synced is read back, what was not is never wrong.
//!
//! The oracle is the promise of `docs/semantics.md`. Each file has a history of contents, one after each operation. A
//! file that was synced must come back whole with that content or a later one; a file that never was may be missing
//! or unreadable, but what is read of it must be one of its contents.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, LazyLock},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    engine::defects::Defect,
    keys::KeyService,
    store::{
        RenameMode,
        journal::Settings as JournalSettings,
        layout,
        sim::{CrashMode, Host, SimDisk},
    },
};

/// One keyring serves every trace: opening one is slow, and it is not what is tested here.
static KEYS: LazyLock<Arc<KeyService>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    create_key_file(&key).unwrap();
    let id = crate::envelope::Id::random().unwrap();
    let slot = NewSlot::new("test", Unlock::KeyFile(key));
    Arc::new(Keyring::create(dir.path(), id, &[slot]).unwrap().into())
});

/// A fresh store with an empty bucket `data`, all of it durable.
pub(super) static EMPTY: LazyLock<SimDisk> = LazyLock::new(|| {
    let disk = SimDisk::new(Host::Ordered);
    layout::create_store(&disk.root(), layout::StoreId::from_bytes([1; 16])).unwrap();
    let engine = start(&disk, Defects::default()).unwrap();
    engine.create_bucket(&BucketName::parse("data").unwrap(), bucket_of(4096), false).unwrap();
    drop(engine);
    disk.power_cycle(&mut StdRng::seed_from_u64(0), CrashMode::KeepAll)
});

pub(super) fn start(disk: &SimDisk, defects: Defects) -> std::io::Result<Engine> {
    let limits = Limits {
        bulk: 96 << 10,
        dirty_per_object: 1 << 20,
        commit_interval: std::time::Duration::from_hours(1),
        journal: JournalSettings { segment_bytes: 512 << 10, segments: 2 },
        defects,
        ..Limits::default()
    };
    let options = Options {
        read_only: false,
        encryption: Encryption::Unnamed,
        customer_keys: Arc::default(),
        new_bucket: bucket_of(4096),
        access: Access::default(),
        limits,
    };
    Engine::assemble(disk.root(), KEYS.clone(), None, options)
}

/// The contents that a file had.
#[derive(Default)]
struct History {
    versions: Vec<Vec<u8>>,
    /// Index of the oldest content that may come back; `None` while it was never synced.
    synced: Option<usize>,
    /// The same when only the daemon dies; `None` while it was never saved.
    saved: Option<usize>,
    /// It was opened after it was made.
    reopened: bool,
    /// It got its name by a rename, which only a sync of the directory makes durable.
    renamed: bool,
}

impl History {
    fn fits(&self, content: &[u8], end: End) -> bool {
        let oldest = if end == End::Kill { self.saved.max(self.synced) } else { self.synced };
        self.versions.iter().skip(oldest.unwrap_or(0)).any(|version| version == content)
    }

    /// Whether each block of `content` stood in its place at some time, as is to be expected of a file that was never
    /// synced.
    fn had(&self, content: &[u8]) -> bool {
        let had = |start: usize, block: &[u8]| {
            let range = start..start + block.len();
            self.versions.iter().any(|version| version.get(range.clone()) == Some(block))
        };
        self.synced.is_none()
            && (0..).step_by(4096).zip(content.chunks(4096)).all(|(at, block)| had(at, block))
    }

    /// Whether it was made in this use, never synced, and not opened again.
    fn is_new(&self) -> bool {
        self.synced.is_none() && !self.reopened
    }

    fn note_saved(&mut self) {
        self.saved = self.versions.len().checked_sub(1);
    }
}

type Past = Rc<RefCell<History>>;

/// How a use of the store ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// The power fails.
    Cut(CrashMode),
    /// The daemon is killed; the system goes on.
    Kill,
}

impl End {
    /// The end of `disk` comes at the `nth` operation from now on.
    fn comes_after(self, disk: &SimDisk, nth: u64, rng: &mut StdRng) {
        match self {
            Self::Cut(_) => disk.crash_after(nth),
            Self::Kill => disk.kill_after(nth, rng.random_range(0..6)),
        }
    }

    /// Whether it may take the header of an object that is written in place.
    fn tears_pages(self) -> bool {
        use CrashMode::{DestroyPage, DestroySector, Tear512};
        matches!(self, Self::Cut(Tear512 | DestroySector(_) | DestroyPage(_)))
    }

    fn mode(self) -> CrashMode {
        match self {
            Self::Cut(mode) => mode,
            Self::Kill => CrashMode::KeepAll,
        }
    }
}

/// A name: the file that it has, and all that a crash may show under it.
#[derive(Default)]
struct Named {
    now: Option<Past>,
    possible: Vec<Option<Past>>,
}

impl Named {
    fn becomes(&mut self, file: Option<Past>) {
        self.possible.push(file.clone());
        self.now = file;
    }

    /// Whether only a file that was synced can have this content.
    fn synced_as(&self, content: &[u8], end: End) -> bool {
        let mut fitting =
            self.possible.iter().flatten().filter(|past| past.borrow().fits(content, end)).peekable();
        fitting.peek().is_some() && fitting.all(|past| past.borrow().synced.is_some())
    }

    fn settles(&mut self) {
        self.possible = vec![self.now.clone()];
    }
}

#[derive(Debug, Clone)]
enum Op {
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
    fn random(rng: &mut StdRng) -> Self {
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
struct World {
    disk: SimDisk,
    engine: Engine,
    open: BTreeMap<usize, (OpenFile, Past)>,
    names: Vec<Named>,
    stamp: u8,
}

impl World {
    fn start(disk: SimDisk, defects: Defects) -> Self {
        let engine = start(&disk, defects).unwrap();
        let mut names: Vec<Named> = NAMES.iter().map(|_| Named::default()).collect();
        names.iter_mut().for_each(Named::settles);
        Self { disk, engine, open: BTreeMap::new(), names, stamp: 0 }
    }

    /// Does one operation. An error means that the power is off; the operation may or may not have had its effect.
    fn apply(&mut self, op: &Op) -> Result<()> {
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
    fn crash(self, rng: &mut StdRng, end: End, defects: Defects) -> std::result::Result<Self, String> {
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

/// A random trace of up to three crashes.
fn trace(seed: u64, end: End, defects: Defects) -> std::result::Result<(), String> {
    let _ = env_logger::builder().is_test(true).try_init();
    let mut rng = StdRng::seed_from_u64(seed);
    let disk = EMPTY.power_cycle(&mut rng, CrashMode::KeepAll);
    let mut world = World::start(disk, defects);
    for _ in 0..rng.random_range(1..4) {
        end.comes_after(&world.disk, rng.random_range(1..250), &mut rng);
        for _ in 0..rng.random_range(1..30) {
            let op = Op::random(&mut rng);
            log::debug!("{op:?}");
            if world.apply(&op).is_err() || world.disk.is_off() {
                break;
            }
        }
        world = world.crash(&mut rng, end, defects)?;
    }
    Ok(())
}

/// Traces per crash mode; more for a long run by hand.
fn traces() -> u64 {
    std::env::var("STRONGROOM_CRASH_TRACES").ok().and_then(|n| n.parse().ok()).unwrap_or(150)
}

fn survives(end: End) {
    let only = std::env::var("STRONGROOM_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..traces(), |seed| seed..seed + 1) {
        if let Err(what) = trace(seed, end, Defects::default()) {
            panic!("{end:?}, seed {seed}: {what}");
        }
    }
}

#[test]
fn torn_sectors_lose_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::Tear512));
}

#[test]
fn torn_pages_lose_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::Tear4096));
}

#[test]
fn destroyed_sectors_lose_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::DestroySector(0.15)));
}

#[test]
fn destroyed_pages_lose_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::DestroyPage(0.15)));
}

#[test]
fn a_disk_that_stops_at_some_moment_loses_nothing_that_was_synced() {
    survives(End::Cut(CrashMode::Prefix));
    survives(End::Cut(CrashMode::DropAll));
    survives(End::Cut(CrashMode::KeepAll));
}

#[test]
fn kills_lose_nothing_that_was_closed_and_leave_nothing_unreadable() {
    survives(End::Kill);
}

#[test]
fn a_cut_at_every_single_operation_loses_nothing_that_was_synced() {
    let short = [
        Op::Write { file: 0, offset: 0, len: 70_000 },
        Op::Fsync { file: 0 },
        Op::Write { file: 0, offset: 4000, len: 5000 },
        Op::Fsync { file: 0 },
        Op::Resize { file: 0, size: 6000 },
        Op::Write { file: 0, offset: 8192, len: 131_072 },
        Op::Fsync { file: 0 },
        Op::Empty { file: 0 },
        Op::Write { file: 0, offset: 0, len: 100 },
        Op::Fsync { file: 0 },
        Op::Replace { file: 0, len: 5000 },
    ];
    let mut rng = StdRng::seed_from_u64(7);
    let operations = end_at(&short, None, End::Cut(CrashMode::KeepAll), &mut rng).unwrap();
    assert!(operations > 20, "only {operations} operations");
    for cut in 1..=operations {
        for mode in [CrashMode::Tear512, CrashMode::DestroyPage(0.3), CrashMode::DropAll, CrashMode::Prefix] {
            end_at(&short, Some((cut, 0)), End::Cut(mode), &mut rng)
                .unwrap_or_else(|what| panic!("cut at {cut}, {mode:?}: {what}"));
        }
    }
}

/// A write that `kill -9` interrupts stops at a page boundary.
#[test]
fn a_kill_at_every_single_page_of_every_save_leaves_a_readable_file() {
    let saves = [
        Op::Write { file: 0, offset: 0, len: 12_824 },
        Op::Settle,
        Op::Write { file: 0, offset: 8000, len: 5000 },
        Op::Settle,
        Op::Resize { file: 0, size: 6000 },
        Op::Settle,
        Op::Write { file: 0, offset: 4096, len: 131_072 },
        Op::Write { file: 0, offset: 135_168, len: 131_072 },
        Op::Settle,
        Op::Punch { file: 0, offset: 0, len: 20_000 },
        Op::Write { file: 0, offset: 262_000, len: 10_000 },
        Op::Close { file: 0 },
        Op::Write { file: 0, offset: 300_000, len: 70_000 },
        Op::Close { file: 0 },
        Op::Write { file: 1, offset: 0, len: 131_072 },
        Op::Settle,
        Op::Empty { file: 1 },
        Op::Write { file: 1, offset: 4096, len: 8192 },
        Op::Settle,
        Op::Fsync { file: 1 },
        Op::Write { file: 1, offset: 0, len: 5000 },
        Op::Close { file: 1 },
    ];
    let mut rng = StdRng::seed_from_u64(8);
    let operations = end_at(&saves, None, End::Kill, &mut rng).unwrap();
    assert!(operations > 50, "only {operations} operations");
    for nth in 1..=operations {
        for pages in 0..6 {
            end_at(&saves, Some((nth, pages)), End::Kill, &mut rng)
                .unwrap_or_else(|what| panic!("killed at operation {nth} after {pages} pages: {what}"));
        }
    }
}

#[test]
fn a_power_cut_after_a_clean_end_loses_nothing_at_all() {
    let mut rng = StdRng::seed_from_u64(9);
    let world = World::start(EMPTY.power_cycle(&mut rng, CrashMode::KeepAll), Defects::default());
    let file = create(&world.engine, "never synced");
    file.write_at(0, &[7; 300_000]).unwrap();
    world.engine.close(file);
    drop(world.engine);
    let after = world.disk.power_cycle(&mut rng, CrashMode::DropAll);
    let engine = start(&after, Defects::default()).unwrap();
    let file = open(&engine, "never synced", READ).unwrap();
    assert_eq!(read_all(&file, 300_001).unwrap(), [7; 300_000]);
}

/// Does `ops` on an empty store; the `nth` operation of the disk, of which some pages come through, ends it.
fn end_at(
    ops: &[Op],
    at: Option<(u64, u64)>,
    end: End,
    rng: &mut StdRng,
) -> std::result::Result<u64, String> {
    let mut world = World::start(EMPTY.power_cycle(rng, CrashMode::KeepAll), Defects::default());
    if let Some((nth, pages)) = at {
        world.disk.kill_after(nth, pages);
    }
    let before = world.disk.operations();
    for op in ops {
        if world.apply(op).is_err() {
            break;
        }
    }
    let operations = world.disk.operations() - before;
    world.crash(rng, end, Defects::default()).map(|_| operations)
}

/// Runs until the defect is caught.
fn is_caught(defect: Defect, end: End) {
    let defects = Defects { on: Some(defect) };
    let caught = (0..3000).find(|seed| trace(*seed, end, defects).is_err());
    assert!(caught.is_some(), "{defect:?} was not caught");
}

#[test]
fn m1_freshness_judged_by_memory_is_caught() {
    is_caught(Defect::FreshByMemory, End::Cut(CrashMode::Tear512));
}

#[test]
fn m3_a_frame_before_its_data_is_caught() {
    is_caught(Defect::DataUnflushed, End::Cut(CrashMode::Tear512));
}

#[test]
fn m4_no_journal_is_caught() {
    is_caught(Defect::NoJournal, End::Cut(CrashMode::Tear512));
}

#[test]
fn an_overwrite_in_place_that_a_kill_interrupts_is_caught() {
    is_caught(Defect::NoJournal, End::Kill);
}

#[test]
fn m5_storing_in_place_before_the_frame_is_durable_is_caught() {
    is_caught(Defect::AppliedEarly, End::Cut(CrashMode::Tear512));
}

#[test]
fn m10_a_frame_without_the_identity_is_caught() {
    is_caught(Defect::NoIdentity, End::Cut(CrashMode::DestroyPage(0.15)));
}
