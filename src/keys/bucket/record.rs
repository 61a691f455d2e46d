//! The file of a bucket key, `<bucket>/.eob/kek/<id>` (format 10.7), as bytes; reading and writing it is the caller's.
//!
//! JSON, indented by two spaces, fields as in [`File`], blobs in lower-case hex, one final line feed. Anything else
//! is refused, so every byte of the file counts. The MAC is HMAC-SHA-256 under `HKDF(bucket key, "EOB1/kekrec")`
//! over `"EOB1/kekrec" ‖ id 16 ‖ bucket 16 ‖ version u32 ‖ created u64 ‖ not_after u64 ‖ state u8` (big-endian).
//! The wrapped key is left out: its own wrap authenticates it, and a provider may rewrap it without showing the key.

use serde::{Deserialize, Serialize};

use super::{BucketKey, key::WRAP_SECONDS};
use crate::{
    crypto::{self, Secret},
    envelope::{Id, WrappedKey},
    keys::{
        Binding, KeyError, KeyState, MasterKey,
        derive::hkdf,
        hexbytes::{HexArray, HexVec},
    },
};

/// What stands in the file of a bucket key, besides its MAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketKeyRecord {
    /// The key's id.
    pub id: Id,
    /// The bucket it belongs to.
    pub bucket: Id,
    /// Version of the key, part of the records it wraps.
    pub version: u32,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Until when it wraps (at most 30 days after `created`).
    pub not_after: u64,
    /// Its state.
    pub state: KeyState,
    /// The key, wrapped by a master key.
    pub wrapped: WrappedKey,
}

/// A record as read: a claim, until [`SealedBucketKey::open`] has proven it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBucketKey {
    record: BucketKeyRecord,
    mac: [u8; 32],
}

/// Why the file of a bucket key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketKeyError {
    /// Not a bucket-key file, or not byte for byte as it was written.
    #[error("the bucket-key file is damaged ({why}): restore it from a backup of the key files")]
    Damaged {
        /// What is wrong.
        why: String,
    },
    /// The file of another key or another bucket.
    #[error("the bucket-key file holds key `{found}`, not `{wanted}`: restore the right file from a backup")]
    Misplaced {
        /// The key that was asked for.
        wanted: Id,
        /// The key in the file.
        found: Id,
    },
    /// The file cannot be read or written.
    #[error("the bucket-key file: {}", std::io::Error::from_raw_os_error(*errno))]
    Store {
        /// The number of the system's error.
        errno: i32,
    },
    /// The master key did not unwrap it.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl BucketKeyRecord {
    /// The content of the file.
    pub(super) fn encode(&self, secret: &Secret<32>) -> Vec<u8> {
        SealedBucketKey { record: self.clone(), mac: self.mac(secret) }.encode()
    }

    fn mac(&self, secret: &Secret<32>) -> [u8; 32] {
        let key = hkdf(secret.expose(), &[], LABEL);
        let fields: [&[u8]; 7] = [
            LABEL,
            self.id.as_bytes(),
            self.bucket.as_bytes(),
            &self.version.to_be_bytes(),
            &self.created.to_be_bytes(),
            &self.not_after.to_be_bytes(),
            &[self.state as u8],
        ];
        crypto::hmac_sha256(key.expose(), &fields)
    }
}

impl SealedBucketKey {
    /// Reads the content of a bucket-key file.
    pub fn decode(bytes: &[u8]) -> Result<Self, BucketKeyError> {
        if bytes.len() > MAX_BUCKET_KEY_RECORD {
            return Err(damaged("it is too long"));
        }
        let file: File = serde_json::from_slice(bytes).map_err(damaged)?;
        let read = file.read()?;
        if read.encode() != bytes {
            return Err(damaged("it is not in the form in which it was written"));
        }
        Ok(read)
    }

    /// What the file claims, for looking up the master key before [`SealedBucketKey::open`].
    pub fn claims(&self) -> &BucketKeyRecord {
        &self.record
    }

    /// Unwraps the key and proves the record: it must be key `id` of `bucket`, unaltered.
    pub fn open(self, id: Id, bucket: Id, master: &dyn MasterKey) -> Result<BucketKey, BucketKeyError> {
        if self.record.id != id || self.record.bucket != bucket {
            return Err(BucketKeyError::Misplaced { wanted: id, found: self.record.id });
        }
        let secret = master.unwrap_key(&self.record.wrapped, &Binding::bucket_key(bucket))?;
        if !crypto::equal(&self.record.mac(&secret), &self.mac) {
            return Err(damaged("its MAC does not match"));
        }
        Ok(BucketKey::from_parts(self.record, secret))
    }

    fn encode(&self) -> Vec<u8> {
        let mut wrapped = Vec::new();
        self.record.wrapped.encode(&mut wrapped);
        let file = File {
            format: FORMAT.to_owned(),
            id: self.record.id,
            bucket: self.record.bucket,
            version: self.record.version,
            created: self.record.created,
            not_after: self.record.not_after,
            state: self.record.state,
            wrapped: HexVec(wrapped),
            mac: HexArray(self.mac),
        };
        let mut bytes = serde_json::to_vec_pretty(&file).expect("plain fields always serialise");
        bytes.push(b'\n');
        bytes
    }
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    id: Id,
    bucket: Id,
    version: u32,
    created: u64,
    not_after: u64,
    state: KeyState,
    wrapped: HexVec,
    mac: HexArray<32>,
}

impl File {
    fn read(self) -> Result<SealedBucketKey, BucketKeyError> {
        if self.format != FORMAT {
            return Err(damaged(format!("format `{}` is not known here", self.format.escape_debug())));
        }
        if self.not_after.saturating_sub(self.created) > WRAP_SECONDS {
            return Err(damaged("it claims to wrap for more than 30 days"));
        }
        let mut rest = self.wrapped.0.as_slice();
        let wrapped = WrappedKey::decode(&mut rest).map_err(damaged)?;
        if !rest.is_empty() {
            return Err(damaged("bytes follow the wrapped key"));
        }
        let record = BucketKeyRecord {
            id: self.id,
            bucket: self.bucket,
            version: self.version,
            created: self.created,
            not_after: self.not_after,
            state: self.state,
            wrapped,
        };
        Ok(SealedBucketKey { record, mac: self.mac.0 })
    }
}

/// Longest file of a bucket key, in bytes: callers need not read more.
pub const MAX_BUCKET_KEY_RECORD: usize = 256 * 1024;

const FORMAT: &str = "strongroom-bucket-key-1";
const LABEL: &[u8] = b"EOB1/kekrec";

fn damaged(why: impl std::fmt::Display) -> BucketKeyError {
    BucketKeyError::Damaged { why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{envelope::EncryptionContext, keys::fake::FakeMaster};

    fn made(master: &FakeMaster) -> (BucketKey, Vec<u8>) {
        let bucket = Id::random().unwrap();
        let key = BucketKey::create(master, "service", bucket, &EncryptionContext::default(), 1000).unwrap();
        let bytes = key.encode_record();
        (key, bytes)
    }

    fn open(bytes: &[u8], key: &BucketKey, master: &FakeMaster) -> Result<BucketKey, BucketKeyError> {
        SealedBucketKey::decode(bytes)?.open(key.id(), key.record().bucket, master)
    }

    #[test]
    fn a_record_opens_to_the_same_key() {
        let master = FakeMaster::new();
        let (key, bytes) = made(&master);
        let back = open(&bytes, &key, &master).unwrap();
        assert_eq!(back.record(), key.record());
        let (object, data_key) = (Id::random().unwrap(), Secret::random().unwrap());
        let wrapped = key.wrap_data_key(object, &data_key, &EncryptionContext::default(), 1000).unwrap();
        assert_eq!(back.unwrap_data_key(&wrapped, object).unwrap().expose(), data_key.expose());
    }

    #[test]
    fn every_flipped_bit_of_the_file_is_refused() {
        let master = FakeMaster::new();
        let (key, bytes) = made(&master);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert!(open(&bad, &key, &master).is_err(), "byte {at} bit {bit}");
            }
        }
        for cut in 0..bytes.len() {
            assert!(open(&bytes[..cut], &key, &master).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_key_under_another_id_or_bucket_is_refused() {
        let master = FakeMaster::new();
        let (key, bytes) = made(&master);
        let (id, bucket, other) = (key.id(), key.record().bucket, Id::random().unwrap());
        let read = || SealedBucketKey::decode(&bytes).unwrap();
        assert!(matches!(read().open(other, bucket, &master), Err(BucketKeyError::Misplaced { .. })));
        assert!(matches!(read().open(id, other, &master), Err(BucketKeyError::Misplaced { .. })));
        let mut renamed = read();
        renamed.record.id = other;
        assert!(matches!(renamed.open(other, bucket, &master), Err(BucketKeyError::Damaged { .. })));
        let mut moved = read();
        moved.record.bucket = other;
        let refused = moved.open(id, other, &master);
        assert!(matches!(refused, Err(BucketKeyError::Key(KeyError::Rejected { .. }))));
    }

    #[test]
    fn a_key_that_claims_to_wrap_for_longer_is_refused() {
        let master = FakeMaster::new();
        let (key, _) = made(&master);
        let mut record = key.record().clone();
        record.not_after += 1;
        let bytes = SealedBucketKey { record, mac: [0; 32] }.encode();
        let BucketKeyError::Damaged { why } = SealedBucketKey::decode(&bytes).unwrap_err() else { panic!() };
        assert!(why.contains("30 days"), "{why}");
    }
}
