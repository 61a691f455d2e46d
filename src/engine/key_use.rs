//! Asking the policies of keys before a key is used for somebody.
//!
//! What this program does by itself (jobs, recovery, commands on a store that is not mounted) is the administrator's, who
//! holds the keys, and is not asked about. Everyone who asks through a mount is a principal, root as well.
//!
//! Nothing is kept of a decision: it is computed from what is in memory, and a policy may look at the time and at the
//! process that asks. So a bucket key or an open object that is kept never widens what somebody may do.

use std::path::PathBuf;

use super::{
    Caller, EngineError, Result,
    admission::{Admission, logged, now},
    sealing::{Sealing, bucket_arn, object_arn},
    wraps::{Asker, Whom, Wraps, no_record},
};
use crate::{
    envelope::{EncryptionContext, RecordType},
    keys::{BucketKey, KeyId, KeyService},
    object::{Identity, KeySection},
    policy::{Action, Grant, Mode, Policies, Request, Resource},
};

/// The use of a master key for one object.
pub(super) struct KeyUse {
    pub(super) key: KeyId,
    /// Through a bucket key, whose context names the bucket alone.
    pub(super) bucket_key: bool,
    /// The user's pairs.
    pub(super) context: EncryptionContext,
}

impl Sealing {
    /// The use of a master key that it takes; none but those of SSE-KMS and DSSE-KMS.
    fn key_use(&self) -> Option<KeyUse> {
        let (key, bucket_key, context) = match self {
            Self::Kms { key, bucket_key, context } => (key, *bucket_key, context),
            Self::DualKms { key, context } => (key, false, context),
            Self::Plain | Self::Service | Self::Customer => return None,
        };
        Some(KeyUse { key: key.clone(), bucket_key, context: context.clone() })
    }
}

impl Wraps {
    /// The use of a master key that a stored object of SSE-KMS or DSSE-KMS takes.
    ///
    /// What an object carries of its bucket key is a copy, which may be older than a change of the master key and which
    /// no MAC covers: the bucket key itself tells which master key it is under.
    fn key_use(&self, section: &KeySection) -> Result<KeyUse> {
        let record = section.find(RecordType::DataKey1).ok_or_else(no_record)?;
        let bucket_key = BucketKey::named_by(record).is_some();
        let key = if bucket_key {
            self.service().key_of(&self.bucket_key_of(record, section)?.record().wrapped)?
        } else {
            self.service().key_of(record)?
        };
        Ok(KeyUse { key, bucket_key, context: record.context.clone() })
    }

    /// What the records of a stored object say of that use, where finding out would take using a master key: nothing of it
    /// is proven. `None` where what is in memory tells.
    fn claimed_key_use(&self, section: &KeySection) -> Option<KeyUse> {
        let record = section.find(RecordType::DataKey1)?;
        let named = BucketKey::named_by(record).filter(|id| !self.has_bucket_key(*id))?;
        let key = self.claimed_master_of(named, section)?;
        Some(KeyUse { key, bucket_key: true, context: record.context.clone() })
    }

    /// Refuses to decrypt the object for who may not see what its key protects.
    pub(super) fn require_decrypt(
        &self,
        identity: &Identity,
        section: &KeySection,
        asker: &Asker<'_>,
    ) -> Result<()> {
        match self.judge_decrypt(identity, section, asker) {
            Some(judged) => logged(judged).map(drop),
            None => Ok(()),
        }
    }

    /// Whether `asker` may decrypt the object; one who may only write is not an error.
    pub(super) fn may_decrypt(
        &self,
        identity: &Identity,
        section: &KeySection,
        asker: &Asker<'_>,
    ) -> Result<bool> {
        self.judge_decrypt(identity, section, asker).map_or(Ok(true), allowed)
    }

    /// What is decided about decrypting the object; `None` where nothing decides.
    fn judge_decrypt(
        &self,
        identity: &Identity,
        section: &KeySection,
        asker: &Asker<'_>,
    ) -> Option<Result<Grant>> {
        let Whom::Reader(admission, caller) = asker.whom else { return None };
        if !identity.mode.is_kms() || admission.leaves_keys_free(caller, self.service()) {
            return None;
        }
        let ask = KeyAsk { caller, service: self.service(), bucket: asker.bucket, path: asker.path };
        let judge = |used: &KeyUse| admission.judge_key(&ask, Action::Decrypt, used);
        // Who may not use the key that is named has none used for him; what is then proven to be used decides.
        let refused = self.claimed_key_use(section).and_then(|claimed| judge(&claimed).err());
        Some(match refused {
            Some(refused) => Err(refused),
            None => self.key_use(section).and_then(|used| judge(&used)),
        })
    }

    /// Decides whether the key of `sealing` may be used for a new object, and how.
    ///
    /// With a bucket key this needs `kms:Decrypt` as well, as on S3. For who lacks it, the key itself wraps the data key
    /// of each of his objects.
    pub(super) fn admit_sealing(
        &self,
        admission: &Admission,
        caller: &Caller,
        (bucket, path): (&str, &dyn Fn() -> PathBuf),
        mut sealing: Sealing,
    ) -> Result<Sealing> {
        if matches!(sealing, Sealing::Plain | Sealing::Service | Sealing::Customer)
            || caller.is_own()
            || admission.leaves_keys_free(caller, self.service())
        {
            return Ok(sealing);
        }
        let ask = KeyAsk { caller, service: self.service(), bucket, path };
        let used = sealing.key_use();
        if let (Sealing::Kms { bucket_key: shared @ true, .. }, Some(used)) = (&mut sealing, used) {
            *shared = allowed(admission.judge_key(&ask, Action::Decrypt, &used))?;
        }
        match sealing.key_use() {
            Some(used) => logged(admission.judge_key(&ask, Action::GenerateDataKey, &used)).map(|_| sealing),
            None => Ok(sealing),
        }
    }
}

impl Asker<'_> {
    /// Whether policies have to be asked about him.
    pub(super) fn is_judged(&self, service: &KeyService) -> bool {
        matches!(self.whom, Whom::Reader(admission, caller) if !admission.leaves_keys_free(caller, service))
    }
}

/// Who asks for the use of a key, and for which object.
struct KeyAsk<'a> {
    caller: &'a Caller,
    service: &'a KeyService,
    bucket: &'a str,
    path: &'a dyn Fn() -> PathBuf,
}

impl Admission {
    /// Whether nothing can keep `caller` from using any key: the usual case, decided without a look at the object.
    fn leaves_keys_free(&self, caller: &Caller, service: &KeyService) -> bool {
        let principals = self.principals();
        !principals.have_policies()
            && !self.governs_keys(service)
            && principals.of(caller).account() == principals.account()
    }

    /// Whether the policy or a grant of any key has a say.
    pub(super) fn governs_keys(&self, service: &KeyService) -> bool {
        self.keys().any(service, self.principals().account())
    }

    fn judge_key(&self, ask: &KeyAsk<'_>, action: Action, used: &KeyUse) -> Result<Grant> {
        let principals = self.principals();
        let rule = self.keys().of(ask.service, &used.key, principals.account())?;
        let policy = rule
            .policy
            .as_ref()
            .map_err(|reason| EngineError::KeyPolicy { key: used.key.clone(), reason: reason.clone() })?;
        let (principal, identity) = (principals.of(ask.caller), principals.policies_of(ask.caller)?);
        let arn = if used.bucket_key {
            bucket_arn(ask.bucket)
        } else {
            object_arn(ask.bucket, &(ask.path)().to_string_lossy())
        };
        let mut pairs: Vec<(&str, &str)> = vec![("aws:s3:arn", &arn)];
        pairs.extend(used.context.pairs());
        let via = via_service(ask.service.scope().region());
        let process = self.process_of(ask.caller);
        let context = now().via_service(Some(&via)).with_encryption_context(&pairs).process(Some(&process));
        let request = Request { principal: &principal, action, resource: Resource::Key(&rule.arn), context };
        // What nobody has restricted stays open, whatever is asked for explicitly elsewhere.
        let mode = if rule.own { self.mode() } else { Mode::Open };
        let policies = Policies { resource: Some(policy), identity: &identity, mode };
        policies.evaluate(&request).into_result().map_err(EngineError::Denied)
    }
}

/// Whether it was allowed; a denial is no error here.
fn allowed(outcome: Result<Grant>) -> Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(EngineError::Denied(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The service through which a drive in `region` uses keys, as `kms:ViaService` names it.
pub fn via_service(region: &str) -> String {
    format!("s3.{region}.amazonaws.com")
}
