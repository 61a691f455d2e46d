//! The wrapped-key record of the object format, section 10.4.

use super::{ContextError, EncryptionContext};

/// What the wrapped bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordType {
    /// Data key of the first layer.
    DataKey1 = 1,
    /// Data key of the second layer (DSSE).
    DataKey2 = 2,
    /// A recovery copy of the first data key.
    Recovery = 3,
    /// Verifier of a customer key (SSE-C).
    CustomerVerifier = 4,
    /// The wrapped bucket key, embedded so that object and master key are enough to read.
    EmbeddedBucketKey = 5,
}

/// Who can unwrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Provider {
    /// The local keyring.
    Keyring = 1,
    /// AWS KMS.
    AwsKms = 2,
    /// Vault or `OpenBao` transit.
    Transit = 3,
    /// A PKCS#11 token.
    Pkcs11 = 4,
    /// A TPM 2.0.
    Tpm2 = 5,
    /// A bucket key.
    BucketKey = 6,
    /// A customer-provided key (SSE-C).
    Customer = 7,
}

/// How the bytes were wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum WrapAlg {
    /// AES-256-GCM.
    AesGcm = 1,
    /// HKDF-SHA-256 to a single-use key, then AES-256-GCM.
    HkdfAesGcm = 2,
    /// AES-256 key wrap with padding.
    AesKwp = 3,
    /// A blob only its provider understands.
    ProviderBlob = 4,
    /// RSA-OAEP with SHA-256.
    RsaOaep = 5,
}

/// One wrapped key: who wrapped it, under which key and version, bound to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// What is wrapped.
    pub kind: RecordType,
    /// Who unwraps it.
    pub provider: Provider,
    /// How it is wrapped.
    pub alg: WrapAlg,
    /// Version of the wrapping key.
    pub key_version: u32,
    /// Name of the wrapping key: ARN, transit key name, PKCS#11 URI, or the 16 bytes of a bucket-key id.
    pub key_id: Vec<u8>,
    /// The user's context pairs; reserved pairs are not stored.
    pub context: EncryptionContext,
    /// Salt, then nonce (16 ‖ 12 bytes for [`WrapAlg::HkdfAesGcm`]).
    pub salt_nonce: Vec<u8>,
    /// The wrapped bytes.
    pub wrapped: Vec<u8>,
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end inside the record, or its lengths disagree.
    #[error("the key record is cut short or its lengths disagree")]
    Length,
    /// A type, provider or algorithm this version does not know.
    #[error("the key record has an unknown {what} ({value}): written by a newer version?")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: u8,
    },
    /// The stored context is not canonical.
    #[error(transparent)]
    Context(#[from] ContextError),
}

impl WrappedKey {
    /// Appends the record to `out`. Every field is short enough for its 16-bit length by construction.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend([0, 0, self.kind as u8, self.provider as u8, self.alg as u8, 0]);
        out.extend(self.key_version.to_be_bytes());
        for field in [&self.key_id, &self.context.stored(), &self.salt_nonce, &self.wrapped] {
            out.extend(u16::try_from(field.len()).expect("record fields are short").to_be_bytes());
            out.extend(field);
        }
        let len = u16::try_from(out.len() - start).expect("a record fits the key section").to_be_bytes();
        if let Some(slot) = out.get_mut(start..start + 2) {
            slot.copy_from_slice(&len);
        }
    }

    /// Reads one record from the front of `rest`, which is advanced past it.
    pub fn decode(rest: &mut &[u8]) -> Result<Self, RecordError> {
        let (len, _) = rest.split_first_chunk::<2>().ok_or(RecordError::Length)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (record, tail) = rest.split_at_checked(len).ok_or(RecordError::Length)?;
        let (head, mut fields) = record.split_first_chunk::<10>().ok_or(RecordError::Length)?;
        let [_, _, kind, provider, alg, flags, version @ ..] = *head;
        if flags != 0 {
            return Err(RecordError::Unknown { what: "flag", value: flags });
        }
        let decoded = Self {
            kind: RecordType::from_byte(kind)?,
            provider: Provider::from_byte(provider)?,
            alg: WrapAlg::from_byte(alg)?,
            key_version: u32::from_be_bytes(version),
            key_id: field(&mut fields)?.to_vec(),
            context: EncryptionContext::from_stored(field(&mut fields)?)?,
            salt_nonce: field(&mut fields)?.to_vec(),
            wrapped: field(&mut fields)?.to_vec(),
        };
        if !fields.is_empty() {
            return Err(RecordError::Length);
        }
        *rest = tail;
        Ok(decoded)
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], RecordError> {
    let (len, tail) = rest.split_first_chunk::<2>().ok_or(RecordError::Length)?;
    let (value, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into()).ok_or(RecordError::Length)?;
    *rest = tail;
    Ok(value)
}

macro_rules! from_byte {
    ($type:ident, $what:literal, $($variant:ident),+) => {
        impl $type {
            fn from_byte(value: u8) -> Result<Self, RecordError> {
                [$(Self::$variant),+]
                    .into_iter()
                    .find(|known| *known as u8 == value)
                    .ok_or(RecordError::Unknown { what: $what, value })
            }
        }
    };
}
from_byte!(RecordType, "type", DataKey1, DataKey2, Recovery, CustomerVerifier, EmbeddedBucketKey);
from_byte!(Provider, "provider", Keyring, AwsKms, Transit, Pkcs11, Tpm2, BucketKey, Customer);
from_byte!(WrapAlg, "algorithm", AesGcm, HkdfAesGcm, AesKwp, ProviderBlob, RsaOaep);

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> WrappedKey {
        WrappedKey {
            kind: RecordType::DataKey1,
            provider: Provider::BucketKey,
            alg: WrapAlg::HkdfAesGcm,
            key_version: 7,
            key_id: vec![1; 16],
            context: EncryptionContext::default(),
            salt_nonce: vec![2; 28],
            wrapped: vec![3; 48],
        }
    }

    #[test]
    fn a_bucket_key_record_has_the_110_bytes_the_format_names() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        assert_eq!(bytes.len(), 110);
        let mut rest = bytes.as_slice();
        assert_eq!(WrappedKey::decode(&mut rest).unwrap(), sample());
        assert!(rest.is_empty());
    }

    #[test]
    fn cut_or_altered_records_are_refused_without_a_panic() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        for cut in 0..bytes.len() {
            assert!(WrappedKey::decode(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
        for (at, value) in [(2, 0), (2, 6), (3, 99), (4, 0), (5, 1), (1, 109), (1, 111)] {
            let mut altered = bytes.clone();
            altered[at] = value;
            assert!(WrappedKey::decode(&mut altered.as_slice()).is_err(), "byte {at} = {value}");
        }
    }
}
