//! Slots: each seals the root secret of the keyring under one way to unlock.

use serde::{Deserialize, Serialize};

use super::{
    KeyringError,
    error::SlotRefusal,
    tpm2_slot::{Tpm2Info, Tpm2Slot, Tpm2Unlock},
    unlock::{Credential, Unlock},
};
use crate::{
    crypto::{self, CryptoError, PasswordCost, Secret},
    envelope::Id,
    keys::{
        derive::hkdf,
        hexbytes::HexArray,
        tpm2::{PcrList, Tpm, Tpm2Error},
    },
};

/// A slot to be made.
#[derive(Debug)]
pub struct NewSlot {
    label: String,
    unlock: Unlock,
    cost: PasswordCost,
    pcrs: PcrList,
}

impl NewSlot {
    /// A slot for `unlock`; `label` is what the list of slots shows.
    pub fn new(label: impl Into<String>, unlock: Unlock) -> Self {
        Self { label: label.into(), unlock, cost: PasswordCost::DEFAULT, pcrs: PcrList::default() }
    }

    /// The same with another argon2id cost (for passphrases and PINs; not below [`PasswordCost::FLOOR`]).
    #[must_use]
    pub fn with_cost(mut self, cost: PasswordCost) -> Self {
        self.cost = cost;
        self
    }

    /// The same bound to other PCRs (for a TPM).
    #[must_use]
    pub fn with_pcrs(mut self, pcrs: PcrList) -> Self {
        self.pcrs = pcrs;
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
    /// `passphrase`, `key file` or `TPM2`.
    pub kind: &'static str,
    /// The argon2id cost of a slot with a passphrase or a PIN.
    pub cost: Option<PasswordCost>,
    /// What a TPM2 slot is bound to.
    pub tpm2: Option<Tpm2Info>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum SlotKind {
    /// argon2id of the passphrase.
    Passphrase { salt: HexArray<16>, cost: PasswordCost },
    /// `HKDF(content, salt, "EOB1/keyring-keyfile")`.
    KeyFile { salt: HexArray<16> },
    /// Of what a TPM unseals, see [`Tpm2Slot`].
    Tpm2(Tpm2Slot),
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
        let (unlock, key) = SlotKind::new(new)?;
        let nonce: [u8; 12] = crypto::random()?;
        let sealed = crypto::seal_wrap(&key, &nonce, &unlock.aad(store, id), root.expose());
        let sealed = sealed.try_into().expect("32 bytes seal to 48");
        let (nonce, sealed) = (HexArray(nonce), HexArray(sealed));
        Ok(Self { id, label: new.label.clone(), created, unlock, nonce, sealed })
    }

    /// The root secret, or `None` when this slot does not open with `credential`.
    fn open(&self, store: &Id, credential: &Credential<'_>) -> Result<Option<Secret<32>>, KeyringError> {
        let Some(key) = self.unlock.key(credential) else { return Ok(None) };
        Ok(self.root(store, &key?))
    }

    /// The root secret, or `None` when `key` is another slot's.
    fn root(&self, store: &Id, key: &Secret<32>) -> Option<Secret<32>> {
        let aad = self.unlock.aad(store, self.id);
        let opened = crypto::open_wrap(key, &self.nonce.0, &aad, &self.sealed.0);
        opened.ok().and_then(|root| Secret::from_slice(&root))
    }

    /// Whether its stretching cost may be paid at all; a hostile file could ask for any.
    pub(super) fn has_acceptable_cost(&self) -> bool {
        self.info().cost.is_none_or(PasswordCost::is_acceptable)
    }

    /// Whether what it has for a TPM may be given to one.
    pub(super) fn is_possible(&self) -> bool {
        self.tpm2().is_none_or(Tpm2Slot::is_possible)
    }

    fn tpm2(&self) -> Option<&Tpm2Slot> {
        match &self.unlock {
            SlotKind::Tpm2(slot) => Some(slot),
            SlotKind::Passphrase { .. } | SlotKind::KeyFile { .. } => None,
        }
    }

    pub(super) fn info(&self) -> SlotInfo {
        let (kind, cost, tpm2) = match &self.unlock {
            SlotKind::Passphrase { cost, .. } => (PASSPHRASE, Some(*cost), None),
            SlotKind::KeyFile { .. } => (KEY_FILE, None, None),
            SlotKind::Tpm2(slot) => (TPM2, slot.cost(), Some(slot.info())),
        };
        SlotInfo { id: self.id, label: self.label.clone(), created: self.created, kind, cost, tpm2 }
    }
}

impl SlotKind {
    /// A new slot's way to its key, and that key.
    fn new(new: &NewSlot) -> Result<(Self, Secret<32>), KeyringError> {
        let credential = new.unlock.read()?;
        let salt = HexArray(crypto::random()?);
        let kind = match &credential {
            Credential::Passphrase(_) => Self::Passphrase { salt, cost: new.cost },
            Credential::Key { .. } => Self::KeyFile { salt },
            Credential::Tpm2(unlock) => {
                let (slot, key) = Tpm2Slot::seal(unlock, &new.pcrs, new.cost)?;
                return Ok((Self::Tpm2(slot), key));
            }
        };
        let key = kind.key(&credential).ok_or(CryptoError::PasswordCost)??;
        Ok((kind, key))
    }

    /// The slot's key, or `None` when the credential is of another kind; a TPM is asked by [`open_by_tpm`].
    fn key(&self, credential: &Credential<'_>) -> Option<Result<Secret<32>, CryptoError>> {
        match (self, credential) {
            (Self::Passphrase { salt, cost }, Credential::Passphrase(passphrase)) => {
                Some(crypto::stretch(passphrase.expose(), &salt.0, *cost))
            }
            (Self::KeyFile { salt }, Credential::Key { content, .. }) => {
                Some(Ok(hkdf(content, &salt.0, b"EOB1/keyring-keyfile")))
            }
            (Self::Passphrase { .. }, Credential::Key { .. } | Credential::Tpm2(_))
            | (Self::KeyFile { .. }, Credential::Passphrase(_) | Credential::Tpm2(_))
            | (Self::Tpm2(_), _) => None,
        }
    }

    /// `"EOB1/keyring-slot" ‖ store id 16 ‖ slot id u32 ‖ kind u8`, for passphrases `‖ memory u32 ‖ passes u32 ‖ lanes u32`,
    /// for a TPM what [`Tpm2Slot::aad`] says.
    fn aad(&self, store: &Id, id: u32) -> Vec<u8> {
        let mut aad = b"EOB1/keyring-slot".to_vec();
        aad.extend(store.as_bytes());
        aad.extend(id.to_be_bytes());
        match self {
            Self::Passphrase { cost, .. } => {
                aad.push(1);
                aad.extend(cost_bytes(cost));
            }
            Self::KeyFile { .. } => aad.push(2),
            Self::Tpm2(slot) => {
                aad.push(3);
                aad.extend(slot.aad());
            }
        }
        aad
    }
}

/// `memory u32 ‖ passes u32 ‖ lanes u32`, big-endian.
pub(super) fn cost_bytes(cost: &PasswordCost) -> Vec<u8> {
    [cost.memory_kib, cost.passes, cost.lanes].into_iter().flat_map(u32::to_be_bytes).collect()
}

/// Tries `unlock` against every slot of its kind; the root secret.
pub(super) fn open_any(slots: &[Slot], store: &Id, unlock: &Unlock) -> Result<Secret<32>, KeyringError> {
    let credential = unlock.read()?;
    let (kind, wrong) = match &credential {
        Credential::Passphrase(_) => (PASSPHRASE, KeyringError::WrongPassphrase),
        Credential::Key { from, .. } => (KEY_FILE, KeyringError::WrongKey(from.clone())),
        Credential::Tpm2(unlock) => return open_by_tpm(slots, store, unlock),
    };
    for slot in slots {
        if let Some(root) = slot.open(store, &credential)? {
            return Ok(root);
        }
    }
    let any = slots.iter().any(|slot| slot.info().kind == kind);
    Err(if any { wrong } else { KeyringError::NoSuchKind(kind) })
}

/// Tries every TPM2 slot, those without a PIN first: a wrong PIN brings the TPM nearer to its lockout.
fn open_by_tpm(slots: &[Slot], store: &Id, unlock: &Tpm2Unlock) -> Result<Secret<32>, KeyringError> {
    let mut candidates: Vec<_> = slots.iter().filter_map(|slot| Some((slot, slot.tpm2()?))).collect();
    candidates.sort_by_key(|(_, sealed)| sealed.info().pin);
    if candidates.is_empty() {
        return Err(KeyringError::NoSuchKind(TPM2));
    }
    let (mut tpm, mut refusals) = (Tpm::at(&unlock.device), Vec::new());
    for (slot, sealed) in candidates {
        let error = match sealed.key(&mut tpm, unlock.pin.as_ref()) {
            Ok(key) => match slot.root(store, &key) {
                Some(root) => return Ok(root),
                None => Tpm2Error::Altered("its key does not open the keyring".to_owned()),
            },
            Err(KeyringError::Tpm2(error)) if error.is_about_the_slot() => error,
            Err(error) => return Err(error),
        };
        refusals.push(SlotRefusal { slot: slot.id, error });
    }
    Err(KeyringError::Tpm2Slots(refusals))
}

/// How [`SlotInfo::kind`] calls a passphrase slot.
const PASSPHRASE: &str = "passphrase";
/// How it calls a slot for a key, wherever that is kept.
const KEY_FILE: &str = "key file";
/// How it calls a slot for a TPM.
const TPM2: &str = "TPM2";
