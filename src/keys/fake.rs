//! A provider in memory for tests: one master key under every name, which counts calls, has versions, and fails when told.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
};

use super::{Binding, KeyError, MasterKey};
use crate::{
    crypto::Secret,
    envelope::{self, EncryptionContext, Provider, WrappedKey},
};

pub(crate) struct FakeMaster {
    key: Secret<32>,
    failing: Mutex<Option<KeyError>>,
    /// The names that it has wrapped under; it knows no others.
    names: Mutex<BTreeSet<Vec<u8>>>,
    pub(crate) calls: AtomicUsize,
    /// How often it was asked for its version.
    pub(crate) looks: AtomicUsize,
    version: AtomicU32,
    silent: AtomicBool,
    /// What is done in each call.
    hook: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl FakeMaster {
    pub(crate) fn new() -> Self {
        Self {
            key: Secret::random().unwrap(),
            failing: Mutex::default(),
            names: Mutex::default(),
            calls: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            version: AtomicU32::new(1),
            silent: AtomicBool::new(false),
            hook: Mutex::default(),
        }
    }

    /// Wraps under another version from now on.
    pub(crate) fn rotate(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether it does not tell which version it has.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    fn version(&self) -> u32 {
        self.version.load(Ordering::SeqCst)
    }

    pub(crate) fn fail_with(&self, error: Option<KeyError>) {
        *self.failing.lock().unwrap() = error;
    }

    pub(crate) fn when_called(&self, hook: impl Fn() + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    fn call(&self) -> Result<(), KeyError> {
        if let Some(hook) = &*self.hook.lock().unwrap() {
            hook();
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.failing.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl MasterKey for FakeMaster {
    fn provider(&self) -> Provider {
        Provider::Transit
    }

    fn wrap_key(
        &self,
        key: &str,
        secret: &Secret<32>,
        user: &EncryptionContext,
        binding: &Binding,
    ) -> Result<WrappedKey, KeyError> {
        self.call()?;
        self.names.lock().unwrap().insert(key.as_bytes().to_vec());
        let named = (Provider::Transit, key.as_bytes(), self.version());
        let bound = binding.context(user);
        Ok(envelope::wrap_local(binding.record_type(), named, &self.key, secret, user, &bound).unwrap())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError> {
        self.call()?;
        let known = (binding.record_type(), Provider::Transit);
        let named = self.names.lock().unwrap().contains(&wrapped.key_id);
        let is_there = (1..=self.version()).contains(&wrapped.key_version);
        if !named || !is_there || (wrapped.kind, wrapped.provider) != known {
            return Err(KeyError::Unknown { key: "fake".into() });
        }
        envelope::unwrap_local(wrapped, &self.key, &binding.context(&wrapped.context))
            .map_err(|_| KeyError::Rejected { key: "fake".into() })
    }

    fn is_newest(&self, wrapped: &WrappedKey) -> Result<Option<bool>, KeyError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.failing.lock().unwrap().clone() {
            return Err(error);
        }
        let told = wrapped.key_version == self.version();
        Ok((!self.silent.load(Ordering::SeqCst)).then_some(told))
    }
}
