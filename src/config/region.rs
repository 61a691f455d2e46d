//! The region that ARNs and `kms:ViaService` name.

use serde::{Deserialize, Serialize};

use crate::keys::KeyScope;

/// A region: 1 to 32 of a-z, 0-9 and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

impl Default for Region {
    fn default() -> Self {
        Self(KeyScope::default().region().to_owned())
    }
}

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Region {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match KeyScope::new(&text, KeyScope::default().account()) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.0
    }
}
