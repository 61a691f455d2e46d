//! The TPM of a build that has none.

use super::{PcrList, Sealed, Tpm2Device, Tpm2Error};
use crate::crypto::Secret;

/// Takes the place of the TPM and says that it is not there.
pub(in crate::keys) struct Tpm;

#[expect(clippy::unused_self, reason = "it has the calls of a TPM that is there")]
impl Tpm {
    pub(in crate::keys) fn at(_: &Tpm2Device) -> Self {
        Self
    }

    pub(in crate::keys) fn seal(
        &mut self,
        _: &Secret<32>,
        _: &PcrList,
        _: Option<&Secret<32>>,
    ) -> Result<Sealed, Tpm2Error> {
        Err(Tpm2Error::NotBuilt)
    }

    pub(in crate::keys) fn unseal(
        &mut self,
        _: &Sealed,
        _: Option<&Secret<32>>,
    ) -> Result<Secret<32>, Tpm2Error> {
        Err(Tpm2Error::NotBuilt)
    }
}
