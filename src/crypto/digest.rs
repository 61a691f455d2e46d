//! Hashes, MACs and key derivation (HMAC-SHA-256, HKDF-Expand, BLAKE3, CRC-32C).

use aws_lc_rs::{digest, hmac};

use super::Secret;

/// An HMAC-SHA-256 key with its inner and outer state prepared, for keys that are used often.
pub struct MacKey(hmac::Key);

impl MacKey {
    /// Prepares `key`. AWS-LC wipes the prepared state when it is freed.
    pub fn new(key: &Secret<32>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// HMAC-SHA-256 over the concatenation of `parts`.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        array(context.sign().as_ref())
    }

    /// HKDF-Expand (RFC 5869) to 32 bytes with this key as the pseudorandom key.
    pub fn expand(&self, parts: &[&[u8]]) -> Secret<32> {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        context.update(&[1]);
        Secret::copy_from(&array(context.sign().as_ref()))
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(redacted)")
    }
}

/// HMAC-SHA-256 (RFC 2104) over the concatenation of `parts`.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

/// HKDF-Expand with SHA-256 (RFC 5869) to 32 bytes, `info` being the concatenation of `parts`.
///
/// One output block only, so the expansion is a single HMAC over `info ‖ 01`.
pub fn hkdf_expand(prk: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, prk));
    for part in parts {
        context.update(part);
    }
    context.update(&[1]);
    array(context.sign().as_ref())
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    array(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256 of what comes in pieces.
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Of nothing so far.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all of it.
    pub fn finish(self) -> [u8; 32] {
        array(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// The first 16 bytes of BLAKE3 over the concatenation of `parts` (journal frames: a checksum, not a MAC).
pub fn frame_digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut out = [0; 16];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// CRC-32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Whether two byte strings are equal, in time that depends on their lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}

fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_matches_rfc_4231_case_2() {
        let mac = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex::encode(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn what_comes_in_pieces_has_the_digest_of_the_whole() {
        let mut pieces = Sha256::new();
        for piece in [&b"what do "[..], b"", b"ya want"] {
            pieces.update(piece);
        }
        assert_eq!(pieces.finish(), sha256(b"what do ya want"));
    }

    #[test]
    fn hkdf_expand_matches_rfc_5869_case_1() {
        let prk = hex::decode("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5").unwrap();
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        let okm = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf";
        assert_eq!(hex::encode(hkdf_expand(&prk, &[&info])), okm);
    }
}
