//! The exit codes, in one table; `docs/cli.md` and `--help` show the same.

use std::process::ExitCode;

use crate::{
    control::{ControlError, Failure},
    engine::{EngineError, StartError},
    keys::{KeyError, KeyringError, Tpm2Error},
    object::FormatError,
    store::StoreError,
};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// It could not.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Stored data is damaged or was altered.
    Damage = 3,
    /// The passphrase, key or PIN does not open the store, or none was given; or the TPM does not.
    Locked = 4,
    /// Another process uses the store, the drive or the TPM.
    Busy = 5,
    /// The mount helper failed, as `mount(8)` wants it.
    Mount = 32,
}

/// Every code with its meaning.
pub const EXITS: [(Exit, &str); 7] = [
    (Exit::Done, "done"),
    (Exit::Failure, "failed; the message says why"),
    (Exit::Usage, "the command line makes no sense"),
    (Exit::Damage, "stored data is damaged or was altered"),
    (Exit::Locked, "wrong passphrase, key file or PIN, or none given; or the TPM does not open"),
    (Exit::Busy, "the store, the drive or the TPM is in use"),
    (Exit::Mount, "the mount helper failed"),
];

impl Exit {
    /// The exit code that belongs to an error, by its cause.
    pub fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(by_cause).unwrap_or(Self::Failure)
    }
}

impl Exit {
    /// The exit with this code; [`Exit::Failure`] where there is none.
    pub fn from_code(code: u8) -> Self {
        EXITS.iter().map(|(exit, _)| *exit).find(|exit| *exit as u8 == code).unwrap_or(Self::Failure)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that carries its exit code, for failures that have no error type of a room.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The code.
    pub exit: Exit,
    /// One line.
    pub message: String,
}

impl Refusal {
    /// A refusal as an error to return.
    pub fn error(exit: Exit, message: impl Into<String>) -> anyhow::Error {
        Self { exit, message: message.into() }.into()
    }
}

/// The table as `--help` shows it.
pub fn help() -> String {
    let rows = EXITS.map(|(exit, meaning)| format!("  {:>2}  {meaning}", exit as u8));
    format!("Exit codes:\n{}", rows.join("\n"))
}

fn by_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    cause
        .downcast_ref::<Refusal>()
        .map(|refusal| refusal.exit)
        .or_else(|| cause.downcast_ref().map(of_keyring))
        .or_else(|| cause.downcast_ref().map(of_store))
        .or_else(|| cause.downcast_ref().map(of_format))
        .or_else(|| cause.downcast_ref().map(of_start))
        .or_else(|| cause.downcast_ref().map(of_engine))
        .or_else(|| cause.downcast_ref().map(of_control))
}

fn of_start(error: &StartError) -> Exit {
    match error {
        StartError::Store(error) => of_store(error),
        StartError::Keyring(error) => of_keyring(error),
        StartError::ForeignKeyring => Exit::Damage,
        _ => Exit::Failure,
    }
}

fn of_engine(error: &EngineError) -> Exit {
    match error {
        EngineError::Integrity { .. }
        | EngineError::BucketKey(_)
        | EngineError::Bucket { .. }
        | EngineError::Key(KeyError::Rejected { .. }) => Exit::Damage,
        _ => Exit::Failure,
    }
}

fn of_control(error: &ControlError) -> Exit {
    match error {
        ControlError::Refused { failure: Failure::Damaged, .. } => Exit::Damage,
        ControlError::Refused { failure: Failure::Busy, .. } | ControlError::Unheard(_) => Exit::Busy,
        ControlError::Refused { failure: Failure::Locked, .. } => Exit::Locked,
        ControlError::Refused { .. } | ControlError::Ended | ControlError::Untold(_) => Exit::Failure,
    }
}

fn of_keyring(error: &KeyringError) -> Exit {
    match error {
        KeyringError::WrongPassphrase
        | KeyringError::WrongKey(_)
        | KeyringError::KernelKey(_)
        | KeyringError::NoSuchKind(_)
        | KeyringError::EmptyPassphrase
        | KeyringError::NoSlot => Exit::Locked,
        KeyringError::Tpm2(error) => of_tpm2(error),
        KeyringError::Tpm2Slots(refusals) => {
            // Damage is the news only where nothing else keeps the TPM from opening a slot.
            let damaged = refusals.iter().all(|refusal| of_tpm2(&refusal.error) == Exit::Damage);
            if damaged { Exit::Damage } else { Exit::Locked }
        }
        KeyringError::Damaged { .. } | KeyringError::RolledBack { .. } => Exit::Damage,
        _ => Exit::Failure,
    }
}

fn of_tpm2(error: &Tpm2Error) -> Exit {
    match error {
        Tpm2Error::NotBuilt | Tpm2Error::NoSuchPcr(_) | Tpm2Error::Failed { .. } => Exit::Failure,
        Tpm2Error::NoDevice { .. }
        | Tpm2Error::Denied { .. }
        | Tpm2Error::Owned
        | Tpm2Error::PinWanted
        | Tpm2Error::WrongPin(_)
        | Tpm2Error::Lockout(_)
        | Tpm2Error::PcrsChanged(_)
        | Tpm2Error::Foreign => Exit::Locked,
        Tpm2Error::Busy(_) => Exit::Busy,
        Tpm2Error::Altered(_) => Exit::Damage,
    }
}

fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Locked { .. } => Exit::Busy,
        StoreError::Marker { .. } => Exit::Damage,
        _ => Exit::Failure,
    }
}

fn of_format(error: &FormatError) -> Exit {
    if matches!(error, FormatError::NotAnObject) { Exit::Failure } else { Exit::Damage }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::keys::SlotRefusal;

    #[test]
    fn the_cause_decides_whatever_was_said_around_it() {
        let wrong = anyhow::Error::from(KeyringError::WrongPassphrase).context("cannot open the store");
        assert_eq!(Exit::of(&wrong), Exit::Locked);
        let damaged: anyhow::Result<()> = Err(FormatError::HeaderMac).context("object `a`");
        assert_eq!(Exit::of(&damaged.unwrap_err()), Exit::Damage);
        assert_eq!(Exit::of(&FormatError::NotAnObject.into()), Exit::Failure);
        assert_eq!(Exit::of(&std::io::Error::from(std::io::ErrorKind::NotFound).into()), Exit::Failure);
        assert_eq!(Exit::of(&Refusal::error(Exit::Busy, "busy")), Exit::Busy);
        let refusals = |errors: Vec<Tpm2Error>| {
            let refusals = errors.into_iter().map(|error| SlotRefusal { slot: 2, error });
            Exit::of(&KeyringError::Tpm2Slots(refusals.collect()).into())
        };
        let altered = || Tpm2Error::Altered("x".into());
        assert_eq!(refusals(vec![Tpm2Error::Foreign]), Exit::Locked);
        assert_eq!(refusals(vec![altered(), Tpm2Error::PinWanted]), Exit::Locked);
        assert_eq!(refusals(vec![altered()]), Exit::Damage);
        assert_eq!(Exit::of(&KeyringError::from(Tpm2Error::Busy("x".into())).into()), Exit::Busy);
        let started = StartError::Keyring(KeyringError::WrongPassphrase);
        assert_eq!(Exit::of(&anyhow::Error::from(started)), Exit::Locked);
    }

    #[test]
    fn every_code_comes_back_from_its_number() {
        for (exit, _) in EXITS {
            assert_eq!(Exit::from_code(exit as u8), exit);
        }
        assert_eq!(Exit::from_code(99), Exit::Failure);
    }

    #[test]
    fn the_document_has_the_same_table() {
        let page = include_str!("../docs/cli.md");
        for (exit, meaning) in EXITS {
            assert!(
                page.contains(&format!("| {} | {meaning} |", exit as u8)),
                "exit code {exit:?} in docs/cli.md"
            );
        }
    }
}
