//! The log, and how an event about something in the store begins and ends.

use std::{ffi::OsStr, sync::Arc};

use super::blame::{Blame, named, say_state};
use crate::{
    audit::{Actor, AuditError, AuditLog, Event, EventName},
    engine::{Caller, Engine, EngineError, Item},
    keys::{KeyError, KeyName},
};

/// Writes what happens to the log.
pub(in crate::engine) struct Recorder {
    pub(super) log: Arc<AuditLog>,
}

impl Recorder {
    /// One that writes to `log`.
    pub(in crate::engine) fn new(log: Arc<AuditLog>) -> Self {
        Self { log }
    }

    /// The log.
    pub(in crate::engine) fn log(&self) -> &AuditLog {
        &self.log
    }
}

/// An object that a request is about.
pub(super) struct Object<'a> {
    /// In the bucket's root or below.
    pub(super) dir: &'a Item,
    /// The name in `dir`; `None` for `dir` itself.
    pub(super) name: Option<&'a OsStr>,
}

impl Object<'_> {
    fn bucket(&self) -> Option<Arc<str>> {
        self.dir.bucket().ok().map(|bucket| bucket.name().shared())
    }

    /// Its path in the bucket.
    pub(super) fn key(&self) -> String {
        let path = self.name.map_or_else(|| self.dir.path(), |name| self.dir.path_of(name));
        let text = path.into_os_string().into_string();
        text.unwrap_or_else(|odd| odd.to_string_lossy().into_owned())
    }
}

impl Engine {
    /// Requests are handled on the processors where they are made: the log is written elsewhere.
    pub fn keep_log_aside(&self) {
        if let Some(recorder) = &self.shared.recorder {
            recorder.log.step_aside();
        }
    }

    /// Does `act` and records it as `event`, which sees what came of it. `undo` takes back what cannot be handed out
    /// because it could not be recorded.
    pub(super) fn recorded<T, E: Blame + From<EngineError>>(
        &self,
        event: impl FnOnce(Option<&T>) -> Event,
        act: impl FnOnce() -> Result<T, E>,
        undo: impl FnOnce(T),
    ) -> Result<T, E> {
        let Some(recorder) = &self.shared.recorder else { return act() };
        let unwritable = |error: AuditError| E::from(error.into());
        recorder.log.check().map_err(unwritable)?;
        let outcome = act();
        let mut event = event(outcome.as_ref().ok());
        if let Err(error) = &outcome {
            error.blame(&mut event);
            if let Some(error) = error.key() {
                self.say_failed_key(&mut event, error);
            }
        }
        match recorder.log.emit(event) {
            Ok(()) => outcome,
            Err(error) => {
                outcome.map(undo).ok();
                Err(unwritable(error))
            }
        }
    }

    /// Says which key could not be used, and what state it is in. After its name an error may tell its version.
    fn say_failed_key(&self, event: &mut Event, error: &KeyError) {
        say_state(event, error);
        let name = named(error).split(' ').next().and_then(|name| name.parse::<KeyName>().ok());
        if let Some(id) = name.and_then(|name| self.keys().find(&name).ok()) {
            event.about_key(self.keys().arn(&id));
        }
    }

    /// An event about an object or directory.
    pub(super) fn event(&self, name: EventName, caller: &Caller, object: &Object<'_>) -> Event {
        let mut event = Event::new(name, self.actor(caller));
        (event.request.bucket, event.request.key) = (object.bucket(), Some(object.key()));
        event
    }

    /// An event about a bucket.
    pub(super) fn bucket_event(&self, name: EventName, caller: &Caller, bucket: &str) -> Event {
        let mut event = Event::new(name, self.actor(caller));
        event.request.bucket = Some(bucket.into());
        event
    }

    /// Who asks.
    pub(in crate::engine) fn actor(&self, caller: &Caller) -> Arc<Actor> {
        let programs = self.shared.admission.principals().programs();
        match programs.of(caller.pid) {
            Some(program) => program.asker(caller, || self.actor_with(caller, program.path())),
            None => Arc::new(self.actor_with(caller, None)),
        }
    }

    fn actor_with(&self, caller: &Caller, exe: Option<Arc<str>>) -> Actor {
        let principal = self.shared.admission.principals().of(caller);
        Actor {
            kind: "IAMUser",
            arn: Some(principal.arn().to_owned()),
            user_name: principal.user().map(str::to_owned),
            uid: caller.uid,
            gid: caller.gid,
            pid: Some(caller.pid).filter(|pid| *pid != 0),
            exe,
        }
    }
}
