//! Byte strings that are lower-case hex in JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Exactly `N` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HexArray<const N: usize>(pub(super) [u8; N]);

/// Any number of bytes; the file that holds them is bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HexVec(pub(super) Vec<u8>);

impl<const N: usize> Serialize for HexArray<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for HexArray<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let mut bytes = [0; N];
        hex::decode_to_slice(text.as_bytes(), &mut bytes)
            .map_err(|_| D::Error::custom(format_args!("expected {} hex digits", 2 * N)))?;
        Ok(Self(bytes))
    }
}

impl Serialize for HexVec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexVec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        hex::decode(text.as_bytes()).map(Self).map_err(|_| D::Error::custom("expected hex digits"))
    }
}
