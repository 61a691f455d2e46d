//! The encryption that a request names: the S3 headers of a PUT, checked.
//!
//! It says what was asked for and no more. What an object then gets follows from the bucket's default and the key
//! service, see [`super::sealing`].
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{default_encryption::DefaultEncryption, sealing::object_arn};
use crate::{
    envelope::{ContextError, EncryptionContext},
    keys::{KeyName, KeyNameError},
    name::BucketName,
    object::SseMode,
};

/// How an object is encrypted, as requests, defaults and lists of blocked types name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EncryptionType {
    /// SSE-S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// SSE-KMS.
    #[serde(rename = "aws:kms")]
    Kms,
    /// DSSE-KMS: two layers.
    #[serde(rename = "aws:kms:dsse")]
    DualKms,
    /// SSE-C: a key that the customer brings.
    #[serde(rename = "SSE-C")]
    Customer,
    /// Not at all.
    #[serde(rename = "NONE")]
    None,
}

impl EncryptionType {
    const ALL: [Self; 5] = [Self::Aes256, Self::Kms, Self::DualKms, Self::Customer, Self::None];

    /// The name in requests, settings and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms => "aws:kms",
            Self::DualKms => "aws:kms:dsse",
            Self::Customer => "SSE-C",
            Self::None => "NONE",
        }
    }

    /// The value of `x-amz-server-side-encryption`; SSE-C has a header of its own, and plain objects have none.
    pub fn header(self) -> Option<&'static str> {
        (!matches!(self, Self::Customer | Self::None)).then_some(self.name())
    }
}

impl std::fmt::Display for EncryptionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The names are those of S3 and count every letter's case.
impl FromStr for EncryptionType {
    type Err = UnknownEncryption;

    fn from_str(text: &str) -> Result<Self, UnknownEncryption> {
        Self::ALL.into_iter().find(|known| known.name() == text).ok_or(UnknownEncryption)
    }
}

impl From<SseMode> for EncryptionType {
    fn from(mode: SseMode) -> Self {
        match mode {
            SseMode::S3 => Self::Aes256,
            SseMode::Kms => Self::Kms,
            SseMode::Customer => Self::Customer,
            SseMode::DualKms => Self::DualKms,
        }
    }
}

/// A text that names no encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write `AES256`, `aws:kms`, `aws:kms:dsse`, `SSE-C` or `NONE`, in exactly these letters")]
pub struct UnknownEncryption;

/// The encryption that a request names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Sent", into = "Sent")]
pub enum Encryption {
    /// No header: the bucket's default decides how the object is stored, and policies see no header.
    #[default]
    Unnamed,
    /// The bucket's default, sent as if the request had named it.
    BucketDefault,
    /// What the headers say.
    Named(NamedEncryption),
}

impl Encryption {
    /// The encryption that an object gets by this where `default` is the bucket's.
    pub(super) fn kind(&self, default: &DefaultEncryption) -> EncryptionType {
        match self {
            Self::Unnamed | Self::BucketDefault => default.kind(),
            Self::Named(named) => named.kind,
        }
    }
}

/// An encryption on its way to another process, which checks it again.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Sent {
    Unnamed,
    BucketDefault,
    Named(EncryptionHeaders),
}

impl TryFrom<Sent> for Encryption {
    type Error = RequestError;

    fn try_from(sent: Sent) -> Result<Self, RequestError> {
        match sent {
            Sent::Unnamed => Ok(Self::Unnamed),
            Sent::BucketDefault => Ok(Self::BucketDefault),
            Sent::Named(headers) => headers.check(),
        }
    }
}

impl From<Encryption> for Sent {
    fn from(encryption: Encryption) -> Self {
        match encryption {
            Encryption::Unnamed => Self::Unnamed,
            Encryption::BucketDefault => Self::BucketDefault,
            Encryption::Named(NamedEncryption { kind, key, context, bucket_key }) => {
                Self::Named(EncryptionHeaders {
                    encryption: kind.header().map(str::to_owned),
                    kms_key: key.map(String::from),
                    context: context.into_pairs(),
                    bucket_key,
                    customer: kind == EncryptionType::Customer,
                })
            }
        }
    }
}

/// Checked headers; made by [`EncryptionHeaders::check`] only, so that they do not contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEncryption {
    pub(super) kind: EncryptionType,
    pub(super) key: Option<KeyName>,
    pub(super) context: RequestedContext,
    pub(super) bucket_key: Option<bool>,
}

/// The encryption context that a request brings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RequestedContext {
    /// The pairs that are bound into the wrap.
    pub(super) pairs: EncryptionContext,
    /// `aws:s3:arn`, where the caller gave one. It is compared and not stored.
    arn: Option<String>,
}

/// The headers of a request as they come, from whatever carries them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionHeaders {
    /// `x-amz-server-side-encryption`: `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub encryption: Option<String>,
    /// `...-aws-kms-key-id`: a key id, an alias, or the ARN of either.
    pub kms_key: Option<String>,
    /// `...-context`, decoded; empty is the same as absent.
    pub context: BTreeMap<String, String>,
    /// `...-bucket-key-enabled`.
    pub bucket_key: Option<bool>,
    /// `...-customer-algorithm` is there: the object gets the caller's own key.
    pub customer: bool,
}

/// Why the headers of a request make no sense (`EINVAL`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such encryption.
    #[error("`{}` is no encryption: write `AES256`, `aws:kms` or `aws:kms:dsse`, in exactly these letters", .0.escape_debug())]
    Unknown(String),
    /// Something that only the KMS modes have.
    #[error("{what} is given, but the encryption is not `aws:kms`: ask for that, or leave it out")]
    NeedsKms {
        /// What is given.
        what: &'static str,
    },
    /// SSE-C and another encryption at once.
    #[error("a customer key (SSE-C) and {with} exclude each other: name one of them")]
    CustomerWith {
        /// The other.
        with: &'static str,
    },
    /// Not the name of a key.
    #[error(transparent)]
    Key(#[from] KeyNameError),
    /// Not an acceptable context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The context claims another object.
    #[error("the context names the object `{given}`, but this one is `{wanted}`: leave `aws:s3:arn` out")]
    ForeignArn {
        /// The ARN in the context.
        given: String,
        /// The object's.
        wanted: String,
    },
    /// The wrapped keys with their context do not fit into the header page.
    #[error("the encryption context is too long for the header of an object: shorten it to 512 bytes")]
    ContextTooLong,
    /// No room for a second layer.
    #[error("bucket `{bucket}` has no room for a second layer: make one with `bucket create --dual-layer`")]
    NotDual {
        /// The bucket.
        bucket: String,
    },
}

impl EncryptionHeaders {
    /// Checks that the headers go together. Without any, the request names no encryption.
    pub fn check(self) -> Result<Encryption, RequestError> {
        if self == Self::default() {
            return Ok(Encryption::Unnamed);
        }
        if self.customer {
            return self.check_customer();
        }
        let kind = match &self.encryption {
            None => EncryptionType::None,
            Some(text) => text.parse().map_err(|UnknownEncryption| RequestError::Unknown(text.clone()))?,
        };
        match kind {
            EncryptionType::Kms | EncryptionType::DualKms => self.check_kms(kind),
            EncryptionType::Aes256 | EncryptionType::None if self.kms_extra().is_some() => {
                Err(RequestError::NeedsKms { what: self.kms_extra().unwrap_or_default() })
            }
            EncryptionType::Aes256 => Ok(NamedEncryption::plain(kind)),
            EncryptionType::Customer | EncryptionType::None => {
                Err(RequestError::Unknown(self.encryption.unwrap_or_default()))
            }
        }
    }

    fn check_customer(&self) -> Result<Encryption, RequestError> {
        let other = self.encryption.as_ref().map(|_| "another encryption").or(self.kms_extra());
        match other {
            Some(with) => Err(RequestError::CustomerWith { with }),
            None => Ok(NamedEncryption::plain(EncryptionType::Customer)),
        }
    }

    fn check_kms(self, kind: EncryptionType) -> Result<Encryption, RequestError> {
        if kind == EncryptionType::DualKms && self.bucket_key.is_some() {
            log::warn!("bucket keys do not go with `{kind}`: the setting is ignored");
        }
        let bucket_key = self.bucket_key.filter(|_| kind == EncryptionType::Kms);
        let key = self.kms_key.as_deref().map(KeyName::from_str).transpose()?;
        Ok(Encryption::Named(NamedEncryption {
            kind,
            key,
            context: RequestedContext::of(self.context)?,
            bucket_key,
        }))
    }

    /// What is here that only the KMS modes have.
    fn kms_extra(&self) -> Option<&'static str> {
        let key = self.kms_key.as_ref().map(|_| "a KMS key");
        let bucket_key = || self.bucket_key.map(|_| "a bucket-key setting");
        key.or_else(bucket_key).or_else(|| (!self.context.is_empty()).then_some("an encryption context"))
    }
}

impl NamedEncryption {
    fn plain(kind: EncryptionType) -> Encryption {
        Encryption::Named(Self { kind, key: None, context: RequestedContext::default(), bucket_key: None })
    }

    /// The encryption.
    pub fn kind(&self) -> EncryptionType {
        self.kind
    }
}

impl RequestedContext {
    fn of(mut pairs: BTreeMap<String, String>) -> Result<Self, RequestError> {
        let arn = pairs.remove(OBJECT_ARN);
        Ok(Self { pairs: EncryptionContext::from_user_pairs(pairs)?, arn })
    }

    fn into_pairs(self) -> BTreeMap<String, String> {
        let pairs = self.pairs.pairs().map(|(name, value)| (name.to_owned(), value.to_owned()));
        pairs.chain(self.arn.map(|arn| (OBJECT_ARN.to_owned(), arn))).collect()
    }

    /// The pairs for the object at `path`, whose ARN a given `aws:s3:arn` must be.
    pub(super) fn for_object(
        &self,
        bucket: &BucketName,
        path: &str,
    ) -> Result<EncryptionContext, RequestError> {
        if let Some(given) = &self.arn {
            let wanted = object_arn(bucket.as_str(), path);
            if *given != wanted {
                return Err(RequestError::ForeignArn { given: given.clone(), wanted });
            }
        }
        Ok(self.pairs.clone())
    }
}

/// The pair that S3 adds to every context.
const OBJECT_ARN: &str = "aws:s3:arn";

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(encryption: &str) -> EncryptionHeaders {
        let encryption = (!encryption.is_empty()).then(|| encryption.to_owned());
        EncryptionHeaders { encryption, ..EncryptionHeaders::default() }
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn named(headers: EncryptionHeaders) -> NamedEncryption {
        match headers.check().unwrap() {
            Encryption::Named(named) => named,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_header_is_no_request_and_each_mode_has_its_exact_name() {
        assert_eq!(EncryptionHeaders::default().check(), Ok(Encryption::Unnamed));
        for kind in [EncryptionType::Aes256, EncryptionType::Kms, EncryptionType::DualKms] {
            assert_eq!(named(headers(kind.name())).kind(), kind);
        }
        for wrong in ["aes256", "AES-256", "KMS", "aws:KMS", "SSE-C", "NONE", "none"] {
            assert_eq!(headers(wrong).check(), Err(RequestError::Unknown(wrong.to_owned())), "{wrong}");
        }
    }

    #[test]
    fn row_b1_a_key_without_aws_kms_is_refused() {
        for encryption in ["", "AES256"] {
            let with_key = EncryptionHeaders { kms_key: Some("alias/k".into()), ..headers(encryption) };
            assert_eq!(with_key.check(), Err(RequestError::NeedsKms { what: "a KMS key" }));
        }
        for key in ["alias/k", "1234abcd-12ab-34cd-56ef-1234567890ab"] {
            let with_key = EncryptionHeaders { kms_key: Some(key.into()), ..headers("aws:kms") };
            assert_eq!(named(with_key).key.unwrap().to_string(), key);
        }
        let bad = EncryptionHeaders { kms_key: Some("no key".into()), ..headers("aws:kms") };
        assert!(matches!(bad.check(), Err(RequestError::Key(_))));
    }

    #[test]
    fn row_d1_a_context_belongs_to_the_kms_modes_and_is_flat_text() {
        let with =
            |encryption| EncryptionHeaders { context: pairs(&[("dept", "finance")]), ..headers(encryption) };
        let context = named(with("aws:kms:dsse")).context;
        assert_eq!(context.pairs.pairs().collect::<Vec<_>>(), [("dept", "finance")]);
        for encryption in ["", "AES256"] {
            let refused = Err(RequestError::NeedsKms { what: "an encryption context" });
            assert_eq!(with(encryption).check(), refused);
        }
    }

    #[test]
    fn row_d4_an_object_arn_in_the_context_must_be_the_objects() {
        let bucket = BucketName::parse("data").unwrap();
        let with = |arn| EncryptionHeaders {
            context: pairs(&[("aws:s3:arn", arn), ("k", "v")]),
            ..headers("aws:kms")
        };
        let right = named(with("arn:aws:s3:::data/a/b")).context;
        let bound = right.for_object(&bucket, "a/b").unwrap();
        assert_eq!(bound.pairs().collect::<Vec<_>>(), [("k", "v")], "it is compared, not bound");
        assert!(matches!(right.for_object(&bucket, "a/c"), Err(RequestError::ForeignArn { .. })));
        let other = EncryptionHeaders { context: pairs(&[("aws:x", "")]), ..headers("aws:kms") };
        assert!(matches!(other.check(), Err(RequestError::Context(ContextError::Reserved(_)))));
    }

    #[test]
    fn row_e7_bucket_keys_go_with_aws_kms_are_ignored_for_dsse_and_refused_elsewhere() {
        let with = |encryption| EncryptionHeaders { bucket_key: Some(true), ..headers(encryption) };
        assert_eq!(named(with("aws:kms")).bucket_key, Some(true));
        assert_eq!(named(with("aws:kms:dsse")).bucket_key, None);
        for encryption in ["", "AES256"] {
            let refused = Err(RequestError::NeedsKms { what: "a bucket-key setting" });
            assert_eq!(with(encryption).check(), refused);
        }
    }

    #[test]
    fn row_f9_a_customer_key_excludes_every_other_header() {
        let customer = EncryptionHeaders { customer: true, ..EncryptionHeaders::default() };
        assert_eq!(named(customer.clone()).kind(), EncryptionType::Customer);
        for other in [
            EncryptionHeaders { encryption: Some("AES256".into()), ..customer.clone() },
            EncryptionHeaders { kms_key: Some("alias/k".into()), ..customer.clone() },
            EncryptionHeaders { bucket_key: Some(false), ..customer.clone() },
            EncryptionHeaders { context: pairs(&[("k", "v")]), ..customer },
        ] {
            assert!(matches!(other.check(), Err(RequestError::CustomerWith { .. })));
        }
    }
}
