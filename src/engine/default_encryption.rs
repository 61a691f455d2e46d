//! What a bucket does with requests that name no encryption, and what it blocks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::encryption::EncryptionType;
use crate::{keys::KeyName, object::Geometry};

/// What happens to an object whose request names no encryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "algorithm", deny_unknown_fields)]
pub enum DefaultEncryption {
    /// SSE-S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// SSE-KMS.
    #[serde(rename = "aws:kms")]
    Kms {
        /// The key; `alias/aws/s3` without one. An alias is followed anew for each object.
        #[serde(with = "key_name")]
        key: Option<KeyName>,
        /// Whether data keys are wrapped by bucket keys unless the request says otherwise.
        bucket_key: bool,
    },
    /// DSSE-KMS, in buckets with room for two layers.
    #[serde(rename = "aws:kms:dsse")]
    DualKms {
        /// The key, as for SSE-KMS.
        #[serde(with = "key_name")]
        key: Option<KeyName>,
    },
    /// It is stored as it is.
    #[serde(rename = "none")]
    None,
}

impl DefaultEncryption {
    /// The default called `algorithm`; a key or a bucket-key setting only where that has one.
    pub fn new(
        algorithm: EncryptionType,
        key: Option<KeyName>,
        bucket_key: Option<bool>,
    ) -> Result<Self, ConfigurationError> {
        let what = key.as_ref().map(|_| "a KMS key").or(bucket_key.map(|_| "a bucket-key setting"));
        Ok(match algorithm {
            EncryptionType::Kms => Self::Kms { key, bucket_key: bucket_key.unwrap_or(true) },
            EncryptionType::DualKms if bucket_key.is_some() => {
                return Err(ConfigurationError::BucketKeyForDual);
            }
            EncryptionType::DualKms => Self::DualKms { key },
            EncryptionType::Customer => return Err(ConfigurationError::CustomerDefault),
            EncryptionType::Aes256 | EncryptionType::None => match what {
                Some(what) => return Err(ConfigurationError::NeedsKms { what }),
                None if algorithm == EncryptionType::Aes256 => Self::Aes256,
                None => Self::None,
            },
        })
    }

    /// The encryption that it stands for.
    pub fn kind(&self) -> EncryptionType {
        match self {
            Self::Aes256 => EncryptionType::Aes256,
            Self::Kms { .. } => EncryptionType::Kms,
            Self::DualKms { .. } => EncryptionType::DualKms,
            Self::None => EncryptionType::None,
        }
    }

    /// The value of the `x-amz-server-side-encryption` header that it stands for.
    pub fn header(&self) -> Option<&'static str> {
        self.kind().header()
    }

    /// The key that it names.
    pub fn key(&self) -> Option<&KeyName> {
        match self {
            Self::Kms { key, .. } | Self::DualKms { key } => key.as_ref(),
            Self::Aes256 | Self::None => None,
        }
    }
}

/// What a bucket does with requests for encryption. Changes touch new objects only.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEncryption {
    /// Encryption of objects whose request names none.
    pub default: DefaultEncryption,
    /// What no object may be written with.
    pub blocked: BTreeSet<EncryptionType>,
}

impl BucketEncryption {
    /// That of a new bucket: customer keys are blocked, as on S3.
    pub fn new(default: DefaultEncryption) -> Self {
        Self { default, blocked: [EncryptionType::Customer].into() }
    }

    /// Whether it makes sense in a bucket of this geometry: a default that is not blocked and that has the layers it needs.
    pub fn check(&self, geometry: &Geometry) -> Result<(), ConfigurationError> {
        let kind = self.default.kind();
        if self.blocked.contains(&kind) {
            return Err(ConfigurationError::BlockedDefault(kind));
        }
        if kind == EncryptionType::DualKms && !geometry.wide() {
            return Err(ConfigurationError::NotDual);
        }
        Ok(())
    }
}

/// Why an encryption configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// Something that only the KMS modes have.
    #[error("{what} is given, but the encryption is not `aws:kms`: name that, or leave it out")]
    NeedsKms {
        /// What is given.
        what: &'static str,
    },
    /// Bucket keys for the mode that has none.
    #[error("bucket keys do not go with `aws:kms:dsse`: leave the setting out")]
    BucketKeyForDual,
    /// SSE-C as default.
    #[error("customer keys (SSE-C) cannot be a default: nobody would bring the key; name another encryption")]
    CustomerDefault,
    /// The default would refuse every request that names nothing.
    #[error("`{0}` is blocked in this bucket and cannot be its default: unblock it, or choose another")]
    BlockedDefault(EncryptionType),
    /// No room for a second layer.
    #[error("the bucket has no room for a second layer: make one with `bucket create --dual-layer`")]
    NotDual,
}

/// A key by its name, as text.
mod key_name {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::keys::KeyName;

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(super) fn serialize<S: Serializer>(key: &Option<KeyName>, serializer: S) -> Result<S::Ok, S::Error> {
        key.as_ref().map(ToString::to_string).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<KeyName>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse()).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
impl DefaultEncryption {
    /// One of each kind.
    pub(super) fn samples() -> Vec<Self> {
        let key = || Some("alias/backups".parse().unwrap());
        vec![
            Self::Aes256,
            Self::Kms { key: None, bucket_key: true },
            Self::Kms { key: key(), bucket_key: false },
            Self::DualKms { key: key() },
            Self::None,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::BlockSize;

    #[test]
    fn row_f9_customer_keys_and_row_e7_misplaced_bucket_keys_are_no_default() {
        let key = || Some("alias/k".parse().unwrap());
        for (algorithm, key, bucket_key) in [
            (EncryptionType::Customer, None, None),
            (EncryptionType::Aes256, key(), None),
            (EncryptionType::Aes256, None, Some(true)),
            (EncryptionType::None, key(), None),
            (EncryptionType::DualKms, key(), Some(true)),
        ] {
            assert!(DefaultEncryption::new(algorithm, key, bucket_key).is_err(), "{algorithm}");
        }
        for default in DefaultEncryption::samples() {
            let bucket_key = match &default {
                DefaultEncryption::Kms { bucket_key, .. } => Some(*bucket_key),
                _ => None,
            };
            let again = DefaultEncryption::new(default.kind(), default.key().cloned(), bucket_key);
            assert_eq!(again, Ok(default));
        }
    }

    #[test]
    fn row_i7_a_blocked_type_and_row_g1_a_missing_second_layer_are_no_default() {
        let (single, dual) =
            (Geometry::new(BlockSize::DEFAULT, false), Geometry::new(BlockSize::DEFAULT, true));
        let dsse = BucketEncryption::new(DefaultEncryption::DualKms { key: None });
        assert_eq!(dsse.check(&single), Err(ConfigurationError::NotDual));
        assert_eq!(dsse.check(&dual), Ok(()));
        let mut plain = BucketEncryption::new(DefaultEncryption::None);
        assert_eq!(plain.check(&single), Ok(()));
        plain.blocked.insert(EncryptionType::None);
        let refused = Err(ConfigurationError::BlockedDefault(EncryptionType::None));
        assert_eq!(plain.check(&single), refused);
    }
}
