//! Reading a log without a key: for `audit show` and `audit tail`. Nothing here is proven.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{AuditError, append::MAX_LINE, error::io_error, place::Place};

/// A line of a log.
#[derive(Debug, Clone)]
pub struct Record {
    line: String,
    value: Value,
}

/// Which lines are wanted; what is `None` matches all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// From this moment on.
    pub since: Option<jiff::Timestamp>,
    /// Before this moment.
    pub until: Option<jiff::Timestamp>,
    /// User name, number or ARN.
    pub user: Option<String>,
    /// `eventName`; with `*` at the end, how it begins.
    pub event: Option<String>,
    /// Bucket.
    pub bucket: Option<String>,
    /// Path of the object in its bucket; with `*` at the end, how it begins.
    pub key: Option<String>,
    /// ARN or name of a master key.
    pub master_key: Option<String>,
    /// `decision`.
    pub decision: Option<&'static str>,
    /// Denied or failed ones only.
    pub failed: bool,
}

impl Record {
    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
        let value = serde_json::from_str::<Value>(line).ok().filter(Value::is_object)?;
        Some(Self { line: line.to_owned(), value })
    }

    /// The line as it stands in the file.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// A text in it, by its path of names; empty where there is none.
    pub fn text(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number in it.
    pub fn number(&self, path: &[&str]) -> Option<u64> {
        self.at(path).and_then(Value::as_u64)
    }

    /// Who: the user's name, else its number.
    pub fn user(&self) -> String {
        let name = self.text(&["userIdentity", "userName"]);
        let number = || self.number(&["userIdentity", "uid"]).map(|uid| uid.to_string());
        if name.is_empty() { number().unwrap_or_default() } else { name.to_owned() }
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.value, |value, name| value.get(name))
    }
}

impl Filter {
    /// Whether `record` is wanted.
    pub fn takes(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, path: &[&str]| {
            wanted.as_ref().is_none_or(|wanted| record.text(path) == wanted)
        };
        let uid = record.number(&["userIdentity", "uid"]).map(|uid| uid.to_string());
        self.in_time(record)
            && self.user.as_ref().is_none_or(|user| {
                *user == record.user()
                    || Some(user) == uid.as_ref()
                    || user == record.text(&["userIdentity", "arn"])
            })
            && begins(self.event.as_ref(), record.text(&["eventName"]))
            && is(&self.bucket, &["requestParameters", "bucketName"])
            && begins(self.key.as_ref(), record.text(&["requestParameters", "key"]))
            && (is(&self.master_key, &["additionalEventData", "keyArn"])
                || is(&self.master_key, &["requestParameters", "keyId"]))
            && self.decision.is_none_or(|decision| decision == record.text(&["decision"]))
            && (!self.failed
                || record.text(&["decision"]) == "Deny"
                || !record.text(&["errorCode"]).is_empty())
    }

    fn in_time(&self, record: &Record) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let time: Option<jiff::Timestamp> = record.text(&["eventTime"]).parse().ok();
        time.is_some_and(|time| {
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
        })
    }
}

/// Whether `text` is what is wanted, or begins as that does up to its `*`.
fn begins(wanted: Option<&String>, text: &str) -> bool {
    wanted.is_none_or(|wanted| match wanted.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == wanted,
    })
}

/// Hands every line of the log in `dir` to `each`, oldest first, until that returns an error.
pub fn records<E: From<AuditError>>(
    dir: &Path,
    mut each: impl FnMut(Record) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Follow::from_start(dir)?;
    while let Some(record) = reader.next()? {
        each(record)?;
    }
    Ok(())
}

/// A reader that goes on where lines are added.
pub struct Follow {
    place: Place,
    number: u64,
    reader: BufReader<File>,
    path: PathBuf,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Follow {
    /// At the first line of the oldest file.
    pub fn from_start(dir: &Path) -> Result<Self, AuditError> {
        let place = Place::new(dir);
        let files = place.files()?;
        let (number, _) = *files.first().ok_or_else(|| AuditError::NoLog(dir.to_owned()))?;
        Self::open(place, number)
    }

    /// Past the end of the log; and the last `count` lines that are `wanted`.
    pub fn from_end(
        dir: &Path,
        count: usize,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<(Self, VecDeque<Record>), AuditError> {
        let mut follow = Self::from_start(dir)?;
        let mut last = VecDeque::with_capacity(count.min(1024));
        while let Some(record) = follow.next()? {
            if !wanted(&record) {
                continue;
            }
            last.push_back(record);
            if last.len() > count {
                last.pop_front();
            }
        }
        Ok((follow, last))
    }

    fn open(place: Place, number: u64) -> Result<Self, AuditError> {
        let path = place.file(number);
        let file = File::open(&path).map_err(io_error("open", &path))?;
        Ok(Self { place, number, reader: BufReader::new(file), path, partial: Vec::new() })
    }

    /// The next line; `None` while there is none. Something that is no line is passed over: `verify` names it.
    #[allow(clippy::should_implement_trait, reason = "after `None`, lines may follow")]
    pub fn next(&mut self) -> Result<Option<Record>, AuditError> {
        loop {
            let read = self.read_line();
            match read.map_err(io_error("read", &self.path))? {
                Some(line) => {
                    if let Some(record) = Record::parse(&line) {
                        return Ok(Some(record));
                    }
                }
                None if self.next_file()? => {}
                None => return Ok(None),
            }
        }
    }

    fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.partial)?;
        let whole = self.partial.ends_with(b"\n") || self.partial.len() as u64 >= MAX_LINE;
        Ok(whole.then(|| std::mem::take(&mut self.partial)))
    }

    /// Goes to the next file that there is, once it was begun: this one does not grow any more then.
    fn next_file(&mut self) -> Result<bool, AuditError> {
        let next = self.place.files()?.into_iter().find(|(number, _)| *number > self.number);
        let Some((number, _)) = next else { return Ok(false) };
        *self = Self::open(self.place.clone(), number)?;
        Ok(true)
    }
}
