//! Vault or `OpenBao` Transit: local random keys, `encrypt` and `decrypt` with `associated_data`.
//!
//! Before each wrap the key is looked at, because `encrypt` would make a missing key; a convergent key (equal
//! plaintexts, equal wraps) and a kind without associated data are refused; a derived key gets the context as its
//! derivation context too. Once for each key it is proven that the server keeps the associated data: old servers
//! ignore it. The version in `vault:vN:` is the key version of the record.
//! <https://openbao.org/api-docs/secret/transit/>

mod client;
mod key;
mod token;

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::{ProviderError, TransitSettings, record};
use crate::{
    crypto::{self, Secret},
    envelope::{EncryptionContext, Provider, WrapAlg, WrappedKey},
    keys::{
        Binding, KeyError, MasterKey,
        retry::{Attempt, insist},
    },
};
use client::{Client, Failure};
use key::TransitKey;

/// One transit engine of one server.
pub(super) struct Transit {
    client: Client,
    settings: TransitSettings,
    /// Keys whose server was seen to keep the associated data. Held for look-ups only.
    proven: Mutex<HashSet<String>>,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    #[serde(deserialize_with = "wiped")]
    plaintext: Zeroizing<String>,
}

/// The body of `encrypt`.
#[derive(Serialize)]
struct Encrypt<'a> {
    plaintext: &'a str,
    associated_data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

/// The body of `decrypt`.
#[derive(Serialize)]
struct Decrypt<'a> {
    ciphertext: &'a str,
    associated_data: &'a str,
    /// For derived keys; the server leaves it alone for others.
    context: &'a str,
}

impl Transit {
    /// Checks the settings and reads the certificates.
    pub(super) fn new(settings: &TransitSettings) -> Result<Self, ProviderError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        let parts = settings.mount.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !parts || !settings.mount.bytes().all(good) {
            let (setting, value) = ("mount", settings.mount.escape_debug().to_string());
            return Err(ProviderError::Setting {
                setting,
                value,
                why: "write the engine's path, such as `transit`",
            });
        }
        Ok(Self { client: Client::new(settings)?, settings: settings.clone(), proven: Mutex::default() })
    }

    /// Asks until there is an answer.
    fn insist<T>(
        &self,
        name: &str,
        mut ask: impl FnMut(std::time::Duration) -> Result<T, Failure>,
    ) -> Result<T, KeyError> {
        insist(name, self.settings.timeout.duration(), |allowed| {
            ask(allowed).map_err(|failure| attempt(name, failure))
        })
    }

    /// The key as it is now, and proven to keep what its wraps are bound to.
    fn usable_key(&self, name: &str) -> Result<TransitKey, KeyError> {
        let path = self.path("keys", name)?;
        let key: TransitKey = self.insist(name, |allowed| self.client.get(&path, allowed))?;
        key.check(name)?;
        if !self.proven().contains(name) {
            self.prove(name, &key)?;
            self.proven().insert(name.to_owned());
        }
        Ok(key)
    }

    /// Wraps something worthless and tries to open it with other associated data, which must fail.
    fn prove(&self, name: &str, key: &TransitKey) -> Result<(), KeyError> {
        let unavailable =
            |e: crypto::CryptoError| KeyError::Unavailable { key: name.to_owned(), why: e.to_string() };
        let worthless = Secret::random().map_err(unavailable)?;
        let (_, blob) = self.encrypt(name, key, &worthless, ONE)?;
        // A derived key would fail by its derivation context alone: that one is kept.
        let (one, other) = (BASE64_STANDARD.encode(ONE), BASE64_STANDARD.encode(b"strongroom: other"));
        match self.open(name, &Decrypt { ciphertext: &blob, associated_data: &other, context: &one }) {
            Err(KeyError::Rejected { .. }) => Ok(()),
            Err(other) => Err(other),
            Ok(_) => {
                let why = "the server ignores `associated_data`: use a newer one".to_owned();
                Err(KeyError::Denied { key: name.to_owned(), why })
            }
        }
    }

    fn encrypt(
        &self,
        name: &str,
        key: &TransitKey,
        secret: &Secret<32>,
        context: &[u8],
    ) -> Result<(u32, String), KeyError> {
        let path = self.path("encrypt", name)?;
        let plaintext = Zeroizing::new(BASE64_STANDARD.encode(secret.expose()));
        let context = BASE64_STANDARD.encode(context);
        let derivation = key.derived.then_some(context.as_str());
        let body = Encrypt { plaintext: &plaintext, associated_data: &context, context: derivation };
        let answer: Encrypted = self.insist(name, |allowed| self.client.post(&path, &body, allowed))?;
        let version = version_of(&answer.ciphertext).filter(|version| *version >= key.latest_version);
        let version = version.ok_or_else(|| KeyError::Rejected { key: name.to_owned() })?;
        Ok((version, answer.ciphertext))
    }

    fn open(&self, name: &str, body: &Decrypt<'_>) -> Result<Secret<32>, KeyError> {
        let path = self.path("decrypt", name)?;
        let answer: Decrypted = self.insist(name, |allowed| self.client.post(&path, body, allowed))?;
        let plaintext = BASE64_STANDARD.decode(answer.plaintext.as_bytes()).map(Zeroizing::new);
        record::secret(name, &plaintext.unwrap_or_default())
    }

    /// The path of an operation on a key, unless no key can have this name.
    fn path(&self, operation: &str, name: &str) -> Result<String, KeyError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(good) {
            return Err(KeyError::Unknown { key: name.escape_debug().to_string() });
        }
        Ok(format!("{}/{operation}/{name}", self.settings.mount))
    }

    fn proven(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MasterKey for Transit {
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
        let found = self.usable_key(key)?;
        let context = binding.context(user).canonical();
        let (version, blob) = self.encrypt(key, &found, secret, &context)?;
        record::record(FORM, (key, version), user, binding, (Vec::new(), blob.into_bytes()))
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, binding: &Binding) -> Result<Secret<32>, KeyError> {
        let key = record::key_of(wrapped, FORM, binding)?;
        let blob = std::str::from_utf8(&wrapped.wrapped).ok();
        let blob = blob.filter(|blob| version_of(blob) == Some(wrapped.key_version));
        let blob = blob.ok_or_else(|| KeyError::Rejected { key: key.to_owned() })?;
        let context = BASE64_STANDARD.encode(binding.context(&wrapped.context).canonical());
        self.open(key, &Decrypt { ciphertext: blob, associated_data: &context, context: &context })
    }
}

/// The N of `vault:vN:...`.
fn version_of(ciphertext: &str) -> Option<u32> {
    let (version, _) = ciphertext.strip_prefix("vault:v")?.split_once(':')?;
    let canonical = !version.starts_with('0') && version.bytes().all(|b| b.is_ascii_digit());
    version.parse().ok().filter(|_| canonical)
}

/// What an answer other than success means. The server has no codes: its texts decide.
fn attempt(name: &str, failure: Failure) -> Attempt {
    let key = name.to_owned();
    let (status, said) = match failure {
        Failure::Silence(why) => return Attempt::Again(why),
        Failure::Nonsense(why) => return Attempt::Final(KeyError::Unavailable { key, why }),
        Failure::Token(error) => return Attempt::Final(KeyError::Denied { key, why: error.to_string() }),
        Failure::Refusal { status, said } => (status, said),
    };
    Attempt::Final(match status {
        404 => KeyError::Unknown { key },
        400 if said.contains("key not found") || said.contains("no existing key") => {
            KeyError::Unknown { key }
        }
        400 if said.contains("too old") => KeyError::Disabled { key },
        400 => KeyError::Rejected { key },
        403 => KeyError::Denied { key, why: said },
        412 | 429 | 472 | 473 | 500.. => return Attempt::Again(format!("status {status}: {said}")),
        _ => KeyError::Unavailable { key, why: format!("status {status}: {said}") },
    })
}

fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// What a worthless wrap is bound to.
const ONE: &[u8] = b"strongroom: one";
/// How its records look.
const FORM: (Provider, WrapAlg) = (Provider::Transit, WrapAlg::ProviderBlob);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_of_a_version_is_read() {
        assert_eq!(version_of("vault:v12:AAAA"), Some(12));
        for bad in [
            "vault:v0:A",
            "vault:v01:A",
            "vault:v+1:A",
            "vault:v:A",
            "vault:v1",
            "v1:A",
            "vault:v4294967296:A",
        ] {
            assert_eq!(version_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals_keep_their_causes_apart() {
        let of = |status, said: &str| match attempt("k", Failure::Refusal { status, said: said.into() }) {
            Attempt::Final(error) => Some(error),
            Attempt::Again(_) => None,
        };
        let key = || "k".to_owned();
        assert_eq!(of(400, "encryption key not found"), Some(KeyError::Unknown { key: key() }));
        assert_eq!(of(404, ""), Some(KeyError::Unknown { key: key() }));
        assert_eq!(of(400, "disallowed by policy (too old)"), Some(KeyError::Disabled { key: key() }));
        assert_eq!(of(400, "cipher: message authentication failed"), Some(KeyError::Rejected { key: key() }));
        assert_eq!(of(403, "no"), Some(KeyError::Denied { key: key(), why: "no".into() }));
        for busy in [429, 473, 500, 502, 503] {
            assert_eq!(of(busy, "later"), None, "{busy}");
        }
    }
}
