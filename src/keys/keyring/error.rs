//! What can go wrong with a keyring, each with what to do about it.

use std::path::{Path, PathBuf};

use super::Backup;
use crate::{
    crypto::CryptoError,
    envelope::Id,
    keys::{AliasName, KernelKeyError, KeyId, KeyNameError, Tpm2Error},
};

/// Why a keyring could not be made, opened or changed. Never carries a passphrase or a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// No slot opens with this passphrase.
    #[error(
        "wrong passphrase: no slot of the keyring opens with it; try again, or use another slot's unlock"
    )]
    WrongPassphrase,
    /// No slot opens with this key; where it came from.
    #[error("no slot of the keyring opens with {0}: use the key that was given when the slot was added")]
    WrongKey(String),
    /// There is no slot of this kind.
    #[error("the keyring has no {0} slot: unlock it another way")]
    NoSuchKind(&'static str),
    /// The keyring file is missing, altered or unreadable.
    #[error("the keyring `{}` is damaged ({why}): {}", path.display(), restore_advice(path, backups))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Its backups, newest first.
        backups: Vec<Backup>,
    },
    /// A keyring, or backups of one, are already there.
    #[error("there already is a keyring or a backup of one at `{}`: open it instead of making another", .0.display())]
    Exists(PathBuf),
    /// The file can be read or written by others.
    #[error("`{}` can be used by others (mode {mode:04o}): run `chmod 600 {}`", path.display(), quoted(path))]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not usable as a key.
    #[error("{from} cannot serve as key: {why}; make one with `head -c 32 /dev/urandom`")]
    BadKey {
        /// Where it came from.
        from: String,
        /// The reason.
        why: &'static str,
    },
    /// A key in the kernel's keyrings that cannot be read.
    #[error(transparent)]
    KernelKey(#[from] KernelKeyError),
    /// The TPM cannot be used.
    #[error(transparent)]
    Tpm2(#[from] Tpm2Error),
    /// The TPM opens none of the TPM2 slots.
    #[error("{}", told(.0))]
    Tpm2Slots(Vec<SlotRefusal>),
    /// An empty passphrase or PIN.
    #[error("an empty passphrase or PIN is none: choose one, or unlock another way")]
    EmptyPassphrase,
    /// The only slot cannot go.
    #[error("slot {0} is the last one, without it nothing could be opened again: add another slot first")]
    LastSlot(u32),
    /// No slot has this number.
    #[error("the keyring has no slot {0}: see the list of slots")]
    NoSuchSlot(u32),
    /// The keyring serves requests and has wiped what slots are made with.
    #[error("this keyring was opened to serve requests: open it again to change its slots")]
    RootForgotten,
    /// No slot was given for a new keyring.
    #[error("a keyring needs at least one slot: give a passphrase or a key file")]
    NoSlot,
    /// A bound of the file would be exceeded.
    #[error("the keyring would hold {0}: remove what is not needed any more")]
    Full(&'static str),
    /// Not a name for a slot or a key.
    #[error("`{}` is not a name here: use 1 to 256 bytes without control characters", .0.escape_debug())]
    BadName(String),
    /// Not the name of a key or alias.
    #[error(transparent)]
    Name(#[from] KeyNameError),
    /// A key with this id is there already.
    #[error("the keyring already has a key `{0}`: nothing was changed")]
    KeyExists(KeyId),
    /// The alias names another key.
    #[error(
        "`{alias}` already names key `{key}`: choose another, or move it with `strongroom key alias set`"
    )]
    AliasTaken {
        /// The alias.
        alias: AliasName,
        /// The key that it names.
        key: KeyId,
    },
    /// Aliases under `alias/aws/` cannot be set.
    #[error("`{0}` cannot be set or removed: names under `alias/aws/` are reserved, choose another")]
    ManagedAlias(AliasName),
    /// No such alias.
    #[error("the keyring has no alias `{0}`: see the list of keys")]
    NoSuchAlias(AliasName),
    /// The key of `alias/aws/s3` looks after itself.
    #[error(
        "key `{0}` is the key of `alias/aws/s3`, which cannot be disabled, deleted or given another rotation: use a key of your own where you need that"
    )]
    Managed(KeyId),
    /// Who may use the store's own keys is not up to anybody.
    #[error(
        "key `{0}` is the store's own, everyone may use it through the buckets: use a key of your own where some may not"
    )]
    Ungoverned(KeyId),
    /// Not a constraint of a grant.
    #[error(
        "the constraints of a grant have names that differ in more than case, and at most 4 KiB together: leave some out"
    )]
    Constraint,
    /// A grant for nothing.
    #[error("a grant is for something: name GenerateDataKey, Decrypt or both")]
    NoOperation,
    /// No such grant.
    #[error("key `{key}` has no grant `{grant}`: see `strongroom key grants`")]
    NoSuchGrant {
        /// The key.
        key: KeyId,
        /// The grant.
        grant: Id,
    },
    /// Not a provider's name for a key.
    #[error("`{}` is no provider's name for a key: it has 1 to 2048 bytes without control characters", .0.escape_debug())]
    Reference(String),
    /// Not a description.
    #[error("a description has at most 8192 bytes and no control characters")]
    Description,
    /// Not the backup of a key.
    #[error("this is not the backup of a key ({0}): use a file that `strongroom key export-backup` wrote")]
    NotABackup(String),
    /// Not a rotation period.
    #[error("a key cannot be rotated every {0} days: choose 90 to 2560")]
    Period(u32),
    /// The material would expire before it is used.
    #[error("the expiry lies in the past: choose a later one, or none")]
    ExpiryPast,
    /// Not a waiting time for a deletion.
    #[error("a deletion cannot wait {0} days: choose 7 to 30")]
    Waiting(u32),
    /// No such key, or no such version of it.
    #[error("the keyring has no key `{0}`: see the list of keys")]
    NoSuchKey(String),
    /// The state of the key does not allow this.
    #[error("key `{key}` is {state}: {advice}")]
    State {
        /// The key.
        key: String,
        /// Its state now.
        state: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The file on disk is older than the one already seen.
    #[error(
        "the keyring went back from generation {seen} to {found}: if you restored a backup on purpose, restart; otherwise find out who replaced it"
    )]
    RolledBack {
        /// Generation already seen.
        seen: u64,
        /// Generation on disk.
        found: u64,
    },
    /// A cryptographic operation failed for another reason than a wrong key.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The operating system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Why a TPM did not open a slot.
#[derive(Debug)]
pub struct SlotRefusal {
    /// Number of the slot.
    pub slot: u32,
    /// The reason.
    pub error: Tpm2Error,
}

/// All of them, but slots for other TPMs only where there are no others.
fn told(refusals: &[SlotRefusal]) -> String {
    let all_foreign = refusals.iter().all(|refusal| matches!(refusal.error, Tpm2Error::Foreign));
    let telling = refusals.iter().filter(|it| all_foreign || !matches!(it.error, Tpm2Error::Foreign));
    telling.map(|it| format!("slot {}: {}", it.slot, it.error)).collect::<Vec<_>>().join("; ")
}

fn restore_advice(path: &Path, backups: &[Backup]) -> String {
    let Some(newest) = backups.first() else {
        return "no backup stands beside it, restore the file from your own backup".to_owned();
    };
    let names: Vec<_> = backups.iter().map(|b| b.generation.to_string()).collect();
    // --remove-destination: a plain `cp` would write into the old inode, which a backup may share.
    format!(
        "restore the newest backup with `cp -p --remove-destination {} {}` (generations kept: {})",
        quoted(&newest.path),
        quoted(path),
        names.join(", ")
    )
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
