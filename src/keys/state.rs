//! The life of a key version.

use super::KeyError;

/// State of one key version, as in AWS KMS plus `retired` (an older version after a rotation).
/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum KeyState {
    /// Wraps and unwraps.
    Enabled = 1,
    /// Unwraps only.
    Retired = 2,
    /// Does neither, until enabled again.
    Disabled = 3,
    /// Does neither; will be destroyed unless the deletion is cancelled.
    PendingDeletion = 4,
    /// The material is gone; the entry stays so that errors can say why.
    Destroyed = 5,
    /// The imported material has expired; importing the same again makes the key usable.
    ///
    /// The state of a key at a moment, never that of a stored version.
    #[serde(skip_deserializing)]
    Unavailable = 6,
}

impl KeyState {
    /// Whether new wraps are allowed; `key` names it in the error.
    pub fn check_wrap(self, key: &str) -> Result<(), KeyError> {
        let key = key.to_owned();
        match self {
            Self::Enabled => Ok(()),
            Self::Retired => Err(KeyError::Retired { key }),
            Self::Disabled => Err(KeyError::Disabled { key }),
            Self::PendingDeletion => Err(KeyError::PendingDeletion { key }),
            Self::Destroyed => Err(KeyError::Destroyed { key }),
            Self::Unavailable => Err(KeyError::Expired { key }),
        }
    }

    /// Whether unwrapping is allowed; `key` names it in the error.
    pub fn check_unwrap(self, key: &str) -> Result<(), KeyError> {
        match self {
            Self::Retired => Ok(()),
            other => other.check_wrap(key),
        }
    }

    /// The state as it is written in files and messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Retired => "retired",
            Self::Disabled => "disabled",
            Self::PendingDeletion => "pending_deletion",
            Self::Destroyed => "destroyed",
            Self::Unavailable => "unavailable",
        }
    }
}
