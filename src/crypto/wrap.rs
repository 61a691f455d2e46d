//! Sealing small secrets (keys) with AES-256-GCM from `RustCrypto`, an implementation independent of the bulk one.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

use super::{CryptoError, Secret};

/// Bytes that sealing adds: the GCM tag.
pub const WRAP_OVERHEAD: usize = 16;

/// Seals `plaintext` under `key` with a nonce that must never repeat for that key: ciphertext ‖ tag.
pub fn seal_wrap(key: &Secret<32>, nonce: &[u8; 12], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    Aes256Gcm::new(key.expose().into())
        .encrypt(nonce.into(), Payload { msg: plaintext, aad })
        .expect("AES-GCM seals every message shorter than 64 GiB")
}

/// Opens what [`seal_wrap`] sealed; the result wipes itself.
pub fn open_wrap(
    key: &Secret<32>,
    nonce: &[u8; 12],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    Aes256Gcm::new(key.expose().into())
        .decrypt(nonce.into(), Payload { msg: sealed, aad })
        .map(Zeroizing::new)
        .map_err(|_| CryptoError::Authentication)
}
