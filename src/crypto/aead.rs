//! Bulk AES-256-GCM by AWS-LC: one key, many blocks, caller-supplied buffers.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{CryptoError, Secret};

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;

/// A block key with its key schedule, kept for as long as a segment is in use.
///
/// AWS-LC wipes the key schedule when it is freed.
pub struct BlockCipher(LessSafeKey);

impl BlockCipher {
    /// Prepares `key` for sealing and opening.
    pub fn new(key: &Secret<32>) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("AES-256 takes 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `buf` in place and returns the tag. The nonce must be fresh for this key.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], buf: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buf)
            .expect("a block is far below the GCM message limit");
        tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
    }

    /// Decrypts `ciphertext` into `out` (equal length). When the tag does not match, `out` is zeroed.
    pub fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, out).map_err(|_| {
            out.fill(0);
            CryptoError::Authentication
        })
    }
}

impl std::fmt::Debug for BlockCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockCipher(redacted)")
    }
}
