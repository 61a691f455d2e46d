//! The key service of a store: which keys there are, what names them, who holds them, whether they may be used.
//!
//! The keyring lists every key that this store uses, also those that a remote provider holds. Nothing outside this
//! list is ever asked of a provider, whatever a record on disk names: whoever could write a header could otherwise
//! make the daemon ask any key that its credentials reach.
//!
//! Lock order: the stamp of the keyring file, then what the keyring locks. Neither is held while a provider is asked.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    AliasName, Binding, KeyError, KeyId, KeyName, KeyScope, KeyState, KeyUse, Keyring, KeyringError,
    MasterKey, SERVICE_KEY, Witness, keyring::FileStamp,
};
use crate::{
    crypto::Secret,
    envelope::{EncryptionContext, Id, Provider, WrappedKey},
};

/// The keys of one store. Shared between threads.
///
/// As a [`MasterKey`] it takes key ids and asks whoever holds the key. Records say which key wrapped them, so that
/// unwrapping needs no id.
pub struct KeyService {
    keyring: Keyring,
    providers: BTreeMap<String, Arc<dyn MasterKey>>,
    scope: KeyScope,
    /// The keyring file as it was when it was last read.
    seen: Mutex<Option<FileStamp>>,
    /// Keys whose imported material had expired when last looked, and how often that number changed.
    expired: AtomicU64,
    expiries: AtomicU64,
    witness: Option<Arc<dyn Witness>>,
}

impl KeyService {
    /// A service for the keys of `keyring`; `providers` by the names that their sections in the configuration have.
    ///
    /// A provider must write the name that it was asked with into the records it makes, or, where it knows a more
    /// exact one, take that as well ([`KeyService::probe`]).
    pub fn new(keyring: Keyring, providers: BTreeMap<String, Arc<dyn MasterKey>>, scope: KeyScope) -> Self {
        let (seen, expired, expiries) = (Mutex::new(None), AtomicU64::new(0), AtomicU64::new(0));
        Self { keyring, providers, scope, seen, expired, expiries, witness: None }
    }

    /// The same service, with every use of a master key seen by `witness`.
    #[must_use]
    pub fn watched_by(mut self, witness: Arc<dyn Witness>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// The list of keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The store that the keys belong to.
    pub fn store_id(&self) -> Id {
        self.keyring.store_id()
    }

    /// The region and account of its ARNs.
    pub fn scope(&self) -> &KeyScope {
        &self.scope
    }

    /// The key that a request or setting means by `name`, whatever its state. `alias/aws/s3` is made on first use.
    ///
    /// ARNs of another account or region are [`KeyError::Invalid`], unless a remote key has this very ARN; so is the
    /// key of SSE-S3, which no request names.
    pub fn resolve(&self, name: &KeyName) -> Result<KeyId, KeyError> {
        match self.find(name) {
            Ok(id) if id.as_str() == SERVICE_KEY => {
                let why =
                    "it is the key of SSE-S3, which no request names; ask for AES256 instead".to_owned();
                Err(KeyError::Invalid { key: name.to_string(), why })
            }
            Err(KeyError::Unknown { .. }) if name.alias() == Some(&AliasName::aws_s3()) => {
                let unavailable =
                    |e: KeyringError| KeyError::Unavailable { key: name.to_string(), why: e.to_string() };
                self.keyring.managed_key().map_err(unavailable)
            }
            Ok(id) => self.check_region(&id).map(|()| id),
            found => found,
        }
    }

    /// Refuses a key that a provider holds in another region than that of the store, unless it is one for many. A store
    /// that names no region takes all.
    fn check_region(&self, id: &KeyId) -> Result<(), KeyError> {
        if self.scope.is_local() {
            return Ok(());
        }
        let arn = self.arn(id);
        let theirs = arn.split(':').nth(3).unwrap_or_default();
        let many = arn.rsplit('/').next().is_some_and(|name| name.starts_with("mrk-"));
        let ours = self.scope.region();
        if theirs == ours || many {
            return Ok(());
        }
        let why = format!("it is of region {theirs}, this store is of region {ours}; name a key of that");
        Err(KeyError::Invalid { key: id.to_string(), why })
    }

    /// The key that a command means by `name`: the same, but nothing is made, and the key of SSE-S3 is found too.
    pub fn find(&self, name: &KeyName) -> Result<KeyId, KeyError> {
        self.follow();
        if let Some(id) = self.held_as(name) {
            return Ok(id);
        }
        self.check_scope(name)?;
        let found = match name {
            KeyName::Id(id) | KeyName::Arn(_, id) => self.key_state(id).is_ok().then(|| id.clone()),
            KeyName::Alias(alias) | KeyName::AliasArn(_, alias) => self.keyring.alias_target(alias),
        };
        found.ok_or_else(|| KeyError::Unknown { key: name.to_string() })
    }

    /// The ARN of a key, as policies, attributes and the audit log show it.
    ///
    /// A remote key that has an ARN at its provider keeps that.
    pub fn arn(&self, id: &KeyId) -> String {
        let remote = self.keyring.remote_keys().into_iter().find(|(key, ..)| key == id);
        match remote {
            Some((.., name)) if name.starts_with("arn:") => name,
            _ => self.scope.key_arn(id),
        }
    }

    /// The name by which records of `id` call it: that at its provider, where it has one.
    pub fn record_name(&self, id: &KeyId) -> String {
        let remote = self.keyring.remote_keys().into_iter().find(|(key, ..)| key == id);
        remote.map_or_else(|| id.as_str().to_owned(), |(.., name)| name)
    }

    /// The state of a key as last read; call [`KeyService::refresh`] before a decision. Takes no system call.
    pub fn key_state(&self, id: &KeyId) -> Result<KeyState, KeyError> {
        self.keyring.key_state(id)
    }

    /// The key that wrapped a record which this service made.
    pub fn key_of(&self, wrapped: &WrappedKey) -> Result<KeyId, KeyError> {
        if wrapped.provider == Provider::Keyring {
            let id = std::str::from_utf8(&wrapped.key_id).ok().and_then(|text| text.parse().ok());
            let id: KeyId = id.ok_or_else(|| unknown(wrapped))?;
            return self.key_state(&id).map(|_| id);
        }
        let mut holders = self.holders(wrapped)?;
        let at = holders.iter().position(|holder| holder.check_unwrap(self).is_ok()).unwrap_or(0);
        Ok(holders.swap_remove(at).id)
    }

    /// Takes notice of what other processes did to the keyring. Returns whether anything changed.
    ///
    /// Costs one system call when nothing did. After a failure (someone renewed the keyring, or damaged it) the keys
    /// go on as they were.
    pub fn refresh(&self) -> Result<bool, KeyringError> {
        let stamp = self.keyring.stamp()?;
        let before = self.generation();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen != Some(stamp) {
            self.keyring.reload()?;
            *seen = Some(stamp);
        }
        drop(seen);
        self.age();
        Ok(self.generation() != before)
    }

    /// Takes notice of imported material that expired since; the part of [`KeyService::refresh`] that looks at no file.
    pub fn age(&self) {
        let expired = self.keyring.expired_keys();
        if self.expired.swap(expired, Ordering::Relaxed) != expired {
            self.expiries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A number that changes when any key, state or alias changed, or imported material expired, as far as
    /// [`KeyService::refresh`] noticed. Caches of unwrapped keys are good for one generation.
    pub fn generation(&self) -> u64 {
        self.keyring.generation().wrapping_add(self.expiries.load(Ordering::Relaxed))
    }

    /// Asks provider `provider` to wrap and unwrap with its key `key`, and returns the name that its records carry.
    ///
    /// List the key under the returned name: it stays when an alias at the provider moves.
    pub fn probe(&self, provider: &str, key: &str) -> Result<String, KeyError> {
        let master = self.provider(provider, key)?;
        let fresh =
            |e: crate::crypto::CryptoError| KeyError::Unavailable { key: key.into(), why: e.to_string() };
        let (secret, binding) =
            (Secret::random().map_err(fresh)?, Binding::bucket_key(Id::random().map_err(fresh)?));
        let wrapped = master.wrap_key(key, &secret, &EncryptionContext::default(), &binding)?;
        let opened = master.unwrap_key(&wrapped, &binding)?;
        let name = String::from_utf8(wrapped.key_id).ok();
        match name.filter(|_| opened.expose() == secret.expose() && wrapped.provider == master.provider()) {
            Some(name) => Ok(name),
            None => Err(KeyError::Rejected { key: key.to_owned() }),
        }
    }

    /// [`KeyService::refresh`] where there is nobody to hand an error to.
    fn follow(&self) {
        if let Err(error) = self.refresh() {
            log::warn!("keys stay as they were: {error}");
        }
    }

    /// The remote key whose provider knows it by exactly this ARN.
    fn held_as(&self, name: &KeyName) -> Option<KeyId> {
        name.scope()?;
        let text = name.to_string();
        self.keyring.remote_keys().into_iter().find(|(.., key)| *key == text).map(|(id, ..)| id)
    }

    fn check_scope(&self, name: &KeyName) -> Result<(), KeyError> {
        let Some(scope) = name.scope().filter(|scope| **scope != self.scope) else { return Ok(()) };
        let (what, theirs, ours) = if scope.account() == self.scope.account() {
            ("region", scope.region(), self.scope.region())
        } else {
            ("account", scope.account(), self.scope.account())
        };
        let why = format!(
            "it is of {what} {theirs}, the keys of this store are of {what} {ours}; name one of these"
        );
        Err(KeyError::Invalid { key: name.to_string(), why })
    }

    /// The listed keys that may have made `wrapped`; never none.
    fn holders(&self, wrapped: &WrappedKey) -> Result<Vec<Holder>, KeyError> {
        let named = |name: &String| name.as_bytes() == wrapped.key_id;
        let listed: Vec<_> =
            self.keyring.remote_keys().into_iter().filter(|(.., name)| named(name)).collect();
        let absent = listed.iter().find(|(_, provider, _)| !self.providers.contains_key(provider));
        let absent = absent.map(|(id, provider, _)| unconfigured(provider, id.as_str()));
        let holders = listed.into_iter().filter_map(|(id, provider, name)| {
            let master = self.providers.get(&provider)?;
            (master.provider() == wrapped.provider).then(|| Holder { id, name, master: master.clone() })
        });
        let holders: Vec<_> = holders.collect();
        if holders.is_empty() { Err(absent.unwrap_or_else(|| unknown(wrapped))) } else { Ok(holders) }
    }

    /// Whoever holds the remote key `id`; `None` for the keys of the keyring itself.
    fn holder(&self, id: &str) -> Result<Option<Holder>, KeyError> {
        let remote = self.keyring.remote_keys().into_iter().find(|(key, ..)| key.as_str() == id);
        let Some((id, provider, name)) = remote else { return Ok(None) };
        let master = self.provider(&provider, id.as_str())?.clone();
        Ok(Some(Holder { id, name, master }))
    }

    fn provider(&self, name: &str, key: &str) -> Result<&Arc<dyn MasterKey>, KeyError> {
        self.providers.get(name).ok_or_else(|| unconfigured(name, key))
    }
}

/// The keys of a keyring alone: no remote provider, and the usual scope.
impl From<Keyring> for KeyService {
    fn from(keyring: Keyring) -> Self {
        Self::new(keyring, BTreeMap::new(), KeyScope::default())
    }
}

impl MasterKey for KeyService {
    /// The keyring: what this service is for keys without another holder.
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
        self.follow();
        let answer = self.wrap(key, secret, user, binding);
        if let Some(witness) = &self.witness {
            let key = key.parse().ok().map(|id| self.arn(&id));
            let version = answer.as_ref().ok().map(|wrapped| wrapped.key_version);
            let (context, failure) = (&binding.context(user), answer.as_ref().err());
            tell(&**witness, &KeyUse { wraps: true, key, version, context, failure })?;
        }
        answer
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError> {
        self.follow();
        let answer = self.unwrap(wrapped, binding);
        if let Some(witness) = &self.witness {
            let key = self.key_of(wrapped).ok().map(|id| self.arn(&id));
            let version = Some(wrapped.key_version);
            let (context, failure) = (&binding.context(&wrapped.context), answer.as_ref().err());
            tell(&**witness, &KeyUse { wraps: false, key, version, context, failure })?;
        }
        answer
    }

    /// Asks whoever holds the key. That is no use of it, which nobody witnesses.
    fn is_newest(&self, wrapped: &WrappedKey) -> Result<Option<bool>, KeyError> {
        if wrapped.provider == Provider::Keyring {
            return self.keyring.is_newest(wrapped);
        }
        let usable = self.holders(wrapped)?.into_iter().find(|holder| holder.check_unwrap(self).is_ok());
        usable.map_or(Ok(None), |holder| holder.master.is_newest(wrapped))
    }
}

fn tell(witness: &dyn Witness, used: &KeyUse<'_>) -> Result<(), KeyError> {
    let key = || used.key.clone().unwrap_or_else(|| "(unknown)".to_owned());
    witness.used(used).map_err(|why| KeyError::Unavailable { key: key(), why })
}

impl KeyService {
    fn wrap(
        &self,
        key: &str,
        secret: &Secret<32>,
        user: &EncryptionContext,
        binding: &Binding,
    ) -> Result<WrappedKey, KeyError> {
        match self.holder(key)? {
            None => self.keyring.wrap_key(key, secret, user, binding),
            Some(holder) => {
                self.key_state(&holder.id)?.check_wrap(key)?;
                holder.wrap(secret, user, binding)
            }
        }
    }

    fn unwrap(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError> {
        if wrapped.provider == Provider::Keyring {
            return self.keyring.unwrap_key(wrapped, binding);
        }
        let mut refusal = None;
        for holder in self.holders(wrapped)? {
            let answer = holder.check_unwrap(self).and_then(|()| holder.master.unwrap_key(wrapped, binding));
            match answer {
                Ok(secret) => return Ok(secret),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| unknown(wrapped)))
    }
}

impl std::fmt::Debug for KeyService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyService")
            .field("keyring", &self.keyring)
            .field("providers", &self.providers.keys())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// A listed remote key and the provider that holds it.
struct Holder {
    id: KeyId,
    name: String,
    master: Arc<dyn MasterKey>,
}

impl Holder {
    fn check_unwrap(&self, service: &KeyService) -> Result<(), KeyError> {
        service.key_state(&self.id)?.check_unwrap(self.id.as_str())
    }

    /// Wraps, and refuses an answer that another key gave.
    fn wrap(
        &self,
        secret: &Secret<32>,
        user: &EncryptionContext,
        binding: &Binding,
    ) -> Result<WrappedKey, KeyError> {
        let wrapped = self.master.wrap_key(&self.name, secret, user, binding)?;
        if wrapped.provider == self.master.provider() && wrapped.key_id == self.name.as_bytes() {
            Ok(wrapped)
        } else {
            Err(KeyError::Rejected { key: self.id.to_string() })
        }
    }
}

fn unconfigured(provider: &str, key: &str) -> KeyError {
    let why = format!("the configuration has no provider `{}`", provider.escape_debug());
    KeyError::Unavailable { key: key.to_owned(), why }
}

/// The name in a record that no key here has, escaped for the message.
fn unknown(wrapped: &WrappedKey) -> KeyError {
    KeyError::Unknown { key: String::from_utf8_lossy(&wrapped.key_id).escape_debug().to_string() }
}
