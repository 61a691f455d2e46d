//! Who is told of every use of a master key.

use super::KeyError;
use crate::envelope::EncryptionContext;

/// Sees each use of a master key when it is over.
pub trait Witness: Send + Sync {
    /// Takes note of one use. An error, one line, makes the use fail: whoever must not act unseen does not get the key.
    fn used(&self, used: &KeyUse<'_>) -> Result<(), String>;
}

/// One use of a master key.
#[derive(Debug)]
pub struct KeyUse<'a> {
    /// Whether a key was wrapped (`GenerateDataKey` in KMS) or unwrapped (`Decrypt`).
    pub wraps: bool,
    /// The key's ARN; `None` where the record names none that is known.
    pub key: Option<String>,
    /// Its version, where that is known.
    pub version: Option<u32>,
    /// The whole context that the wrap is bound to.
    pub context: &'a EncryptionContext,
    /// Why it failed.
    pub failure: Option<&'a KeyError>,
}
