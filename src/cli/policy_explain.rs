//! `strongroom policy explain`: what a policy says about one request, and why.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc, time::SystemTime};

use super::{
    bucket::{explained, unopened},
    exit::{Exit, Refusal},
    identities::{identity_policies, mode, principal},
    key_policies::{GovernedKey, KeyPolicies, KeyUse},
    output,
    policy::bucket_policy,
    policy_explanation::{KeyAnswer, Told},
    sse::{ContextPair, requested},
    store::key_scope,
};
use crate::{
    config::{Config, MountOptions, RequestEncryption, Switch},
    engine::{EncryptionFile, ShownEncryption},
    keys::KeyName,
    name::{BucketName, ObjectName},
    policy::{Action, Context, Policies, PolicyDocument, Principal, Request, Resource, TestedCondition},
};
use anyhow::Context as _;

/// Tell what the policies say about one request, and why
///
/// Shows the decision, the statement that makes it, each condition with the value that it sees, and what would turn it.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The store
    store: PathBuf,
    /// Name of the bucket
    bucket: String,
    /// Who asks: a user name or number
    #[arg(long = "as", value_name = "USER")]
    user: String,
    /// What for, such as s3:PutObject or kms:Decrypt
    #[arg(long)]
    action: String,
    /// The object, or the directory to be listed, by its path in the bucket
    #[arg(long, default_value = "", hide_default_value = true)]
    path: String,
    /// Encryption that the request names, as `mount --sse` has it, or that an existing object has [default: none]
    #[arg(long, value_name = "ENCRYPTION", hide_possible_values = true)]
    sse: Option<RequestEncryption>,
    /// KMS key that the request names [default: that of the bucket]: its policy is asked, too
    #[arg(long, value_name = "KEY")]
    sse_kms_key: Option<KeyName>,
    /// A pair of the encryption context; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    sse_context: Vec<ContextPair>,
    /// Whether a bucket key is used: on or off [default: on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    sse_bucket_key: Option<Switch>,
    /// Program that asks, by its absolute path
    #[arg(long, value_name = "PATH")]
    exe: Option<String>,
    /// When, such as 2026-01-31T18:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// The policy in this file instead of the stored one (`-`: stdin)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The key that the object gets or has.
#[derive(Default)]
struct EffectiveKey {
    /// As it is named; `None` where no KMS key is used.
    name: Option<KeyName>,
    /// What policies see; `None` for an alias that points at nothing.
    arn: Option<String>,
    /// What decides about it, if the store lists it.
    governed: Option<GovernedKey>,
}

impl Explain {
    /// Runs the command.
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<()> {
        let bucket = BucketName::parse(&self.bucket)?;
        let principal = self.principal(config)?;
        let identity = identity_policies(config, &principal)?;
        let action = self.action()?;
        let shown = self.encryption(action, &bucket)?;
        let key = self.key(config, &shown)?;
        let answer = match &key.governed {
            Some(key) => self.ask_key(key, action, (&bucket, &principal, &identity))?,
            None => None,
        };
        if action.is_about_keys() {
            let Some(answer) = answer else {
                return Err(key.name.map_or_else(|| self.no_key_is_named(), |name| no_key(&name)));
            };
            return self.print(answer.into());
        }
        let document = bucket_policy(&self.store, &bucket, self.policy.as_ref())?;
        let policies = Policies { resource: document.as_ref(), identity: &identity, mode: mode(config) };
        let object = if action.is_about_objects() { Some(self.object()?) } else { None };
        let context = self
            .context()
            .encryption(shown.header)
            .customer_algorithm(shown.customer.then_some(CUSTOMER_ALGORITHM))
            .kms_key(key.arn.as_deref());
        let resource = Resource::of(&bucket, object.as_ref());
        let request = Request { principal: &principal, action, resource, context };
        let explanation = policies.explain(&request);
        let mut conditions = explanation.statements.iter().flat_map(|statement| &statement.conditions);
        if let (Some(name), None) = (&key.name, &key.arn)
            && conditions.any(TestedCondition::is_about_the_key)
        {
            return Err(no_key(name));
        }
        let governed = document.is_some() || !identity.is_empty();
        let told = Told::about_the_bucket(explanation, governed, policies.mode);
        self.print(told.with_key(answer))
    }

    fn print(&self, told: Told) -> anyhow::Result<()> {
        if self.json {
            return told.print_json();
        }
        let nameless = self.exe.is_none() && told.wants("strongroom:exe");
        told.print()?;
        if nameless {
            return output::line("A policy asks for the program, and none was named: give it with --exe");
        }
        Ok(())
    }

    /// The key of the request, or else that of the bucket's default.
    fn key(&self, config: &Config, shown: &ShownEncryption) -> anyhow::Result<EffectiveKey> {
        let Some(name) = self.sse_kms_key.clone().or_else(|| shown.kms_key.clone()) else {
            return Ok(EffectiveKey::default());
        };
        let governed = KeyPolicies::read(&self.store, config)?.find(&name.to_string(), None)?;
        let arn = match (&governed, &name) {
            (Some(key), _) => Some(key.arn.clone()),
            (None, KeyName::Id(id)) => Some(key_scope(config)?.key_arn(id)),
            (None, KeyName::Arn(scope, id)) => Some(scope.key_arn(id)),
            (None, KeyName::Alias(_) | KeyName::AliasArn(..)) => None,
        };
        Ok(EffectiveKey { name: Some(name), arn, governed })
    }

    /// What the key's policy says about its use for `action`, which may need none.
    fn ask_key(
        &self,
        key: &GovernedKey,
        action: Action,
        (bucket, principal, identity): (&BucketName, &Principal, &[Arc<PolicyDocument>]),
    ) -> anyhow::Result<Option<KeyAnswer>> {
        use Action::{Decrypt, GenerateDataKey, GetObject, PutObject};
        if !matches!(action, Decrypt | GenerateDataKey | GetObject | PutObject) {
            return Ok(None);
        }
        let object = self.object()?;
        let pairs: Vec<_> = self.sse_context.iter().map(ContextPair::pair).collect();
        let bucket_key = self.sse_bucket_key.is_none_or(Switch::is_on);
        let context = self.context();
        let used = KeyUse { principal, bucket, object: &object, bucket_key, pairs: &pairs, context };
        let (action, (explanation, bucket_key)) = match action {
            PutObject => (GenerateDataKey, key.explain_new(used, identity)),
            GetObject => (Decrypt, (key.explain(Decrypt, &used, identity), bucket_key)),
            action => (action, (key.explain(action, &used, identity), bucket_key)),
        };
        Ok(Some(KeyAnswer { key: key.arn.clone(), action, bucket_key, explanation }))
    }

    fn no_key_is_named(&self) -> anyhow::Error {
        let message = format!("{} is about a key: name it with --sse-kms-key", self.action);
        Refusal::error(Exit::Usage, message)
    }

    fn action(&self) -> anyhow::Result<Action> {
        let asked = |action: &Action| {
            !action.is_about_keys() || matches!(action, Action::GenerateDataKey | Action::Decrypt)
        };
        let known = Action::parse(&self.action).filter(asked);
        known.ok_or_else(|| {
            let names: Vec<_> =
                Action::ALL.iter().filter(|action| asked(action)).map(|a| a.as_str()).collect();
            let names = names.join(", ");
            Refusal::error(
                Exit::Usage,
                format!("`{}` is no action of the drive: give one of {names}", self.action),
            )
        })
    }

    fn object(&self) -> anyhow::Result<ObjectName> {
        if self.path.is_empty() {
            return Err(Refusal::error(
                Exit::Usage,
                format!("{} is about an object: name it with --path", self.action),
            ));
        }
        Ok(ObjectName::parse(self.path.as_ref())?)
    }

    /// Who asks. The owner of the store counts as the owner of its mounts.
    fn principal(&self, config: &Config) -> anyhow::Result<Principal> {
        let principal = principal(config, &self.user)?;
        let owner = fs::metadata(&self.store).with_context(|| format!("`{}`", self.store.display()))?.uid();
        Ok(if principal.uid() == owner { principal.as_owner() } else { principal })
    }

    /// What the policies see of the encryption: for a PUT the default of the bucket counts.
    fn encryption(&self, action: Action, bucket: &BucketName) -> anyhow::Result<ShownEncryption> {
        let puts = action == Action::PutObject;
        if !puts && self.sse.is_none() {
            return Ok(ShownEncryption::default());
        }
        let sse = self.sse.unwrap_or(RequestEncryption::None);
        let requested = requested(&MountOptions { sse, ..MountOptions::default() })?;
        let file = EncryptionFile::of(&self.store, bucket);
        let file = file.map_err(|error| unopened(error, &self.store, bucket))?;
        let shown = file.shown(&requested).map_err(|error| explained(error, bucket))?;
        if puts && self.sse_kms_key.is_some() && shown.kms_key.is_none() {
            let message = "--sse-kms-key is given, but no KMS key is used: give --sse aws:kms too";
            return Err(Refusal::error(Exit::Usage, message));
        }
        Ok(shown)
    }

    fn context(&self) -> Context<'_> {
        let now = self.at.map_or_else(SystemTime::now, SystemTime::from);
        let context = Context::at(now).with("strongroom:exe", self.exe.clone());
        if self.action.eq_ignore_ascii_case(Action::ListBucket.as_str()) {
            context.listing(&self.path, "/")
        } else {
            context
        }
    }
}

fn no_key(name: &KeyName) -> anyhow::Error {
    Refusal::error(Exit::Failure, format!("the store has no key `{}`", name.to_string().escape_debug()))
}

/// The only algorithm of customer keys.
const CUSTOMER_ALGORITHM: &str = "AES256";

impl TestedCondition {
    fn is_about_the_key(&self) -> bool {
        self.condition.key.eq_ignore_ascii_case("s3:x-amz-server-side-encryption-aws-kms-key-id")
    }
}
