//! Whether a bucket was closed cleanly, and until when it was not.
//!
//! A file that was created and never written has no header yet. A crash leaves such files behind, and they are empty;
//! but a file that somebody cut to nothing looks the same. The time of the last crash tells them apart: what was
//! last changed after it, in a bucket that was closed cleanly, is no leftover.

use std::io::ErrorKind;

use super::{Result, clock};
use crate::{
    crypto,
    keys::BucketRoot,
    store::{NodeRef, Timestamp, layout::fixed, small},
};

/// Present while the bucket is in use.
const OPEN: &str = "open";
/// The time until which files may be leftovers of a crash, authenticated.
const CRASHED: &str = "crashed";
/// Longest content of either file, in bytes.
const MOST: usize = 256;

/// Notes that the bucket with the reserved directory `private` is in use. Until when files without a header may be
/// leftovers of a crash: now, if it was not closed; else the end of the crash that is on record.
pub(super) fn open(private: &NodeRef, root: &BucketRoot) -> Result<Option<Timestamp>> {
    match small::read(private, &fixed(OPEN), MOST) {
        Ok(_) => {
            let now = clock::now();
            small::replace(private, &fixed(CRASHED), record(now, root).as_bytes(), 0o600)?;
            Ok(Some(now))
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

fn on_record(private: &NodeRef, root: &BucketRoot) -> Result<Option<Timestamp>> {
    let text = match small::read(private, &fixed(CRASHED), MOST) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let sec = std::str::from_utf8(&text).ok().and_then(|text| text.split_once(' ')?.0.parse().ok());
    let time = sec.map(|sec| Timestamp { sec, nsec: 0 });
    // A record that is not ours says nothing, and then files without a header are damage.
    Ok(time.filter(|time| crypto::equal(record(*time, root).as_bytes(), &text)))
}

/// The time in whole seconds, and its MAC.
fn record(time: Timestamp, root: &BucketRoot) -> String {
    let mac =
        crypto::hmac_sha256(root.settings_mac_key().expose(), &[b"EOB1/crashed", &time.sec.to_be_bytes()]);
    format!("{} {}\n", time.sec, hex::encode(mac))
}

/// Whether a file last changed at `changed` may be a leftover of the crash that ended at `end`.
pub(super) fn covers(end: Option<Timestamp>, changed: Timestamp) -> bool {
    end.is_some_and(|end| changed.sec <= end.sec)
}
