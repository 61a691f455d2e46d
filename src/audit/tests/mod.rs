//! Tests of the log as a whole: written, read, tampered with, interrupted.

mod interrupted;
mod queue;
mod tampering;
mod written;

use std::{fs, path::PathBuf};

use super::{Actor, Appender, AuditError, Event, EventName, Options, Problem, Report, verify};
use crate::crypto::Secret;

/// A log in a temporary directory.
struct Log {
    dir: tempfile::TempDir,
    root: Secret<32>,
    options: Options,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(dir.path().join("audit"));
        Self { dir, root: Secret::copy_from(&[7; 32]), options }
    }

    /// A log with `count` events, three files of ten lines or so.
    fn with(count: u64) -> Self {
        let mut log = Self::new();
        log.options.file_size = 3000;
        log.append(1..=count);
        log
    }

    fn appender(&self) -> Appender {
        Appender::open(&self.options, Some(&self.root)).unwrap()
    }

    /// One batch for each number.
    fn append(&self, numbers: impl IntoIterator<Item = u64>) {
        let mut appender = self.appender();
        numbers.into_iter().for_each(|number| appender.append(&[event(number)]).unwrap());
    }

    fn verify(&self) -> Result<Report, AuditError> {
        verify(&self.options.dir, &self.root, None)
    }

    fn report(&self) -> Report {
        self.verify().unwrap()
    }

    /// The first thing that is wrong, as `file:line`, and what it is.
    fn problem(&self) -> Option<(String, String)> {
        let Problem { file, line, kind } = self.report().problem?;
        Some((format!("{file}:{line}"), kind.to_string()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.dir.join(name)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.path(&format!("audit-{number:08}.jsonl"))
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(&self.options.dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some());
        files.sort();
        files
    }

    fn lines(&self, number: u64) -> Vec<String> {
        fs::read_to_string(self.file(number)).unwrap().lines().map(str::to_owned).collect()
    }

    fn write_lines(&self, number: u64, lines: &[String]) {
        fs::write(self.file(number), lines.concat_lines()).unwrap();
    }
}

trait ConcatLines {
    fn concat_lines(&self) -> String;
}

impl ConcatLines for [String] {
    fn concat_lines(&self) -> String {
        self.iter().flat_map(|line| [line, "\n"]).collect()
    }
}

pub(super) fn event(number: u64) -> Event {
    let actor =
        Actor { kind: "IAMUser", user_name: Some("ann".to_owned()), uid: 1000, gid: 100, ..Actor::default() };
    let mut event = Event::new(EventName::PutObject, actor);
    event.request.bucket = Some("photos".into());
    event.request.key = Some(format!("file-{number}"));
    event
}
