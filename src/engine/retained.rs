//! Retention at work: what may be changed, and how the rule itself is changed.

use std::{path::PathBuf, sync::PoisonError};

use super::{Caller, Engine, EngineError, Item, Result, Retention, clock};
use crate::{
    name::BucketName,
    policy::{Action, LockMode},
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

impl Engine {
    /// Refuses to change or remove a regular file that is retained, also where nobody else would object.
    pub(super) fn require_free(
        &self,
        caller: &Caller,
        item: &Item,
        path: &dyn Fn() -> PathBuf,
    ) -> Result<()> {
        if item.kind() != Kind::File {
            return Ok(());
        }
        let bucket = item.bucket()?;
        let Some(rule) = bucket.retention()? else { return Ok(()) };
        if self.shared.uploads.is_unfinished(item.key(), caller.uid) {
            return Ok(());
        }
        let stat = item.node().stat()?;
        let Some(until) = rule.until(stat.ctime.sec, clock::now().sec) else { return Ok(()) };
        let path = path();
        // A file with names inside and outside of an exception is not excepted.
        if stat.nlink == 1 && rule.excepts(&path) {
            return Ok(());
        }
        let object = format!("{}/{}", bucket.name(), path.display());
        let until =
            jiff::Timestamp::from_second(until).map_or_else(|_| "for ever".to_owned(), |t| t.to_string());
        let error = EngineError::Retained { object, until };
        log::warn!("uid {}: {error}", caller.uid);
        Err(error)
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

/// Whether a file that is retained may be opened to grow at its end.
pub(super) fn allows_append(item: &Item) -> Result<bool> {
    Ok(item.bucket()?.retention()?.is_some_and(|rule| rule.append_only))
}
