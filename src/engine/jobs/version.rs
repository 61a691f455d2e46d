//! What tells one state of an object from the next.

use std::time::Duration;

use super::description::Description;
use crate::{
    engine::{
        OpenFile, Result, clock,
        file::Content,
        item::damaged,
        live::{Sync, read_header},
    },
    envelope::Id,
    object::{FormatError, Header},
    store::{Access, NodeRef, Stat, Timestamp},
};

/// The state of a file.
pub(super) struct Version {
    pub(super) size: u64,
    pub(super) stat: Stat,
    commit: Option<Commit>,
}

/// Which object it is, and how often its content was committed.
#[derive(PartialEq)]
struct Commit {
    object: Id,
    generation: u64,
    rewraps: u32,
}

impl Version {
    /// That of a file, once nothing of it is unsaved.
    pub(super) fn of(file: &OpenFile) -> Result<Self> {
        Ok(match file.content() {
            Content::Plain(plain) => {
                let stat = plain.stat()?;
                Self { stat, size: stat.size, commit: None }
            }
            Content::Encrypted(object) => {
                object.commit(Sync::Settled)?;
                Self::sealed(object.stat()?, &object.header())
            }
        })
    }

    /// The same, with a stamp that every later change differs from; nothing while somebody keeps changing the file. File
    /// systems stamp by a clock that ticks a few milliseconds apart: of two changes within a tick the second is not seen.
    pub(super) fn settled(file: &OpenFile) -> Result<Option<Self>> {
        for _ in 0..ATTEMPTS {
            let version = Self::of(file)?;
            let (now, stamp) = (clock::now(), version.stat.ctime);
            let age = Duration::new(u64::try_from(now.sec).unwrap_or(0), now.nsec)
                .checked_sub(Duration::new(u64::try_from(stamp.sec).unwrap_or(0), stamp.nsec));
            // A stamp of the future says nothing about when it was made.
            if age.is_none_or(|age| age >= TICK) {
                return Ok(Some(version));
            }
            std::thread::sleep(TICK);
        }
        Ok(None)
    }

    /// That of a file which nobody has open, as its header tells.
    pub(super) fn stored(node: &NodeRef) -> Result<Self> {
        let file = node.open(Access::Read)?;
        let stat = file.stat()?;
        match read_header(&file)? {
            Ok((_, header)) => Ok(Self::sealed(stat, &header)),
            Err(FormatError::NotAnObject) => Ok(Self { stat, size: stat.size, commit: None }),
            Err(reason) => Err(damaged(node, reason)),
        }
    }

    /// That of a file which nobody has open and which is `described` so.
    pub(super) fn described(stat: Stat, described: &Description) -> Option<Self> {
        match described {
            Description::Encrypted(sealing) => Some(Self::sealed(stat, &sealing.header)),
            Description::Plain => Some(Self { stat, size: stat.size, commit: None }),
            Description::Damaged(_) => None,
        }
    }

    fn sealed(stat: Stat, header: &Header) -> Self {
        let commit = Commit {
            object: header.identity.object,
            generation: header.state.generation,
            rewraps: header.keys.rewraps,
        };
        Self { stat, size: header.state.size, commit: Some(commit) }
    }

    /// Whether nothing was changed in between; reading is no change.
    pub(super) fn is(&self, other: &Self) -> bool {
        let owner = |stat: &Stat| (stat.mode, stat.uid, stat.gid);
        let facts = |it: &Self| (it.size, it.stat.nlink, it.stat.mtime, it.stat.ctime, owner(&it.stat));
        facts(self) == facts(other) && self.commit == other.commit
    }

    /// A text that is another one when the content may be; `mtime` is the time to go by. A rewrap is no change.
    pub(super) fn mark(&self, mtime: Timestamp) -> String {
        let time = format!("{}.{:09}", mtime.sec, mtime.nsec);
        match &self.commit {
            Some(Commit { object, generation, rewraps }) => {
                let commits = generation.saturating_sub((*rewraps).into());
                format!("{object}:{commits}:{}:{time}", self.size)
            }
            None => format!("{}:{}:{time}", self.stat.key.ino, self.size),
        }
    }
}

/// Longer than any tick of the clock that stamps files.
const TICK: Duration = Duration::from_millis(20);
/// How often a file that changes is looked at.
const ATTEMPTS: usize = 5;
