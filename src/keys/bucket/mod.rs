//! Keys of one bucket: bucket keys (which wrap data keys), their records and cache, and the bucket root secret.

mod cache;
mod key;
mod record;
mod root;

pub use cache::BucketKeys;
pub use key::BucketKey;
pub use record::{BucketKeyError, BucketKeyRecord, MAX_BUCKET_KEY_RECORD, SealedBucketKey};
pub use root::BucketRoot;
