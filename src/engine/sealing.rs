//! From what a request asked for to what an object gets: the one place where defaults are applied and keys are named.
//!
//! The order of SSE-KMS keys is that of S3: the request's key, else the key of the bucket's default, else `alias/aws/s3`.
//! Here, nothing is wrapped yet; policies are asked in between.

use super::{
    Result,
    default_encryption::{BucketEncryption, DefaultEncryption},
    encryption::{Encryption, EncryptionType, NamedEncryption, RequestError},
};
use crate::{
    envelope::EncryptionContext,
    keys::{AliasName, KeyError, KeyId, KeyName},
    name::BucketName,
    object::Geometry,
};

/// How an object will be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sealing {
    /// As it is.
    Plain,
    /// SSE-S3: by the store's own service key.
    Service,
    /// SSE-KMS.
    Kms {
        /// The key.
        key: KeyId,
        /// Through a bucket key, or directly.
        bucket_key: bool,
        /// The user's pairs.
        context: EncryptionContext,
    },
    /// DSSE-KMS.
    DualKms {
        /// The key of the inner layer.
        key: KeyId,
        /// The user's pairs.
        context: EncryptionContext,
    },
    /// SSE-C, with the key that then serves whoever asks.
    Customer,
}

/// A request's encryption, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    /// The literal `x-amz-server-side-encryption` header; none where the default decides.
    pub(super) header: Option<&'static str>,
    /// How the object will be stored.
    pub(super) sealing: Sealing,
}

/// Where an object is to stand.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The bucket.
    pub(super) bucket: &'a BucketName,
    /// Layout of its objects.
    pub(super) geometry: &'a Geometry,
    /// Its configuration.
    pub(super) encryption: &'a BucketEncryption,
    /// Path in it; asked for only where it matters.
    pub(super) path: &'a dyn Fn() -> String,
}

/// Finds the key that a name means.
pub(super) type Resolve<'a> = &'a dyn Fn(&KeyName) -> std::result::Result<KeyId, KeyError>;

impl Encryption {
    /// What an object at `place` gets when this is requested.
    pub(super) fn decide(&self, place: &Place<'_>, resolve: Resolve<'_>) -> Result<Decision> {
        let default = &place.encryption.default;
        let (header, sealing) = match self {
            Self::Named(named) => (named.kind.header(), named.sealing(place, resolve)?),
            Self::BucketDefault => (default.header(), default.sealing(resolve)?),
            Self::Unnamed => (None, default.sealing(resolve)?),
        };
        if matches!(sealing, Sealing::DualKms { .. }) && !place.geometry.wide() {
            return Err(RequestError::NotDual { bucket: place.bucket.to_string() }.into());
        }
        Ok(Decision { header, sealing })
    }
}

impl NamedEncryption {
    fn sealing(&self, place: &Place<'_>, resolve: Resolve<'_>) -> Result<Sealing> {
        let default = &place.encryption.default;
        let context = || self.context.for_object(place.bucket, &(place.path)());
        Ok(match self.kind {
            EncryptionType::Aes256 => Sealing::Service,
            EncryptionType::Customer => Sealing::Customer,
            EncryptionType::None => Sealing::Plain,
            EncryptionType::Kms => {
                let configured = if let DefaultEncryption::Kms { bucket_key, .. } = default {
                    *bucket_key
                } else {
                    BUCKET_KEY
                };
                let bucket_key = self.bucket_key.unwrap_or(configured);
                Sealing::Kms {
                    context: context()?,
                    key: effective(self.key.as_ref(), default, resolve)?,
                    bucket_key,
                }
            }
            EncryptionType::DualKms => {
                Sealing::DualKms { context: context()?, key: effective(self.key.as_ref(), default, resolve)? }
            }
        })
    }
}

impl DefaultEncryption {
    fn sealing(&self, resolve: Resolve<'_>) -> Result<Sealing> {
        let context = EncryptionContext::default();
        Ok(match self {
            Self::None => Sealing::Plain,
            Self::Aes256 => Sealing::Service,
            Self::Kms { bucket_key, .. } => {
                Sealing::Kms { key: effective(None, self, resolve)?, bucket_key: *bucket_key, context }
            }
            Self::DualKms { .. } => Sealing::DualKms { key: effective(None, self, resolve)?, context },
        })
    }
}

impl Sealing {
    /// The encryption that it is.
    pub(super) fn kind(&self) -> EncryptionType {
        match self {
            Self::Plain => EncryptionType::None,
            Self::Service => EncryptionType::Aes256,
            Self::Kms { .. } => EncryptionType::Kms,
            Self::DualKms { .. } => EncryptionType::DualKms,
            Self::Customer => EncryptionType::Customer,
        }
    }

    /// The KMS key that it uses.
    pub(super) fn kms_key(&self) -> Option<&KeyId> {
        match self {
            Self::Kms { key, .. } | Self::DualKms { key, .. } => Some(key),
            Self::Plain | Self::Service | Self::Customer => None,
        }
    }
}

/// The key of a KMS request: its own, else the default's, else `alias/aws/s3`.
fn effective(
    requested: Option<&KeyName>,
    default: &DefaultEncryption,
    resolve: Resolve<'_>,
) -> std::result::Result<KeyId, KeyError> {
    match requested.or(default.key()) {
        Some(name) => resolve(name),
        None => resolve(&KeyName::Alias(AliasName::aws_s3())),
    }
}

/// The ARN of an object, as S3 writes it into encryption contexts and policies.
pub(super) fn object_arn(bucket: &str, path: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{path}")
}

/// The ARN of a bucket, which stands in the contexts of its bucket keys.
pub(super) fn bucket_arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

/// Whether SSE-KMS uses bucket keys where nobody says anything.
const BUCKET_KEY: bool = true;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{EncryptionHeaders, EngineError},
        object::BlockSize,
    };

    fn decide(
        request: &Encryption,
        default: DefaultEncryption,
        wide: bool,
    ) -> Result<(Decision, Vec<String>)> {
        let asked = std::cell::RefCell::new(Vec::new());
        let resolve = |name: &KeyName| {
            asked.borrow_mut().push(name.to_string());
            Ok(name.to_string().replace('/', "-").parse().unwrap())
        };
        let place = Place {
            bucket: &BucketName::parse("data").unwrap(),
            geometry: &Geometry::new(BlockSize::DEFAULT, wide),
            encryption: &BucketEncryption::new(default),
            path: &|| "a/b".to_owned(),
        };
        let decision = request.decide(&place, &resolve)?;
        Ok((decision, asked.into_inner()))
    }

    fn request(encryption: &str, key: Option<&str>, bucket_key: Option<bool>) -> Encryption {
        EncryptionHeaders {
            encryption: Some(encryption.to_owned()),
            kms_key: key.map(str::to_owned),
            bucket_key,
            ..EncryptionHeaders::default()
        }
        .check()
        .unwrap()
    }

    fn kms(key: Option<&str>, bucket_key: bool) -> DefaultEncryption {
        DefaultEncryption::Kms { key: key.map(|key| key.parse().unwrap()), bucket_key }
    }

    #[test]
    fn row_b3_key_order_is_request_then_bucket_default_then_aws_s3() {
        let dual =
            |key: Option<&str>| DefaultEncryption::DualKms { key: key.map(|key| key.parse().unwrap()) };
        for (requested, default, expected) in [
            (Some("alias/mine"), kms(Some("alias/ours"), true), "alias/mine"),
            (Some("alias/mine"), DefaultEncryption::Aes256, "alias/mine"),
            (None, kms(Some("alias/ours"), true), "alias/ours"),
            (None, dual(Some("alias/ours")), "alias/ours"),
            (None, kms(None, true), "alias/aws/s3"),
            (None, DefaultEncryption::Aes256, "alias/aws/s3"),
            (None, DefaultEncryption::None, "alias/aws/s3"),
        ] {
            for mode in ["aws:kms", "aws:kms:dsse"] {
                let asked = decide(&request(mode, requested, None), default.clone(), true).unwrap().1;
                assert_eq!(asked, [expected], "{mode}, {requested:?}, {default:?}");
            }
        }
        for (default, expected) in
            [(kms(Some("alias/ours"), true), "alias/ours"), (kms(None, true), "alias/aws/s3")]
        {
            for unnamed in [Encryption::Unnamed, Encryption::BucketDefault] {
                assert_eq!(decide(&unnamed, default.clone(), false).unwrap().1, [expected]);
            }
        }
    }

    #[test]
    fn row_e4_the_request_overrides_the_bucket_key_setting_of_the_default_either_way() {
        for (requested, default, expected) in [
            (Some(true), kms(None, false), true),
            (Some(false), kms(None, true), false),
            (None, kms(None, false), false),
            (None, kms(None, true), true),
            (None, DefaultEncryption::Aes256, true),
        ] {
            let decided = decide(&request("aws:kms", None, requested), default, false).unwrap().0;
            assert!(
                matches!(decided.sealing, Sealing::Kms { bucket_key, .. } if bucket_key == expected),
                "{requested:?}"
            );
        }
    }

    #[test]
    fn row_i2_and_i3_the_default_applies_where_nothing_is_named_and_is_no_header() {
        for (default, header) in [
            (DefaultEncryption::Aes256, Some("AES256")),
            (kms(None, true), Some("aws:kms")),
            (DefaultEncryption::DualKms { key: None }, Some("aws:kms:dsse")),
            (DefaultEncryption::None, None),
        ] {
            let unnamed = decide(&Encryption::Unnamed, default.clone(), true).unwrap().0;
            let sent = decide(&Encryption::BucketDefault, default.clone(), true).unwrap().0;
            assert_eq!((unnamed.header, sent.header), (None, header));
            assert_eq!(unnamed.sealing, sent.sealing);
            assert_eq!(unnamed.sealing.kind(), default.kind());
            let named = decide(&request("AES256", None, None), default, true).unwrap().0;
            assert_eq!((named.header, named.sealing), (Some("AES256"), Sealing::Service));
        }
    }

    #[test]
    fn row_g1_two_layers_need_a_bucket_with_room_for_them() {
        let refused =
            |outcome: Result<_>| matches!(outcome, Err(EngineError::Request(RequestError::NotDual { .. })));
        let dsse = request("aws:kms:dsse", None, None);
        assert!(refused(decide(&dsse, DefaultEncryption::Aes256, false)));
        assert!(refused(decide(&Encryption::Unnamed, DefaultEncryption::DualKms { key: None }, false)));
        let decided = decide(&dsse, DefaultEncryption::Aes256, true).unwrap().0;
        assert_eq!(decided.header, Some("aws:kms:dsse"));
    }

    #[test]
    fn row_f12_a_customer_key_is_no_server_side_encryption_header() {
        let customer = EncryptionHeaders { customer: true, ..EncryptionHeaders::default() }.check().unwrap();
        let decided = decide(&customer, kms(None, true), false).unwrap();
        assert_eq!(decided, (Decision { header: None, sealing: Sealing::Customer }, Vec::new()));
    }
}
