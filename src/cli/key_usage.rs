//! How many objects need a key: a walk through the headers in a store. Needs no key, so nothing counted is proven.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde::Serialize;

use crate::{
    envelope::{Id, Provider, RecordType, WrappedKey},
    keys::{BucketKey, KeyId, KeyService, MAX_BUCKET_KEY_RECORD, SealedBucketKey},
    object::{FormatError, HEADER_READ, Header, KeySection},
    store::layout::{BUCKET_DIR, KEK_DIR, STORE_DIR},
};

/// What needs a key.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    /// Objects that cannot be opened without it.
    pub(super) objects: u64,
    /// Bucket keys that it wraps.
    pub(super) bucket_keys: u64,
    /// When the newest of these was made, in seconds since 1970.
    pub(super) newest: Option<u64>,
    /// Objects and bucket keys that could not be read.
    pub(super) unreadable: u64,
}

/// The walk: what is looked for, and what was found so far.
struct Walk<'a> {
    service: &'a KeyService,
    key: &'a KeyId,
    bar: ProgressBar,
    count: Count,
}

/// The master key of each bucket key of one bucket; `None` where it is not of this store.
type Masters = HashMap<Id, Option<KeyId>>;

impl Count {
    /// Counts what needs `key` in the store at `store`.
    pub(super) fn of(store: &Path, service: &KeyService, key: &KeyId) -> anyhow::Result<Self> {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let mut walk = Walk { service, key, bar, count: Self::default() };
        for entry in entries(store)? {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir && entry.file_name() != STORE_DIR && entry.path().join(BUCKET_DIR).is_dir() {
                walk.bucket(&entry.path())?;
            }
        }
        walk.bar.finish_and_clear();
        Ok(walk.count)
    }
}

impl Walk<'_> {
    fn bucket(&mut self, bucket: &Path) -> anyhow::Result<()> {
        let masters = self.bucket_keys(&bucket.join(BUCKET_DIR).join(KEK_DIR))?;
        let mut left = vec![bucket.to_owned()];
        while let Some(dir) = left.pop() {
            for entry in entries(&dir)? {
                let Ok(kind) = entry.file_type() else {
                    self.count.unreadable += 1;
                    continue;
                };
                if kind.is_file() {
                    self.bar.inc(1);
                    self.object(&entry.path(), &masters);
                } else if kind.is_dir() && entry.file_name() != BUCKET_DIR {
                    left.push(entry.path());
                }
            }
        }
        Ok(())
    }

    /// Reads the files of a bucket's keys.
    fn bucket_keys(&mut self, dir: &Path) -> anyhow::Result<Masters> {
        let mut masters = Masters::new();
        for entry in entries(dir)? {
            let read = read_start(&entry.path(), MAX_BUCKET_KEY_RECORD);
            let Some(sealed) = read.ok().and_then(|bytes| SealedBucketKey::decode(&bytes).ok()) else {
                self.count.unreadable += 1;
                continue;
            };
            let claims = sealed.claims();
            let master = self.service.key_of(&claims.wrapped).ok();
            if master.as_ref() == Some(self.key) {
                self.count.bucket_keys += 1;
                self.made_at(claims.created);
            }
            masters.insert(claims.id, master);
        }
        Ok(masters)
    }

    fn object(&mut self, path: &Path, masters: &Masters) {
        let header = match read_start(path, HEADER_READ) {
            Ok(start) => Header::decode(&start),
            // Deleted since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(_) => return self.count.unreadable += 1,
        };
        match header {
            Ok(header) if self.is_needed(&header.keys, masters) => {
                self.count.objects += 1;
                self.made_at(header.identity.created / 1_000_000_000);
            }
            // A plain file needs no key.
            Ok(_) | Err(FormatError::NotAnObject) => {}
            Err(_) => self.count.unreadable += 1,
        }
    }

    fn is_needed(&self, section: &KeySection, masters: &Masters) -> bool {
        let data_keys = |record: &&WrappedKey| {
            matches!(record.kind, RecordType::DataKey1 | RecordType::DataKey2 | RecordType::Recovery)
        };
        let mut records = section.records.iter().filter(data_keys);
        records.any(|record| self.master(record, section, masters).as_ref() == Some(self.key))
    }

    /// The master key that a data key depends on. The file of a bucket key goes before its copy in the object, which
    /// may be older.
    fn master(&self, record: &WrappedKey, section: &KeySection, masters: &Masters) -> Option<KeyId> {
        if record.provider != Provider::BucketKey {
            return self.service.key_of(record).ok();
        }
        match BucketKey::named_by(record).and_then(|id| masters.get(&id)) {
            Some(master) => master.clone(),
            None => self.service.key_of(section.find(RecordType::EmbeddedBucketKey)?).ok(),
        }
    }

    fn made_at(&mut self, seconds: u64) {
        self.count.newest = self.count.newest.max(Some(seconds));
    }
}

/// What is in `dir`; nothing if it was deleted since it was listed.
fn entries(dir: &Path) -> anyhow::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir).and_then(Iterator::collect) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.with_context(|| format!("cannot look at `{}`", dir.display())),
    }
}

fn read_start(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
