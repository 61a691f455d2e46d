//! The few records of a bucket that its master keys wrap: its root secret and its bucket keys.
//!
//! Each is wrapped again under the newest version of its master key and replaced as a whole, after the new wrap was
//! proven to open. The old wrap goes with the replacement. No object is touched.

use std::path::{Path, PathBuf};

use super::{
    description::{KeyFiles, file_of},
    report::Done,
};
use crate::{
    engine::{
        Bucket, EngineError, Result,
        settings::{MAX_SETTINGS, Settings},
    },
    envelope::{Id, WrappedKey},
    keys::{
        BucketKeyError, BucketRoot, KeyId, KeyService, MAX_BUCKET_KEY_RECORD, MasterKey, SealedBucketKey,
    },
    store::{
        layout::{BUCKET_DIR, BUCKET_FILE, KEK_DIR, fixed},
        small,
    },
};

/// Where one of the records stands, and what became of it.
pub(super) type Record = (PathBuf, Result<Done>);

/// Wraps the records of `bucket` again that are not under the newest version of their master key, or says what would
/// be. Without `key`, all of them; else those under this master key.
pub(super) fn rewrap(bucket: &Bucket, key: Option<&KeyId>, dry_run: bool) -> Result<Vec<Record>> {
    let root = Path::new(BUCKET_DIR).join(BUCKET_FILE);
    let mut records = vec![(root, rewrap_root(bucket, key, dry_run))];
    for id in KeyFiles::new(bucket.private())?.ids()? {
        let path = Path::new(BUCKET_DIR).join(KEK_DIR).join(id.to_string());
        records.push((path, rewrap_key(bucket, id, key, dry_run)));
    }
    Ok(records)
}

/// What is to be done with the record `old`, when a fresh wrap is `new`. A provider may keep its versions to itself and
/// still know that they are not the same.
fn plan(
    service: &KeyService,
    name: &str,
    (old, new): (&WrappedKey, &WrappedKey),
    dry_run: bool,
) -> (bool, Done) {
    let (from, to) = (old.key_version, new.key_version);
    let what = if from != to {
        format!("from version {from} to {to} of `{name}`")
    } else if matches!(service.is_newest(old), Ok(Some(false))) {
        format!("from an older version to the newest of `{name}`")
    } else {
        return (false, Done::skipped(format!("already under version {to} of `{name}`")));
    };
    if dry_run { (false, Done::planned(what)) } else { (true, Done::succeeded(what)) }
}

fn other_key(name: &str) -> Done {
    Done::skipped(format!("under another key, `{name}`"))
}

fn rewrap_root(bucket: &Bucket, key: Option<&KeyId>, dry_run: bool) -> Result<Done> {
    let damaged = |reason: String| EngineError::Bucket { bucket: bucket.name().to_string(), reason };
    let (private, service) = (bucket.private(), &**bucket.wraps().service());
    let bytes = small::read(private, &fixed(BUCKET_FILE), MAX_SETTINGS)?;
    let mut wrap = None;
    let (settings, root, _) = Settings::decode(&bytes, |wrapped, id| {
        wrap = Some(wrapped.clone());
        BucketRoot::open(wrapped, id, service)
    })
    .map_err(|error| damaged(error.to_string()))?;
    let old = wrap.ok_or_else(|| damaged("its root secret is not wrapped".to_owned()))?;
    let name = service.key_of(&old)?.as_str().to_owned();
    if key.is_some_and(|key| key.as_str() != name) {
        return Ok(other_key(&name));
    }
    let new = root.wrap(service, &name, settings.id, &old.context)?;
    let (go, done) = plan(service, &name, (&old, &new), dry_run);
    if go {
        let bytes = settings.encode(&root, &new);
        Settings::decode(&bytes, |wrapped, id| BucketRoot::open(wrapped, id, service))
            .map_err(|error| damaged(error.to_string()))?;
        small::replace(private, &fixed(BUCKET_FILE), &bytes, 0o600)?;
    }
    Ok(done)
}

fn rewrap_key(bucket: &Bucket, id: Id, key: Option<&KeyId>, dry_run: bool) -> Result<Done> {
    let service = &**bucket.wraps().service();
    let (dir, _) = bucket.private().lookup(&fixed(KEK_DIR))?;
    let bytes = small::read(&dir, &file_of(id), MAX_BUCKET_KEY_RECORD)?;
    let sealed = SealedBucketKey::decode(&bytes)?;
    let name = service.key_of(&sealed.claims().wrapped)?.as_str().to_owned();
    if key.is_some_and(|key| key.as_str() != name) {
        return Ok(other_key(&name));
    }
    let old = sealed.open(id, bucket.id(), service)?;
    let new = old.rewrapped(service, &name)?;
    let wraps = (&old.record().wrapped, &new.record().wrapped);
    let (go, done) = plan(service, &name, wraps, dry_run);
    if go {
        let bytes = new.encode_record();
        let proven = SealedBucketKey::decode(&bytes)?.open(id, bucket.id(), service)?;
        if proven.record() != new.record() {
            return Err(BucketKeyError::Damaged { why: "the new record does not read back".into() }.into());
        }
        small::replace(&dir, &file_of(id), &bytes, 0o600)?;
        bucket.wraps().renewed(new);
    }
    Ok(done)
}
