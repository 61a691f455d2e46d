//! What the header of a stored object tells about its encryption. Needs no key, so nothing in it is proven.

use std::{collections::HashMap, io, time::Duration};

use crate::{
    engine::live::read_header,
    envelope::{EncryptionContext, Id, Provider, RecordType, WrappedKey},
    keys::{BucketKey, BucketKeyRecord, KeyId, KeyScope, MAX_BUCKET_KEY_RECORD, SealedBucketKey},
    name::FileName,
    object::{FormatError, Header, SseMode},
    store::{
        Access, NodeRef,
        layout::{KEK_DIR, fixed},
        small,
    },
};

/// How an object is stored, as far as its header tells.
#[derive(Debug)]
pub(super) enum Description {
    /// As it is.
    Plain,
    /// With a header.
    Encrypted(Box<Sealing>),
    /// Its header cannot be read.
    Damaged(FormatError),
}

/// How an encrypted object keeps its data key.
#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) header: Header,
    /// The record of the bucket key that wraps the data key, where there is one and it has a file.
    pub(super) bucket_key: Option<BucketKeyRecord>,
}

impl Sealing {
    pub(super) fn mode(&self) -> SseMode {
        self.header.identity.mode
    }

    fn data_key(&self) -> Option<&WrappedKey> {
        self.header.keys.find(RecordType::DataKey1)
    }

    /// The wrap that the master key made: of the bucket key, else of the data key itself.
    fn master_wrap(&self) -> Option<&WrappedKey> {
        if self.data_key().is_some_and(|record| record.provider != Provider::BucketKey) {
            return self.data_key();
        }
        let stored = self.bucket_key.as_ref().map(|record| &record.wrapped);
        stored.or_else(|| self.header.keys.find(RecordType::EmbeddedBucketKey))
    }

    /// Name or ARN of the master key.
    pub(super) fn key(&self) -> Option<String> {
        self.master_wrap().filter(|wrap| wrap.provider != Provider::Customer).map(name_of)
    }

    /// ARN of the KMS key, where there is one; `Err` where only the keyring knows it.
    pub(super) fn key_arn(&self, scope: &KeyScope) -> Option<std::result::Result<String, String>> {
        let wrap = self.master_wrap().filter(|_| self.mode().is_kms())?;
        let name = name_of(wrap);
        Some(match (wrap.provider, name.parse::<KeyId>()) {
            (Provider::Keyring, Ok(id)) => Ok(scope.key_arn(&id)),
            _ if name.starts_with("arn:") => Ok(name),
            _ => Err(name),
        })
    }

    /// Version of the master key.
    pub(super) fn key_version(&self) -> Option<u32> {
        self.master_wrap().map(|wrap| wrap.key_version)
    }

    /// The user's pairs.
    pub(super) fn context(&self) -> Option<&EncryptionContext> {
        self.data_key().map(|record| &record.context)
    }

    /// Since when the data key is wrapped as it is, in Unix seconds, as far as it is known: not before its bucket key was
    /// made, and, if it was never rewrapped, not before the object was.
    pub(super) fn wrapped_since(&self) -> Option<u64> {
        let made = self.header.identity.created / 1_000_000_000;
        match (&self.bucket_key, self.header.keys.rewraps) {
            (Some(record), 0) => Some(made.max(record.created)),
            (Some(record), _) => Some(record.created),
            (None, 0) => Some(made),
            (None, _) => None,
        }
    }

    /// Whether the wrap is older than `age` at `now` (Unix seconds). An unknown age is old.
    pub(super) fn is_older_than(&self, age: Duration, now: u64) -> bool {
        self.wrapped_since().is_none_or(|since| now.saturating_sub(since) >= age.as_secs())
    }
}

/// Names of keys are text; anything else is shown as hex.
pub(super) fn name_of(wrap: &WrappedKey) -> String {
    String::from_utf8(wrap.key_id.clone()).unwrap_or_else(|_| hex::encode(&wrap.key_id))
}

/// The files of a bucket's keys, read once each.
pub(super) struct KeyFiles {
    dir: NodeRef,
    known: HashMap<Id, Option<BucketKeyRecord>>,
}

impl KeyFiles {
    /// Those below the reserved directory `private`.
    pub(super) fn new(private: &NodeRef) -> io::Result<Self> {
        Ok(Self { dir: private.lookup(&fixed(KEK_DIR))?.0, known: HashMap::new() })
    }

    /// The ids of all of them.
    pub(super) fn ids(&self) -> io::Result<Vec<Id>> {
        let mut ids = Vec::new();
        let mut entries = self.dir.entries()?;
        while let Some(entry) = entries.next()? {
            ids.extend(entry.name.to_str().and_then(Id::from_hex));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// What the file of key `id` claims.
    fn claims(&mut self, id: Id) -> Option<BucketKeyRecord> {
        let dir = &self.dir;
        self.known
            .entry(id)
            .or_insert_with(|| {
                let bytes = small::read(dir, &file_of(id), MAX_BUCKET_KEY_RECORD).ok()?;
                Some(SealedBucketKey::decode(&bytes).ok()?.claims().clone())
            })
            .clone()
    }

    /// What the header of the stored file `node` says.
    pub(super) fn describe(&mut self, node: &NodeRef) -> io::Result<Description> {
        let file = node.open(Access::Read)?;
        let header = match read_header(&file)? {
            // It may just have been written by who has the store in use.
            Err(FormatError::KeySection(_)) => read_header(&file)?,
            header => header,
        };
        Ok(match header {
            Ok((_, header)) => {
                let id = header.keys.find(RecordType::DataKey1).and_then(BucketKey::named_by);
                let bucket_key = id.and_then(|id| self.claims(id));
                Description::Encrypted(Box::new(Sealing { header, bucket_key }))
            }
            Err(FormatError::NotAnObject) => Description::Plain,
            Err(reason) => Description::Damaged(reason),
        })
    }
}

/// The name of the file of bucket key `id`.
pub(super) fn file_of(id: Id) -> FileName {
    FileName::parse(id.to_string().as_ref()).expect("hex digits are a file name")
}
