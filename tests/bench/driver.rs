//! Small files, one after the other, without a process for each: the hands of `scripts/bench.sh`.
//!
//! `bench-driver WORK DIR COUNT` prints the operations and the seconds they took, as `OPERATIONS SECONDS`.
//! For streams COUNT is in MiB. Small files are `DIR/dNNN/fNNNNNNN`, a hundred in each directory, so that counts can grow without one directory growing.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(work), Some(dir), Some(count)) = (arguments.next(), arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: bench-driver WORK DIR COUNT");
    };
    let files = Files { dir: PathBuf::from(dir), count: count.parse().context("COUNT is no number")? };
    let one_file = ["append", "write", "read-stream"].contains(&work.as_str());
    let work: fn(&Files) -> io::Result<u64> = match work.as_str() {
        "create" => Files::create,
        "create4k" => Files::create_full,
        "read" => Files::read,
        "stat" => Files::stat,
        "rename" => Files::rename,
        "unlink" => Files::unlink,
        "append" => Files::append,
        "write" => Files::write_stream,
        "read-stream" => Files::read_stream,
        other => anyhow::bail!("unknown work `{other}`"),
    };
    fs::create_dir_all(&files.dir)?;
    if !one_file {
        files.make_dirs()?;
    }
    let begin = Instant::now();
    let done = work(&files)?;
    println!("{done} {}", begin.elapsed().as_secs_f64());
    Ok(())
}

struct Files {
    dir: PathBuf,
    count: u64,
}

impl Files {
    fn make_dirs(&self) -> io::Result<()> {
        (0..self.count.div_ceil(PER_DIR))
            .try_for_each(|dir| fs::create_dir_all(self.dir.join(format!("d{dir:05}"))))
    }

    fn each(&self, prefix: &str, mut act: impl FnMut(&Path) -> io::Result<()>) -> io::Result<u64> {
        for number in 0..self.count {
            act(&self.path(prefix, number))?;
        }
        Ok(self.count)
    }

    fn path(&self, prefix: &str, number: u64) -> PathBuf {
        self.dir.join(format!("d{:05}/{prefix}{number:07}", number / PER_DIR))
    }

    /// Empty files.
    fn create(&self) -> io::Result<u64> {
        self.each("e", |path| File::create_new(path).map(drop))
    }

    /// Files of 4 KiB in one write.
    fn create_full(&self) -> io::Result<u64> {
        let content = content();
        self.each("f", |path| File::create_new(path)?.write_all(&content))
    }

    /// Opens and reads each file, and checks it.
    fn read(&self) -> io::Result<u64> {
        let (expected, mut got) = (content(), Vec::with_capacity(8192));
        self.each("f", |path| {
            got.clear();
            File::open(path)?.read_to_end(&mut got)?;
            if got == expected {
                Ok(())
            } else {
                Err(io::Error::other("read something else than was written"))
            }
        })
    }

    /// Walks the tree as `ls -lR` does, names first; finds what is there rather than what is expected.
    fn stat(&self) -> io::Result<u64> {
        let mut found = 0;
        let mut dirs = vec![self.dir.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                let meta = entry.metadata()?;
                found += 1;
                if meta.is_dir() {
                    dirs.push(entry.path());
                }
            }
        }
        if found < self.count { Err(io::Error::other("files are missing")) } else { Ok(found) }
    }

    fn rename(&self) -> io::Result<u64> {
        (0..self.count).try_for_each(|number| fs::rename(self.path("f", number), self.path("r", number)))?;
        Ok(self.count)
    }

    fn unlink(&self) -> io::Result<u64> {
        self.each("r", |path| fs::remove_file(path))
    }

    /// One file of `count` MiB, a MiB at a time, until it is closed.
    fn write_stream(&self) -> io::Result<u64> {
        let piece = content().repeat(MIB / 4096);
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).open(self.dir.join("stream"))?;
        (0..self.count).try_for_each(|_| file.write_all(&piece))?;
        drop(file);
        Ok(self.count)
    }

    /// Reads and checks what [`Self::write_stream`] wrote.
    fn read_stream(&self) -> io::Result<u64> {
        let (expected, mut piece) = (content(), vec![0; MIB]);
        let mut file = File::open(self.dir.join("stream"))?;
        for _ in 0..self.count {
            file.read_exact(&mut piece)?;
            // A look at every block is enough to notice wrong ones and costs next to nothing.
            if piece.chunks(4096).any(|block| block.first_chunk::<16>() != expected.first_chunk::<16>()) {
                return Err(io::Error::other("read something else than was written"));
            }
        }
        Ok(self.count)
    }

    /// A log: a hundred bytes at the end of a file, made durable each time.
    fn append(&self) -> io::Result<u64> {
        let mut log = OpenOptions::new().create(true).append(true).open(self.dir.join("log"))?;
        let line = [b'l'; 100];
        for _ in 0..self.count {
            log.write_all(&line)?;
            log.sync_data()?;
        }
        Ok(self.count)
    }
}

/// Bytes that neither compress nor repeat at a small distance.
fn content() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..512).flat_map(|_| next()).collect()
}

const PER_DIR: u64 = 100;
const MIB: usize = 1 << 20;
