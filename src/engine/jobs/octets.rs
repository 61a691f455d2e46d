//! Names and values that need not be text, on their way to another process: text where they are, else hex, so that
//! they grow to twice their length at most.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Some bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Octets {
    Text(String),
    Hex(String),
}

impl Octets {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains(char::is_control) => Self::Text(text.to_owned()),
            _ => Self::Hex(hex::encode(bytes)),
        }
    }

    fn bytes(self) -> Result<Vec<u8>, hex::FromHexError> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Hex(digits) => hex::decode(digits),
        }
    }
}

/// A path.
pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    Octets::of(path.as_os_str().as_bytes()).serialize(serializer)
}

/// The same back.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let bytes = Octets::deserialize(deserializer)?.bytes().map_err(D::Error::custom)?;
    Ok(OsString::from_vec(bytes).into())
}

/// Names with values.
pub(super) mod pairs {
    use super::{
        BTreeMap, Deserialize, Deserializer, Error, Octets, OsStrExt, OsString, OsStringExt, Serialize,
        Serializer,
    };

    pub(in super::super) fn serialize<S: Serializer>(
        pairs: &BTreeMap<OsString, Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let octets = pairs.iter().map(|(name, value)| (Octets::of(name.as_bytes()), Octets::of(value)));
        octets.collect::<Vec<_>>().serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<OsString, Vec<u8>>, D::Error> {
        let pairs = Vec::<(Octets, Octets)>::deserialize(deserializer)?.into_iter();
        pairs
            .map(|(name, value)| Ok((OsString::from_vec(name.bytes()?), value.bytes()?)))
            .collect::<Result<_, hex::FromHexError>>()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_as_text_and_anything_else_as_hex() {
        for (bytes, sent) in [
            (&b"a/\xc3\xa4"[..], "{\"text\":\"a/\u{e4}\"}"),
            (b"a\"", "{\"text\":\"a\\\"\"}"),
            (b"a\0", "{\"hex\":\"6100\"}"),
            (b"\xff/", "{\"hex\":\"ff2f\"}"),
        ] {
            let octets = Octets::of(bytes);
            assert_eq!(serde_json::to_string(&octets).unwrap(), sent);
            assert_eq!(serde_json::from_str::<Octets>(sent).unwrap().bytes().unwrap(), bytes);
        }
        assert!(serde_json::from_str::<Octets>("{\"hex\":\"f\"}").unwrap().bytes().is_err());
    }
}
