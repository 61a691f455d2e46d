//! A PKCS#11 token: AES-256-GCM inside the token, with the encryption context as associated data.
//!
//! `C_Encrypt`, not `C_WrapKey`: few modules wrap with GCM. A key is named by its `CKA_LABEL`; several keys of one
//! label are its versions, told apart by `CKA_ID` read as a number (big-endian, at most 4 bytes). The highest wraps,
//! each opens its own. Sessions belong to one thread, so one thread asks the token, one call after another.
//! <https://docs.oasis-open.org/pkcs11/pkcs11-spec/v3.1/pkcs11-spec-v3.1.html>

mod session;
mod token_key;
mod worker;

use std::{
    sync::{Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use super::{
    Pkcs11Settings, ProviderError,
    record::{self, is_reference},
};
use crate::{
    crypto::Secret,
    envelope::{EncryptionContext, Provider, WrapAlg, WrappedKey},
    keys::{
        Binding, KeyError, MasterKey,
        retry::{Attempt, insist},
    },
};
use worker::{Answer, Job, Task};

/// One token of one module.
pub(super) struct Pkcs11 {
    settings: Pkcs11Settings,
    /// The way to the thread, which the first call starts: it must not be there before a daemon forks.
    worker: Mutex<Option<mpsc::Sender<Job>>>,
}

impl Pkcs11 {
    /// Checks the settings.
    pub(super) fn new(settings: &Pkcs11Settings) -> Result<Self, ProviderError> {
        if let Err(source) = std::fs::metadata(&settings.module) {
            return Err(ProviderError::Read { path: settings.module.clone(), source });
        }
        if !(1..=32).contains(&settings.token.len()) {
            let (setting, value) = ("token", settings.token.escape_debug().to_string());
            return Err(ProviderError::Setting {
                setting,
                value,
                why: "a label of a token has 1 to 32 bytes",
            });
        }
        Ok(Self { settings: settings.clone(), worker: Mutex::default() })
    }

    /// Gives the thread a task and waits, as long as the settings allow.
    fn ask(&self, name: &str, task: &Task) -> Result<Answer, KeyError> {
        insist(name, self.settings.timeout.duration(), |allowed| {
            let (reply, answer) = mpsc::sync_channel(1);
            let job = Job { task: task.clone(), until: Instant::now() + allowed, reply };
            self.worker()?.send(job).map_err(|_| Attempt::Again("its thread ended".to_owned()))?;
            answer.recv_timeout(allowed).unwrap_or_else(|error| self.unanswered(allowed, error))
        })
    }

    fn unanswered(&self, allowed: Duration, error: mpsc::RecvTimeoutError) -> Result<Answer, Attempt> {
        if error == mpsc::RecvTimeoutError::Disconnected {
            // The thread ended over this task: the next one gets a new thread.
            *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Err(Attempt::Again(format!("the token gave no answer within {} s", allowed.as_secs_f32())))
    }

    fn worker(&self) -> Result<mpsc::Sender<Job>, Attempt> {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*worker {
            return Ok(running.clone());
        }
        let started = worker::start(self.settings.clone());
        let started = started.map_err(|error| Attempt::Again(format!("cannot start its thread: {error}")))?;
        Ok(worker.insert(started).clone())
    }
}

impl MasterKey for Pkcs11 {
    fn provider(&self) -> Provider {
        Provider::Pkcs11
    }

    fn wrap_key(
        &self,
        key: &str,
        secret: &Secret<32>,
        user: &EncryptionContext,
        binding: &Binding,
    ) -> Result<WrappedKey, KeyError> {
        let key = checked(key)?;
        let secret = Secret::copy_from(secret.expose());
        let task = Task::Wrap {
            label: key.to_owned(),
            secret: secret.into(),
            context: binding.context(user).canonical(),
        };
        match self.ask(key, &task)? {
            Answer::Wrapped { version, nonce, blob } => {
                record::record(FORM, (key, version), user, binding, (nonce, blob))
            }
            Answer::Opened(_) => Err(KeyError::Rejected { key: key.to_owned() }),
        }
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError> {
        let key = record::key_of(wrapped, FORM, binding)?;
        let rejected = || KeyError::Rejected { key: key.to_owned() };
        let task = Task::Open {
            label: key.to_owned(),
            version: wrapped.key_version,
            nonce: wrapped.salt_nonce.as_slice().try_into().map_err(|_| rejected())?,
            blob: wrapped.wrapped.clone(),
            context: binding.context(&wrapped.context).canonical(),
        };
        match self.ask(key, &task)? {
            Answer::Opened(plaintext) => record::secret(key, &plaintext),
            Answer::Wrapped { .. } => Err(rejected()),
        }
    }
}

fn checked(name: &str) -> Result<&str, KeyError> {
    let unknown = || KeyError::Unknown { key: name.escape_debug().to_string() };
    Some(name).filter(|name| is_reference(name)).ok_or_else(unknown)
}

/// How its records look: a nonce of 12 bytes, then 32 bytes and the tag.
const FORM: (Provider, WrapAlg) = (Provider::Pkcs11, WrapAlg::AesGcm);
