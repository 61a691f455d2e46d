//! `strongroom policy simulate`: what a new policy would have decided about what was done before.
//!
//! Reads one JSON object per line, as the audit log has them, with the fields of AWS `CloudTrail`: `eventTime`, `eventName`,
//! `userIdentity` with `uid`, `gid`, `userName`, `arn` and `exe`, `requestParameters` with `bucketName`, `key`, `prefix`
//! and the encryption headers, `additionalEventData` with `keyArn` (the key that was used), `bucketKeyEnabled`,
//! `encryptionContext`, `SSEApplied` (only where an object was made) and `access`. Other fields are ignored.
//!
//! A request is allowed if the bucket, the user's own policies and the key all let it. The policies of keys and users are
//! those of now.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::Context as _;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    exit::{Exit, Refusal},
    identities::{account, identity_policies, mode},
    key_policies::{GovernedKey, KeyPolicies, KeyUse},
    output,
    policy::{bucket_policy, read_policy},
    policy_simulation::{Judged, Simulation},
};
use crate::{
    config::Config,
    name::{BucketName, ObjectName},
    policy::{Action, Context, Policies, PolicyDocument, Principal, PrincipalArn, Request, Resource},
};

/// Tell what a new policy would have decided differently about the requests in an audit log
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// The store
    store: PathBuf,
    /// Name of the bucket
    bucket: String,
    /// The new policy (`-`: stdin)
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// It is the new policy of this key instead of the bucket's
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The audit log: one JSON object per line
    #[arg(long, value_name = "FILE")]
    from_audit: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line of the log.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "eventTime", deserialize_with = "read_time")]
    time: jiff::Timestamp,
    #[serde(rename = "eventName")]
    name: String,
    user_identity: UserIdentity,
    #[serde(default)]
    request_parameters: Option<Parameters>,
    #[serde(default)]
    additional_event_data: Option<Outcome>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default)]
    key_arn: Option<String>,
    #[serde(default)]
    bucket_key_enabled: bool,
    #[serde(default)]
    encryption_context: BTreeMap<String, String>,
    #[serde(default, rename = "SSEApplied")]
    applied: Option<String>,
    #[serde(default)]
    access: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserIdentity {
    uid: u32,
    #[serde(default)]
    gid: Option<u32>,
    #[serde(default)]
    user_name: Option<String>,
    #[serde(default)]
    arn: Option<String>,
    #[serde(default)]
    exe: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    #[serde(default)]
    bucket_name: Option<String>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default, rename = "x-amz-server-side-encryption")]
    encryption: Option<String>,
    #[serde(default, rename = "x-amz-server-side-encryption-customer-algorithm")]
    customer_algorithm: Option<String>,
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<jiff::Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

impl Simulate {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let bucket = BucketName::parse(&self.bucket)?;
        let old = bucket_policy(&self.store, &bucket, None)?;
        let keys = KeyPolicies::read(&self.store, config)?;
        let (new, tried) = match &self.key {
            None => (bucket_policy(&self.store, &bucket, Some(&self.policy))?, None),
            Some(key) => (old.clone(), Some(tried(&keys, key, &read_policy(&self.policy)?)?)),
        };
        let (old, new, identities) = (old.as_ref(), new.as_ref(), RefCell::default());
        let trial = Trial { config, bucket: &bucket, old, new, keys, tried, identities };
        let simulation = trial.run(&self.from_audit)?;
        if self.json { output::json(&simulation.report()) } else { simulation.print() }
    }
}

/// Two policies to compare.
struct Trial<'a> {
    config: &'a Config,
    bucket: &'a BucketName,
    old: Option<&'a PolicyDocument>,
    new: Option<&'a PolicyDocument>,
    keys: KeyPolicies,
    /// The key whose policy is the new one.
    tried: Option<GovernedKey>,
    /// The policies of users, by user and group.
    identities: RefCell<HashMap<(u32, Option<u32>), Identity>>,
}

/// The policies of one user.
type Identity = Arc<[Arc<PolicyDocument>]>;

/// The key called `name` with `policy` in place of its own.
fn tried(keys: &KeyPolicies, name: &str, policy: &str) -> anyhow::Result<GovernedKey> {
    keys.find(name, Some(policy))?.ok_or_else(|| {
        Refusal::error(Exit::Failure, format!("the store has no key `{}`", name.escape_debug()))
    })
}

impl Trial<'_> {
    fn run(&self, log: &Path) -> anyhow::Result<Simulation> {
        let shown = log.display();
        let file = File::open(log).with_context(|| format!("cannot read the audit log `{shown}`"))?;
        let mut simulation = Simulation::default();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.with_context(|| format!("cannot read the audit log `{shown}`"))?;
            if line.trim().is_empty() {
                continue;
            }
            let event: Event = serde_json::from_str(&line).map_err(|error| {
                Refusal::error(Exit::Failure, format!("`{shown}`, line {}: {error}", number + 1))
            })?;
            match self.judge(&event)? {
                None => simulation.pass_over(),
                Some(judged) => simulation.note(judged, event.time),
            }
        }
        Ok(simulation)
    }

    /// What both policies say; `None` for what is no request to this bucket.
    fn judge(&self, event: &Event) -> anyhow::Result<Option<Judged>> {
        let empty = Parameters::default();
        let asked = event.request_parameters.as_ref().unwrap_or(&empty);
        if asked.bucket_name.as_deref() != Some(self.bucket.as_str()) {
            return Ok(None);
        }
        let Some(action) = action_of(&event.name) else { return Ok(None) };
        let object = asked.key.as_deref().filter(|_| action.is_about_objects());
        let object = object.map(|key| ObjectName::parse(key.as_ref())).transpose()?;
        if object.is_some() != action.is_about_objects() {
            return Ok(None);
        }
        let Some(principal) = self.principal(&event.user_identity) else { return Ok(None) };
        let key = event.additional_event_data.as_ref().and_then(|outcome| outcome.key_arn.as_deref());
        let mut context = Context::at(SystemTime::from(event.time))
            .encryption(asked.encryption.as_deref())
            .kms_key(key)
            .customer_algorithm(asked.customer_algorithm.as_deref())
            .with("strongroom:exe", event.user_identity.exe.clone());
        if action == Action::ListBucket {
            context = context.listing(asked.prefix.as_deref().unwrap_or_default(), "/");
        }
        let request = Request {
            principal: &principal,
            action,
            resource: Resource::of(self.bucket, object.as_ref()),
            context,
        };
        let identity = self.identity(&event.user_identity, &principal)?;
        let policies = |resource| Policies { resource, identity: &identity, mode: mode(self.config) };
        let mut judged = Judged {
            before: policies(self.old).evaluate(&request).is_allowed(),
            action: action.as_str(),
            user: principal.arn().to_owned(),
            resource: request.resource.to_string(),
            ..Judged::by(&policies(self.new).explain(&request))
        };
        if let (Some(object), Some(outcome)) = (&object, &event.additional_event_data) {
            let pairs: Vec<_> = outcome.encryption_context.clone().into_iter().collect();
            let used = || KeyUse {
                principal: &principal,
                bucket: self.bucket,
                object,
                bucket_key: outcome.bucket_key_enabled,
                pairs: &pairs,
                context: request.context.clone(),
            };
            self.judge_key(outcome, action, &used, &identity, &mut judged)?;
        }
        Ok(Some(judged))
    }

    /// What the policy of the key that was used says besides, before and after.
    fn judge_key<'u>(
        &self,
        outcome: &Outcome,
        action: Action,
        used: &dyn Fn() -> KeyUse<'u>,
        identity: &[Arc<PolicyDocument>],
        judged: &mut Judged,
    ) -> anyhow::Result<()> {
        let Some(arn) = &outcome.key_arn else { return Ok(()) };
        let Some(now) = self.keys.find(arn, None)? else { return Ok(()) };
        let then = self.tried.as_ref().filter(|tried| tried.arn == now.arn).unwrap_or(&now);
        for action in outcome.uses(action) {
            let explain = |key: &GovernedKey| match action {
                Action::GenerateDataKey => key.explain_new(used(), identity).0,
                action => key.explain(action, &used(), identity),
            };
            judged.before &= explain(&now).denial.is_none();
            let after = explain(then);
            if judged.after && after.denial.is_some() {
                *judged = Judged {
                    before: judged.before,
                    action: action.as_str(),
                    user: std::mem::take(&mut judged.user),
                    resource: std::mem::take(&mut judged.resource),
                    ..Judged::by(&after)
                };
            }
        }
        Ok(())
    }

    fn identity(&self, user: &UserIdentity, principal: &Principal) -> anyhow::Result<Identity> {
        let of = (user.uid, user.gid);
        if let Some(known) = self.identities.borrow().get(&of) {
            return Ok(known.clone());
        }
        let policies: Identity = identity_policies(self.config, principal)?.into();
        self.identities.borrow_mut().insert(of, policies.clone());
        Ok(policies)
    }

    /// Who asked; `None` for what the product did by itself.
    fn principal(&self, identity: &UserIdentity) -> Option<Principal> {
        let groups = identity.gid.into_iter().collect();
        let principal =
            Principal::new(account(self.config), identity.uid, groups, identity.user_name.as_deref());
        match identity.arn.as_deref() {
            Some(arn) if arn != principal.arn() => Some(principal.known_as(&PrincipalArn::parse(arn).ok()?)),
            _ => Some(principal),
        }
    }
}

impl Outcome {
    /// What the key was used for: to make the object, to read what is there, or both.
    fn uses(&self, action: Action) -> Vec<Action> {
        let made = action == Action::PutObject && self.applied.is_some();
        let read = action == Action::GetObject
            || action == Action::PutObject && !made
            || self.access.as_deref().is_some_and(|access| access.contains('r'));
        let both = [(made, Action::GenerateDataKey), (read, Action::Decrypt)];
        both.into_iter().filter(|(used, _)| *used).map(|(_, action)| action).collect()
    }
}

/// The action behind an event. `CloudTrail` names operations; most are called as the action that they need.
fn action_of(event: &str) -> Option<Action> {
    match event {
        "ListObjects" | "ListObjectsV2" | "HeadBucket" => Some(Action::ListBucket),
        "HeadObject" => Some(Action::GetObject),
        "CopyObject" | "RenameObject" | "CreateMultipartUpload" | "CompleteMultipartUpload" => {
            Some(Action::PutObject)
        }
        "PutBucketEncryption" | "DeleteBucketEncryption" => Some(Action::PutEncryptionConfiguration),
        name => Action::parse(&format!("s3:{name}")),
    }
}
