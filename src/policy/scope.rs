//! What a policy is attached to, which decides what it may say.

use super::{action::Service, request::Resource};
use crate::name::BucketName;

/// What a policy is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A bucket: S3 actions on it and its objects.
    Bucket(BucketName),
    /// A key, by its ARN: KMS actions on it.
    Key(String),
    /// A user or group: any action on anything, and no `Principal`.
    Identity,
}

impl Scope {
    /// Whether a policy attached here may judge a request about `resource`.
    pub(super) fn has(&self, resource: Resource<'_>) -> bool {
        match self {
            Self::Bucket(bucket) => resource.bucket() == Some(bucket),
            Self::Key(key) => matches!(resource, Resource::Key(arn) if arn == key),
            Self::Identity => true,
        }
    }

    /// The actions that it may name.
    pub(super) fn service(&self) -> Service {
        match self {
            Self::Bucket(_) => Service::S3,
            Self::Key(_) => Service::Kms,
            Self::Identity => Service::Both,
        }
    }

    /// What the log calls a policy attached here; a bucket's needs no name.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::Bucket(_) => "",
            Self::Key(_) => "key policy ",
            Self::Identity => "identity policy ",
        }
    }
}
