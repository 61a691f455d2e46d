//! The bucket keys that wrap new data keys: chosen, made and replaced.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Result, clock,
    wraps::{Wraps, unusable},
};
use crate::{
    envelope::{EncryptionContext, Id},
    keys::{BucketKey, BucketKeyError, KeyError, KeyId, MasterKey, SERVICE_KEY},
    name::FileName,
    object::KeySection,
    store::{
        layout::{KEK_DIR, fixed},
        small,
    },
};

impl Wraps {
    /// The bucket key that wraps new data keys under `master`: the newest stored one that still wraps, unless `master` was
    /// rotated since; else a new one.
    pub(super) fn wrapping_key(&self, master: &KeyId) -> Result<Arc<BucketKey>> {
        let load = || {
            let now = clock::now_secs();
            match self.newest_key(master, now)? {
                Some(key) => self.unless_rotated(master, key, now),
                None => self.make_key(master, now),
            }
        };
        let key = self.wrapping.get_shared(master.clone(), load)?;
        if key.wraps_at(clock::now_secs()) {
            return Ok(key);
        }
        self.wrapping.forget(master);
        Ok(self.wrapping.get_shared(master.clone(), load)?)
    }

    /// The bucket key of SSE-S3 that wraps new data keys.
    pub(super) fn service_wrapping_key(&self) -> Result<Arc<BucketKey>> {
        self.wrapping_key(&service_key())
    }

    /// `key`, or a new one if `master` has a newer version than `key` is under. Asked once an hour, as the key itself is;
    /// where nobody can tell, or make a new one now, the key goes on until its 30 days are over.
    fn unless_rotated(
        &self,
        master: &KeyId,
        key: Arc<BucketKey>,
        now: u64,
    ) -> std::result::Result<Arc<BucketKey>, BucketKeyError> {
        match self.service().is_newest(&key.record().wrapped) {
            Ok(Some(false)) => {}
            Ok(Some(true) | None) => return Ok(key),
            Err(error) => {
                log::info!("whether key `{master}` was rotated cannot be told: {error}");
                return Ok(key);
            }
        }
        // Made later than the other, also within one second: the latest is the one that wraps.
        match self.make_key(master, now.max(key.record().created.saturating_add(1))) {
            Err(BucketKeyError::Key(error @ (KeyError::Unavailable { .. } | KeyError::Denied { .. }))) => {
                log::warn!("key `{master}` was rotated, and its last version wraps on: {error}");
                Ok(key)
            }
            made => {
                made.inspect(|_| log::info!("key `{master}` was rotated: a new bucket key wraps from now on"))
            }
        }
    }

    fn newest_key(
        &self,
        master: &KeyId,
        now: u64,
    ) -> std::result::Result<Option<Arc<BucketKey>>, BucketKeyError> {
        let mut found = self.stored_keys(master).map_err(|error| unusable(&error))?;
        found.sort_unstable();
        while let Some((_, id)) = found.pop() {
            match self.keys.get(id, || self.load_key(id, 1, &KeySection::default())) {
                Ok(key) if key.wraps_at(now) => return Ok(Some(key)),
                Ok(_) => {}
                Err(error) if is_of_this_key(&error) => log::warn!("bucket key {id} is not used: {error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// When the stored bucket keys under `master` were made, and their ids, as their files claim.
    fn stored_keys(&self, master: &KeyId) -> std::io::Result<Vec<(u64, Id)>> {
        let (dir, _) = self.private.lookup(&fixed(KEK_DIR))?;
        let mut found = Vec::new();
        let mut entries = dir.entries()?;
        while let Some(entry) = entries.next()? {
            let Some(id) = entry.name.to_str().and_then(Id::from_hex) else { continue };
            if let Ok(Some(sealed)) = self.read_key_file(id)
                && self.service().key_of(&sealed.claims().wrapped).is_ok_and(|key| key == *master)
            {
                found.push((sealed.claims().created, id));
            }
        }
        Ok(found)
    }

    /// Makes a bucket key under `master` and stores its record durably before anything is wrapped with it.
    fn make_key(&self, master: &KeyId, now: u64) -> std::result::Result<Arc<BucketKey>, BucketKeyError> {
        let user = EncryptionContext::default();
        let key = BucketKey::create(&**self.service(), master.as_str(), self.bucket, &user, now)?;
        let name = FileName::parse(key.id().to_string().as_ref()).expect("hex digits are a file name");
        let stored = self
            .private
            .lookup(&fixed(KEK_DIR))
            .and_then(|(dir, _)| small::replace(&dir, &name, &key.encode_record(), 0o600));
        stored.map_err(|error| unusable(&error))?;
        let wrapped = &key.record().wrapped;
        // A provider that writes no versions into its records notes now which one this is.
        if wrapped.key_version == 0
            && let Err(error) = self.service().is_newest(wrapped)
        {
            log::debug!("the version of key `{master}` is unknown: {error}");
        }
        Ok(self.keys.insert(key))
    }

    /// Uses `key`, a stored bucket key wrapped anew, in place of its old form.
    pub(super) fn renewed(&self, key: BucketKey) {
        self.keys.insert(key);
        self.wrapping.purge();
    }

    /// Makes a new bucket key for each master key that has one here; they wrap new data keys from now on.
    pub(super) fn renew_keys(&self) -> Result<()> {
        let (dir, _) = self.private.lookup(&fixed(KEK_DIR))?;
        let mut masters = BTreeSet::new();
        let mut entries = dir.entries()?;
        while let Some(entry) = entries.next()? {
            let Some(id) = entry.name.to_str().and_then(Id::from_hex) else { continue };
            if let Some(sealed) = self.read_key_file(id)? {
                masters.insert(self.service().key_of(&sealed.claims().wrapped)?);
            }
        }
        for master in masters {
            // Made later than all others, also within one second: the latest is the one that wraps.
            let last = self.stored_keys(&master)?.into_iter().map(|(created, _)| created).max();
            self.make_key(&master, clock::now_secs().max(last.unwrap_or(0) + 1))?;
        }
        self.wrapping.purge();
        Ok(())
    }

    /// Makes the first bucket key of a new bucket.
    pub(super) fn make_first_key(&self) -> Result<()> {
        self.make_key(&service_key(), clock::now_secs())?;
        Ok(())
    }
}

/// The key of SSE-S3.
pub(super) fn service_key() -> KeyId {
    SERVICE_KEY.parse().expect("the name of the service key is a key id")
}

/// Whether the fault lies with one bucket key, so that another one may do. Otherwise its master key cannot be used.
fn is_of_this_key(error: &BucketKeyError) -> bool {
    use KeyError::{Destroyed, Rejected, Unknown};
    match error {
        BucketKeyError::Key(error) => matches!(error, Rejected { .. } | Unknown { .. } | Destroyed { .. }),
        BucketKeyError::Damaged { .. } | BucketKeyError::Misplaced { .. } => true,
        BucketKeyError::Store { .. } => false,
    }
}
