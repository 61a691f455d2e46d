//! HKDF-SHA-256 (RFC 5869) with 32 bytes of output, as every derivation of this room uses it.

use crate::crypto::{self, Secret};

/// `HKDF(ikm, salt, info)`; an empty `salt` is HKDF's default of zeroes.
pub(super) fn hkdf(ikm: &[u8], salt: &[u8], info: &[u8]) -> Secret<32> {
    let prk = Secret::copy_from(&crypto::hmac_sha256(salt, &[ikm]));
    Secret::copy_from(&crypto::hkdf_expand(prk.expose(), &[info]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_matches_rfc_5869() {
        let salt = hex::decode("000102030405060708090a0b0c").unwrap();
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        let okm = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf";
        assert_eq!(hex::encode(hkdf(&[0x0b; 22], &salt, &info).expose()), okm);
        let okm = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d";
        assert_eq!(hex::encode(hkdf(&[0x0b; 22], &[], &[]).expose()), okm);
    }
}
