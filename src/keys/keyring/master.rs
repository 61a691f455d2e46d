//! The keyring as a master key: wraps locally with HKDF and AES-256-GCM (wrap algorithm 2 of the format).

use super::Keyring;
use crate::{
    crypto::Secret,
    envelope::{self, EncryptionContext, Provider, WrapAlg, WrappedKey},
    keys::{Binding, KeyError, MasterKey},
};

impl MasterKey for Keyring {
    fn provider(&self) -> Provider {
        Provider::Keyring
    }

    fn wrap_key(
        &self,
        key: &str,
        secret: &Secret<32>,
        user: &EncryptionContext,
        binding: &Binding,
    ) -> Result<WrappedKey, KeyError> {
        self.with_reload(|contents| {
            let (version, material) = contents.named(key)?.wrapping(self.now())?;
            let named = (Provider::Keyring, key.as_bytes(), version);
            let bound = binding.context(user);
            envelope::wrap_local(binding.record_type(), named, material, secret, user, &bound)
                .map_err(|e| KeyError::Unavailable { key: key.to_owned(), why: e.to_string() })
        })
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError> {
        let key = local_name(wrapped)?;
        self.with_reload(|contents| {
            let material = contents.named(key)?.unwrapping(wrapped.key_version, self.now())?;
            let rejected = || KeyError::Rejected { key: key.to_owned() };
            if wrapped.kind != binding.record_type() || wrapped.alg != WrapAlg::HkdfAesGcm {
                return Err(rejected());
            }
            let bound = binding.context(&wrapped.context);
            envelope::unwrap_local(wrapped, material, &bound).map_err(|_| rejected())
        })
    }

    fn is_newest(&self, wrapped: &WrappedKey) -> Result<Option<bool>, KeyError> {
        let key = local_name(wrapped)?;
        Ok(self.read().named(key)?.newest().map(|newest| newest == wrapped.key_version))
    }
}

impl Keyring {
    /// Tries again after a reload when a key or version is unknown: another process may just have added it.
    fn with_reload<T>(
        &self,
        attempt: impl Fn(&super::Contents) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        // Bound first: the read guard must be gone before `reload` writes.
        let first = attempt(&self.read());
        match first {
            Err(unknown @ KeyError::Unknown { .. }) => match self.reload() {
                Ok(true) => attempt(&self.read()),
                Ok(false) => Err(unknown),
                Err(error) => {
                    log::warn!("cannot look for newer keys: {error}");
                    Err(unknown)
                }
            },
            answer => answer,
        }
    }
}

/// The name in a record of this provider; one that no key can have is unknown, and escaped for the message.
fn local_name(wrapped: &WrappedKey) -> Result<&str, KeyError> {
    let name = std::str::from_utf8(&wrapped.key_id).ok().filter(|name| super::check_name(name).is_ok());
    let escaped = || String::from_utf8_lossy(&wrapped.key_id).escape_debug().to_string();
    match (wrapped.provider, name) {
        (Provider::Keyring, Some(name)) => Ok(name),
        _ => Err(KeyError::Unknown { key: escaped() }),
    }
}
