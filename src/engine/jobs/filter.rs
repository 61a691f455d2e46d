//! Which objects a job is for.

use std::{ffi::OsString, num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::description::{Description, Sealing};
use crate::{
    keys::{KeyName, KeyService},
    name::BucketName,
    object::SseMode,
};

/// How an object is encrypted, for choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    /// Not at all.
    Plain,
    /// In this mode.
    Encrypted(SseMode),
}

/// Which objects; each condition that is given must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Their paths in the bucket begin with this.
    pub prefix: OsString,
    /// They are stored so.
    pub stored: Option<Stored>,
    /// They are under this master key, by its name or ARN.
    pub key: Option<String>,
    /// Their wrap is at least this old, or of unknown age.
    pub older_than: Option<Duration>,
}

/// What a job works on, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// One bucket; all without.
    pub bucket: Option<BucketName>,
    /// Which of its objects.
    pub filter: Filter,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Most objects a second.
    pub rate: Option<NonZeroU32>,
}

impl Filter {
    /// The same with the master key by the name that records have for it; what no key is called stays as it is.
    pub(super) fn resolved(&self, service: &KeyService) -> Self {
        let named = self.key.as_ref().map(|text| {
            let found = text.parse::<KeyName>().ok().and_then(|name| service.find(&name).ok());
            found.map_or_else(|| text.clone(), |id| service.record_name(&id))
        });
        Self { key: named, ..self.clone() }
    }

    /// Whether an object that is stored so is meant; `now` in Unix seconds. A damaged one is, unless a condition says
    /// something about its header.
    pub(super) fn takes(&self, description: &Description, now: u64) -> bool {
        match description {
            Description::Encrypted(sealing) => self.takes_sealed(sealing, now),
            Description::Plain => {
                self.stored.is_none_or(|stored| stored == Stored::Plain)
                    && self.key.is_none()
                    && self.older_than.is_none()
            }
            Description::Damaged(_) => {
                self.stored.is_none() && self.key.is_none() && self.older_than.is_none()
            }
        }
    }

    fn takes_sealed(&self, sealing: &Sealing, now: u64) -> bool {
        self.stored.is_none_or(|stored| stored == Stored::Encrypted(sealing.mode()))
            && self.key.as_ref().is_none_or(|key| sealing.key().is_some_and(|named| named == *key))
            && self.older_than.is_none_or(|age| sealing.is_older_than(age, now))
    }
}
