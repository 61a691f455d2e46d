//! Asking the policies before anything is done: who, what, on which object, with which encryption.

use std::{path::PathBuf, time::SystemTime};

use super::{
    Caller, EngineError, Result, bucket_policy::BucketPolicy, principals::Principals, process::Asker,
};
use crate::{
    name::{BucketName, ObjectName},
    policy::{Action, Context, Denial, Grant, Mode, Policies, PolicyDocument, Request, Resource},
};

/// A question about something in a bucket.
pub(super) struct Ask<'a> {
    pub(super) caller: &'a Caller,
    pub(super) action: Action,
    /// Path in the bucket of the object, or of the directory to be listed; asked for only where a policy needs it.
    pub(super) path: &'a dyn Fn() -> PathBuf,
    pub(super) headers: Headers<'a>,
}

/// The encryption that a request names, or that the object has which it is about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Headers<'a> {
    /// `x-amz-server-side-encryption`, literally.
    pub(super) encryption: Option<&'a str>,
}

/// Who decides besides the policy of the bucket: the policies of users and groups, and the mode.
pub(super) struct Admission {
    principals: Principals,
    mode: Mode,
}

impl Admission {
    pub(super) fn new(principals: Principals, mode: Mode) -> Self {
        Self { principals, mode }
    }

    /// Who users are to the policies.
    pub(super) fn principals(&self) -> &Principals {
        &self.principals
    }

    /// Whether nobody but a bucket's own policy can deny anything.
    pub(super) fn is_open(&self) -> bool {
        self.mode == Mode::Open && !self.principals.have_policies()
    }

    /// Decides about `ask` in the bucket with this `policy`: the grant, or a denial that was logged.
    pub(super) fn admit(&self, policy: &BucketPolicy, ask: &Ask<'_>) -> Result<Grant> {
        self.judge(policy, ask)?.map_err(refused)
    }

    /// What would be decided about `ask`, for telling.
    pub(super) fn judge(&self, policy: &BucketPolicy, ask: &Ask<'_>) -> Result<Verdict> {
        let bucket = policy.bucket();
        let document = policy.document(ask.action)?;
        if document.is_none() && self.is_open() {
            return Ok(Ok(Grant::without_policy(ask.action, bucket)));
        }
        let path = (ask.path)();
        let (prefix, object);
        let (resource, context) = if ask.action.is_about_objects() {
            object = ObjectName::parse(path.as_os_str())?;
            let headers = ask.headers;
            (Resource::Object(bucket, &object), now().encryption(headers.encryption))
        } else {
            prefix = listed_prefix(&path);
            (Resource::Bucket(bucket), now().listing(&prefix, "/"))
        };
        self.decide(ask.caller, document.as_deref(), ask.action, resource, context)
    }

    /// Decides about `action` on the bucket itself; `policy` is `None` for one that does not exist yet.
    pub(super) fn admit_on_bucket(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &BucketName,
        policy: Option<&BucketPolicy>,
    ) -> Result<Grant> {
        let document = policy.map(|policy| policy.document(action)).transpose()?.flatten();
        if document.is_none() && self.is_open() {
            return Ok(Grant::without_policy(action, bucket));
        }
        self.decide(caller, document.as_deref(), action, Resource::Bucket(bucket), now())?.map_err(refused)
    }

    fn decide(
        &self,
        caller: &Caller,
        document: Option<&PolicyDocument>,
        action: Action,
        resource: Resource<'_>,
        context: Context<'_>,
    ) -> Result<Verdict> {
        let principal = self.principals.of(caller);
        let identity = self.principals.policies_of(caller)?;
        let asker = Asker { pid: caller.pid };
        let request =
            Request { principal: &principal, action, resource, context: context.process(Some(&asker)) };
        let policies = Policies { resource: document, identity: &identity, mode: self.mode };
        Ok(policies.evaluate(&request).into_result())
    }
}

/// What policies say about a request.
pub(super) type Verdict = std::result::Result<Grant, Denial>;

/// Logs a denial and makes the error of it.
fn refused(denial: Denial) -> EngineError {
    log::warn!("{denial}");
    EngineError::Denied(Box::new(denial))
}

fn now() -> Context<'static> {
    Context::at(SystemTime::now())
}

/// What a listing of the directory at `path` asks for in S3: the bucket itself is "", a directory ends in `/`.
fn listed_prefix(path: &std::path::Path) -> String {
    let path = path.to_string_lossy();
    if path.is_empty() { String::new() } else { format!("{path}/") }
}
