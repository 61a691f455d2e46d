//! The one room that names cryptographic primitives.
//!
//! Everything here is a thin, misuse-resistant face over `aws-lc-rs` (bulk AES-256-GCM, HMAC, randomness),
//! `aes-gcm` (key wrapping and the outer of two layers: an implementation independent of the one that seals blocks),
//! `argon2`, `blake3` and `crc32c`. No other room may import those crates.
//! It must never print a key, and never hand out bytes that failed authentication.

mod aead;
mod arena;
mod digest;
mod harden;
mod password;
mod random;
mod secret;
mod wipe;
mod wrap;

pub use aead::{BlockCipher, NONCE_LEN, TAG_LEN};
pub use arena::secrets_locked;
pub use digest::{MacKey, Sha256, crc32c, equal, frame_digest, hkdf_expand, hmac_sha256, sha256};
pub use harden::harden_process;
pub use password::{PasswordCost, stretch};
pub use random::{fill_random, random};
pub use secret::Secret;
pub use wipe::wipe;
pub use wrap::{OuterCipher, WRAP_OVERHEAD, open_wrap, seal_wrap};
pub use zeroize::Zeroizing;

/// A cryptographic operation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The tag did not match: wrong key, wrong associated data, or the bytes were changed.
    #[error("authentication failed: wrong key or altered data")]
    Authentication,
    /// The operating system gave no randomness.
    #[error("the system random number generator failed")]
    Random,
    /// Key-stretching parameters outside the accepted range.
    #[error("key-stretching cost is outside the accepted range")]
    PasswordCost,
}
