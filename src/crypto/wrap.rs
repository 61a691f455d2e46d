//! AES-256-GCM from `RustCrypto`, an implementation independent of the bulk one: it seals small secrets (keys), and the
//! outer layer of objects that have two.

use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce, Tag,
    aead::{Aead, AeadInOut, Payload},
};
use zeroize::Zeroizing;

use super::{CryptoError, NONCE_LEN, Secret, TAG_LEN};

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

/// A block key of the outer layer, with its key schedule, which is wiped when dropped.
pub struct OuterCipher(Aes256Gcm);

impl OuterCipher {
    /// Prepares `key` for sealing and opening.
    pub fn new(key: &Secret<32>) -> Self {
        Self(Aes256Gcm::new(key.expose().into()))
    }

    /// Encrypts `buf` in place and returns the tag. The nonce must be fresh for this key.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self.0.encrypt_inout_detached(&Nonce::from(nonce), aad, buf.into());
        tag.expect("a block is far below the GCM message limit").into()
    }

    /// Decrypts `buf` in place. When the tag does not match, `buf` is zeroed.
    pub fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        tag: &[u8; TAG_LEN],
        buf: &mut [u8],
    ) -> Result<(), CryptoError> {
        let opened =
            self.0.decrypt_inout_detached(&Nonce::from(nonce), aad, (&mut *buf).into(), &Tag::from(*tag));
        opened.map_err(|_| {
            buf.fill(0);
            CryptoError::Authentication
        })
    }
}

impl std::fmt::Debug for OuterCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OuterCipher(redacted)")
    }
}
