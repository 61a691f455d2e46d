//! What opens a keyring: a passphrase, a key from a file, a credential of the service, or the kernel, or a TPM.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    KeyringError,
    file::{create_private, io_error, read_private, read_protected, sync_dir},
    tpm2_slot::Tpm2Unlock,
};
use crate::{
    crypto::{Secret, Zeroizing},
    keys::kernel_key::read_kernel_key,
};

/// A passphrase, wiped when dropped and never shown. Its bytes are used as given, without Unicode normalisation.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes over the bytes of a passphrase; an empty one is refused.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeyringError> {
        if bytes.is_empty() { Err(KeyringError::EmptyPassphrase) } else { Ok(Self(bytes)) }
    }

    /// The bytes as hex, for another process of the same user.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(&*self.0))
    }

    /// What [`Passphrase::to_hex`] wrote.
    pub fn from_hex(text: &str) -> Result<Self, KeyringError> {
        // No hex is no passphrase, either.
        Self::new(Zeroizing::new(hex::decode(text).unwrap_or_default()))
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// A way to open the keyring.
#[derive(Debug)]
pub enum Unlock {
    /// A passphrase, tried against every passphrase slot (each try costs one argon2id).
    Passphrase(Passphrase),
    /// A file with at least 32 bytes of random content, readable by its owner only.
    KeyFile(PathBuf),
    /// The same as a credential that systemd gave this service: its group bits show an access list, not a group.
    Credential(PathBuf),
    /// The same as a key of type `user` in a keyring of the kernel, by its description.
    KernelKey(String),
    /// A TPM, which is asked for the secret of each TPM2 slot.
    Tpm2(Tpm2Unlock),
}

/// An unlock with its key read.
pub(super) enum Credential<'a> {
    Passphrase(&'a Passphrase),
    Key {
        from: String,
        content: Zeroizing<Vec<u8>>,
    },
    /// It depends on the slot.
    Tpm2(&'a Tpm2Unlock),
}

impl Unlock {
    pub(super) fn read(&self) -> Result<Credential<'_>, KeyringError> {
        match self {
            Self::Passphrase(passphrase) => Ok(Credential::Passphrase(passphrase)),
            Self::KeyFile(path) => self.key(read_private(path, MAX_KEY_FILE)?),
            Self::Credential(path) => self.key(read_protected(path, MAX_KEY_FILE, OTHERS)?),
            Self::KernelKey(name) => self.key(read_kernel_key(name)?),
            Self::Tpm2(unlock) => Ok(Credential::Tpm2(unlock)),
        }
    }

    /// Where it comes from, as messages and labels of slots name it.
    pub fn origin(&self) -> String {
        match self {
            Self::Passphrase(_) => "passphrase".to_owned(),
            Self::KeyFile(path) => format!("key file `{}`", path.display()),
            Self::Credential(path) => format!("credential `{}`", path.display()),
            Self::KernelKey(name) => format!("kernel key `{name}`"),
            Self::Tpm2(_) => "TPM2".to_owned(),
        }
    }

    fn key(&self, content: Zeroizing<Vec<u8>>) -> Result<Credential<'_>, KeyringError> {
        let from = self.origin();
        if content.len() < MIN_KEY_FILE {
            return Err(KeyringError::BadKey { from, why: "it has fewer than 32 bytes" });
        }
        if content.iter().all(|byte| Some(byte) == content.first()) {
            return Err(KeyringError::BadKey { from, why: "all its bytes are the same" });
        }
        Ok(Credential::Key { from, content })
    }
}

/// Makes a key file with 32 random bytes and mode 0600, unless `path` exists. Returns whether it was made.
pub fn create_key_file(path: &Path) -> Result<bool, KeyringError> {
    let content = Secret::<32>::random()?;
    match create_private(path, content.expose()) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(io_error("create the key file", path)(e)),
        Ok(()) => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            sync_dir(dir).map(|()| true)
        }
    }
}

/// Fewest bytes of a key file.
const MIN_KEY_FILE: usize = 32;
/// Most bytes of a key file.
const MAX_KEY_FILE: u64 = 1024 * 1024;
/// The permission bits of everybody else.
const OTHERS: u32 = 0o007;
