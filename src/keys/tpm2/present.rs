//! The TPM, asked again while it is busy.

use std::time::Duration;

use super::{PcrList, Sealed, Tpm2Device, Tpm2Error, answer::Fault, link::Link};
use crate::{
    crypto::{self, Secret},
    keys::retry::insist_on,
};

/// A TPM. The connection is made when it is needed and kept for the next call.
pub(in crate::keys) struct Tpm {
    device: Tpm2Device,
    link: Option<Link>,
}

impl Tpm {
    /// The TPM at `device`. Contacts nobody.
    pub(in crate::keys) fn at(device: &Tpm2Device) -> Self {
        Self { device: device.clone(), link: None }
    }

    /// Seals `secret` to the present values of `pcrs`, and to `pin` (stretched), and proves that it can be had again.
    pub(in crate::keys) fn seal(
        &mut self,
        secret: &Secret<32>,
        pcrs: &PcrList,
        pin: Option<&Secret<32>>,
    ) -> Result<Sealed, Tpm2Error> {
        let sealed = self.ask(|link| link.seal(secret, pcrs, pin))?;
        let again = self.unseal(&sealed, pin)?;
        if crypto::equal(secret.expose(), again.expose()) {
            Ok(sealed)
        } else {
            Err(Tpm2Error::Failed { what: "keep a secret", why: "it gave out another one".to_owned() })
        }
    }

    /// The secret in `sealed`. A refused PIN is not tried again.
    pub(in crate::keys) fn unseal(
        &mut self,
        sealed: &Sealed,
        pin: Option<&Secret<32>>,
    ) -> Result<Secret<32>, Tpm2Error> {
        self.ask(|link| link.unseal(sealed, pin))
    }

    fn ask<T>(&mut self, task: impl Fn(&mut Link) -> Result<T, Fault>) -> Result<T, Tpm2Error> {
        insist_on("the TPM", PATIENCE, Tpm2Error::Busy, |_| {
            let mut link = match self.link.take() {
                Some(open) => open,
                None => Link::open(&self.device)?,
            };
            let done = task(&mut link)?;
            // One that failed is dropped instead: what it holds in the TPM is flushed.
            self.link = Some(link);
            Ok(done)
        })
    }
}

/// How long a busy TPM is asked again.
const PATIENCE: Duration = Duration::from_secs(20);
