//! Fixed-size key material that is wiped when dropped.

use std::fmt;

use zeroize::Zeroize;

use super::arena;

/// `N` secret bytes: no `Clone`, no `Serialize`, redacted `Debug`, zeroed on drop.
///
/// Up to 32 bytes they live in locked memory while there is room (see [`secrets_locked`]), else on the heap.
/// The lock does not survive `fork`: go to the background before making the first secret.
///
/// [`secrets_locked`]: super::secrets_locked
pub struct Secret<const N: usize>(Home<N>);

/// Where the bytes are.
enum Home<const N: usize> {
    /// The first `N` bytes of an arena cell, which holds at least that many.
    Arena(arena::Slot),
    Heap(Box<[u8; N]>),
}

impl<const N: usize> Secret<N> {
    /// A secret of zeroes, to be filled through [`Secret::expose_mut`].
    pub fn zero() -> Self {
        let slot = if N <= arena::CELL_LEN { arena::allocate() } else { None };
        Self(slot.map_or_else(|| Home::Heap(Box::new([0; N])), Home::Arena))
    }

    /// Copies `bytes` in; the caller wipes its own copy.
    pub fn copy_from(bytes: &[u8; N]) -> Self {
        let mut secret = Self::zero();
        secret.expose_mut().copy_from_slice(bytes);
        secret
    }

    /// Copies a slice in, or `None` when it is not exactly `N` bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self::zero();
        if bytes.len() != N {
            return None;
        }
        secret.expose_mut().copy_from_slice(bytes);
        Some(secret)
    }

    /// A fresh random secret.
    pub fn random() -> Result<Self, super::CryptoError> {
        let mut secret = Self::zero();
        super::fill_random(secret.expose_mut())?;
        Ok(secret)
    }

    /// The bytes, for a primitive; never for a log.
    pub fn expose(&self) -> &[u8; N] {
        self.0.bytes()
    }

    /// The bytes, to be filled in place.
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        self.0.bytes_mut()
    }

    /// A second copy, spelled out because copies of secrets should be rare.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::copy_from(self.expose())
    }
}

impl<const N: usize> Home<N> {
    fn bytes(&self) -> &[u8; N] {
        match self {
            Self::Arena(slot) => slot.bytes().first_chunk().expect("an arena secret fits its cell"),
            Self::Heap(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8; N] {
        match self {
            Self::Arena(slot) => slot.bytes_mut().first_chunk_mut().expect("an arena secret fits its cell"),
            Self::Heap(bytes) => bytes,
        }
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        if let Home::Heap(bytes) = &mut self.0 {
            bytes.zeroize();
        }
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
    fn secrets_of_any_size_keep_their_bytes() {
        fn kept<const N: usize>() {
            let bytes = std::array::from_fn(|at| u8::try_from(at % 251).unwrap());
            let secrets: Vec<_> = (0..100).map(|_| Secret::<N>::copy_from(&bytes)).collect();
            assert!(secrets.iter().all(|secret| *secret.duplicate().expose() == bytes));
        }
        kept::<0>();
        kept::<16>();
        kept::<32>();
        kept::<33>();
        kept::<64>();
    }

    #[test]
    fn a_full_arena_overflows_to_the_heap() {
        let secrets: Vec<_> = (0..40_000).map(|_| Secret::<32>::copy_from(&[7; 32])).collect();
        assert!(secrets.iter().any(|secret| matches!(secret.0, Home::Heap(_))));
        assert!(secrets.iter().all(|secret| secret.expose() == &[7; 32]));
    }

    #[test]
    fn a_slice_of_another_length_is_no_secret() {
        assert!(Secret::<32>::from_slice(&[0; 31]).is_none());
        assert!(Secret::<32>::from_slice(&[0; 33]).is_none());
    }
}
