//! Wrapping under a local 32-byte key: HKDF-SHA-256 to a single-use key, then AES-256-GCM (wrap algorithm 2).

use super::{EncryptionContext, Provider, RecordType, WrapAlg, WrappedKey};
use crate::crypto::{self, CryptoError, Secret};

/// Wraps `secret` under `key`, bound to `bound` (user and reserved pairs).
///
/// `user` are the pairs stored in the record; `key_id` and `key_version` name `key`.
pub fn wrap_local(
    kind: RecordType,
    (provider, key_id, key_version): (Provider, &[u8], u32),
    key: &Secret<32>,
    secret: &Secret<32>,
    user: &EncryptionContext,
    bound: &EncryptionContext,
) -> Result<WrappedKey, CryptoError> {
    let salt: [u8; 16] = crypto::random()?;
    let nonce: [u8; 12] = crypto::random()?;
    let aad = bound.canonical();
    let wrapped = crypto::seal_wrap(&single_use_key(key, &salt, &aad), &nonce, &aad, secret.expose());
    Ok(WrappedKey {
        kind,
        provider,
        alg: WrapAlg::HkdfAesGcm,
        key_version,
        key_id: key_id.to_vec(),
        context: user.clone(),
        salt_nonce: [salt.as_slice(), &nonce].concat(),
        wrapped,
    })
}

/// Unwraps what [`wrap_local`] wrapped. Wrong key, wrong context and altered bytes all give `Authentication`.
pub fn unwrap_local(
    wrapped: &WrappedKey,
    key: &Secret<32>,
    bound: &EncryptionContext,
) -> Result<Secret<32>, CryptoError> {
    if wrapped.alg != WrapAlg::HkdfAesGcm {
        return Err(CryptoError::Authentication);
    }
    let (salt, nonce) = wrapped.salt_nonce.split_first_chunk::<16>().ok_or(CryptoError::Authentication)?;
    let nonce: &[u8; 12] = nonce.try_into().map_err(|_| CryptoError::Authentication)?;
    let aad = bound.canonical();
    let opened = crypto::open_wrap(&single_use_key(key, salt, &aad), nonce, &aad, &wrapped.wrapped)?;
    Secret::from_slice(&opened).ok_or(CryptoError::Authentication)
}

/// `HKDF-SHA-256(ikm = key, salt, info = "EOB1/kek" ‖ SHA-256(context))`, format section 10.4.
fn single_use_key(key: &Secret<32>, salt: &[u8; 16], context: &[u8]) -> Secret<32> {
    let prk = Secret::copy_from(&crypto::hmac_sha256(salt, &[key.expose()]));
    Secret::copy_from(&crypto::hkdf_expand(prk.expose(), &[b"EOB1/kek", &crypto::sha256(context)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Id, Purpose};

    #[test]
    fn a_wrap_opens_only_with_its_key_and_its_context() {
        let (key, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        let secret = Secret::random().unwrap();
        let user = EncryptionContext::default();
        let (bucket, object) = (Id::random().unwrap(), Id::random().unwrap());
        let bound = user.bound_to(&bucket, Purpose::DataKey, Some(&object));
        let wrapped = wrap_local(
            RecordType::DataKey1,
            (Provider::BucketKey, &[9; 16], 1),
            &key,
            &secret,
            &user,
            &bound,
        )
        .unwrap();
        assert_eq!(unwrap_local(&wrapped, &key, &bound).unwrap().expose(), secret.expose());
        assert!(unwrap_local(&wrapped, &other, &bound).is_err());
        let elsewhere = user.bound_to(&bucket, Purpose::DataKey, Some(&bucket));
        assert!(unwrap_local(&wrapped, &key, &elsewhere).is_err());
        for at in 0..wrapped.wrapped.len() {
            let mut bad = wrapped.clone();
            bad.wrapped[at] ^= 1;
            assert!(unwrap_local(&bad, &key, &bound).is_err());
        }
    }
}
