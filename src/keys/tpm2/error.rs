//! What can go wrong with a TPM, each with what to do about it.

use super::{PcrList, Tpm2Device};

/// Why a TPM did not seal or unseal. Never carries a PIN or a secret.
#[derive(Debug, thiserror::Error)]
pub enum Tpm2Error {
    /// The feature is not in this build.
    #[error("this build knows no TPM: build strongroom with `cargo build --release --features tpm2`")]
    NotBuilt,
    /// There is no TPM at this place, or it cannot be used.
    #[error("there is no TPM at `{device}` ({why}): name another with --tpm2-device, or unlock another way")]
    NoDevice {
        /// The place.
        device: Tpm2Device,
        /// What is wrong there.
        why: String,
    },
    /// This user may not use it.
    #[error(
        "the TPM at `{device}` may not be used by this user: run this as root, or join the group of the device"
    )]
    Denied {
        /// The place.
        device: Tpm2Device,
    },
    /// Others keep it busy.
    #[error("the TPM is busy ({0}): try again")]
    Busy(String),
    /// The owner hierarchy has a password, so that no storage key can be made.
    #[error(
        "the owner hierarchy of the TPM has a password, under which nothing can be sealed or unsealed here: unlock another way, or remove it with `tpm2_changeauth -c o`"
    )]
    Owned,
    /// The bank of SHA-256 has not all of these PCRs.
    #[error("the TPM does not have PCR {0} in its SHA-256 bank: choose others with --new-tpm2-pcrs")]
    NoSuchPcr(PcrList),
    /// The object wants a PIN and none was given.
    #[error("it wants its PIN: give it with --tpm2-pin-file FILE (`-`: stdin), or unlock another way")]
    PinWanted,
    /// The TPM refused the PIN.
    #[error("the TPM refused the PIN{}: try again, or unlock another way", tries(.0.as_ref()))]
    WrongPin(Option<Tries>),
    /// Too many wrong PINs.
    #[error(
        "the TPM is locked, since too many wrong PINs were tried: {}; unlock another way, or unlock the TPM with `tpm2_dictionarylockout --clear-lockout`",
        patience(.0.as_ref())
    )]
    Lockout(Option<Tries>),
    /// The machine was started in another way.
    #[error(
        "{} not as when it was made: if firmware, boot loader or Secure Boot were changed on purpose, unlock another way and run `strongroom passwd STORE change SLOT --new-tpm2`",
        changed(.0)
    )]
    PcrsChanged(PcrList),
    /// Another TPM made the object, or the same one before it was cleared.
    #[error(
        "it was made with another TPM, or this one was cleared since: unlock another way, then run `strongroom passwd STORE change SLOT --new-tpm2`"
    )]
    Foreign,
    /// The object is not as this TPM made it.
    #[error("the TPM refuses what it is to open ({0}): it was altered, unlock another way")]
    Altered(String),
    /// Anything else.
    #[error("the TPM cannot {what}: {why}")]
    Failed {
        /// What it was to do.
        what: &'static str,
        /// What it said.
        why: String,
    },
}

/// How far a TPM is from its lockout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Wrong PINs that count now.
    pub failed: u32,
    /// How many lock it.
    pub most: u32,
    /// Seconds after which it forgets one of them; 0 for never.
    pub forgets: u32,
}

impl Tpm2Error {
    /// Whether another slot may still open.
    pub(in crate::keys) fn is_about_the_slot(&self) -> bool {
        matches!(
            self,
            Self::PinWanted
                | Self::WrongPin(_)
                | Self::Lockout(_)
                | Self::PcrsChanged(_)
                | Self::Foreign
                | Self::Altered(_)
        )
    }
}

fn tries(tries: Option<&Tries>) -> String {
    tries.map_or_else(String::new, |Tries { failed, most, .. }| {
        format!(" ({failed} of the {most} wrong ones that lock it)")
    })
}

fn patience(tries: Option<&Tries>) -> String {
    match tries {
        Some(Tries { forgets: seconds @ 1.., .. }) => format!("it allows another one after {seconds} s"),
        _ => "wait until it allows another one".to_owned(),
    }
}

/// The list is empty where the TPM only says that something changed.
fn changed(pcrs: &PcrList) -> String {
    match pcrs.numbers().count() {
        0 => "a PCR of the TPM is".to_owned(),
        1 => format!("PCR {pcrs} of the TPM is"),
        _ => format!("PCRs {pcrs} of the TPM are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_tell_how_much_is_left() {
        let tries = Some(Tries { failed: 2, most: 32, forgets: 7200 });
        assert!(
            Tpm2Error::WrongPin(tries).to_string().contains("PIN (2 of the 32 wrong ones that lock it): try")
        );
        assert!(Tpm2Error::WrongPin(None).to_string().contains("refused the PIN: try"));
        assert!(Tpm2Error::Lockout(tries).to_string().contains("another one after 7200 s;"));
        let never = Some(Tries { failed: 32, most: 32, forgets: 0 });
        assert!(Tpm2Error::Lockout(never).to_string().contains("wait until"));
        let changed = |list: &str| Tpm2Error::PcrsChanged(list.parse().unwrap()).to_string();
        assert!(changed("7").starts_with("PCR 7 of the TPM is not as when"), "{}", changed("7"));
        assert!(changed("0+7").starts_with("PCRs 0+7 of the TPM are not"), "{}", changed("0+7"));
        assert!(changed("none").starts_with("a PCR of the TPM is not"), "{}", changed("none"));
    }
}
