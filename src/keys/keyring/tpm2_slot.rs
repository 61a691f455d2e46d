//! The slot of a TPM: its key follows from a random secret that the TPM keeps, and from a PIN where it has one.
//!
//! The PIN is stretched like a passphrase. One derivation of that is what the TPM asks for; the other goes into the key
//! of the slot, so that the TPM's secret alone (taken out of a broken TPM, or found in memory) opens nothing.

use serde::{Deserialize, Serialize};

use super::{KeyringError, unlock::Passphrase};
use crate::{
    crypto::{self, CryptoError, PasswordCost, Secret},
    keys::{
        derive::hkdf,
        hexbytes::HexArray,
        tpm2::{PcrList, Sealed, Tpm, Tpm2Error},
    },
};

/// What opens a keyring by its TPM2 slots.
#[derive(Debug)]
pub struct Tpm2Unlock {
    /// The TPM.
    pub device: crate::keys::Tpm2Device,
    /// The PIN, tried on every slot that wants one.
    pub pin: Option<Passphrase>,
}

/// What the list of slots tells about a TPM2 slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpm2Info {
    /// The PCRs that must be as they were.
    pub pcrs: PcrList,
    /// Whether it wants a PIN.
    pub pin: bool,
}

/// The slot as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tpm2Slot {
    salt: HexArray<16>,
    /// How the PIN is stretched; `null` without one.
    pin: Option<Stretch>,
    sealed: Sealed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stretch {
    salt: HexArray<16>,
    cost: PasswordCost,
}

impl Tpm2Slot {
    /// Lets the TPM keep a new secret; the slot and its key.
    pub(super) fn seal(
        unlock: &Tpm2Unlock,
        pcrs: &PcrList,
        cost: PasswordCost,
    ) -> Result<(Self, Secret<32>), KeyringError> {
        let pin = unlock.pin.as_ref().map(|_| crypto::random().map(HexArray)).transpose()?;
        let pin = pin.map(|salt| Stretch { salt, cost });
        let stretched = stretched(pin.as_ref(), unlock.pin.as_ref())?;
        let (secret, salt) = (Secret::random()?, HexArray(crypto::random()?));
        let auth = stretched.as_ref().map(auth);
        let sealed = Tpm::at(&unlock.device).seal(&secret, pcrs, auth.as_ref())?;
        let key = key(&secret, stretched.as_ref(), &salt);
        Ok((Self { salt, pin, sealed }, key))
    }

    /// The key, from the TPM. Without a PIN, a slot that wants one is not tried.
    pub(super) fn key(&self, tpm: &mut Tpm, pin: Option<&Passphrase>) -> Result<Secret<32>, KeyringError> {
        if self.pin.is_some() && pin.is_none() {
            return Err(Tpm2Error::PinWanted.into());
        }
        let stretched = stretched(self.pin.as_ref(), pin)?;
        let secret = tpm.unseal(&self.sealed, stretched.as_ref().map(auth).as_ref())?;
        Ok(key(&secret, stretched.as_ref(), &self.salt))
    }

    pub(super) fn is_possible(&self) -> bool {
        self.sealed.is_possible()
    }

    pub(super) fn cost(&self) -> Option<PasswordCost> {
        self.pin.as_ref().map(|pin| pin.cost)
    }

    pub(super) fn info(&self) -> Tpm2Info {
        Tpm2Info { pcrs: self.sealed.pcrs(), pin: self.pin.is_some() }
    }

    /// The sealed object (its canonical form) ‖ PIN u8 (0 or 1) ‖ its cost as that of a passphrase.
    pub(super) fn aad(&self) -> Vec<u8> {
        let mut aad = self.sealed.canonical();
        aad.push(u8::from(self.pin.is_some()));
        aad.extend(self.cost().iter().flat_map(super::slot::cost_bytes));
        aad
    }
}

/// The PIN where the slot wants one.
fn stretched(pin: Option<&Stretch>, given: Option<&Passphrase>) -> Result<Option<Secret<32>>, CryptoError> {
    let both = pin.zip(given);
    both.map(|(pin, given)| crypto::stretch(given.expose(), &pin.salt.0, pin.cost)).transpose()
}

/// What the TPM asks for: `HKDF(stretched PIN, "EOB1/keyring-tpm2-pin")`.
fn auth(stretched: &Secret<32>) -> Secret<32> {
    hkdf(stretched.expose(), &[], b"EOB1/keyring-tpm2-pin")
}

/// `HKDF(secret ‖ stretched PIN, salt, "EOB1/keyring-tpm2")`; without a PIN of the secret alone.
fn key(secret: &Secret<32>, stretched: Option<&Secret<32>>, salt: &HexArray<16>) -> Secret<32> {
    let mut both = Secret::<64>::zero();
    let (first, second) = both.expose_mut().split_at_mut(32);
    first.copy_from_slice(secret.expose());
    if let Some(stretched) = stretched {
        second.copy_from_slice(stretched.expose());
    }
    let input = if stretched.is_some() { both.expose().as_slice() } else { secret.expose() };
    hkdf(input, &salt.0, b"EOB1/keyring-tpm2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_the_tpm_is_not_enough_where_there_is_a_pin() {
        let (secret, salt) = (Secret::copy_from(&[1; 32]), HexArray([2; 16]));
        let pins = [2, 3].map(|byte| Secret::copy_from(&[byte; 32]));
        let keys = [
            key(&secret, None, &salt),
            key(&secret, Some(&pins[0]), &salt),
            key(&secret, Some(&pins[1]), &salt),
        ];
        let shown: std::collections::BTreeSet<_> = keys.iter().map(|key| *key.expose()).collect();
        assert_eq!(shown.len(), 3);
        // Nor is what the TPM learns of the PIN.
        let learned = auth(&pins[0]);
        assert_ne!(learned.expose(), pins[0].expose());
        assert_ne!(key(&secret, Some(&learned), &salt).expose(), keys[1].expose());
        assert_ne!(key(&secret, None, &HexArray([3; 16])).expose(), keys[0].expose());
    }
}
