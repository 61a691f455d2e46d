//! Whether a bucket was closed cleanly, and until when it was not.
//!
//! A file that was created and never written has no header yet. A crash leaves such files behind, and they are empty;
//! but a file that somebody cut to nothing looks the same. The times of the last crash tell them apart: what was
//! changed after it, or before the use that it ended, is no leftover. In the same way the size of a file is looked
//! up in its header, not derived from its length, where an append may have been interrupted.

use std::io::ErrorKind;

use super::{Result, clock};
use crate::{
    crypto,
    keys::BucketRoot,
    store::{NodeRef, Timestamp, layout::fixed, small},
};

/// Present while the bucket is in use, since its modification time.
const OPEN: &str = "open";
/// The last use that a crash ended, authenticated.
const CRASHED: &str = "crashed";
/// Longest content of either file, in bytes.
const MOST: usize = 256;

/// The use of a bucket that a crash ended, in Unix seconds. What was last changed in between may be unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crash {
    begun: i64,
    ended: i64,
}

impl Crash {
    /// Whether a file last changed at `changed` may have been left unfinished.
    pub(super) fn covers(self, changed: Timestamp) -> bool {
        (self.begun..=self.ended).contains(&changed.sec)
    }

    /// The times, and their MAC.
    fn record(self, root: &BucketRoot) -> String {
        let Self { begun, ended } = self;
        let key = root.settings_mac_key();
        let mac =
            crypto::hmac_sha256(key.expose(), &[b"EOB1/crashed", &begun.to_be_bytes(), &ended.to_be_bytes()]);
        format!("{begun} {ended} {}\n", hex::encode(mac))
    }
}

/// Notes that the bucket with the reserved directory `private` is in use. The last crash: that of the use before, if
/// the bucket was not closed, else the one on record.
pub(super) fn open(private: &NodeRef, root: &BucketRoot) -> Result<Option<Crash>> {
    match private.lookup(&fixed(OPEN)) {
        Ok((_, stat)) => {
            let crash = Crash { begun: stat.mtime.sec, ended: clock::now().sec };
            small::replace(private, &fixed(CRASHED), crash.record(root).as_bytes(), 0o600)?;
            small::replace(private, &fixed(OPEN), b"in use\n", 0o600)?;
            Ok(Some(crash))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            small::replace(private, &fixed(OPEN), b"in use\n", 0o600)?;
            on_record(private, root)
        }
        Err(error) => Err(error.into()),
    }
}

/// Notes that the bucket is complete as it stands.
pub(super) fn close(private: &NodeRef) -> Result<()> {
    private.unlink(&fixed(OPEN))?;
    Ok(private.sync_dir()?)
}

fn on_record(private: &NodeRef, root: &BucketRoot) -> Result<Option<Crash>> {
    let text = match small::read(private, &fixed(CRASHED), MOST) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A record that is not ours says nothing, and then files without a header are damage.
    Ok(parse(&text).filter(|crash| crypto::equal(crash.record(root).as_bytes(), &text)))
}

fn parse(text: &[u8]) -> Option<Crash> {
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    Some(Crash { begun: words.next()?.parse().ok()?, ended: words.next()?.parse().ok()? })
}
