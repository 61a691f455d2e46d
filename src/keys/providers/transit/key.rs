//! What the server tells about a key.

use serde::Deserialize;

use crate::keys::KeyError;

/// A transit key, as `GET keys/NAME` describes it.
#[derive(Debug, Deserialize)]
pub(super) struct TransitKey {
    #[serde(rename = "type")]
    kind: String,
    pub(super) derived: bool,
    #[serde(default)]
    convergent_encryption: bool,
    pub(super) latest_version: u32,
    #[serde(default)]
    soft_deleted: bool,
}

impl TransitKey {
    /// Refuses a key whose wraps would not be bound to their context, or would show that two secrets are equal.
    pub(super) fn check(&self, name: &str) -> Result<(), KeyError> {
        let denied = |why: String| Err(KeyError::Denied { key: name.to_owned(), why });
        if self.soft_deleted {
            return Err(KeyError::PendingDeletion { key: name.to_owned() });
        }
        if !KINDS.contains(&self.kind.as_str()) {
            let kinds = KINDS.join(", ");
            return denied(format!(
                "keys of type `{}` take no associated data: use {kinds}",
                self.kind.escape_debug()
            ));
        }
        if self.convergent_encryption {
            return denied(
                "convergent encryption shows which secrets are equal: use a key without it".to_owned(),
            );
        }
        Ok(())
    }
}

/// The types with associated data.
const KINDS: [&str; 4] = ["aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305", "aes128-gcm96"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_bind_are_refused() {
        let key = |more: &str| -> TransitKey {
            serde_json::from_str(&format!(r#"{{"derived":false,"latest_version":1,{more}}}"#)).unwrap()
        };
        assert_eq!(key(r#""type":"aes256-gcm96""#).check("k"), Ok(()));
        for (bad, said) in [
            (r#""type":"rsa-4096""#, "no associated data"),
            (r#""type":"aes256-gcm96","convergent_encryption":true"#, "convergent"),
            (r#""type":"aes256-gcm96","soft_deleted":true"#, "scheduled for deletion"),
        ] {
            let message = key(bad).check("k").unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
    }
}
