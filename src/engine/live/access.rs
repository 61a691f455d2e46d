//! Whether the key of an open object may still be used, by whom.
//!
//! Content that is open stays readable when its key is disabled, unless the key is revoked; every further open must prove
//! again that the key can be used.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{LiveObject, Result};
use crate::{
    engine::wraps::Asker,
    keys::{KeyError, KeyId},
    object::{Identity, KeySection, SseMode},
};

/// When the key was last proven usable, and whether it was revoked since.
pub(super) struct KeyAccess {
    /// The generation of the key service.
    proven: AtomicU64,
    is_revoked: AtomicBool,
    revoked: RwLock<Option<KeyError>>,
}

impl KeyAccess {
    /// Access to a key that was used in `generation`.
    pub(super) fn proven_in(generation: u64) -> Self {
        Self {
            proven: AtomicU64::new(generation),
            is_revoked: AtomicBool::new(false),
            revoked: RwLock::new(None),
        }
    }

    /// The key was used in `generation`.
    pub(super) fn prove_in(&self, generation: u64) {
        self.is_revoked.store(false, Ordering::Release);
        self.proven.store(generation, Ordering::Release);
    }

    fn is_proven_in(&self, generation: u64) -> bool {
        self.proven.load(Ordering::Acquire) == generation && !self.is_revoked.load(Ordering::Acquire)
    }
}

impl LiveObject {
    /// Proves that `asker` may open this object: asks the policy of its key, unwraps its keys again where any key has changed since it was last
    /// done, and for a customer key always.
    pub(crate) fn prove(&self, asker: &Asker<'_>) -> Result<()> {
        let generation = self.bucket.key_generation();
        let mode = self.mode();
        let proven = self.access.is_proven_in(generation) && mode != SseMode::Customer;
        if proven && !(mode.is_kms() && asker.is_judged(self.bucket.wraps().service())) {
            return Ok(());
        }
        let (identity, section) = self.identity_and_keys();
        if proven {
            return self.bucket.wraps().require_decrypt(&identity, &section, asker);
        }
        self.bucket.wraps().data_keys(&identity, &section, asker)?;
        self.access.prove_in(generation);
        Ok(())
    }

    /// How it is encrypted.
    pub(crate) fn mode(&self) -> SseMode {
        self.read_lock().identity.mode
    }

    /// The master key that it depends on; none for a customer key.
    pub(crate) fn master(&self) -> Result<Option<KeyId>> {
        Ok(self.bucket.wraps().master_of(&self.read_lock().key_section)?)
    }

    /// Who it is, and its wrapped keys.
    pub(crate) fn identity_and_keys(&self) -> (Identity, KeySection) {
        let inner = self.read_lock();
        (inner.identity.clone(), inner.key_section.clone())
    }

    /// Ends the use of its key: reads and writes fail with `why` until an open proves the key usable again.
    pub(crate) fn revoke(&self, why: KeyError) {
        *self.access.revoked.write().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.access.is_revoked.store(true, Ordering::Release);
    }

    /// Refuses the use of a revoked key.
    pub(super) fn require_key(&self) -> Result<()> {
        if !self.access.is_revoked.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.access.revoked.read().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(why) => Err(why.into()),
            None => Ok(()),
        }
    }
}
