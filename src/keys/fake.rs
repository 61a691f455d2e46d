//! A provider in memory for tests: one master key under every name, which counts calls and fails when told.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
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
            hook: Mutex::default(),
        }
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
        let named = (Provider::Transit, key.as_bytes(), 1);
        let bound = binding.context(user);
        Ok(envelope::wrap_local(binding.record_type(), named, &self.key, secret, user, &bound).unwrap())
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError> {
        self.call()?;
        let known = (1, binding.record_type(), Provider::Transit);
        let named = self.names.lock().unwrap().contains(&wrapped.key_id);
        if !named || (wrapped.key_version, wrapped.kind, wrapped.provider) != known {
            return Err(KeyError::Unknown { key: "fake".into() });
        }
        envelope::unwrap_local(wrapped, &self.key, &binding.context(&wrapped.context))
            .map_err(|_| KeyError::Rejected { key: "fake".into() })
    }
}
