//! Customer keys (SSE-C): keys that users bring and that nothing here ever stores.
//!
//! An object keeps a salted verifier of its key ([`VERIFIER`](RecordType::CustomerVerifier)), so that the right one of several
//! is found, and a wrong one told, without touching the wrapped data key (format section 5.4).

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64ct::{Base64, Encoding};

use super::{Binding, Clock, KeyError, SystemClock, derive::hkdf};
use crate::{
    crypto::{self, CryptoError, Secret},
    envelope::{DataKey, EncryptionContext, Provider, RecordType, WrapAlg, WrappedKey},
};

/// A 32-byte key of a customer.
pub struct CustomerKey(Secret<32>);

impl CustomerKey {
    /// A key from its 32 bytes.
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// A key as people write it: Base64 or hex of 32 bytes, with blanks around it. `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let mut bytes = crypto::Zeroizing::new([0; 32]);
        if text.len() == 64 {
            hex::decode_to_slice(text, bytes.as_mut_slice()).ok()?;
        } else {
            Base64::decode(text, bytes.as_mut_slice()).ok().filter(|decoded| decoded.len() == 32)?;
        }
        Secret::from_slice(bytes.as_slice()).map(Self)
    }

    /// The key as hex, to hand it to the process that serves the store.
    pub fn to_hex(&self) -> crypto::Zeroizing<String> {
        crypto::Zeroizing::new(hex::encode(self.0.expose()))
    }

    /// Wraps the data key of an object and makes the verifier: the records of its header, the wrapped key first.
    ///
    /// `binding` must be that of a data key; `user` are the context pairs.
    pub fn wrap_data_key(
        &self,
        binding: &Binding,
        data_key: &DataKey,
        user: &EncryptionContext,
    ) -> Result<[WrappedKey; 2], KeyError> {
        let unavailable = |e: CryptoError| KeyError::Unavailable { key: NAME.to_owned(), why: e.to_string() };
        let (salt, proof_salt): ([u8; 32], [u8; 32]) =
            (crypto::random().map_err(unavailable)?, crypto::random().map_err(unavailable)?);
        let nonce: [u8; 12] = crypto::random().map_err(unavailable)?;
        let aad = binding.context(user).canonical();
        let wrapped = crypto::seal_wrap(&self.wrapping_key(&salt, binding), &nonce, &aad, data_key.expose());
        let record = |kind, alg, context, salt_nonce, wrapped| WrappedKey {
            kind,
            provider: Provider::Customer,
            alg,
            key_version: 1,
            key_id: Vec::new(),
            context,
            salt_nonce,
            wrapped,
        };
        let salt_nonce = [salt.as_slice(), &nonce].concat();
        let verifier = self.verifier(&proof_salt, binding).to_vec();
        Ok([
            record(binding.record_type(), WrapAlg::AesGcm, user.clone(), salt_nonce, wrapped),
            record(
                RecordType::CustomerVerifier,
                WrapAlg::HkdfAesGcm,
                EncryptionContext::default(),
                proof_salt.to_vec(),
                verifier,
            ),
        ])
    }

    /// Whether `verifier` was made with this key for the object of `binding`.
    pub fn is_verified_by(&self, verifier: &WrappedKey, binding: &Binding) -> bool {
        let Ok(salt) = <&[u8; 32]>::try_from(verifier.salt_nonce.as_slice()) else { return false };
        verifier.kind == RecordType::CustomerVerifier
            && crypto::equal(&self.verifier(salt, binding), &verifier.wrapped)
    }

    /// Unwraps a data key. Wrong key, wrong context and altered bytes all give [`KeyError::Rejected`].
    pub fn unwrap_data_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<DataKey, KeyError> {
        self.open(wrapped, binding).ok_or_else(|| KeyError::Rejected { key: NAME.to_owned() })
    }

    fn open(&self, wrapped: &WrappedKey, binding: &Binding) -> Option<DataKey> {
        let fits = (wrapped.kind, wrapped.provider, wrapped.alg)
            == (binding.record_type(), Provider::Customer, WrapAlg::AesGcm);
        let (salt, nonce) = wrapped.salt_nonce.split_first_chunk::<32>().filter(|_| fits)?;
        let aad = binding.context(&wrapped.context).canonical();
        let key = self.wrapping_key(salt, binding);
        let opened = crypto::open_wrap(&key, nonce.try_into().ok()?, &aad, &wrapped.wrapped).ok()?;
        Secret::from_slice(&opened)
    }

    fn wrapping_key(&self, salt: &[u8; 32], binding: &Binding) -> Secret<32> {
        let object = binding.object.as_ref().map_or(&[0; 16], |object| object.as_bytes());
        let info = [b"EOB1/sse-c".as_slice(), binding.bucket.as_bytes(), object].concat();
        hkdf(self.0.expose(), salt, &info)
    }

    fn verifier(&self, salt: &[u8; 32], binding: &Binding) -> [u8; 32] {
        let object = binding.object.as_ref().map_or(&[0; 16], |object| object.as_bytes());
        let key = hkdf(self.0.expose(), salt, b"EOB1/sse-c-verify");
        crypto::hmac_sha256(key.expose(), &[object])
    }
}

impl std::fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerKey(redacted)")
    }
}

/// Which requests a customer key serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CustomerScope {
    /// Name of the only bucket; all of them without one.
    pub bucket: Option<String>,
    /// Beginning of the object's path in the bucket.
    pub prefix: String,
    /// The only user; everybody without one.
    pub uid: Option<u32>,
}

/// What a customer key is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct CustomerRequest<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The object's path in it.
    pub path: &'a str,
    /// The user who asks; `None` for the administrator, who may use the keys of all.
    pub uid: Option<u32>,
}

/// The customer keys that are known at the moment, in memory only.
///
/// New objects get the newest key whose scope fits; existing ones are opened by whichever fits and verifies.
pub struct CustomerKeys {
    clock: Arc<dyn Clock>,
    /// Oldest first.
    held: RwLock<Vec<Held>>,
}

struct Held {
    scope: CustomerScope,
    key: Arc<CustomerKey>,
    /// On the steady clock; never without one.
    until: Option<Duration>,
}

impl CustomerKeys {
    /// No keys; they age by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, held: RwLock::default() }
    }

    /// Adds a key, which is then the current one of its scope, for `ttl` or until it is removed.
    pub fn insert(&self, scope: CustomerScope, key: CustomerKey, ttl: Option<Duration>) {
        let now = self.clock.steady();
        let until = ttl.map(|ttl| now.saturating_add(ttl));
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.retain(|held| held.lives(now));
        held.push(Held { scope, key: Arc::new(key), until });
    }

    /// Forgets every key of exactly this scope; how many there were. What is open with them goes on.
    pub fn remove(&self, scope: &CustomerScope) -> usize {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let before = held.len();
        held.retain(|held| held.scope != *scope);
        before - held.len()
    }

    /// The scopes that have a key now, without repetition.
    pub fn scopes(&self) -> HashSet<CustomerScope> {
        let now = self.clock.steady();
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.iter().filter(|held| held.lives(now)).map(|held| held.scope.clone()).collect()
    }

    /// The key for a new object: the newest that serves `request`. [`KeyError::Unknown`] without one.
    pub fn current(&self, request: &CustomerRequest<'_>) -> Result<Arc<CustomerKey>, KeyError> {
        self.serving(request).into_iter().next().ok_or_else(|| KeyError::Unknown { key: NAME.to_owned() })
    }

    /// Unwraps the data key of an existing object with the key that its verifier tells.
    ///
    /// [`KeyError::Unknown`] when no key serves `request`, [`KeyError::Rejected`] when none of them is the object's.
    pub fn unwrap_data_key(
        &self,
        request: &CustomerRequest<'_>,
        (wrapped, verifier): (&WrappedKey, &WrappedKey),
        binding: &Binding,
    ) -> Result<DataKey, KeyError> {
        let serving = self.serving(request);
        if serving.is_empty() {
            return Err(KeyError::Unknown { key: NAME.to_owned() });
        }
        let found = serving.into_iter().find(|key| key.is_verified_by(verifier, binding));
        found.ok_or_else(|| KeyError::Rejected { key: NAME.to_owned() })?.unwrap_data_key(wrapped, binding)
    }

    /// Newest first.
    fn serving(&self, request: &CustomerRequest<'_>) -> Vec<Arc<CustomerKey>> {
        let now = self.clock.steady();
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let serving = held.iter().rev().filter(|held| held.lives(now) && held.scope.serves(request));
        serving.map(|held| held.key.clone()).collect()
    }
}

impl Default for CustomerKeys {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::new()))
    }
}

impl std::fmt::Debug for CustomerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CustomerKeys").field("scopes", &self.scopes()).finish_non_exhaustive()
    }
}

impl Held {
    fn lives(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl CustomerScope {
    fn serves(&self, request: &CustomerRequest<'_>) -> bool {
        self.bucket.as_deref().is_none_or(|bucket| bucket == request.bucket)
            && request.path.starts_with(&self.prefix)
            && (request.uid.is_none() || self.uid.is_none() || self.uid == request.uid)
    }
}

/// How messages name it: it has no id.
const NAME: &str = "customer key";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::*;
    use crate::envelope::Id;

    fn key(byte: u8) -> CustomerKey {
        CustomerKey::new(Secret::copy_from(&[byte; 32]))
    }

    fn binding() -> Binding {
        Binding::data_key(Id::random().unwrap(), Id::random().unwrap())
    }

    fn user() -> EncryptionContext {
        EncryptionContext::from_user_pairs([("dept".to_owned(), "finance".to_owned())].into()).unwrap()
    }

    const ANYBODY: CustomerRequest<'_> = CustomerRequest { bucket: "data", path: "a/b", uid: Some(7) };

    #[test]
    fn row_f1_a_data_key_opens_with_its_customer_key_and_object_only() {
        let (binding, data_key) = (binding(), Secret::random().unwrap());
        let [wrapped, verifier] = key(1).wrap_data_key(&binding, &data_key, &user()).unwrap();
        assert!(key(1).is_verified_by(&verifier, &binding) && !key(2).is_verified_by(&verifier, &binding));
        assert_eq!(key(1).unwrap_data_key(&wrapped, &binding).unwrap().expose(), data_key.expose());
        let elsewhere = self::binding();
        assert!(!key(1).is_verified_by(&verifier, &elsewhere));
        for (key, record, binding) in [
            (key(2), wrapped.clone(), binding),
            (key(1), wrapped.clone(), elsewhere),
            (key(1), WrappedKey { context: EncryptionContext::default(), ..wrapped.clone() }, binding),
            (key(1), verifier.clone(), binding),
        ] {
            let refused = key.unwrap_data_key(&record, &binding);
            assert!(matches!(refused, Err(KeyError::Rejected { .. })));
        }
    }

    #[test]
    fn row_f1_nothing_that_is_stored_repeats_for_the_same_key() {
        let (binding, data_key) = (binding(), Secret::random().unwrap());
        let one = key(1).wrap_data_key(&binding, &data_key, &user()).unwrap();
        let two = key(1).wrap_data_key(&binding, &data_key, &user()).unwrap();
        assert!(one.iter().zip(&two).all(|(a, b)| a.wrapped != b.wrapped && a.salt_nonce != b.salt_nonce));
    }

    #[test]
    fn row_f4_no_key_is_unknown_and_a_wrong_key_is_rejected() {
        let (keys, binding, data_key) = (CustomerKeys::default(), binding(), Secret::random().unwrap());
        let [wrapped, verifier] = key(1).wrap_data_key(&binding, &data_key, &user()).unwrap();
        let open = || keys.unwrap_data_key(&ANYBODY, (&wrapped, &verifier), &binding).map(|_| ());
        assert!(matches!(open(), Err(KeyError::Unknown { .. })));
        keys.insert(CustomerScope::default(), key(2), None);
        assert!(matches!(open(), Err(KeyError::Rejected { .. })));
        keys.insert(CustomerScope::default(), key(1), None);
        keys.insert(CustomerScope::default(), key(3), None);
        assert_eq!(open(), Ok(()));
    }

    #[test]
    fn the_newest_key_that_serves_the_request_is_current() {
        let keys = CustomerKeys::default();
        assert!(matches!(keys.current(&ANYBODY), Err(KeyError::Unknown { .. })));
        let scope = |bucket: Option<&str>, prefix: &str, uid| CustomerScope {
            bucket: bucket.map(str::to_owned),
            prefix: prefix.to_owned(),
            uid,
        };
        keys.insert(scope(Some("data"), "a/", Some(7)), key(1), None);
        for (byte, other) in
            [(2, scope(Some("other"), "", None)), (3, scope(None, "b/", None)), (4, scope(None, "", Some(8)))]
        {
            keys.insert(other.clone(), key(byte), None);
            assert!(crypto::equal(keys.current(&ANYBODY).unwrap().0.expose(), &[1; 32]), "{other:?}");
        }
        keys.insert(scope(None, "a", None), key(5), None);
        assert!(crypto::equal(keys.current(&ANYBODY).unwrap().0.expose(), &[5; 32]));
        assert_eq!(keys.remove(&scope(None, "a", None)), 1);
        assert!(crypto::equal(keys.current(&ANYBODY).unwrap().0.expose(), &[1; 32]));
        let administrator = CustomerRequest { uid: None, ..ANYBODY };
        assert!(crypto::equal(keys.current(&administrator).unwrap().0.expose(), &[4; 32]));
    }

    #[test]
    fn a_key_is_forgotten_when_its_time_is_over() {
        struct Hand(AtomicU64);
        impl Clock for Hand {
            fn unix_seconds(&self) -> u64 {
                0
            }
            fn steady(&self) -> Duration {
                Duration::from_secs(self.0.load(SeqCst))
            }
        }
        let hand = Arc::new(Hand(AtomicU64::new(0)));
        let keys = CustomerKeys::new(hand.clone());
        keys.insert(CustomerScope::default(), key(1), Some(Duration::from_secs(10)));
        hand.0.store(9, SeqCst);
        assert!(keys.current(&ANYBODY).is_ok());
        hand.0.store(10, SeqCst);
        assert!(keys.current(&ANYBODY).is_err() && keys.scopes().is_empty());
    }

    #[test]
    fn a_key_is_read_from_base64_and_hex_and_from_nothing_else() {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 8).unwrap());
        let written = "AAgQGCAoMDhASFBYYGhweICIkJigqLC4wMjQ2ODo8Pg=";
        for text in [written.to_owned(), hex::encode(bytes), format!(" {written}\r\n")] {
            let key = CustomerKey::parse(text.as_bytes()).unwrap();
            assert!(crypto::equal(key.0.expose(), &bytes), "{text}");
        }
        let loose = written.replace("Pg=", "Ph=");
        for bad in ["", "AAgQ", &written[1..], &written.replace('Q', "-"), &loose, &hex::encode(&bytes[1..])]
        {
            assert!(CustomerKey::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
