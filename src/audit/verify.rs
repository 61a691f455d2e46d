//! Verifying a log from the root on: every line, every file, and where it ends.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use serde::Deserialize;

use super::{
    AuditError, EventName,
    append::MAX_LINE,
    chain::{ChainId, Link, original_root},
    error::io_error,
    event::unseal,
    place::{Place, Turn},
    state::State,
};
use crate::crypto::{self, Secret};

/// What a log holds, as far as it is authentic.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Files looked at.
    pub files: usize,
    /// Authentic lines in them.
    pub lines: u64,
    /// Number of the last authentic line. The lines before the oldest file are those of files that were removed by
    /// age.
    pub last: u64,
    /// MAC of the last authentic line, hexadecimal: note it, and a later log must still contain it.
    pub head: String,
    /// Authentic lines that the state does not know yet: the writer is at work, or was killed.
    pub unsaved: u64,
    /// Bytes of an unfinished line at the end, for the same reasons.
    pub unfinished: u64,
    /// Events that the log itself says were lost, for it could not be written.
    pub lost: u64,
    /// The first thing that is wrong.
    pub problem: Option<Problem>,
}

/// Something that no writer did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Name of the file.
    pub file: String,
    /// Line in it, counted from 1; 0 for the file as a whole.
    pub line: u64,
    /// What it is.
    #[serde(flatten)]
    pub kind: ProblemKind,
}

/// Kinds of problems.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum ProblemKind {
    /// The MAC does not match what the line says.
    #[error("the line was edited or forged")]
    Altered,
    /// Something that is no line of a log.
    #[error("this is no line of an audit log")]
    Foreign,
    /// Lines were taken out.
    #[error("lines {from} to {to} are missing before this one")]
    Missing {
        /// The first missing one, by `seq`.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// The line stands in a place that is not its own.
    #[error("this is line {found} in the place of line {expected}: repeated, or moved")]
    OutOfPlace {
        /// Its `seq`.
        found: u64,
        /// The number that belongs here.
        expected: u64,
    },
    /// A file was removed, or renamed.
    #[error("the file is missing")]
    FileMissing,
    /// The end was cut off.
    #[error("the log ends here, and its state knows {missing} more lines: cut off, or lost in a power cut")]
    Truncated {
        /// How many.
        missing: u64,
    },
    /// The state is not that of this chain at its place.
    #[error("the state does not belong to this log: it was replaced")]
    WrongState,
    /// There is no state.
    #[error("the state is missing or damaged: whether the log is complete cannot be told")]
    NoState,
    /// What was noted earlier is not in the log.
    #[error("line {seq} is not the one that was noted")]
    NotAsNoted {
        /// Its number.
        seq: u64,
    },
}

/// A line that somebody noted down: its number and the MAC in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// `seq`.
    pub seq: u64,
    /// `chain`.
    pub mac: [u8; 32],
}

/// Verifies the log in `dir` with the secret that the keyring yields. With `noted`, that line must be in it, which shows
/// that nobody put back an older log with its state.
pub fn verify(dir: &Path, root: &Secret<32>, noted: Option<Noted>) -> Result<Report, AuditError> {
    let place = Place::new(dir);
    if !place.exists() && place.files()?.is_empty() {
        return Err(AuditError::NoLog(dir.to_owned()));
    }
    let root = original_root(dir, root)?;
    let (state, files) = snapshot(&place)?;
    let mut walk = Walk::new(state, noted);
    let outcome = walk.files(&root, files);
    match outcome {
        Ok(()) | Err(Stop::Problem(_)) => {}
        Err(Stop::Io(path, error)) => return Err(io_error("read", dir.join(path))(error)),
    }
    Ok(walk.report(outcome.err()))
}

/// A file as it was at one moment, however it grows or goes later.
struct Snapshot {
    number: u64,
    name: String,
    content: io::Take<File>,
}

/// The state and the files at one moment between two batches.
fn snapshot(place: &Place) -> Result<(Option<State>, Vec<Snapshot>), AuditError> {
    let state_file = match place.open_state(false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened.map_err(io_error("open", place.state()))?),
    };
    let failed = || io_error("read", place.state());
    let turn = state_file.as_ref().map(Turn::take).transpose().map_err(failed())?;
    let state = state_file.as_ref().map(State::load).transpose().map_err(failed())?.flatten();
    let files = place.files()?.into_iter().map(|(number, path)| -> Result<Snapshot, AuditError> {
        let open = || {
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            Ok(file.take(length))
        };
        let content = open().map_err(io_error("open", &path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Snapshot { number, name, content })
    });
    let files = files.collect::<Result<_, _>>()?;
    drop(turn);
    Ok((state, files))
}

enum Stop {
    Problem(Problem),
    Io(String, io::Error),
}

/// The way through the files.
struct Walk {
    state: Option<State>,
    noted: Option<Noted>,
    link: Option<Link>,
    files: usize,
    lines: u64,
    oldest: u64,
    unfinished: u64,
    lost: u64,
}

impl Walk {
    fn new(state: Option<State>, noted: Option<Noted>) -> Self {
        Self { state, noted, link: None, files: 0, lines: 0, oldest: 1, unfinished: 0, lost: 0 }
    }

    fn files(&mut self, root: &Secret<32>, files: Vec<Snapshot>) -> Result<(), Stop> {
        let count = files.len();
        let first = files.first().map_or(1, |file| file.number);
        let mut at = (Place::new(Path::new("")).file(first).display().to_string(), 0);
        for (index, (expected, file)) in (first..).zip(files).enumerate() {
            if file.number != expected {
                let missing = Place::new(Path::new("")).file(expected).display().to_string();
                return Err(problem(missing, 0, ProblemKind::FileMissing));
            }
            self.files += 1;
            at = (file.name.clone(), self.file(root, file, index + 1 == count)?);
        }
        if self.oldest < first {
            let missing = Place::new(Path::new("")).file(first - 1).display().to_string();
            return Err(problem(missing, 0, ProblemKind::FileMissing));
        }
        self.end().map_err(|kind| problem(at.0, at.1, kind))
    }

    /// Goes through one file; the number of its last line.
    fn file(&mut self, root: &Secret<32>, file: Snapshot, last: bool) -> Result<u64, Stop> {
        let name = file.name;
        let mut reader = BufReader::new(file.content);
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            let length = read.map_err(|error| Stop::Io(name.clone(), error))?;
            if length == 0 {
                return Ok(number);
            }
            number += 1;
            let known = self.state.as_ref().is_some_and(|state| self.seq() < state.link.seq);
            if !line.ends_with(b"\n") && last && !known {
                self.unfinished = length as u64;
                return Ok(number - 1);
            }
            self.line(root, file.number, number, &line)
                .map_err(|kind| problem(name.clone(), number, kind))?;
        }
    }

    fn line(&mut self, root: &Secret<32>, file: u64, number: u64, line: &[u8]) -> Result<(), ProblemKind> {
        let (body, mac) = line.strip_suffix(b"\n").and_then(unseal).ok_or(ProblemKind::Foreign)?;
        let claims = Claims::of(line).ok_or(ProblemKind::Foreign)?;
        if self.link.is_none() {
            self.link = Some(self.enter(root, file, &claims)?);
        }
        let link = self.link.as_mut().expect("entered above");
        let expected = link.seq + 1;
        if !crypto::equal(&link.mac(body), &mac) {
            return Err(match claims.seq {
                found if found > expected => ProblemKind::Missing { from: expected, to: found - 1 },
                found if found < expected => ProblemKind::OutOfPlace { found, expected },
                _ => ProblemKind::Altered,
            });
        }
        link.advance(mac);
        self.lines += 1;
        self.authentic(file, number, &claims)
    }

    /// What an authentic line has to agree with.
    fn authentic(&mut self, file: u64, number: u64, claims: &Claims) -> Result<(), ProblemKind> {
        let link = self.link.as_ref().expect("a line came before");
        if number == 1 {
            if claims.more.file != Some(file) {
                return Err(ProblemKind::OutOfPlace { found: claims.seq, expected: link.seq + 1 });
            }
            self.oldest = claims.more.oldest_file.unwrap_or(1);
        }
        self.lost = self.lost.saturating_add(claims.lost());
        if self.noted.is_some_and(|noted| noted.seq == link.seq && noted.mac != link.head) {
            return Err(ProblemKind::NotAsNoted { seq: link.seq });
        }
        match &self.state {
            Some(state) if state.link.seq == link.seq && !same(&state.link, link) => {
                Err(ProblemKind::WrongState)
            }
            _ => Ok(()),
        }
    }

    /// The place in the chain before the first line that there is.
    fn enter(&self, root: &Secret<32>, file: u64, claims: &Claims) -> Result<Link, ProblemKind> {
        let chain: ChainId = claims.more.chain_id.as_deref().and_then(array).ok_or(ProblemKind::Foreign)?;
        let first = Link::first(root, &chain);
        if file == 1 {
            return Ok(first);
        }
        let head = claims.more.previous_head.as_deref().and_then(array).ok_or(ProblemKind::Foreign)?;
        // A false number must not keep us busy for ever; a true one is never above that of the state.
        match &self.state {
            Some(state) if claims.seq > state.link.seq.saturating_add(MOST_UNSAVED) => {
                Err(ProblemKind::WrongState)
            }
            None if claims.seq > MOST_UNKNOWN => Err(ProblemKind::NoState),
            _ => Ok(first.before(claims.seq, head)),
        }
    }

    fn end(&self) -> Result<(), ProblemKind> {
        let state = self.state.as_ref().ok_or(ProblemKind::NoState)?;
        let seq = self.seq();
        if seq < state.link.seq {
            return Err(ProblemKind::Truncated { missing: state.link.seq - seq });
        }
        match self.noted {
            Some(noted) if noted.seq > seq => Err(ProblemKind::NotAsNoted { seq: noted.seq }),
            _ => Ok(()),
        }
    }

    fn seq(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.seq)
    }

    fn report(&self, stop: Option<Stop>) -> Report {
        let saved = self.state.as_ref().map_or(0, |state| state.link.seq);
        Report {
            files: self.files,
            lines: self.lines,
            last: self.seq(),
            head: self.link.as_ref().map(|link| hex::encode(link.head)).unwrap_or_default(),
            unsaved: self.seq().saturating_sub(saved),
            unfinished: self.unfinished,
            lost: self.lost,
            problem: match stop {
                Some(Stop::Problem(problem)) => Some(problem),
                _ => None,
            },
        }
    }
}

/// Whether the state's link is the one that the root leads to.
fn same(state: &Link, link: &Link) -> bool {
    state.head == link.head && crypto::equal(state.key.expose(), link.key.expose())
}

fn problem(file: String, line: u64, kind: ProblemKind) -> Stop {
    Stop::Problem(Problem { file, line, kind })
}

fn array<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
}

/// What of a line matters here.
#[derive(Deserialize)]
struct Claims {
    seq: u64,
    #[serde(rename = "eventName")]
    name: String,
    #[serde(rename = "additionalEventData")]
    more: More,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct More {
    chain_id: Option<String>,
    file: Option<u64>,
    oldest_file: Option<u64>,
    previous_head: Option<String>,
    count: Option<u64>,
}

impl Claims {
    fn of(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Events that the line says were lost.
    fn lost(&self) -> u64 {
        if self.name == EventName::EventsLost.as_str() { self.more.count.unwrap_or(0) } else { 0 }
    }
}

/// Lines that a state may be behind the log: more than any batch has.
const MOST_UNSAVED: u64 = 1 << 20;
/// Lines that are counted through where no state says how many there are.
const MOST_UNKNOWN: u64 = 1 << 32;
