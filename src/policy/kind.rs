//! What many requests have in common: who asks, for what, in which directory, with which headers.
//!
//! Requests of one kind differ in the time, in the process that asks, in the encryption context of a key, and in the last
//! part of the object's name. Whatever else a policy can see must be part of the kind.

use std::{
    borrow::Cow,
    hash::{Hash, Hasher},
};

use super::{
    action::Action,
    context::Context,
    principal::Principal,
    request::{Request, Resource},
};

/// A kind of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind<'a> {
    principal: Cow<'a, Principal>,
    action: Action,
    /// The name of the bucket, or the ARN of the key; which of them, the action tells.
    resource: Cow<'a, str>,
    /// What the name of the object begins with, up to its last `/`, as it is stored.
    directory: Cow<'a, [u8]>,
    secure_transport: bool,
    headers: [Option<Cow<'a, str>>; 7],
}

impl<'a> Kind<'a> {
    /// That of `request`; `None` for one that carries what no kind has.
    pub(super) fn of(request: &'a Request<'a>) -> Option<Self> {
        let context = &request.context;
        context.is_ordinary().then(|| Self {
            principal: Cow::Borrowed(request.principal),
            action: request.action,
            resource: Cow::Borrowed(match request.resource {
                Resource::Bucket(bucket) | Resource::Object(bucket, _) => bucket.as_str(),
                Resource::Key(arn) => arn,
            }),
            directory: Cow::Borrowed(request.resource.directory_bytes()),
            secure_transport: context.secure_transport,
            headers: headers(context).map(|header| header.map(Cow::Borrowed)),
        })
    }

    /// The same, to be kept.
    pub(super) fn into_owned(self) -> Kind<'static> {
        Kind {
            principal: Cow::Owned(self.principal.into_owned()),
            action: self.action,
            resource: Cow::Owned(self.resource.into_owned()),
            directory: Cow::Owned(self.directory.into_owned()),
            secure_transport: self.secure_transport,
            headers: self.headers.map(|header| header.map(|text| Cow::Owned(text.into_owned()))),
        }
    }
}

/// By what tells most kinds apart, in few words: this is done for every request.
impl Hash for Kind<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.principal.uid()) << 32 | self.action as u64);
        state.write(self.directory.as_ref());
        state.write(self.resource.as_bytes());
    }
}

fn headers<'a>(context: &Context<'a>) -> [Option<&'a str>; 7] {
    [
        context.encryption,
        context.kms_key,
        context.customer_algorithm,
        context.tls_version,
        context.via_service,
        context.prefix,
        context.delimiter,
    ]
}
