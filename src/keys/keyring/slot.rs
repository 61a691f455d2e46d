//! Slots: each seals the root secret of the keyring under one way to unlock.

use serde::{Deserialize, Serialize};

use super::{
    KeyringError,
    unlock::{Credential, Unlock},
};
use crate::{
    crypto::{self, CryptoError, PasswordCost, Secret},
    envelope::Id,
    keys::{derive::hkdf, hexbytes::HexArray},
};

/// A slot to be made.
#[derive(Debug)]
pub struct NewSlot {
    label: String,
    unlock: Unlock,
    cost: PasswordCost,
}

impl NewSlot {
    /// A slot for `unlock`; `label` is what the list of slots shows.
    pub fn new(label: impl Into<String>, unlock: Unlock) -> Self {
        Self { label: label.into(), unlock, cost: PasswordCost::DEFAULT }
    }

    /// The same with another argon2id cost (for passphrases; not below [`PasswordCost::FLOOR`]).
    #[must_use]
    pub fn with_cost(mut self, cost: PasswordCost) -> Self {
        self.cost = cost;
        self
    }
}

/// A slot as the list of slots shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its number.
    pub id: u32,
    /// Its label.
    pub label: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// `passphrase` or `key file`.
    pub kind: &'static str,
    /// The argon2id cost of a passphrase slot.
    pub cost: Option<PasswordCost>,
}

/// A slot as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slot {
    pub(super) id: u32,
    pub(super) label: String,
    pub(super) created: u64,
    unlock: SlotKind,
    nonce: HexArray<12>,
    /// The root secret, AES-256-GCM under the slot's key.
    sealed: HexArray<48>,
}

/// How the slot's key comes about. A key from a credential or the kernel's keyring is one like that of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum SlotKind {
    /// argon2id of the passphrase.
    Passphrase { salt: HexArray<16>, cost: PasswordCost },
    /// `HKDF(content, salt, "EOB1/keyring-keyfile")`.
    KeyFile { salt: HexArray<16> },
}

impl Slot {
    /// Seals `root` in a new slot.
    pub(super) fn seal(
        store: &Id,
        (id, created): (u32, u64),
        new: &NewSlot,
        root: &Secret<32>,
    ) -> Result<Self, KeyringError> {
        super::check_name(&new.label)?;
        let credential = new.unlock.read()?;
        let salt = HexArray(crypto::random()?);
        let unlock = match &credential {
            Credential::Passphrase(_) => SlotKind::Passphrase { salt, cost: new.cost },
            Credential::Key { .. } => SlotKind::KeyFile { salt },
        };
        let key = unlock.key(&credential).ok_or(CryptoError::PasswordCost)??;
        let nonce: [u8; 12] = crypto::random()?;
        let sealed = crypto::seal_wrap(&key, &nonce, &unlock.aad(store, id), root.expose());
        let sealed = sealed.try_into().expect("32 bytes seal to 48");
        let (nonce, sealed) = (HexArray(nonce), HexArray(sealed));
        Ok(Self { id, label: new.label.clone(), created, unlock, nonce, sealed })
    }

    /// The root secret, or `None` when this slot does not open with `credential`.
    fn open(&self, store: &Id, credential: &Credential<'_>) -> Result<Option<Secret<32>>, KeyringError> {
        let Some(key) = self.unlock.key(credential) else { return Ok(None) };
        let aad = self.unlock.aad(store, self.id);
        let opened = crypto::open_wrap(&key?, &self.nonce.0, &aad, &self.sealed.0);
        Ok(opened.ok().and_then(|root| Secret::from_slice(&root)))
    }

    /// Whether its stretching cost may be paid at all; a hostile file could ask for any.
    pub(super) fn has_acceptable_cost(&self) -> bool {
        self.info().cost.is_none_or(PasswordCost::is_acceptable)
    }

    pub(super) fn info(&self) -> SlotInfo {
        let (kind, cost) = match self.unlock {
            SlotKind::Passphrase { cost, .. } => ("passphrase", Some(cost)),
            SlotKind::KeyFile { .. } => ("key file", None),
        };
        SlotInfo { id: self.id, label: self.label.clone(), created: self.created, kind, cost }
    }
}

impl SlotKind {
    /// The slot's key, or `None` when the credential is of another kind.
    fn key(&self, credential: &Credential<'_>) -> Option<Result<Secret<32>, CryptoError>> {
        match (self, credential) {
            (Self::Passphrase { salt, cost }, Credential::Passphrase(passphrase)) => {
                Some(crypto::stretch(passphrase.expose(), &salt.0, *cost))
            }
            (Self::KeyFile { salt }, Credential::Key { content, .. }) => {
                Some(Ok(hkdf(content, &salt.0, b"EOB1/keyring-keyfile")))
            }
            (Self::Passphrase { .. }, Credential::Key { .. })
            | (Self::KeyFile { .. }, Credential::Passphrase(_)) => None,
        }
    }

    /// `"EOB1/keyring-slot" ‖ store id 16 ‖ slot id u32 ‖ kind u8`, for passphrases `‖ memory u32 ‖ passes u32 ‖ lanes u32`.
    fn aad(&self, store: &Id, id: u32) -> Vec<u8> {
        let mut aad = b"EOB1/keyring-slot".to_vec();
        aad.extend(store.as_bytes());
        aad.extend(id.to_be_bytes());
        match self {
            Self::Passphrase { cost, .. } => {
                aad.push(1);
                for part in [cost.memory_kib, cost.passes, cost.lanes] {
                    aad.extend(part.to_be_bytes());
                }
            }
            Self::KeyFile { .. } => aad.push(2),
        }
        aad
    }
}

/// Tries `unlock` against every slot of its kind; the root secret.
pub(super) fn open_any(slots: &[Slot], store: &Id, unlock: &Unlock) -> Result<Secret<32>, KeyringError> {
    let credential = unlock.read()?;
    for slot in slots {
        if let Some(root) = slot.open(store, &credential)? {
            return Ok(root);
        }
    }
    let (kind, wrong) = match &credential {
        Credential::Passphrase(_) => ("passphrase", KeyringError::WrongPassphrase),
        Credential::Key { from, .. } => ("key file", KeyringError::WrongKey(from.clone())),
    };
    let any = slots.iter().any(|slot| slot.info().kind == kind);
    Err(if any { wrong } else { KeyringError::NoSuchKind(kind) })
}
