//! Appending lines, by any process that may write the log's directory.
//!
//! A batch is: take the turn, look where the log ends, write the lines with one call, hand them to the disk if that is
//! the policy, save the state. Either all of it happens or the file is cut back to where it was.
//! A process that dies in between leaves lines that the state does not know, at most one batch, and perhaps an
//! unfinished one. The next writer authenticates the former and adopts them, and cuts the latter off.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    sync::Arc,
};

use rustix::fs::{FallocateFlags, fallocate};

use super::{
    Actor, AuditError, Event, EventName, Options, Sync,
    chain::original_root,
    error::io_error,
    event::{seal, unseal},
    place::{Place, Turn},
    state::State,
};
use crate::crypto::{self, Secret};

/// Appends to a log.
pub struct Appender {
    place: Place,
    options: Options,
    state_file: Arc<File>,
    state: State,
    /// The file that the state names, if it is open.
    file: Option<File>,
    buffer: Vec<u8>,
    found: Found,
}

/// What was not as the last writer should have left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Whole lines that the state did not know.
    pub(super) adopted: u64,
    /// Bytes of an unfinished line that were cut off.
    pub(super) cut: u64,
    /// Whether there are bytes that no writer left.
    pub(super) foreign: bool,
    /// Whether written bytes are missing.
    pub(super) missing: bool,
}

impl Appender {
    /// Opens the log in the directory of `options`. Where there is none, one is begun with `root`, the secret that the
    /// keyring yields; [`AuditError::NotBegun`] without it.
    pub fn open(options: &Options, root: Option<&Secret<32>>) -> Result<Self, AuditError> {
        let place = Place::new(&options.dir);
        match root {
            Some(_) => place.make()?,
            None if !place.exists() => return Err(AuditError::NotBegun(options.dir.clone())),
            None => {}
        }
        let failed = |action| io_error(action, place.state());
        let state_file = Arc::new(place.open_state(root.is_some()).map_err(failed("open"))?);
        let turn = Turn::take(&state_file).map_err(failed("lock"))?;
        let state = match State::load(&state_file).map_err(failed("read"))? {
            Some(state) => state,
            None if place.files()?.is_empty() => begin(&place, &state_file, root)?,
            None => return Err(AuditError::StateLost(options.dir.clone())),
        };
        let options = options.clone();
        let buffer = Vec::new();
        let mut appender = Self {
            place,
            options,
            state_file: state_file.clone(),
            state,
            file: None,
            buffer,
            found: Found::default(),
        };
        appender.settle()?;
        drop(turn);
        Ok(appender)
    }

    /// Appends `events` as one batch: all of them, or none.
    pub fn append(&mut self, events: &[Event]) -> Result<(), AuditError> {
        if events.is_empty() {
            return Ok(());
        }
        let state_file = self.state_file.clone();
        let _turn = Turn::take(&state_file).map_err(io_error("lock", self.place.state()))?;
        self.follow()?;
        if self.state.file == 0 || self.state.offset >= self.options.file_size {
            self.begin_file()?;
        }
        self.write(events)
    }

    /// Makes sure that there is room for the lines of requests under way.
    pub(super) fn reserve(&mut self) -> Result<(), AuditError> {
        let path = self.place.file(self.state.file);
        let Some(file) = &self.file else { return Ok(()) };
        match fallocate(file, FallocateFlags::KEEP_SIZE, self.state.offset, RESERVE) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) | Ok(()) => Ok(()),
            Err(error) => Err(io_error("reserve room in", path)(error.into())),
        }
    }

    /// What had to be put right since this was asked last.
    pub(super) fn take_found(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    /// The bytes of the last batch.
    pub(super) fn last_lines(&self) -> &[u8] {
        &self.buffer
    }

    /// Follows what other processes appended, and puts right what they left unfinished.
    fn follow(&mut self) -> Result<(), AuditError> {
        let newer = State::load(&self.state_file).map_err(io_error("read", self.place.state()))?;
        match newer {
            Some(newer) if newer.serial > self.state.serial && newer.chain == self.state.chain => {
                if newer.file != self.state.file {
                    self.file = None;
                }
                self.state = newer;
                self.settle()
            }
            Some(same) if same.serial == self.state.serial => self.settle_file(),
            _ => {
                log::error!(
                    "the state of the audit log in `{}` was replaced by another one: `strongroom audit verify` tells \
                     what is left",
                    self.place.dir().display()
                );
                self.settle_file()
            }
        }
    }

    /// Goes to the end of the log: the file that the state names, and those that a dead writer began after it.
    fn settle(&mut self) -> Result<(), AuditError> {
        self.settle_file()?;
        while self.place.file(self.state.file + 1).exists() {
            let (number, offset) = (self.state.file, self.state.offset);
            (self.state.file, self.state.offset, self.file) = (number + 1, 0, None);
            let before = self.state.link.seq;
            self.settle_file()?;
            if self.state.link.seq == before {
                // Nothing of the chain is in it yet.
                (self.state.file, self.state.offset, self.file) = (number, offset, None);
                break;
            }
        }
        Ok(())
    }

    /// Adopts whole lines past the end that the state names, and cuts an unfinished one off.
    fn settle_file(&mut self) -> Result<(), AuditError> {
        if self.state.file == 0 {
            return Ok(());
        }
        let path = self.place.file(self.state.file);
        if self.file.is_none() {
            self.file = Some(self.place.open_file(self.state.file)?);
        }
        let file = self.file.as_ref().expect("just opened");
        let length = file.metadata().map_err(io_error("look at", &path))?.len();
        if length > self.state.offset {
            let file = file.try_clone().map_err(io_error("open", &path))?;
            return self.adopt(file).map_err(io_error("recover", path));
        }
        if length < self.state.offset {
            log::error!("the audit log `{}` is shorter than what was written to it", path.display());
            (self.state.offset, self.found.missing) = (length, true);
        }
        Ok(())
    }

    fn adopt(&mut self, mut file: File) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.state.offset))?;
        let mut reader = BufReader::new(file.try_clone()?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
            let sealed = line.strip_suffix(b"\n").and_then(unseal);
            match sealed {
                Some((body, mac)) if crypto::equal(&self.state.link.mac(body), &mac) => {
                    self.state.link.advance(mac);
                    self.state.offset += length;
                    self.found.adopted += 1;
                }
                _ if length == 0 => return Ok(()),
                _ if line.ends_with(b"\n") || length == MAX_LINE => return self.keep_foreign(&mut file),
                _ => {
                    self.found.cut += length;
                    return file.set_len(self.state.offset);
                }
            }
        }
    }

    /// Leaves bytes that no writer can have left where they are, as evidence, and goes on behind them.
    fn keep_foreign(&mut self, file: &mut File) -> io::Result<()> {
        log::error!("somebody else wrote to the audit log in `{}`", self.place.dir().display());
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
        (self.state.offset, self.found.foreign) = (file.metadata()?.len(), true);
        Ok(())
    }

    /// Goes on in the next file, whose first line says where the chain stands, and removes those past their time.
    fn begin_file(&mut self) -> Result<(), AuditError> {
        let number = self.state.file + 1;
        if let Some(full) = &self.file {
            // Gives back what was reserved.
            full.set_len(self.state.offset).map_err(io_error("close", self.place.file(self.state.file)))?;
        }
        let oldest =
            (number + 1).saturating_sub(self.options.keep_files.max(1).into()).max(self.state.oldest);
        let (file, offset) = (self.state.file, self.state.offset);
        (self.state.file, self.state.offset, self.file) = (number, 0, Some(self.place.open_file(number)?));
        let before = self.state.link.seq;
        // Saved with the header, so that a later writer who keeps more does not promise files that are gone.
        self.state.oldest = oldest;
        let mut outcome = self.settle_file();
        if outcome.is_ok() && self.state.link.seq > before {
            // A writer that died meanwhile had begun it.
            return Ok(());
        }
        outcome = outcome.and_then(|()| self.write(&[self.header(number, oldest)]));
        if outcome.is_err() {
            (self.state.file, self.state.offset, self.file) = (file, offset, None);
            return outcome;
        }
        self.remove_older(oldest)
    }

    fn remove_older(&self, oldest: u64) -> Result<(), AuditError> {
        for (number, path) in self.place.files()? {
            if number < oldest
                && let Err(error) = std::fs::remove_file(&path)
            {
                log::warn!("the old audit log `{}` stays: {error}", path.display());
            }
        }
        Ok(())
    }

    fn header(&self, number: u64, oldest: u64) -> Event {
        let name = if number == 1 { EventName::CreateTrail } else { EventName::RotateLog };
        let mut event = Event::new(name, Actor::service());
        event.details.more.extend([
            ("chainId", hex::encode(self.state.chain).into()),
            ("file", number.into()),
            ("oldestFile", oldest.into()),
            ("previousHead", hex::encode(self.state.link.head).into()),
        ]);
        event
    }

    fn write(&mut self, events: &[Event]) -> Result<(), AuditError> {
        let mut link = self.state.link.duplicate();
        self.buffer.clear();
        let mut ids = vec![[0; 16]; events.len()];
        crypto::fill_random(ids.as_flattened_mut())?;
        for (event, id) in events.iter().zip(&ids) {
            let start = self.buffer.len();
            event.write(link.seq + 1, id, &mut self.buffer);
            let mac = link.mac(self.buffer.get(start..).unwrap_or_default());
            seal(&mac, &mut self.buffer);
            link.advance(mac);
        }
        let before = (self.state.offset, std::mem::replace(&mut self.state.link, link));
        self.state.offset += self.buffer.len() as u64;
        self.store().map_err(|error| {
            (self.state.offset, self.state.link) = before;
            io_error("write", self.place.file(self.state.file))(error)
        })
    }

    /// Writes the buffer and saves the state; cuts the file back if either fails.
    fn store(&mut self) -> io::Result<()> {
        let sync = self.options.sync == Sync::Batch;
        let start = self.state.offset - self.buffer.len() as u64;
        let mut file = self.file.as_ref().expect("the file is open while lines are written");
        let written =
            file.write_all(&self.buffer).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        let saved = written.and_then(|()| self.state.save(&self.state_file, sync));
        if saved.is_err() {
            file.set_len(start)?;
        }
        saved
    }
}

fn begin(place: &Place, state_file: &File, root: Option<&Secret<32>>) -> Result<State, AuditError> {
    let root = root.ok_or_else(|| AuditError::NotBegun(place.dir().to_owned()))?;
    let mut state = State::first(&original_root(place.dir(), root)?)?;
    state.save(state_file, true).map_err(io_error("write", place.state()))?;
    place.sync()?;
    Ok(state)
}

/// Longest line that is looked at, in bytes; names and contexts are much shorter.
pub(super) const MAX_LINE: u64 = 1 << 20;
/// Bytes kept free for the lines of requests under way: 64 threads at most, each with lines far below 16 KiB.
const RESERVE: u64 = 1 << 20;
