//! Retention as the `s3:object-lock-*` condition keys show it.
//!
//! Amazon S3 user guide, "Managing Object Lock", section "Bucket policy conditions".

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    context::{ConditionKey, Values},
    request::one,
};

/// Who may lift retention before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Whoever may do `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody.
    Compliance,
}

impl LockMode {
    /// As S3 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// The retention that a request asks for or is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    /// Who may lift it.
    pub mode: LockMode,
    /// Until when.
    pub until: SystemTime,
    /// Whether a legal hold is on.
    pub legal_hold: bool,
}

impl Lock {
    /// The value of one of the four keys at `now`.
    pub(super) fn value(self, key: &ConditionKey, now: SystemTime) -> Values<'static> {
        match key {
            ConditionKey::LockMode => Values::maybe(Some(self.mode.as_str())),
            ConditionKey::LockUntil => {
                Timestamp::try_from(self.until).map_or(Values::Absent, |until| one(&until))
            }
            ConditionKey::LockDays => one(&self.days_left(now)),
            ConditionKey::LegalHold => Values::maybe(Some(if self.legal_hold { "ON" } else { "OFF" })),
            _ => Values::Absent,
        }
    }

    /// Days left at `now`, a part of a day counted whole.
    fn days_left(self, now: SystemTime) -> u64 {
        let left = self.until.duration_since(now).unwrap_or_default();
        left.as_secs().div_ceil(DAY.as_secs())
    }
}

const DAY: Duration = Duration::from_hours(24);
