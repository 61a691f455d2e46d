//! Encryption context: the associated data of every wrap, in one canonical binary form.
//!
//! Canonical form (the AWS Encryption SDK's): `u16 count ‖ (u16 klen ‖ key ‖ u16 vlen ‖ value)*`, big-endian, keys
//! unique and sorted by their UTF-8 bytes, no Unicode normalisation, at most 8 KiB.

use std::collections::BTreeMap;

use super::Id;

/// What a wrapped key is for; part of its context, so that one kind never opens as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The data key of an object (first layer).
    DataKey,
    /// The data key of the outer of two layers.
    OuterDataKey,
    /// A bucket key.
    BucketKey,
    /// The root secret of a bucket (settings MAC).
    BucketRoot,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::DataKey => "dek1",
            Self::OuterDataKey => "dek2",
            Self::BucketKey => "kek",
            Self::BucketRoot => "brs",
        }
    }
}

/// A flat string-to-string map that a wrap is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncryptionContext(BTreeMap<String, String>);

/// Why a context was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// A user pair in the reserved name space.
    #[error("context key `{0}` is reserved: names beginning with `eob:` or `aws:` cannot be set")]
    Reserved(String),
    /// The canonical form would not fit.
    #[error("the encryption context is longer than 8 KiB")]
    TooLong,
    /// Stored bytes that are not a canonical context.
    #[error("the stored encryption context is not in canonical form")]
    NotCanonical,
}

impl EncryptionContext {
    /// A context of user pairs only, checked against the reserved names and the size limit.
    pub fn from_user_pairs(pairs: BTreeMap<String, String>) -> Result<Self, ContextError> {
        if let Some(key) = pairs.keys().find(|k| k.starts_with("eob:") || k.starts_with("aws:")) {
            return Err(ContextError::Reserved(key.clone()));
        }
        let context = Self(pairs);
        if context.encoded_len() > MAX_ENCODED { Err(ContextError::TooLong) } else { Ok(context) }
    }

    /// This context with the reserved pairs added: format, bucket, purpose and, for per-object wraps, the object.
    #[must_use]
    pub fn bound_to(&self, bucket: &Id, purpose: Purpose, object: Option<&Id>) -> Self {
        let mut pairs = self.0.clone();
        pairs.insert("eob:v".into(), "1".into());
        pairs.insert("eob:b".into(), bucket.to_string());
        pairs.insert("eob:p".into(), purpose.label().into());
        if let Some(object) = object {
            pairs.insert("eob:o".into(), object.to_string());
        }
        Self(pairs)
    }

    /// The pairs, sorted by key.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// The canonical bytes, as used for associated data.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.extend(length(self.0.len()));
        for (key, value) in &self.0 {
            for text in [key, value] {
                out.extend(length(text.len()));
                out.extend(text.as_bytes());
            }
        }
        out
    }

    /// The bytes stored in a record: empty for the empty context, else the canonical form.
    pub fn stored(&self) -> Vec<u8> {
        if self.0.is_empty() { Vec::new() } else { self.canonical() }
    }

    /// Reads what [`EncryptionContext::stored`] wrote; anything not canonical is refused.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, ContextError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() > MAX_ENCODED {
            return Err(ContextError::TooLong);
        }
        let mut rest = bytes;
        let count = take_u16(&mut rest)?;
        let mut pairs = BTreeMap::new();
        for _ in 0..count {
            let key = take_text(&mut rest)?;
            let value = take_text(&mut rest)?;
            if pairs.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(ContextError::NotCanonical);
            }
            pairs.insert(key, value);
        }
        if rest.is_empty() && count > 0 { Ok(Self(pairs)) } else { Err(ContextError::NotCanonical) }
    }

    fn encoded_len(&self) -> usize {
        2 + self.0.iter().map(|(k, v)| 4 + k.len() + v.len()).sum::<usize>()
    }
}

/// Longest canonical form, in bytes.
const MAX_ENCODED: usize = 8 * 1024;

fn length(n: usize) -> [u8; 2] {
    u16::try_from(n).expect("a context is at most 8 KiB").to_be_bytes()
}

fn take_u16(rest: &mut &[u8]) -> Result<u16, ContextError> {
    let (head, tail) = rest.split_first_chunk::<2>().ok_or(ContextError::NotCanonical)?;
    *rest = tail;
    Ok(u16::from_be_bytes(*head))
}

fn take_text(rest: &mut &[u8]) -> Result<String, ContextError> {
    let len = take_u16(rest)?.into();
    let (head, tail) = rest.split_at_checked(len).ok_or(ContextError::NotCanonical)?;
    *rest = tail;
    String::from_utf8(head.to_vec()).map_err(|_| ContextError::NotCanonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(pairs: &[(&str, &str)]) -> Result<EncryptionContext, ContextError> {
        EncryptionContext::from_user_pairs(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    #[test]
    fn canonical_bytes_are_sorted_and_length_prefixed() {
        let context = user(&[("b", "2"), ("a", "1")]).unwrap();
        assert_eq!(context.canonical(), b"\0\x02\0\x01a\0\x011\0\x01b\0\x012");
    }

    #[test]
    fn stored_contexts_round_trip_and_only_canonical_ones_are_read() {
        let context = user(&[("dept", "finance"), ("zone", "")]).unwrap();
        let stored = context.stored();
        assert_eq!(EncryptionContext::from_stored(&stored).unwrap(), context);
        assert_eq!(EncryptionContext::from_stored(&[]).unwrap(), EncryptionContext::default());
        let swapped = b"\0\x02\0\x01b\0\x012\0\x01a\0\x011";
        for bad in [&stored[..stored.len() - 1], &[stored.as_slice(), b"x"].concat(), b"\0\0", swapped, b"\0"]
        {
            assert!(EncryptionContext::from_stored(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn reserved_names_and_oversize_are_refused() {
        assert!(matches!(user(&[("eob:o", "x")]), Err(ContextError::Reserved(_))));
        assert!(matches!(user(&[("aws:s3:arn", "x")]), Err(ContextError::Reserved(_))));
        assert_eq!(user(&[("k", &"v".repeat(9000))]), Err(ContextError::TooLong));
    }
}
