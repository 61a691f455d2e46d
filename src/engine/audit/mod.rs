//! What goes into the audit log: each request with what came of it.
//!
//! The requests that are recorded enter the engine here; what they do stands where it belongs, in `open`, `namespace`
//! and `policies`. Where a log must not miss anything ([`Fail::Closed`]), a request is refused before it does anything
//! while the log cannot be written. If its own event is the first that cannot, it is answered with that error, though
//! it may have been done; a file that it opened is closed again.
//!
//! [`Fail::Closed`]: crate::audit::Fail::Closed

use std::{collections::BTreeMap, ffi::OsStr, io::ErrorKind, sync::Arc};

use super::{
    Attr, Bucket, Caller, Encryption, Engine, EngineError, Item, NewBucket, OpenDir, OpenFile, OpenFlags,
    Options, Result, file::Content, live::LiveObject, programs::Programs,
};
use crate::{
    audit::{Actor, AuditLog, Decision, Event, EventName, Failure, SseApplied},
    envelope::{EncryptionContext, RecordType},
    keys::{BucketKeyError, KeyError, KeyService, KeyUse, Witness},
    name::BucketName,
    object::SseMode,
    store::RenameMode,
};

/// The log, and what is remembered about those who ask.
pub(super) struct Recorder {
    log: Arc<AuditLog>,
    programs: Programs,
}

impl Recorder {
    /// One that writes to `log`.
    pub(super) fn new(log: Arc<AuditLog>) -> Self {
        Self { log, programs: Programs::default() }
    }
}

/// An object that a request is about.
struct Object<'a> {
    /// In the bucket's root or below.
    dir: &'a Item,
    /// The name in `dir`; `None` for `dir` itself.
    name: Option<&'a OsStr>,
}

impl Object<'_> {
    fn bucket(&self) -> Option<String> {
        self.dir.bucket().ok().map(|bucket| bucket.name().to_string())
    }

    fn key(&self) -> String {
        let path = self.name.map_or_else(|| self.dir.path(), |name| self.dir.path_of(name));
        path.to_string_lossy().into_owned()
    }
}

impl Engine {
    /// Opens a regular file. With `truncate` its content is dropped: a new PUT, judged by the bucket's policy.
    pub fn open(&self, caller: &Caller, item: &Item, flags: OpenFlags) -> Result<OpenFile> {
        let writes = flags.write || flags.truncate;
        let name = if writes { EventName::PutObject } else { EventName::GetObject };
        let object = Object { dir: item, name: None };
        let event = |file: Option<&OpenFile>| {
            let mut event = self.event(name, caller, &object);
            event.details.more.insert("access", access(flags).into());
            let named = || self.requested_for(caller, item);
            say_how(&mut event, file, flags.truncate.then_some(&named));
            event
        };
        self.recorded(event, || self.open_file(caller, item, flags), |file| self.close(file))
    }

    /// Creates a regular file that must not exist, and opens it. A denied creation leaves nothing behind.
    pub fn create(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        mode: u32,
        flags: OpenFlags,
    ) -> Result<(Item, Attr, OpenFile)> {
        let event = |made: Option<&(Item, Attr, OpenFile)>| {
            let mut event = self.event(EventName::PutObject, caller, &Object { dir, name: Some(name) });
            let named = || self.requested_in(caller, dir.node());
            say_how(&mut event, made.map(|made| &made.2), Some(&named));
            event
        };
        let create = || self.create_file(caller, dir, name, mode, flags);
        self.recorded(event, create, |(_, _, file)| self.close(file))
    }

    /// Truncates an open file to nothing: a new PUT.
    pub(super) fn truncate(&self, caller: &Caller, file: &OpenFile) -> Result<()> {
        let object = Object { dir: file.item(), name: None };
        let event = |done: Option<&()>| {
            let mut event = self.event(EventName::PutObject, caller, &object);
            let named = || self.requested_for(caller, file.item());
            say_how(&mut event, done.map(|()| file), Some(&named));
            event
        };
        self.recorded(event, || self.truncate_file(caller, file), |()| {})
    }

    /// Makes a symbolic link. Its target is stored in clear, as names are.
    pub fn make_symlink(
        &self,
        caller: &Caller,
        dir: &Item,
        name: &OsStr,
        target: &OsStr,
    ) -> Result<(Item, Attr)> {
        let event = |_: Option<&(Item, Attr)>| {
            let mut event = self.event(EventName::PutObject, caller, &Object { dir, name: Some(name) });
            event.details.more.insert("kind", "symlink".into());
            event
        };
        self.recorded(event, || self.put_symlink(caller, dir, name, target), drop)
    }

    /// Gives `item` a further name in a directory of the same bucket.
    pub fn link(&self, caller: &Caller, item: &Item, dir: &Item, name: &OsStr) -> Result<Attr> {
        let event = |_: Option<&Attr>| {
            let mut event = self.event(EventName::CopyObject, caller, &Object { dir, name: Some(name) });
            event.request.source = Some(Object { dir: item, name: None }.key());
            event
        };
        self.recorded(event, || self.link_name(caller, item, dir, name), drop)
    }

    /// Removes a name that is not a directory.
    pub fn unlink(&self, caller: &Caller, dir: &Item, name: &OsStr) -> Result<()> {
        let event =
            |_: Option<&()>| self.event(EventName::DeleteObject, caller, &Object { dir, name: Some(name) });
        self.recorded(event, || self.unlink_name(caller, dir, name), drop)
    }

    /// Moves a name within its bucket.
    pub fn rename(
        &self,
        caller: &Caller,
        (dir, name): (&Item, &OsStr),
        (to, to_name): (&Item, &OsStr),
        mode: RenameMode,
    ) -> Result<()> {
        let event = |_: Option<&()>| {
            let mut event =
                self.event(EventName::RenameObject, caller, &Object { dir: to, name: Some(to_name) });
            event.request.source = Some(Object { dir, name: Some(name) }.key());
            if mode == RenameMode::Exchange {
                event.details.more.insert("exchanged", true.into());
            }
            event
        };
        self.recorded(event, || self.rename_name(caller, (dir, name), (to, to_name), mode), drop)
    }

    /// Starts a listing of `dir` for `caller`. Only a refusal is recorded.
    pub fn open_dir(&self, caller: &Caller, dir: &Item) -> Result<OpenDir> {
        let listing = self.list_for(caller, dir);
        if let (Some(recorder), Err(error @ EngineError::Denied(_))) = (&self.shared.recorder, &listing) {
            let mut event = self.event(EventName::ListBucket, caller, &Object { dir, name: None });
            blame(&mut event, error);
            recorder.log.emit(event)?;
        }
        listing
    }

    /// Makes a bucket. With `adopt`, an existing directory becomes a bucket and keeps its plain files.
    pub fn create_bucket(&self, name: &BucketName, new: NewBucket, adopt: bool) -> Result<()> {
        let event = |_: Option<&()>| self.bucket_event(EventName::CreateBucket, &own(), name.as_str());
        self.recorded(event, || self.add_bucket(name, new, adopt), drop)
    }

    /// Deletes an empty bucket.
    pub fn delete_bucket(&self, name: &BucketName) -> Result<()> {
        let event = |_: Option<&()>| self.bucket_event(EventName::DeleteBucket, &own(), name.as_str());
        self.recorded(event, || self.drop_bucket(name), drop)
    }

    /// Makes a directory; at the root of the mount, a bucket.
    pub fn make_dir(&self, caller: &Caller, dir: &Item, name: &OsStr, mode: u32) -> Result<(Item, Attr)> {
        if !dir.is_root() {
            return self.make_any_dir(caller, dir, name, mode);
        }
        let event = |_: Option<&(Item, Attr)>| {
            self.bucket_event(EventName::CreateBucket, caller, &name.to_string_lossy())
        };
        self.recorded(event, || self.make_any_dir(caller, dir, name, mode), drop)
    }

    /// Removes an empty directory; at the root of the mount, an empty bucket.
    pub fn remove_dir(&self, caller: &Caller, dir: &Item, name: &OsStr) -> Result<()> {
        if !dir.is_root() {
            return self.remove_any_dir(caller, dir, name);
        }
        let event =
            |_: Option<&()>| self.bucket_event(EventName::DeleteBucket, caller, &name.to_string_lossy());
        self.recorded(event, || self.remove_any_dir(caller, dir, name), drop)
    }

    /// Does `act` and records it as `event`, which sees what came of it. `undo` takes back what cannot be handed out
    /// because it could not be recorded.
    fn recorded<T>(
        &self,
        event: impl FnOnce(Option<&T>) -> Event,
        act: impl FnOnce() -> Result<T>,
        undo: impl FnOnce(T),
    ) -> Result<T> {
        let Some(recorder) = &self.shared.recorder else { return act() };
        recorder.log.check()?;
        let outcome = act();
        let mut event = event(outcome.as_ref().ok());
        if let Err(error) = &outcome {
            blame(&mut event, error);
        }
        match recorder.log.emit(event) {
            Ok(()) => outcome,
            Err(error) => {
                outcome.map(undo).ok();
                Err(error.into())
            }
        }
    }

    fn event(&self, name: EventName, caller: &Caller, object: &Object<'_>) -> Event {
        let mut event = Event::new(name, self.actor(caller));
        (event.request.bucket, event.request.key) = (object.bucket(), Some(object.key()));
        event
    }

    fn bucket_event(&self, name: EventName, caller: &Caller, bucket: &str) -> Event {
        let mut event = Event::new(name, self.actor(caller));
        event.request.bucket = Some(bucket.to_owned());
        event
    }

    fn actor(&self, caller: &Caller) -> Actor {
        let principal = self.shared.admission.principals().of(caller);
        let programs = self.shared.recorder.as_ref().map(|recorder| &recorder.programs);
        let pid = Some(caller.pid).filter(|pid| *pid != 0);
        Actor {
            kind: "IAMUser",
            arn: Some(principal.arn().to_owned()),
            user_name: principal.user().map(str::to_owned),
            uid: caller.uid,
            gid: caller.gid,
            pid,
            exe: pid.zip(programs).and_then(|(pid, programs)| programs.of(pid)),
        }
    }
}

/// Says how the open object is encrypted. `put` tells the encryption that the request names, if this very request
/// decided it.
fn say_how(event: &mut Event, file: Option<&OpenFile>, put: Option<&dyn Fn() -> Result<Encryption>>) {
    // A request whose encryption makes no sense has failed for that, and says so.
    let named = put.and_then(|named| named().ok());
    if let Some(named) = &named {
        say_what_was_named(event, file, named);
    }
    let Some((file, Content::Encrypted(object))) = file.map(|file| (file, file.content())) else {
        return;
    };
    let (mode, id) = object.mode_and_id();
    event.details.object = Some(id.to_string());
    event.details.applied = named.map(|named| applied(mode, named != Encryption::Unnamed));
    if let (SseMode::Kms | SseMode::DualKms, Ok(bucket)) = (mode, file.item().bucket()) {
        say_key(event, bucket, object);
    }
}

fn say_what_was_named(event: &mut Event, file: Option<&OpenFile>, named: &Encryption) {
    let header = match named {
        Encryption::Unnamed => None,
        Encryption::BucketDefault => {
            let bucket = file.and_then(|file| file.item().bucket().ok());
            bucket.and_then(|bucket| bucket.settings().encryption.default.header())
        }
        Encryption::Named(named) => {
            event.request.kms_key = named.key.as_ref().map(ToString::to_string);
            named.kind.header()
        }
    };
    event.request.encryption = header.map(str::to_owned);
}

/// Says which KMS key protects an object, as far as its records tell.
fn say_key(event: &mut Event, bucket: &Bucket, object: &LiveObject) {
    let (identity, section) = object.identity_and_keys();
    let Some(record) = section.find(RecordType::DataKey1) else { return };
    let master = section.find(RecordType::EmbeddedBucketKey).unwrap_or(record);
    event.details.bucket_key = Some(identity.bucket_key);
    event.details.key_version = Some(master.key_version);
    event.details.context = texts(&record.context);
    if let Ok(Some(key)) = bucket.wraps().master_of(&section) {
        let arn = bucket.wraps().service().arn(&key);
        event.details.key_arn = Some(arn.clone());
        event.keys.push(arn);
    }
}

fn texts(context: &EncryptionContext) -> BTreeMap<String, String> {
    context.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Key uses are recorded as what the program does by itself: the request that needed them has its own line, and a bucket
/// key serves many.
impl Witness for Recorder {
    fn used(&self, used: &KeyUse<'_>) -> std::result::Result<(), String> {
        let name = if used.wraps { EventName::GenerateDataKey } else { EventName::Decrypt };
        let mut event = Event::new(name, Actor::service());
        event.request.context = texts(used.context);
        event.details.key_arn.clone_from(&used.key);
        event.details.key_version = used.version;
        event.keys.extend(used.key.clone());
        event.failure = used.failure.map(|error| Failure {
            code: key_code(error),
            message: error.to_string(),
            errno: None,
        });
        self.log.check().and_then(|()| self.log.emit(event)).map_err(|error| error.to_string())
    }
}

/// `keys` with their uses recorded, where `options` name a log.
pub(super) fn watched(keys: KeyService, options: &Options) -> KeyService {
    match options.audit.clone() {
        Some(log) => keys.watched_by(Arc::new(Recorder::new(log))),
        None => keys,
    }
}

/// The process itself, which acts for whoever runs it.
fn own() -> Caller {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Caller { uid, gid, pid: std::process::id(), umask: 0 }
}

fn access(flags: OpenFlags) -> &'static str {
    match (flags.read, flags.write || flags.truncate) {
        (true, true) => "rw",
        (false, true) => "w",
        _ => "r",
    }
}

fn applied(mode: SseMode, named: bool) -> SseApplied {
    match (mode, named) {
        (SseMode::S3, false) => SseApplied::Default_SSE_S3,
        (SseMode::S3, true) => SseApplied::SSE_S3,
        (SseMode::Kms, false) => SseApplied::Default_SSE_KMS,
        (SseMode::Kms, true) => SseApplied::SSE_KMS,
        (SseMode::DualKms, false) => SseApplied::Default_DSSE_KMS,
        (SseMode::DualKms, true) => SseApplied::DSSE_KMS,
        (SseMode::Customer, _) => SseApplied::SSE_C,
    }
}

/// Says why a request failed, and whether that was a refusal.
fn blame(event: &mut Event, error: &EngineError) {
    let code = match error {
        EngineError::Denied(_)
        | EngineError::IdentityPolicy { .. }
        | EngineError::Blocked { .. }
        | EngineError::Retained { .. }
        | EngineError::ReadOnly(_)
        | EngineError::Reserved(_) => "AccessDenied",
        EngineError::Key(error) | EngineError::BucketKey(BucketKeyError::Key(error)) => key_code(error),
        EngineError::Store(error) => match error.kind() {
            ErrorKind::NotFound => "NoSuchKey",
            ErrorKind::DirectoryNotEmpty => "BucketNotEmpty",
            _ => "InternalError",
        },
        EngineError::Name(_)
        | EngineError::Invalid(_)
        | EngineError::Request(_)
        | EngineError::Unsupported => "InvalidRequest",
        _ => "InternalError",
    };
    let errno = match error {
        EngineError::Store(error) => error.raw_os_error(),
        EngineError::Denied(_) | EngineError::Blocked { .. } => Some(libc::EACCES),
        EngineError::ReadOnly(_) => Some(libc::EROFS),
        EngineError::Retained { .. } => Some(libc::EPERM),
        _ => None,
    };
    event.decision = match error {
        EngineError::Denied(denial) => Decision::Deny {
            statement: denial
                .statement
                .as_ref()
                .map(|by| by.sid.clone().unwrap_or_else(|| format!("Statement[{}]", by.index))),
        },
        EngineError::ReadOnly(_)
        | EngineError::IdentityPolicy { .. }
        | EngineError::Retained { .. }
        | EngineError::Blocked { .. } => Decision::Deny { statement: None },
        _ => Decision::Allow,
    };
    event.failure = Some(Failure { code, message: error.to_string(), errno });
}

/// What S3 calls it when the key service refuses.
fn key_code(error: &KeyError) -> &'static str {
    match error {
        KeyError::Unknown { .. } | KeyError::Destroyed { .. } => "KMS.NotFoundException",
        KeyError::Disabled { .. } | KeyError::Retired { .. } => "KMS.DisabledException",
        KeyError::PendingDeletion { .. } => "KMS.KMSInvalidStateException",
        KeyError::Rejected { .. } => "KMS.InvalidCiphertextException",
        _ => "KMS.KMSInternalException",
    }
}
