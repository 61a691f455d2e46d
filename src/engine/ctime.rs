//! The change time (`ctime`) that an object shows although its header was rewritten.
//!
//! Backup programs take a file with another ctime for changed and read all of it. A rewrap changes nothing that they
//! could back up, but the file system below stamps the file, and no call can set that stamp. So the time before is kept
//! in a hidden attribute, with the time until which it stands for the stamp: what changes the file later stamps it later.
//! Only files stamped in the times of rewraps are asked for the attribute. Nothing here is secret or proven; the stamp
//! of the file system is not, either.

use std::{
    ffi::OsStr,
    io::ErrorKind,
    sync::{PoisonError, RwLock},
};

use super::{Result, clock};
use crate::store::{NodeRef, Stat, Timestamp, XattrMode, layout::fixed, small};

/// The times in which headers of a bucket were rewritten, from the first to the last.
pub(super) struct KeptTimes {
    private: NodeRef,
    span: RwLock<Option<Span>>,
}

/// Unix seconds; without an end while it goes on, and after a crash until the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    begun: i64,
    ended: Option<i64>,
}

impl KeptTimes {
    /// Those on record below the reserved directory `private`.
    pub(super) fn open(private: NodeRef) -> Result<Self> {
        let span = match small::read(&private, &fixed(REWRAPPED), MOST) {
            // A record that says nothing costs the times that were kept, and no more.
            Ok(text) => parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { private, span: RwLock::new(span) })
    }

    /// Headers are rewritten from now on.
    pub(super) fn begin(&self) -> Result<()> {
        let begun = self.span().map_or_else(|| clock::now().sec, |span| span.begun);
        self.note(Span { begun, ended: None })
    }

    /// All that were rewritten have their times.
    pub(super) fn end(&self) -> Result<()> {
        let now = clock::now().sec;
        self.note(Span { begun: self.span().map_or(now, |span| span.begun), ended: Some(now) })
    }

    fn note(&self, span: Span) -> Result<()> {
        let text = match span.ended {
            Some(ended) => format!("{} {ended}\n", span.begun),
            None => format!("{}\n", span.begun),
        };
        small::replace(&self.private, &fixed(REWRAPPED), text.as_bytes(), 0o600)?;
        *self.span.write().unwrap_or_else(PoisonError::into_inner) = Some(span);
        Ok(())
    }

    fn span(&self) -> Option<Span> {
        *self.span.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The change time to show for the file `node` with this `stat`.
    pub(super) fn shown(&self, node: &NodeRef, stat: &Stat) -> Timestamp {
        let stamped = |span: Span| {
            span.begun <= stat.ctime.sec && span.ended.is_none_or(|ended| stat.ctime.sec <= ended)
        };
        if !self.span().is_some_and(stamped) {
            return stat.ctime;
        }
        let kept = node.xattr(OsStr::new(ATTRIBUTE)).ok().and_then(|value| Kept::decode(&value));
        kept.filter(|kept| stat.ctime <= kept.until).map_or(stat.ctime, |kept| kept.shown)
    }
}

/// Lets `node` show the change time `shown` instead of the stamp that it has now; whether that can be done.
///
/// A file system stamps a change with the time of the last tick or, where the stamp was asked for before, with the exact
/// time. The second of two changes without a question in between gets none that is later than the clock between them.
pub(super) fn keep(node: &NodeRef, shown: Timestamp) -> bool {
    for _ in 0..ATTEMPTS {
        let first = put(node, Kept { shown, until: Timestamp::default() });
        let until = clock::now();
        if first.and_then(|()| put(node, Kept { shown, until })).is_err() {
            break;
        }
        if node.stat().is_ok_and(|stat| stat.ctime <= until) {
            return true;
        }
    }
    // Where there are no attributes there is nothing to remove.
    let _ = node.remove_xattr(OsStr::new(ATTRIBUTE));
    false
}

fn put(node: &NodeRef, kept: Kept) -> std::io::Result<()> {
    node.set_xattr(OsStr::new(ATTRIBUTE), &kept.encode(), XattrMode::Set)
}

/// The value of the attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    shown: Timestamp,
    until: Timestamp,
}

impl Kept {
    fn encode(self) -> [u8; 24] {
        let mut value = [0; 24];
        value[..8].copy_from_slice(&self.shown.sec.to_be_bytes());
        value[8..12].copy_from_slice(&self.shown.nsec.to_be_bytes());
        value[12..20].copy_from_slice(&self.until.sec.to_be_bytes());
        value[20..].copy_from_slice(&self.until.nsec.to_be_bytes());
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let value: &[u8; 24] = value.try_into().ok()?;
        let time = |at: usize| -> Option<Timestamp> {
            let sec = i64::from_be_bytes(value.get(at..at + 8)?.try_into().ok()?);
            let nsec = u32::from_be_bytes(value.get(at + 8..at + 12)?.try_into().ok()?);
            (nsec < 1_000_000_000).then_some(Timestamp { sec, nsec })
        };
        Some(Self { shown: time(0)?, until: time(12)? })
    }
}

fn parse(text: &[u8]) -> Option<Span> {
    let mut words = std::str::from_utf8(text).ok()?.split_whitespace();
    let begun = words.next()?.parse().ok()?;
    let ended = words.next().map(str::parse).transpose().ok()?;
    Some(Span { begun, ended })
}

/// In the reserved directory: the span.
const REWRAPPED: &str = "rewrapped";
/// Longest content of it, in bytes.
const MOST: usize = 64;
const ATTRIBUTE: &str = "user.strongroom.ctime";
const ATTEMPTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{name::FileName, store::LocalStore};

    #[test]
    fn a_time_is_shown_until_the_next_change() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "content").unwrap();
        let root = LocalStore::open_with_handles(dir.path(), 16).unwrap().root();
        let times = KeptTimes::open(root.clone()).unwrap();
        let (node, before) = root.lookup(&FileName::parse(OsStr::new("x")).unwrap()).unwrap();
        times.begin().unwrap();
        node.set_mode(0o600).unwrap();
        for _ in 0..50 {
            assert!(keep(&node, before.ctime));
            assert_eq!(times.shown(&node, &node.stat().unwrap()), before.ctime);
        }
        times.end().unwrap();
        let again = KeptTimes::open(root).unwrap();
        assert_eq!(again.shown(&node, &node.stat().unwrap()), before.ctime);
        while node.stat().unwrap().ctime <= clock::now()
            && times.shown(&node, &node.stat().unwrap()) == before.ctime
        {
            node.set_mode(0o640).unwrap();
        }
        let stat = node.stat().unwrap();
        assert_eq!(times.shown(&node, &stat), stat.ctime);
    }

    #[test]
    fn the_attribute_and_the_record_read_back() {
        let kept =
            Kept { shown: Timestamp { sec: -5, nsec: 7 }, until: Timestamp { sec: 9, nsec: 999_999_999 } };
        assert_eq!(Kept::decode(&kept.encode()), Some(kept));
        assert_eq!(Kept::decode(&[0xff; 24]), None);
        assert_eq!(parse(b"17 20\n"), Some(Span { begun: 17, ended: Some(20) }));
        assert_eq!(parse(b"17\n"), Some(Span { begun: 17, ended: None }));
        assert_eq!(parse(b"x"), None);
    }
}
