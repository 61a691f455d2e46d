//! Retention at work: what may be changed, and how the rule itself is changed.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use super::{Caller, Engine, EngineError, Item, Result, Retention, clock};
use crate::{
    name::{BucketName, ObjectName},
    policy::{Action, Lock, LockMode},
    store::Kind,
};

/// Why a retention rule was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// It would hold less than the rule in force, which nobody may weaken.
    #[error("the retention in force is compliance: days may be added, nothing may be taken away")]
    Compliance,
    /// It would hold less than the rule in force.
    #[error("that holds less than the governance retention in force: say so with --bypass-governance")]
    Governance,
    /// There is none to be ended.
    #[error("the bucket has no retention")]
    NoRule,
    /// A policy, or storing it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why an object may not be changed.
struct Kept {
    rule: Arc<Retention>,
    /// Until when, in Unix seconds.
    until: i64,
}

impl Engine {
    /// Refuses to change or remove a regular file that is retained, also where nobody else would object.
    pub(super) fn require_free(
        &self,
        caller: &Caller,
        item: &Item,
        path: &dyn Fn() -> PathBuf,
    ) -> Result<()> {
        match self.kept(caller, item, path)? {
            Some(kept) => Err(refused(caller, item, path, &kept)?),
            None => Ok(()),
        }
    }

    /// The same for who says that he bypasses governance retention, which a policy may deny him. Whether he had to.
    pub(super) fn require_free_or_bypass(
        &self,
        caller: &Caller,
        item: &Item,
        path: &dyn Fn() -> PathBuf,
    ) -> Result<bool> {
        let Some(kept) = self.kept(caller, item, path)? else { return Ok(false) };
        if kept.rule.mode == LockMode::Compliance {
            return Err(refused(caller, item, path, &kept)?);
        }
        let policy = item.bucket()?.policy();
        let object = ObjectName::parse(path().as_os_str())?;
        let seconds = Duration::from_secs(u64::try_from(kept.until).unwrap_or(0));
        let lock = Lock { mode: kept.rule.mode, until: UNIX_EPOCH + seconds, legal_hold: false };
        let action = Action::BypassGovernanceRetention;
        let _granted =
            self.shared.admission.admit_object_lock(caller, policy, action, &object, Some(lock))?;
        Ok(true)
    }

    /// What keeps a regular file from being changed by `caller`, if anything does.
    fn kept(&self, caller: &Caller, item: &Item, path: &dyn Fn() -> PathBuf) -> Result<Option<Kept>> {
        if item.kind() != Kind::File {
            return Ok(None);
        }
        let bucket = item.bucket()?;
        let Some(rule) = bucket.retention()? else { return Ok(None) };
        if self.shared.uploads.is_unfinished(item.key(), caller.uid) {
            return Ok(None);
        }
        let stat = item.node().stat()?;
        let Some(until) = rule.until(stat.ctime.sec, clock::now().sec) else { return Ok(None) };
        // A file with names inside and outside of an exception is not excepted.
        if stat.nlink == 1 && rule.excepts(&path()) {
            return Ok(None);
        }
        Ok(Some(Kept { rule, until }))
    }

    /// The retention rule of a bucket.
    pub fn retention(&self, caller: &Caller, name: &BucketName) -> Result<Option<Retention>> {
        let (_, bucket) = self.shared.buckets.find(name)?;
        let action = Action::GetBucketObjectLockConfiguration;
        let _granted = self.shared.admission.admit_on_bucket(caller, action, name, Some(bucket.policy()))?;
        Ok(bucket.retention()?.map(|rule| (*rule).clone()))
    }

    /// What [`Engine::put_retention`] does.
    pub(super) fn change_retention(
        &self,
        caller: &Caller,
        name: &BucketName,
        rule: Option<&Retention>,
        bypass: bool,
    ) -> std::result::Result<(), RetentionError> {
        self.require_writable()?;
        let (_, bucket) = self.shared.buckets.find(name)?;
        // Of two rules that are put at once, the second is measured by the first.
        let _turn = self.shared.administration.lock().unwrap_or_else(PoisonError::into_inner);
        let admission = &self.shared.admission;
        let (set, lift) = (Action::PutBucketObjectLockConfiguration, Action::BypassGovernanceRetention);
        let _granted = admission.admit_lock(caller, bucket.policy(), set, rule.map(Retention::lock))?;
        let Some(old) = bucket.retention()? else {
            if rule.is_none() {
                return Err(RetentionError::NoRule);
            }
            return Ok(bucket.put_retention(rule)?);
        };
        if !rule.is_some_and(|new| old.is_kept_by(new)) {
            match old.mode {
                LockMode::Compliance => return Err(RetentionError::Compliance),
                LockMode::Governance if !bypass => return Err(RetentionError::Governance),
                LockMode::Governance => {
                    let _granted = admission.admit_lock(caller, bucket.policy(), lift, Some(old.lock()))?;
                }
            }
        }
        Ok(bucket.put_retention(rule)?)
    }
}

/// The refusal, logged where it happens.
fn refused(caller: &Caller, item: &Item, path: &dyn Fn() -> PathBuf, kept: &Kept) -> Result<EngineError> {
    let object = format!("{}/{}", item.bucket()?.name(), path().display());
    let until = jiff::Timestamp::from_second(kept.until);
    let until = until.map_or_else(|_| "for ever".to_owned(), |until| until.to_string());
    let error = EngineError::Retained { object, until };
    log::warn!("uid {}: {error}", caller.uid);
    Ok(error)
}

/// Whether a file that is retained may be opened to grow at its end.
pub(super) fn allows_append(item: &Item) -> Result<bool> {
    Ok(item.bucket()?.retention()?.is_some_and(|rule| rule.append_only))
}
