//! What the program does with keys by itself: the uses that requests need, and what time brings about.

use std::sync::Arc;

use super::{
    Recorder,
    blame::{kms_code, say_state},
    how::texts,
};
use crate::{
    audit::{Actor, Event, EventName, Failure},
    engine::{Options, Shared},
    keys::{KeyService, KeyUse, Upkeep, Witness},
};

/// Key uses are recorded as what the program does by itself: the request that needed them has its own line, and a bucket
/// key serves many.
impl Witness for Recorder {
    fn used(&self, used: &KeyUse<'_>) -> Result<(), String> {
        let name = if used.wraps { EventName::GenerateDataKey } else { EventName::Decrypt };
        let mut event = Event::new(name, Actor::service());
        event.request.context = texts(used.context);
        event.details.key_version = used.version;
        if let Some(arn) = &used.key {
            event.about_key(arn.clone());
        }
        if let Some(error) = used.failure {
            say_state(&mut event, error);
        }
        event.failure = used.failure.map(|error| Failure {
            code: kms_code(error),
            message: error.to_string(),
            errno: None,
        });
        self.log.check().and_then(|()| self.log.emit(event)).map_err(|error| error.to_string())
    }
}

impl Shared {
    /// Records what time brought about for keys of the store.
    pub(in crate::engine) fn record_upkeep(&self, done: &[Upkeep]) {
        let Some(recorder) = &self.recorder else { return };
        for upkeep in done {
            if let Err(error) = recorder.log.emit(upkeep_event(upkeep, self.buckets.keys())) {
                log::error!("{error}");
            }
        }
    }
}

/// The event of what time brought about for a key of `keys`.
pub fn upkeep_event(upkeep: &Upkeep, keys: &KeyService) -> Event {
    let (name, key) = match upkeep {
        Upkeep::Rotated { key, .. } => (EventName::RotateKey, key),
        Upkeep::Destroyed { key } => (EventName::DeleteKey, key),
        Upkeep::Expired { key } => (EventName::DeleteExpiredKeyMaterial, key),
    };
    let mut event = Event::new(name, Actor::service());
    event.request.key_id = Some(key.to_string());
    if let Upkeep::Rotated { version, .. } = upkeep {
        event.details.key_version = Some(*version);
    }
    event.about_key(keys.arn(key));
    event
}

/// `keys` with their uses recorded, where `options` name a log.
pub(in crate::engine) fn watched(keys: KeyService, options: &Options) -> KeyService {
    match options.audit.clone() {
        Some(log) => keys.watched_by(Arc::new(Recorder::new(log))),
        None => keys,
    }
}
