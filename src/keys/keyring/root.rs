//! The root secret: what the slots seal. Everything else of the keyring follows from it.
//!
//! The key-ring key is needed for as long as the keyring is open, the root only while slots are made. Whoever serves
//! requests forgets it, and with it the only way to the secret of the audit log: nobody who takes over that process can
//! rewrite what was logged before. In a keyring from before there was a root, the key-ring key takes its place until the
//! keyring is renewed, and serving forgets nothing.

use super::KeyringError;
use crate::{crypto::Secret, keys::derive::hkdf};

/// The root secret, unless it was forgotten.
pub(super) struct Root(Option<Secret<32>>);

impl Root {
    pub(super) fn new(secret: Secret<32>) -> Self {
        Self(Some(secret))
    }

    pub(super) fn secret(&self) -> Result<&Secret<32>, KeyringError> {
        self.0.as_ref().ok_or(KeyringError::RootForgotten)
    }

    /// The secret that audit logs begin with: `HKDF(root, "EOB1/audit-root")`.
    pub(super) fn audit(&self) -> Result<Secret<32>, KeyringError> {
        Ok(hkdf(self.secret()?.expose(), &[], b"EOB1/audit-root"))
    }

    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

/// The key-ring key: `HKDF(root, "EOB1/keyring-key")`.
pub(super) fn krk_of(root: &Secret<32>) -> Secret<32> {
    hkdf(root.expose(), &[], b"EOB1/keyring-key")
}

#[cfg(test)]
mod tests {
    use crate::{
        envelope::Id,
        keys::{Keyring, KeyringError, NewSlot, Unlock, create_key_file},
    };

    #[test]
    fn every_slot_leads_to_the_same_audit_root_and_serving_forgets_it() {
        let dir = tempfile::tempdir().unwrap();
        let unlocks = ["a", "b"].map(|name| {
            let file = dir.path().join(name);
            create_key_file(&file).unwrap();
            Unlock::KeyFile(file)
        });
        let slot = |name: &str| NewSlot::new(name, Unlock::KeyFile(dir.path().join(name)));
        let keyring = Keyring::create(dir.path(), Id::from_bytes([1; 16]), &[slot("a")]).unwrap();
        keyring.add_slot(&slot("b")).unwrap();
        let root = keyring.audit_root().unwrap();
        for unlock in &unlocks {
            let mut opened = Keyring::open(dir.path(), unlock).unwrap();
            assert_eq!(opened.audit_root().unwrap().expose(), root.expose());
            opened.forget_root();
            assert!(matches!(opened.audit_root(), Err(KeyringError::RootForgotten)));
            assert!(matches!(opened.add_slot(&slot("a")), Err(KeyringError::RootForgotten)));
            opened.rotate_service_key().unwrap();
        }
        let renewed = keyring.renew(&[slot("a")]).unwrap();
        assert_ne!(renewed.audit_root().unwrap().expose(), root.expose());
    }
}
