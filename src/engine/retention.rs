//! Retention: for so many days after its last change an object can be read and not changed, by nobody who uses the
//! mount, root included. What S3 calls Object Lock with a default retention.
//!
//! The rule is a file of its own in the bucket's reserved directory, authenticated under a key of the bucket's root secret.
//! Time counts from the change time (`ctime`) of the stored file: no call through the mount can set it, and every change
//! moves it forward, that of attributes too. So a client can prolong retention and never shorten it. What its creator has
//! not finished yet ([`super::uploads`]) is free, because tools complete a file under another name than they began it.
//! Whoever can write the store itself, or set the clock of this machine, is not held back by this.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{
    EngineError, Result,
    changes::{Changes, Followed},
};
use crate::{
    crypto::{self, Secret},
    envelope::Id,
    policy::{Lock, LockMode},
    store::{NodeRef, layout::fixed, small},
};

/// The rule of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Who may weaken it.
    pub mode: LockMode,
    /// Days after the last change.
    pub days: u32,
    /// Whether retained objects may grow at their end.
    pub append_only: bool,
    /// Directories, by their paths in the bucket, whose objects are never retained.
    pub except: Vec<PathBuf>,
}

impl Retention {
    /// Whether `new` holds every object for at least as long and lets through at most as much.
    pub fn is_kept_by(&self, new: &Self) -> bool {
        new.mode >= self.mode
            && new.days >= self.days
            && (self.append_only || !new.append_only)
            && new.except.iter().all(|dir| self.excepts(dir))
    }

    /// Whether objects at `path` are never retained.
    pub(super) fn excepts(&self, path: &Path) -> bool {
        self.except.iter().any(|dir| path.starts_with(dir))
    }

    /// The end of the retention of an object last changed at `changed`: `None` when that is past at `now`. Unix seconds.
    pub(super) fn until(&self, changed: i64, now: i64) -> Option<i64> {
        let until = changed.saturating_add(i64::from(self.days) * DAY);
        (now < until).then_some(until)
    }

    /// As condition keys show it for something that is retained from now on.
    pub(super) fn lock(&self) -> Lock {
        let length = Duration::from_hours(24 * u64::from(self.days));
        Lock { mode: self.mode, until: SystemTime::now() + length, legal_hold: false }
    }
}

const DAY: i64 = 24 * 60 * 60;

/// The file, in the reserved directory of a bucket.
pub(super) const RETENTION_FILE: &str = "retention";
const MAX_RETENTION: usize = 64 * 1024;
const FORMAT: &str = "strongroom-retention";

/// The file, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    bucket_id: Id,
    mode: String,
    days: u32,
    append_only: bool,
    except: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mac: String,
}

impl File {
    fn of(rule: &Retention, bucket: Id, key: &Secret<32>) -> Self {
        let mut file = Self {
            format: FORMAT.to_owned(),
            version: 1,
            bucket_id: bucket,
            mode: rule.mode.as_str().to_lowercase(),
            days: rule.days,
            append_only: rule.append_only,
            except: rule.except.iter().map(|dir| dir.to_string_lossy().into_owned()).collect(),
            mac: String::new(),
        };
        file.mac = hex::encode(file.mac(key));
        file
    }

    fn rule(mut self, bucket: Id, key: &Secret<32>) -> std::result::Result<Retention, String> {
        let mac = hex::decode(std::mem::take(&mut self.mac)).map_err(|error| error.to_string())?;
        if self.format != FORMAT || self.version != 1 {
            return Err("it is of another format: use a newer strongroom".to_owned());
        }
        if self.bucket_id != bucket || !crypto::equal(&self.mac(key), &mac) {
            return Err("it was altered: its MAC does not match".to_owned());
        }
        let mode = match self.mode.as_str() {
            "governance" => LockMode::Governance,
            "compliance" => LockMode::Compliance,
            other => return Err(format!("`{other}` is no mode")),
        };
        Ok(Retention {
            mode,
            days: self.days,
            append_only: self.append_only,
            except: self.except.into_iter().map(PathBuf::from).collect(),
        })
    }

    /// HMAC over the compact JSON of the file without its MAC.
    fn mac(&self, key: &Secret<32>) -> [u8; 32] {
        let body = serde_json::to_vec(self).expect("plain fields always serialise");
        crypto::hmac_sha256(key.expose(), &[&body])
    }
}

/// The retention of a bucket in use. It follows the stored rule; one that cannot be used allows no change at all.
pub(super) struct BucketRetention {
    bucket: Id,
    private: NodeRef,
    key: Secret<32>,
    changes: Arc<Changes>,
    rule: Followed<Rule>,
}

/// The rule as far as it can be used.
type Rule = std::result::Result<Option<Arc<Retention>>, Arc<str>>;

impl BucketRetention {
    /// That of the bucket `id` with the reserved directory `private`; `key` authenticates it.
    pub(super) fn open(id: Id, private: NodeRef, key: Secret<32>, changes: Arc<Changes>) -> Self {
        let rule = Followed::new(private.clone(), RETENTION_FILE, Ok(None), &changes);
        Self { bucket: id, private, key, changes, rule }
    }

    /// The rule, if there is one.
    pub(super) fn rule(&self) -> Result<Option<Arc<Retention>>> {
        self.rule.get(self.changes.now(), || self.read())?.map_err(|reason| {
            EngineError::ReadOnly(format!("the retention of the bucket is broken ({reason})"))
        })
    }

    fn read(&self) -> Result<Rule> {
        let bytes = match small::read(&self.private, &fixed(RETENTION_FILE), MAX_RETENTION) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Ok(None)),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => None,
            read => Some(read?),
        };
        let parsed = bytes
            .ok_or_else(|| "it is longer than a rule may be".to_owned())
            .and_then(|bytes| serde_json::from_slice::<File>(&bytes).map_err(|error| error.to_string()));
        let rule = parsed.and_then(|file| file.rule(self.bucket, &self.key));
        if let Err(reason) = &rule {
            log::error!("a bucket is read-only: its retention is broken: {reason}");
        }
        Ok(rule.map(|rule| Some(Arc::new(rule))).map_err(Arc::from))
    }

    /// Stores `rule`, or removes the stored one.
    pub(super) fn store(&self, rule: Option<&Retention>) -> Result<()> {
        let name = fixed(RETENTION_FILE);
        let Some(rule) = rule else {
            self.private.unlink(&name)?;
            return Ok(self.private.sync_dir()?);
        };
        let file = File::of(rule, self.bucket, &self.key);
        let mut bytes = serde_json::to_vec_pretty(&file).expect("plain fields always serialise");
        bytes.push(b'\n');
        Ok(small::replace(&self.private, &name, &bytes, 0o600)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(mode: LockMode, days: u32) -> Retention {
        Retention { mode, days, append_only: false, except: vec![PathBuf::from("repo/locks")] }
    }

    #[test]
    fn an_object_is_retained_until_its_days_are_over() {
        let rule = rule(LockMode::Governance, 30);
        let changed = 1_000_000;
        let until = changed + 30 * DAY;
        for (now, expected) in [(changed, Some(until)), (until - 1, Some(until)), (until, None)] {
            assert_eq!(rule.until(changed, now), expected, "{now}");
        }
    }

    #[test]
    fn a_clock_that_went_back_frees_nothing() {
        let rule = rule(LockMode::Governance, 1);
        assert_eq!(rule.until(1_000_000, 5), Some(1_000_000 + DAY));
        assert_eq!(rule.until(i64::MAX, 5), Some(i64::MAX));
    }

    #[test]
    fn only_what_holds_at_least_as_much_keeps_a_rule() {
        let old = rule(LockMode::Governance, 30);
        let mut looser = vec![rule(LockMode::Governance, 29); 3];
        looser[1] = Retention { append_only: true, ..old.clone() };
        looser[2] = Retention { except: vec![PathBuf::from("repo")], ..old.clone() };
        for new in &looser {
            assert!(!old.is_kept_by(new), "{new:?}");
        }
        for new in [
            old.clone(),
            rule(LockMode::Governance, 31),
            rule(LockMode::Compliance, 30),
            Retention { except: vec![PathBuf::from("repo/locks/a")], ..old.clone() },
            Retention { except: Vec::new(), ..old.clone() },
        ] {
            assert!(old.is_kept_by(&new), "{new:?}");
        }
        assert!(!rule(LockMode::Compliance, 30).is_kept_by(&old));
    }

    #[test]
    fn a_stored_rule_is_authentic_and_belongs_to_its_bucket() {
        let (key, other) = (Secret::copy_from(&[1; 32]), Secret::copy_from(&[2; 32]));
        let (id, rule) = (Id::from_bytes([3; 16]), rule(LockMode::Compliance, 7));
        let stored = || File::of(&rule, id, &key);
        assert_eq!(stored().rule(id, &key).unwrap(), rule);
        assert!(stored().rule(id, &other).is_err());
        assert!(stored().rule(Id::from_bytes([4; 16]), &key).is_err());
        let mut altered = stored();
        altered.days = 1;
        assert!(altered.rule(id, &key).unwrap_err().contains("altered"));
    }

    #[test]
    fn exceptions_are_whole_directories() {
        let rule = rule(LockMode::Governance, 1);
        assert!(rule.excepts(Path::new("repo/locks/a")));
        assert!(!rule.excepts(Path::new("repo/locksmith")));
        assert!(!rule.excepts(Path::new("locks/a")));
    }
}
