//! The 256-bit sum over all tag pages that pins the current set (format section 10.3).

/// A sum of keyed terms modulo 2^256; order does not matter and single terms can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accumulator([u64; 4]);

impl Accumulator {
    /// From 32 big-endian bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, chunk) in limbs.iter_mut().zip(bytes.rchunks_exact(8)) {
            *limb = u64::from_be_bytes(chunk.try_into().expect("chunks have 8 bytes"));
        }
        Self(limbs)
    }

    /// As 32 big-endian bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (limb, chunk) in self.0.iter().zip(bytes.rchunks_exact_mut(8)) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        bytes
    }

    /// Adds a term.
    pub fn add(&mut self, term: &[u8; 32]) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(Self::from_bytes(term).0) {
            let (sum, first) = limb.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(carry.into());
            (*limb, carry) = (sum, first || second);
        }
    }

    /// Takes a term out again.
    pub fn subtract(&mut self, term: &[u8; 32]) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(Self::from_bytes(term).0) {
            let (difference, first) = limb.overflowing_sub(other);
            let (difference, second) = difference.overflowing_sub(borrow.into());
            (*limb, borrow) = (difference, first || second);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_wraps_at_two_to_the_256() {
        let mut sum = Accumulator::from_bytes(&[0xff; 32]);
        let mut one = [0; 32];
        one[31] = 1;
        sum.add(&one);
        assert_eq!(sum, Accumulator::default());
        sum.subtract(&one);
        assert_eq!(sum.to_bytes(), [0xff; 32]);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_terms_can_be_taken_out(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
            let mut x = Accumulator::default();
            let mut y = Accumulator::default();
            for term in [&a, &b, &c] { x.add(term); }
            for term in [&c, &a] { y.add(term); }
            prop_assert_eq!({ let mut z = x; z.subtract(&b); z }, y);
            prop_assert_eq!(Accumulator::from_bytes(&x.to_bytes()), x);
        }
    }
}
