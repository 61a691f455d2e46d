//! The envelope: what wraps what, and what the wrap is bound to.
//!
//! A *data key* encrypts one object, a *bucket key* wraps data keys, a *master key* wraps bucket keys (or data
//! keys directly). A [`WrappedKey`] is the record that stands in headers and key files; an
//! [`EncryptionContext`] is the associated data that a wrap is bound to.
//! Nothing here does I/O or knows where keys are kept.

mod context;
mod local;
mod record;

pub use context::{ContextError, EncryptionContext, Purpose};
pub use local::{unwrap_local, wrap_local};
pub use record::{Provider, RecordError, RecordType, WrapAlg, WrappedKey};

use crate::crypto::Secret;

/// The 32-byte key of one object.
pub type DataKey = Secret<32>;

/// The data keys of an object: one, or with two layers one for each.
#[derive(Debug)]
pub struct DataKeys {
    /// Of the only or inner layer.
    pub first: DataKey,
    /// Of the outer layer.
    pub second: Option<DataKey>,
}

impl From<DataKey> for DataKeys {
    fn from(first: DataKey) -> Self {
        Self { first, second: None }
    }
}

/// The 16-byte identity of a bucket, a bucket key or an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; 16]);

impl Id {
    /// A fresh random id; never all zero.
    pub fn random() -> Result<Self, crate::crypto::CryptoError> {
        loop {
            let bytes = crate::crypto::random()?;
            if bytes != [0; 16] {
                return Ok(Self(bytes));
            }
        }
    }

    /// An id from its bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// An id from 32 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether every byte is zero, which no real id is.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 16]
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("an id has 32 hex digits"))
    }
}
