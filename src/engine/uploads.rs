//! Objects that were created through this mount and may not have their final name yet.
//!
//! Most tools write a file under a temporary name and rename it when it is complete. For policies and retention such a
//! file is like an upload in parts: creating it was judged, giving it its final name is judged as the PUT of that name,
//! and the temporary name was never an object that had to be read or deleted.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::store::NodeKey;

/// The unfinished objects of a mount.
#[derive(Default)]
pub(super) struct Uploads(Mutex<HashMap<NodeKey, Upload>>);

struct Upload {
    uid: u32,
    opens: u32,
    last_use: Instant,
}

/// How long an object may stay without its final name after it was last closed.
pub(super) const PATIENCE: Duration = Duration::from_mins(10);

/// Most objects remembered. Beyond that those that were not used for longest are taken for finished.
const MOST: usize = 16 * 1024;

impl Uploads {
    /// Notes that `uid` has created and opened an object.
    pub(super) fn begin(&self, key: NodeKey, uid: u32) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, upload| !upload.is_over());
        }
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key, Upload { uid, opens: 1, last_use: Instant::now() });
    }

    /// Notes that the creating open has ended.
    pub(super) fn closed(&self, key: NodeKey) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upload) = all.get_mut(&key) {
            upload.opens = 0;
            upload.last_use = Instant::now();
        }
    }

    /// Whether `uid` has created the object and nobody has named it finally.
    pub(super) fn is_unfinished(&self, key: NodeKey, uid: u32) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&key).is_some_and(|upload| upload.uid == uid && !upload.is_over())
    }

    /// Notes that the object has its final name, or none any more.
    pub(super) fn finish(&self, key: NodeKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

impl Upload {
    fn is_over(&self) -> bool {
        self.opens == 0 && self.last_use.elapsed() > PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ino: u64) -> NodeKey {
        NodeKey { dev: 1, ino }
    }

    #[test]
    fn an_upload_is_its_creators_until_it_is_finished() {
        let uploads = Uploads::default();
        uploads.begin(key(1), 7);
        assert!(uploads.is_unfinished(key(1), 7));
        assert!(!uploads.is_unfinished(key(1), 8));
        assert!(!uploads.is_unfinished(key(2), 7));
        uploads.closed(key(1));
        assert!(uploads.is_unfinished(key(1), 7), "tools rename after they have closed");
        uploads.finish(key(1));
        assert!(!uploads.is_unfinished(key(1), 7));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let uploads = Uploads::default();
        for ino in 0..=MOST as u64 {
            uploads.begin(key(ino), 7);
        }
        assert!(uploads.0.lock().unwrap().len() <= MOST);
        assert!(uploads.is_unfinished(key(MOST as u64), 7));
    }
}
