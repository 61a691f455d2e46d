//! The record that an external provider's wraps become, and the checks on one that comes back.

use crate::{
    crypto::Secret,
    envelope::{EncryptionContext, Provider, WrapAlg, WrappedKey},
    keys::{Binding, KeyError},
};

/// A record of `provider` around what it returned.
pub(super) fn record(
    (provider, alg): (Provider, WrapAlg),
    (key, version): (&str, u32),
    user: &EncryptionContext,
    binding: &Binding,
    (nonce, blob): (Vec<u8>, Vec<u8>),
) -> Result<WrappedKey, KeyError> {
    // Both lengths are 16-bit in the format, and a header holds the whole record.
    if blob.is_empty() || blob.len() > MAX_BLOB {
        let why = format!("it answered with a wrapped key of {} bytes", blob.len());
        return Err(KeyError::Unavailable { key: key.to_owned(), why });
    }
    Ok(WrappedKey {
        kind: binding.record_type(),
        provider,
        alg,
        key_version: version,
        key_id: key.as_bytes().to_vec(),
        context: user.clone(),
        salt_nonce: nonce,
        wrapped: blob,
    })
}

/// The key that a record of `provider` names, once its form is right; nobody is asked about any other.
pub(super) fn key_of<'a>(
    wrapped: &'a WrappedKey,
    form: (Provider, WrapAlg),
    binding: &Binding,
) -> Result<&'a str, KeyError> {
    let name = name_of(wrapped, form)?;
    if wrapped.kind == binding.record_type() {
        Ok(name)
    } else {
        Err(KeyError::Rejected { key: name.to_owned() })
    }
}

/// The same, whatever was wrapped.
pub(super) fn name_of(wrapped: &WrappedKey, (provider, alg): (Provider, WrapAlg)) -> Result<&str, KeyError> {
    let escaped = || String::from_utf8_lossy(&wrapped.key_id).escape_debug().to_string();
    let name = std::str::from_utf8(&wrapped.key_id).ok().filter(|name| is_reference(name));
    let Some(name) = name.filter(|_| wrapped.provider == provider) else {
        return Err(KeyError::Unknown { key: escaped() });
    };
    if wrapped.alg == alg { Ok(name) } else { Err(KeyError::Rejected { key: name.to_owned() }) }
}

/// Whether a name could be one of a key service: 1 to 2048 bytes, nothing that a message or address would stumble on.
pub(super) fn is_reference(name: &str) -> bool {
    (1..=2048).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The secret in an answer; one of another length is none of ours.
pub(super) fn secret(key: &str, plaintext: &[u8]) -> Result<Secret<32>, KeyError> {
    Secret::from_slice(plaintext).ok_or_else(|| KeyError::Rejected { key: key.to_owned() })
}

/// Longest wrapped key of 32 bytes that makes sense, in bytes.
const MAX_BLOB: usize = 6 * 1024;
