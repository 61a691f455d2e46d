//! When a key was used, and by whom, as the audit log of the store tells. Nothing of it is proven here: `audit verify` does
//! that.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use crate::audit::{self, AuditError, Record};

/// What the log tells about one key; times as they stand in it, ISO 8601 in UTC.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct History {
    /// The first use that succeeded, as far as the log reaches back.
    first_use: Option<String>,
    /// The last one.
    last_use: Option<String>,
    /// Attempts that failed.
    refused: u64,
    /// The last of them.
    last_refused: Option<String>,
    /// Attempts while the key waited for its deletion: whoever made them still needs it.
    pending_deletion: u64,
    /// Who made requests for objects of the key, by ARN.
    principals: BTreeMap<String, Requests>,
}

/// The requests of one principal.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Requests {
    /// Those that succeeded.
    allowed: u64,
    /// Those that failed.
    refused: u64,
    /// The last of either kind.
    last: String,
}

impl History {
    /// Reads the log in `dir` for the key with this ARN; `None` where there is no log.
    pub(super) fn of(dir: &Path, arn: &str) -> Result<Option<Self>, AuditError> {
        if !audit::exists(dir) {
            return Ok(None);
        }
        let mut history = Self::default();
        let read = audit::records(dir, |record| -> Result<(), AuditError> {
            if record.text(&["additionalEventData", "keyArn"]) == arn && is_use(&record) {
                history.take(&record);
            }
            Ok(())
        });
        match read {
            // Begun, and nothing was written yet.
            Err(AuditError::NoLog(_)) => Ok(None),
            read => read.map(|()| Some(history)),
        }
    }

    fn take(&mut self, record: &Record) {
        let time = || record.text(&["eventTime"]).to_owned();
        let failed = !record.text(&["errorCode"]).is_empty();
        if failed {
            self.refused += 1;
            self.last_refused = Some(time());
            let state = record.text(&["additionalEventData", "keyState"]);
            self.pending_deletion += u64::from(state == PENDING_DELETION);
        } else {
            self.first_use.get_or_insert_with(time);
            self.last_use = Some(time());
        }
        let arn = record.text(&["userIdentity", "arn"]);
        if !arn.is_empty() {
            let requests = self.principals.entry(arn.to_owned()).or_default();
            *(if failed { &mut requests.refused } else { &mut requests.allowed }) += 1;
            requests.last = time();
        }
    }

    /// The lines for people, below those of the count.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let never = || "never".to_owned();
        let mut rows = vec![
            ("first use in log", self.first_use.clone().unwrap_or_else(never)),
            ("last use in log", self.last_use.clone().unwrap_or_else(never)),
        ];
        if let Some(last) = &self.last_refused {
            rows.push(("refused", format!("{}, last at {last}", self.refused)));
        }
        if self.pending_deletion > 0 {
            let note = "while the key waits for its deletion: somebody needs it";
            rows.push(("WARNING", format!("{} attempts {note}", self.pending_deletion)));
        }
        rows.extend(self.principals.iter().map(|(arn, requests)| ("used by", requests.line(arn))));
        rows
    }
}

impl Requests {
    fn line(&self, arn: &str) -> String {
        let refused = if self.refused > 0 { format!(", {} refused", self.refused) } else { String::new() };
        format!("{}, {} requests{refused}, last at {}", arn.escape_debug(), self.allowed, self.last)
    }
}

/// Whether the key was to wrap or unwrap something; changes of the key itself name it as well.
fn is_use(record: &Record) -> bool {
    match record.text(&["eventSource"]) {
        "s3.amazonaws.com" => true,
        "kms.amazonaws.com" => {
            ["GenerateDataKey", "Encrypt", "Decrypt", "ReEncrypt"].contains(&record.text(&["eventName"]))
        }
        _ => false,
    }
}

/// How events call the state.
const PENDING_DELETION: &str = "PendingDeletion";
