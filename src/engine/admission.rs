//! Asking the policies before anything is done: who, what, on which object, with which encryption.

use std::{path::PathBuf, time::SystemTime};

use super::{
    Caller, Encryption, EngineError, Result, bucket_policy::BucketPolicy, key_rules::KeyRules,
    principals::Principals, programs::KnownAsker,
};
use crate::{
    name::{BucketName, ObjectName},
    policy::{Action, Context, Grant, Lock, Mode, Policies, PolicyDocument, Request, Resource},
};

/// A question about something in a bucket.
pub(super) struct Ask<'a> {
    pub(super) caller: &'a Caller,
    pub(super) action: Action,
    /// Path in the bucket of the object, or of the directory to be listed; asked for only where a policy needs it.
    pub(super) path: &'a dyn Fn() -> PathBuf,
    /// The encryption that the policies see; asked for only where there are any.
    pub(super) encryption: &'a dyn Fn() -> Result<SeenEncryption>,
}

/// What policies see of the encryption of a request, or of the object that it is about.
#[derive(Debug, Default)]
pub(super) struct SeenEncryption {
    /// `x-amz-server-side-encryption`, literally.
    pub(super) header: Option<&'static str>,
    /// The ARN of the effective KMS key, also where it is the default's.
    pub(super) kms_key: Option<String>,
    /// Whether it is a customer key.
    pub(super) customer: bool,
}

/// Who decides besides the policy of the bucket: the policies of users and groups, and the mode.
pub(super) struct Admission {
    principals: Principals,
    mode: Mode,
    keys: KeyRules,
}

impl Admission {
    pub(super) fn new(principals: Principals, mode: Mode) -> Self {
        Self { principals, mode, keys: KeyRules::default() }
    }

    /// What is decided where no statement does.
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Who may use which key.
    pub(super) fn keys(&self) -> &KeyRules {
        &self.keys
    }

    /// Who users are to the policies.
    pub(super) fn principals(&self) -> &Principals {
        &self.principals
    }

    /// Whether nobody but a bucket's own policy can deny anything.
    pub(super) fn is_open(&self) -> bool {
        self.mode == Mode::Open && !self.principals.have_policies()
    }

    /// The process in which `caller` asks.
    pub(super) fn process_of(&self, caller: &Caller) -> KnownAsker<'_> {
        KnownAsker { pid: caller.pid, programs: self.principals.programs() }
    }

    /// What every request of `caller` asks for, if an administrator says so.
    pub(super) fn profile(&self, caller: &Caller) -> Option<Encryption> {
        self.principals.profile(caller)
    }

    /// Decides about `ask` in the bucket with this `policy`: the grant, or a denial that was logged.
    pub(super) fn admit(&self, policy: &BucketPolicy, ask: &Ask<'_>) -> Result<Grant> {
        logged(self.judge(policy, ask))
    }

    /// What is decided about `ask`, for telling: nothing is logged.
    pub(super) fn judge(&self, policy: &BucketPolicy, ask: &Ask<'_>) -> Result<Grant> {
        let bucket = policy.bucket();
        let document = policy.document(ask.action)?;
        if document.is_none() && self.is_open() {
            return Ok(Grant::without_policy(ask.action, bucket));
        }
        let path = (ask.path)();
        let (prefix, object, encryption);
        let (resource, context) = if ask.action.is_about_objects() {
            object = ObjectName::parse(path.as_os_str())?;
            encryption = (ask.encryption)()?;
            (Resource::Object(bucket, &object), with_encryption(now(), &encryption))
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
        logged(self.decide(caller, document.as_deref(), action, Resource::Bucket(bucket), now()))
    }

    /// Decides about `action`, by which `caller` gives everything in the bucket with this `policy` the retention `lock`,
    /// or lifts it.
    pub(super) fn admit_lock(
        &self,
        caller: &Caller,
        policy: &BucketPolicy,
        action: Action,
        lock: Option<Lock>,
    ) -> Result<Grant> {
        self.admit_object_lock(caller, policy, action, &ObjectName::parse("*".as_ref())?, lock)
    }

    /// The same for a single object.
    pub(super) fn admit_object_lock(
        &self,
        caller: &Caller,
        policy: &BucketPolicy,
        action: Action,
        object: &ObjectName,
        lock: Option<Lock>,
    ) -> Result<Grant> {
        let document = policy.document(action)?;
        let object = action.is_about_objects().then_some(object);
        let resource = Resource::of(policy.bucket(), object);
        logged(self.decide(caller, document.as_deref(), action, resource, now().lock(lock)))
    }

    /// Whether `ask` would be allowed, for those who ask what else must be done; nothing is logged.
    pub(super) fn would_admit(&self, policy: &BucketPolicy, ask: &Ask<'_>) -> Result<bool> {
        match self.judge(policy, ask) {
            Ok(_) => Ok(true),
            Err(EngineError::Denied(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn decide(
        &self,
        caller: &Caller,
        document: Option<&PolicyDocument>,
        action: Action,
        resource: Resource<'_>,
        context: Context<'_>,
    ) -> Result<Grant> {
        let principal = self.principals.of(caller);
        let identity = self.principals.policies_of(caller)?;
        let asker = self.process_of(caller);
        let request =
            Request { principal: &principal, action, resource, context: context.process(Some(&asker)) };
        let policies = Policies { resource: document, identity: &identity, mode: self.mode };
        policies.evaluate(&request).into_result().map_err(EngineError::Denied)
    }
}

/// Logs a denial where it happens: the errno that the program sees tells nobody why.
pub(super) fn logged(outcome: Result<Grant>) -> Result<Grant> {
    if let Err(EngineError::Denied(denial)) = &outcome {
        log::warn!("{denial}");
    }
    outcome
}

fn with_encryption<'a>(context: Context<'a>, encryption: &'a SeenEncryption) -> Context<'a> {
    context
        .encryption(encryption.header)
        .kms_key(encryption.kms_key.as_deref())
        .customer_algorithm(encryption.customer.then_some(CUSTOMER_ALGORITHM))
}

/// The only algorithm of customer keys.
const CUSTOMER_ALGORITHM: &str = "AES256";

pub(super) fn now() -> Context<'static> {
    Context::at(SystemTime::now())
}

/// What a listing of the directory at `path` asks for in S3: the bucket itself is "", a directory ends in `/`.
fn listed_prefix(path: &std::path::Path) -> String {
    let path = path.to_string_lossy();
    if path.is_empty() { String::new() } else { format!("{path}/") }
}
