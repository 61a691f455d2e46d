//! One request, as policies see it.

use std::{borrow::Cow, fmt, os::unix::ffi::OsStrExt};

use jiff::Timestamp;

use super::{
    action::{Action, Level},
    context::{ConditionKey, Context, Values},
    principal::Principal,
    value::Moment,
};
use crate::name::{BucketName, ObjectName};

/// Who wants to do what with which resource. All borrowed: building one allocates nothing.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What for.
    pub action: Action,
    /// What is acted on. A request whose action does not act on this kind of resource is denied.
    pub resource: Resource<'a>,
    /// Everything else that conditions may test.
    pub context: Context<'a>,
}

/// What a request acts on.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    /// A bucket.
    Bucket(&'a BucketName),
    /// An object in a bucket.
    Object(&'a BucketName, &'a ObjectName),
    /// A key, by its ARN `arn:aws:kms:<region>:<account>:key/<id>`, never by an alias.
    Key(&'a str),
}

impl<'a> Resource<'a> {
    /// The object called `object` in `bucket`, or the bucket itself.
    pub fn of(bucket: &'a BucketName, object: Option<&'a ObjectName>) -> Self {
        object.map_or(Self::Bucket(bucket), |object| Self::Object(bucket, object))
    }

    /// The bucket that is acted on or holds what is.
    pub fn bucket(self) -> Option<&'a BucketName> {
        match self {
            Self::Bucket(bucket) | Self::Object(bucket, _) => Some(bucket),
            Self::Key(_) => None,
        }
    }

    /// The object name as text; bytes that are not UTF-8 are shown as U+FFFD.
    pub(super) fn object(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Object(_, name) => Some(name.as_os_str().to_string_lossy()),
            Self::Bucket(_) | Self::Key(_) => None,
        }
    }

    /// What the name begins with, up to and with its last `/`, shown in the same way; empty without one.
    pub(super) fn directory(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.directory_bytes())
    }

    /// The same as it is.
    pub(super) fn directory_bytes(self) -> &'a [u8] {
        let Self::Object(_, name) = self else { return &[] };
        let name = name.as_os_str().as_bytes();
        let end = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        name.get(..end).unwrap_or_default()
    }

    /// The ARN.
    pub fn arn(self) -> Cow<'a, str> {
        match self {
            Self::Bucket(bucket) => format!("arn:aws:s3:::{bucket}").into(),
            Self::Object(bucket, name) => {
                format!("arn:aws:s3:::{bucket}/{}", name.as_os_str().to_string_lossy()).into()
            }
            Self::Key(arn) => arn.into(),
        }
    }

    pub(super) fn level(self) -> Level {
        match self {
            Self::Bucket(_) => Level::Bucket,
            Self::Object(..) => Level::Object,
            Self::Key(_) => Level::Key,
        }
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket(bucket) => bucket.fmt(f),
            Self::Object(bucket, name) => write!(f, "{bucket}/{}", name.as_os_str().to_string_lossy()),
            Self::Key(arn) => f.write_str(arn),
        }
    }
}

impl Request<'_> {
    /// Whether the action acts on this kind of resource. Statements about objects would else be passed by.
    pub(super) fn fits_together(&self) -> bool {
        self.resource.level() == self.action.level()
    }

    /// The values of a condition key. What the caller set goes before what is derived here.
    pub(super) fn values(&self, key: &ConditionKey) -> Values<'_> {
        if let Some(values) = self.context.set_by_caller(key) {
            return values;
        }
        let (context, principal) = (&self.context, self.principal);
        match key {
            ConditionKey::Encryption => Values::maybe(context.encryption),
            ConditionKey::KmsKey => Values::maybe(context.kms_key),
            ConditionKey::CustomerAlgorithm => Values::maybe(context.customer_algorithm),
            ConditionKey::LockMode
            | ConditionKey::LockUntil
            | ConditionKey::LockDays
            | ConditionKey::LegalHold => {
                context.lock.map_or(Values::Absent, |lock| lock.value(key, context.now))
            }
            ConditionKey::Prefix => Values::maybe(context.prefix),
            ConditionKey::Delimiter => Values::maybe(context.delimiter),
            ConditionKey::SecureTransport => truth(context.secure_transport),
            ConditionKey::TlsVersion => Values::maybe(context.tls_version),
            ConditionKey::ViaService => Values::maybe(context.via_service),
            ConditionKey::CurrentTime => self.time().map_or(Values::Absent, |t| one(&t)),
            ConditionKey::EpochTime => self.time().map_or(Values::Absent, |t| one(&t.as_second())),
            ConditionKey::UserName => Values::maybe(principal.user()),
            ConditionKey::UserId => one(&principal.uid()),
            ConditionKey::PrincipalArn => Values::maybe(Some(principal.arn())),
            ConditionKey::PrincipalAccount => Values::maybe(Some(principal.account().as_str())),
            ConditionKey::CallerAccount if self.action.is_about_keys() => {
                Values::maybe(Some(principal.account().as_str()))
            }
            ConditionKey::ResourceAccount => self.resource_account(),
            ConditionKey::Exe => context.exe().map_or(Values::Absent, |path| one(&path)),
            ConditionKey::Gid => {
                let groups = context.groups(principal.gids());
                Values::Many(groups.iter().map(|gid| Cow::Owned(gid.to_string())).collect())
            }
            ConditionKey::ContextKeys | ConditionKey::Other(_) | ConditionKey::CallerAccount => {
                context.encryption_context(key)
            }
        }
    }

    /// `aws:ResourceAccount`: the account in the ARN of a key; buckets lie in the account of the store's own users.
    fn resource_account(&self) -> Values<'_> {
        match self.resource {
            Resource::Key(arn) => Values::maybe(arn.split(':').nth(4)),
            Resource::Bucket(_) | Resource::Object(..) => Values::maybe(Some(self.principal.home().as_str())),
        }
    }

    /// The moment that a key tells of by itself: the same as its text, for comparing.
    pub(super) fn moment(&self, key: &ConditionKey) -> Option<Moment> {
        if self.context.set_by_caller(key).is_some() {
            return None;
        }
        match key {
            ConditionKey::CurrentTime => self.time().map(Moment::at),
            ConditionKey::EpochTime => {
                self.time().and_then(|time| Timestamp::from_second(time.as_second()).ok()).map(Moment::at)
            }
            _ => None,
        }
    }

    fn time(&self) -> Option<Timestamp> {
        Timestamp::try_from(self.context.now).ok()
    }
}

fn truth(value: bool) -> Values<'static> {
    Values::maybe(Some(if value { "true" } else { "false" }))
}

pub(super) fn one(value: &impl ToString) -> Values<'static> {
    Values::One(Cow::Owned(value.to_string()))
}
