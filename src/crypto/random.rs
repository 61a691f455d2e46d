//! The one door for randomness: the operating system's generator through `aws-lc-rs`.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::CryptoError;

/// Fills `buf` with cryptographically secure random bytes.
pub fn fill_random(buf: &mut [u8]) -> Result<(), CryptoError> {
    SystemRandom::new().fill(buf).map_err(|_| CryptoError::Random)
}

/// `N` random bytes that need not be kept secret (ids, salts, nonces).
pub fn random<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}
