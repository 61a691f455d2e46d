//! Fixed-size key material that is wiped when dropped.

use std::fmt;

use zeroize::Zeroize;

/// `N` secret bytes on the heap: no `Clone`, no `Serialize`, redacted `Debug`, zeroed on drop.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// A secret of zeroes, to be filled through [`Secret::expose_mut`].
    pub fn zero() -> Self {
        Self(Box::new([0; N]))
    }

    /// Copies `bytes` in; the caller wipes its own copy.
    pub fn copy_from(bytes: &[u8; N]) -> Self {
        let mut secret = Self::zero();
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// Copies a slice in, or `None` when it is not exactly `N` bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self::zero();
        if bytes.len() != N {
            return None;
        }
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    /// A fresh random secret.
    pub fn random() -> Result<Self, super::CryptoError> {
        let mut secret = Self::zero();
        super::fill_random(secret.0.as_mut_slice())?;
        Ok(secret)
    }

    /// The bytes, for a primitive; never for a log.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be filled in place.
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// A second copy, spelled out because copies of secrets should be rare.
    pub fn duplicate(&self) -> Self {
        Self::copy_from(&self.0)
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_bytes() {
        let secret = Secret::copy_from(&[0x41; 32]);
        assert_eq!(format!("{secret:?}"), "Secret<32>(redacted)");
    }

    #[test]
    fn a_slice_of_another_length_is_no_secret() {
        assert!(Secret::<32>::from_slice(&[0; 31]).is_none());
        assert!(Secret::<32>::from_slice(&[0; 33]).is_none());
    }
}
