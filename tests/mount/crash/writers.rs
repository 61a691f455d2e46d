//! Programs at work on the drive that note what they did and what they were told.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::history::{Broken, History, Op, Random, bytes};

/// A manner of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Random overwrites and changes of length, some of which are synced together.
    Overwrite,
    /// A log: each line is synced.
    Append,
    /// Overwrites of a file opened with `O_SYNC`.
    Synchronous,
    /// Much new data at a time.
    Bulk,
    /// A new file takes the place of the old.
    Replace,
    /// Files that are never synced.
    Scratch,
}

impl Manner {
    pub(crate) const ALL: [Self; 6] =
        [Self::Overwrite, Self::Append, Self::Synchronous, Self::Bulk, Self::Replace, Self::Scratch];
}

/// Works on one name until a call fails.
pub(crate) struct Writer<'a> {
    manner: Manner,
    /// Held open: a path would lead to the next mount.
    home: File,
    dir: PathBuf,
    histories: Vec<History>,
    random: Random,
    /// Number of the latest flush of the disk.
    flushes: &'a AtomicU64,
}

impl<'a> Writer<'a> {
    /// One that works in `dir`, where its name has the content `base`.
    pub(crate) fn new(
        manner: Manner,
        dir: &Path,
        base: Option<Vec<u8>>,
        seed: u64,
        flushes: &'a AtomicU64,
    ) -> Self {
        let history = History::new(format!("{manner:?}").to_lowercase(), base);
        let home = File::open(dir).unwrap();
        let dir = PathBuf::from(format!("/proc/self/fd/{}", home.as_raw_fd()));
        Self { manner, home, dir, histories: vec![history], random: Random::new(seed), flushes }
    }

    /// Takes at most `steps`; why it ended early, and what it did.
    pub(crate) fn run(mut self, steps: usize) -> (io::Result<()>, Vec<History>) {
        let ended = self.work(steps);
        (ended, self.histories)
    }

    fn work(&mut self, steps: usize) -> io::Result<()> {
        match self.manner {
            Manner::Replace => (0..steps).try_for_each(|_| self.replace()),
            Manner::Scratch => (0..steps).try_for_each(|number| self.scratch(number)),
            manner => {
                let mut file = self.open()?;
                (0..steps).try_for_each(|_| self.step(manner, &mut file))
            }
        }
    }

    fn open(&self) -> io::Result<File> {
        let flags = if self.manner == Manner::Synchronous { libc::O_SYNC } else { 0 };
        let path = self.dir.join(&self.histories[0].name);
        let file =
            OpenOptions::new().create(true).write(true).truncate(false).custom_flags(flags).open(path)?;
        Ok(file)
    }

    fn step(&mut self, manner: Manner, file: &mut File) -> io::Result<()> {
        match manner {
            Manner::Overwrite => self.overwrite(file),
            Manner::Append => self.append(file),
            Manner::Synchronous => self.synchronous(file),
            _ => self.bulk(file),
        }
    }

    fn overwrite(&mut self, file: &File) -> io::Result<()> {
        if self.histories[0].len() == 0 {
            (0..4).try_for_each(|part| self.write(file, part * 65_536, 65_536))?;
            return self.sync(file);
        }
        for _ in 0..=self.random.below(4) {
            let len = self.histories[0].len();
            match self.random.below(10) {
                0 => {
                    let cut = self.random.below(400_000);
                    self.cut(file, cut)?;
                }
                1 => {
                    let at = len + self.random.below(20_000);
                    self.write(file, at, 3000)?;
                }
                _ => {
                    let (at, len) = (self.random.below(len.max(1)), 1 + self.random.below(20_000));
                    self.write(file, at, len)?;
                }
            }
        }
        self.sync(file)
    }

    fn append(&mut self, file: &File) -> io::Result<()> {
        let len = self.histories[0].len();
        if len > 200_000 {
            let cut = self.random.below(len);
            self.cut(file, cut)?;
        } else {
            let more = 1 + self.random.below(6000);
            self.write(file, len, more)?;
        }
        self.sync(file)
    }

    fn synchronous(&mut self, file: &File) -> io::Result<()> {
        let (at, len) = (self.random.below(100_000), 1 + self.random.below(9000));
        self.write(file, at, len)?;
        self.acknowledge(0);
        Ok(())
    }

    fn bulk(&mut self, file: &File) -> io::Result<()> {
        let len = self.histories[0].len();
        if len > 4_000_000 {
            let cut = self.random.below(len);
            self.cut(file, cut)?;
        }
        let len = self.histories[0].len();
        (0..24).try_for_each(|part| self.write(file, len + part * 65_536, 65_536))?;
        self.sync(file)
    }

    fn replace(&mut self) -> io::Result<()> {
        let (len, seed) = (self.random.below(60_000), self.random.next());
        let (temporary, name) = (self.dir.join("replace.tmp"), self.dir.join(&self.histories[0].name));
        let file = File::create(&temporary)?;
        file.write_all_at(&bytes(len, seed), 0)?;
        file.sync_all()?;
        self.histories[0].issue(Op::Replace { len, seed });
        fs::rename(&temporary, name)?;
        self.home.sync_all()?;
        self.acknowledge(0);
        Ok(())
    }

    fn scratch(&mut self, number: usize) -> io::Result<()> {
        let mut history = History::new(format!("scratch-{number}"), None);
        let (len, seed) = (self.random.below(300_000), self.random.next());
        history.issue(Op::Write { at: 0, len, seed });
        let path = self.dir.join(&history.name);
        self.histories.push(history);
        File::create(path)?.write_all_at(&bytes(len, seed), 0)?;
        if number >= 8 && self.random.below(4) > 0 {
            fs::remove_file(self.dir.join(format!("scratch-{}", number - 8)))?;
        }
        Ok(())
    }

    /// One call. The kernel may hand it on page by page, and a crash may come between: each page is an operation.
    fn write(&mut self, file: &File, at: usize, len: usize) -> io::Result<()> {
        let mut content = Vec::with_capacity(len);
        while content.len() < len {
            let at = at + content.len();
            let (len, seed) = ((PAGE - at % PAGE).min(len - content.len()), self.random.next());
            self.histories[0].issue(Op::Write { at, len, seed });
            content.extend(bytes(len, seed));
        }
        file.write_all_at(&content, at as u64)
    }

    fn cut(&mut self, file: &File, len: usize) -> io::Result<()> {
        self.histories[0].issue(Op::Cut(len));
        file.set_len(len as u64)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        match self.random.below(3) {
            0 => file.sync_all()?,
            _ => file.sync_data()?,
        }
        self.acknowledge(0);
        Ok(())
    }

    fn acknowledge(&mut self, history: usize) {
        self.histories[history].acknowledge(self.flushes.load(Ordering::SeqCst));
    }
}

/// What is there of the file of `history`, if anything is, after a cut whose last flush was number `cut`. It may be
/// missing or short where it was never synced, but it can be read.
pub(crate) fn recovered(dir: &Path, history: &History, cut: u64) -> Result<Option<Vec<u8>>, Broken> {
    let found = match fs::read(dir.join(&history.name)) {
        Ok(content) => Some(content),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Broken { name: history.name.clone(), text: error.to_string() }),
    };
    history.check(found.as_deref(), cut)?;
    Ok(found)
}

const PAGE: usize = 4096;
