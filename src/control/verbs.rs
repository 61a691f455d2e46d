//! What each request does.

use std::{
    io::ErrorKind,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{Arc, Weak},
    time::Duration,
};

use rustix::net::UCred;
use serde::Serialize;
use serde_json::Value;

use super::{
    job,
    message::{BucketInfo, Failure, Refused, Request, Scope, SecretText, Status},
    server::Host,
};
use crate::{
    engine::{Caller, Engine, EngineError, PeerCause, RetentionError},
    keys::{CustomerScope, KeyId},
    name::{BucketName, NameError},
};

/// What requests are about.
#[derive(Clone)]
pub(super) struct Served {
    engine: Weak<Engine>,
    host: Arc<dyn Host>,
}

impl Served {
    pub(super) fn new(engine: &Arc<Engine>, host: impl Host + 'static) -> Self {
        Self { engine: Arc::downgrade(engine), host: Arc::new(host) }
    }

    /// The engine, unless it is about to end.
    pub(super) fn engine(&self) -> Result<Arc<Engine>, Refused> {
        let ending = "the drive is being unmounted: try again when that is done";
        self.engine.upgrade().ok_or_else(|| Refused::new(Failure::Busy, ending))
    }

    /// What the program around the engine does.
    pub(super) fn host(&self) -> &dyn Host {
        &*self.host
    }
}

/// A client, what it asks for, and the socket that came with that.
pub(super) struct Asked<'a> {
    pub(super) stream: &'a UnixStream,
    pub(super) peer: UCred,
    pub(super) passed: Option<OwnedFd>,
}

/// Does what a client asks of the engine.
pub(super) fn answer(served: &Served, client: Asked<'_>, request: Request) -> Result<Value, Refused> {
    let caller = &caller(client.peer);
    let engine = served.engine()?;
    match request {
        Request::Status => value(&status(&engine)),
        Request::Flush => value(&engine.sync_store()?),
        Request::ListBuckets => value(&BucketInfo::all(&engine)?),
        Request::CreateBucket { name, new, adopt } => {
            value(&engine.create_bucket_for(caller, &BucketName::parse(&name)?, new, adopt)?)
        }
        Request::DeleteBucket { name } => {
            value(&engine.delete_bucket_for(caller, &BucketName::parse(&name)?)?)
        }
        Request::GetEncryption { bucket } => value(&engine.encryption(caller, &BucketName::parse(&bucket)?)?),
        Request::ChangeEncryption { bucket, change } => {
            value(&engine.change_encryption(caller, &BucketName::parse(&bucket)?, &change)?)
        }
        Request::GetRetention { bucket } => value(&engine.retention(caller, &BucketName::parse(&bucket)?)?),
        Request::PutRetention { bucket, rule, bypass } => {
            let bucket = BucketName::parse(&bucket)?;
            value(&engine.put_retention(caller, &bucket, rule.as_ref(), bypass)?)
        }
        Request::RefreshKeys => value(&engine.refresh_keys(caller).map(drop)?),
        Request::RevokeKey { key } => value(&revoke(&engine, caller, &key, &*served.host)?),
        Request::AddCustomerKeys { scope, keys, ttl } => {
            value(&add_customer_keys(&engine, caller, &scope.into(), &keys, ttl)?)
        }
        Request::RemoveCustomerKeys { scope } => value(&engine.remove_customer_keys(caller, &scope.into())?),
        Request::ListCustomerKeys => {
            let mut scopes: Vec<Scope> =
                engine.customer_keys().scopes().into_iter().map(Scope::from).collect();
            scopes.sort();
            value(&scopes)
        }
        Request::Job(job) => value(&job::run(&engine, &*served.host, client, &job)?),
        // What comes after the answer is not the answer's.
        Request::ReceiveReplicas => Ok(Value::Null),
    }
}

/// Who is at the other end of the socket.
pub(super) fn caller(peer: UCred) -> Caller {
    Caller {
        uid: peer.uid.as_raw(),
        gid: peer.gid.as_raw(),
        pid: u32::try_from(peer.pid.as_raw_nonzero().get()).unwrap_or(0),
        umask: 0o077,
    }
}

fn status(engine: &Engine) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        read_only: engine.read_only(),
    }
}

/// Cuts off what is open with `key`, which must not be usable any more: that is what files are told.
///
/// Caches are emptied before as well, so that what the kernel has not written yet is not lost.
fn revoke(engine: &Arc<Engine>, caller: &Caller, key: &KeyId, host: &dyn Host) -> Result<usize, Refused> {
    engine.keys().refresh().map_err(|error| Refused::new(Failure::Other, error))?;
    let state = engine.keys().key_state(key).map_err(EngineError::from)?;
    let Err(why) = state.check_unwrap(key.as_str()) else {
        let message = format!("key `{key}` is {}: disable it before its files are cut off", state.label());
        return Err(Refused::new(Failure::BadRequest, message));
    };
    host.forget();
    let cut = engine.revoke_key(caller, key, &why);
    host.forget();
    Ok(cut?)
}

fn add_customer_keys(
    engine: &Engine,
    caller: &Caller,
    scope: &CustomerScope,
    keys: &[SecretText],
    ttl: Option<u64>,
) -> Result<(), Refused> {
    let no_key = || Refused::new(Failure::BadRequest, "a customer key is not 32 bytes in Base64 or hex");
    let keys = keys.iter().map(|text| text.key().ok_or_else(no_key)).collect::<Result<_, _>>()?;
    Ok(engine.add_customer_keys(caller, scope, keys, ttl.map(Duration::from_secs))?)
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
            EngineError::Denied(_) | EngineError::IdentityPolicy { .. } => Failure::Denied,
            EngineError::JobRuns { .. } => Failure::Busy,
            EngineError::Peer(error) => match error.cause {
                PeerCause::Busy => Failure::Busy,
                PeerCause::Denied => Failure::Denied,
                PeerCause::Damaged => Failure::Damaged,
                PeerCause::Stopped | PeerCause::Other => Failure::Other,
            },
            EngineError::Integrity { .. } | EngineError::Bucket { .. } | EngineError::BucketKey(_) => {
                Failure::Damaged
            }
            _ => Failure::Other,
        };
        Self::new(failure, error)
    }
}

impl From<RetentionError> for Refused {
    fn from(error: RetentionError) -> Self {
        match error {
            RetentionError::Engine(error) => error.into(),
            RetentionError::NoRule => Self::new(Failure::NoRule, error),
            RetentionError::Compliance | RetentionError::Governance => Self::new(Failure::Denied, error),
        }
    }
}

impl From<NameError> for Refused {
    fn from(error: NameError) -> Self {
        Self::new(Failure::BadRequest, error)
    }
}
