//! One request, as policies see it.

use std::borrow::Cow;

use jiff::Timestamp;

use super::{
    action::{Action, Level},
    context::{ConditionKey, Context, Values},
    principal::Principal,
};
use crate::name::{BucketName, ObjectName};

/// Who wants to do what with which resource. All borrowed: building one allocates nothing.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What for.
    pub action: Action,
    /// The bucket acted on.
    pub bucket: &'a BucketName,
    /// The object acted on; `None` for actions on the bucket itself. A request that mixes the two is denied.
    pub object: Option<&'a ObjectName>,
    /// Everything else that conditions may test.
    pub context: Context<'a>,
}

impl Request<'_> {
    /// The object name as text; bytes that are not UTF-8 are shown as U+FFFD.
    pub(super) fn object_text(&self) -> Option<Cow<'_, str>> {
        self.object.map(|name| name.as_os_str().to_string_lossy())
    }

    /// Whether an object is named exactly if the action acts on one. Statements about objects would else be passed by.
    pub(super) fn fits_together(&self) -> bool {
        self.object.is_some() == (self.action.level() == Level::Object)
    }

    /// The values of a condition key. What the caller set goes before what is derived here.
    pub(super) fn values(&self, key: &ConditionKey) -> Values<'_> {
        if let Some(values) = self.context.set_by_caller(key) {
            return values;
        }
        match key {
            ConditionKey::Encryption => Values::maybe(self.context.encryption),
            ConditionKey::KmsKey => Values::maybe(self.context.kms_key),
            ConditionKey::CustomerAlgorithm => Values::maybe(self.context.customer_algorithm),
            ConditionKey::Prefix => Values::maybe(self.context.prefix),
            ConditionKey::Exe => Values::maybe(self.context.exe),
            ConditionKey::SecureTransport => {
                Values::maybe(Some(if self.context.secure_transport { "true" } else { "false" }))
            }
            ConditionKey::CurrentTime => self.time().map_or(Values::Absent, |t| one(&t)),
            ConditionKey::EpochTime => self.time().map_or(Values::Absent, |t| one(&t.as_second())),
            ConditionKey::UserName => Values::maybe(self.principal.user()),
            ConditionKey::UserId => one(&self.principal.uid()),
            ConditionKey::PrincipalArn => Values::maybe(Some(self.principal.arn())),
            ConditionKey::PrincipalAccount => Values::maybe(Some(self.principal.account().as_str())),
            ConditionKey::Gid => {
                Values::Many(self.principal.gids().iter().map(|gid| Cow::Owned(gid.to_string())).collect())
            }
            ConditionKey::Other(_) => Values::Absent,
        }
    }

    fn time(&self) -> Option<Timestamp> {
        Timestamp::try_from(self.context.now).ok()
    }
}

fn one(value: &impl ToString) -> Values<'static> {
    Values::One(Cow::Owned(value.to_string()))
}
