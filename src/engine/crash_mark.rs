//! Whether a bucket was closed cleanly, and until when it was not.
//!
//! A file that was created and never written has no header yet. A crash leaves such files behind, and they are empty;
//! but a file that somebody cut to nothing looks the same. The times of the last crash tell them apart: what was
//! changed after it, or before the use that it ended, is no leftover. In the same way the size of a file is looked
//! up in its header, not derived from its length, where an append may have been interrupted; and an object that was
//! never synced may have lost its end. A leftover stays one when the next use crashes as well: the times of the last
//! few crashes are kept.

use std::{
    collections::HashSet,
    io::ErrorKind,
    sync::{Mutex, PoisonError},
};

use super::{Result, clock};
use crate::{
    crypto,
    keys::BucketRoot,
    store::{NodeKey, NodeRef, Stat, Timestamp, layout::fixed, small},
};

/// Present while the bucket is in use, since its modification time.
const OPEN: &str = "open";
/// The last uses that crashes ended, authenticated.
const CRASHED: &str = "crashed";
/// Longest content of either file, in bytes.
const MOST: usize = 1024;
/// How many crashes are remembered.
const MOST_USES: usize = 16;

/// The uses of a bucket that crashes ended. What was last changed in one of them may be unfinished.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    /// The latest last.
    uses: Vec<Use>,
    /// Objects that were found to be whole, by their time of change: they need not be read again.
    whole: Mutex<HashSet<(NodeKey, Timestamp)>>,
}

/// Beginning and end of a use, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    begun: i64,
    ended: i64,
}

impl Crashes {
    /// Whether a file last changed at `changed` may have been left unfinished.
    pub(super) fn cover(&self, changed: Timestamp) -> bool {
        self.uses.iter().any(|it| (it.begun..=it.ended).contains(&changed.sec))
    }

    /// Whether the object with this `stat` was found to be whole.
    pub(super) fn is_whole(&self, stat: &Stat) -> bool {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).contains(&(stat.key, stat.ctime))
    }

    /// Notes that the object with this `stat` is whole.
    pub(super) fn note_whole(&self, stat: &Stat) {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).insert((stat.key, stat.ctime));
    }

    fn note(&mut self, crash: Use) {
        self.uses.push(crash);
        let surplus = self.uses.len().saturating_sub(MOST_USES);
        self.uses.drain(..surplus);
    }

    /// The times, and their MAC.
    fn record(&self, root: &BucketRoot) -> String {
        let times = self.uses.iter().flat_map(|it| [it.begun, it.ended]);
        let bytes: Vec<u8> = times.clone().flat_map(i64::to_be_bytes).collect();
        let mac = crypto::hmac_sha256(root.settings_mac_key().expose(), &[b"EOB1/crashed", bytes.as_slice()]);
        let words = times.map(|time| time.to_string()).chain([hex::encode(mac)]);
        words.collect::<Vec<_>>().join(" ") + "\n"
    }
}

/// Notes that the bucket with the reserved directory `private` is in use. The crashes on record; that of the use before
/// among them, if the bucket was not closed.
pub(super) fn open(private: &NodeRef, root: &BucketRoot) -> Result<Crashes> {
    let mut crashes = on_record(private, root)?;
    match private.lookup(&fixed(OPEN)) {
        Ok((_, stat)) => {
            crashes.note(Use { begun: stat.mtime.sec, ended: clock::now().sec });
            small::replace(private, &fixed(CRASHED), crashes.record(root).as_bytes(), 0o600)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    small::replace(private, &fixed(OPEN), b"in use\n", 0o600)?;
    Ok(crashes)
}

/// Notes that the bucket is complete as it stands.
pub(super) fn close(private: &NodeRef) -> Result<()> {
    private.unlink(&fixed(OPEN))?;
    Ok(private.sync_dir()?)
}

fn on_record(private: &NodeRef, root: &BucketRoot) -> Result<Crashes> {
    let text = match small::read(private, &fixed(CRASHED), MOST) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Crashes::default()),
        Err(error) => return Err(error.into()),
    };
    // A record that is not ours says nothing, and then files without a header are damage.
    let crashes = parse(&text).filter(|found| crypto::equal(found.record(root).as_bytes(), &text));
    Ok(crashes.unwrap_or_default())
}

fn parse(text: &[u8]) -> Option<Crashes> {
    let (times, _mac) = std::str::from_utf8(text).ok()?.rsplit_once(' ')?;
    let times = times.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<i64>>>()?;
    let uses = times.chunks(2).map(|pair| Some(Use { begun: *pair.first()?, ended: *pair.get(1)? }));
    Some(Crashes { uses: uses.collect::<Option<_>>()?, ..Crashes::default() })
}
