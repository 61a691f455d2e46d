//! What each request does.

use std::{
    io::ErrorKind,
    sync::{Arc, Weak},
};

use serde::Serialize;
use serde_json::Value;

use super::message::{BucketInfo, Failure, Refused, Request, Status};
use crate::{
    engine::{Engine, EngineError},
    keys::KeyId,
    name::{BucketName, NameError},
};

/// Does what `request` asks of the engine.
pub(super) fn answer(engine: &Weak<Engine>, request: Request) -> Result<Value, Refused> {
    let Some(engine) = engine.upgrade() else {
        return Err(Refused::new(Failure::Busy, "the drive is being unmounted: try again when that is done"));
    };
    match request {
        Request::Status => value(&status(&engine)),
        Request::Flush => value(&engine.sync_all()?),
        Request::ListBuckets => value(&BucketInfo::all(&engine)?),
        Request::CreateBucket { name, new, adopt } => {
            value(&engine.create_bucket(&BucketName::parse(&name)?, new, adopt)?)
        }
        Request::DeleteBucket { name } => value(&engine.delete_bucket(&BucketName::parse(&name)?)?),
        Request::RefreshKeys => value(&refresh(&engine)?),
        Request::RevokeKey { key } => value(&revoke(&engine, &key)?),
    }
}

fn status(engine: &Engine) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        read_only: engine.read_only(),
    }
}

fn refresh(engine: &Arc<Engine>) -> Result<(), Refused> {
    let refreshed = engine.keys().refresh();
    refreshed.map(drop).map_err(|error| Refused::new(Failure::Other, error))
}

/// Cuts off what is open with `key`, which must not be usable any more: that is what files are told.
fn revoke(engine: &Arc<Engine>, key: &KeyId) -> Result<usize, Refused> {
    refresh(engine)?;
    let state = engine.keys().key_state(key).map_err(EngineError::from)?;
    match state.check_unwrap(key.as_str()) {
        Err(why) => Ok(engine.revoke_key(key, &why)),
        Ok(()) => {
            let message =
                format!("key `{key}` is {}: disable it before its files are cut off", state.label());
            Err(Refused::new(Failure::BadRequest, message))
        }
    }
}

fn value(answer: &impl Serialize) -> Result<Value, Refused> {
    serde_json::to_value(answer).map_err(|error| Refused::new(Failure::Other, error))
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        let failure = match &error {
            EngineError::Store(error) => match error.kind() {
                ErrorKind::NotFound => Failure::NotFound,
                ErrorKind::AlreadyExists => Failure::Exists,
                ErrorKind::DirectoryNotEmpty => Failure::NotEmpty,
                _ => Failure::Other,
            },
            EngineError::Integrity { .. } | EngineError::Bucket { .. } | EngineError::BucketKey(_) => {
                Failure::Damaged
            }
            _ => Failure::Other,
        };
        Self::new(failure, error)
    }
}

impl From<NameError> for Refused {
    fn from(error: NameError) -> Self {
        Self::new(Failure::BadRequest, error)
    }
}
