//! Where the passphrase or key file comes from. A passphrase is never an argument and never a variable.
//!
//! In this order: flags, `STRONGROOM_KEY_FILE`, `STRONGROOM_PASSPHRASE_FILE`, the systemd credential
//! `strongroom.key`, and last the terminal.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use zeroize::Zeroizing;

use super::exit::{Exit, Refusal};
use crate::keys::{Passphrase, Unlock};

/// How to unlock a store.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(id = "unlock")]
pub(super) struct UnlockArgs {
    /// Read the passphrase from FILE (`-`: stdin); one line feed at its end does not count
    #[arg(long, value_name = "FILE", conflicts_with = "key_file", global = true, help_heading = "Unlocking")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Unlock with a key file: 32 bytes or more, random, mode 0600
    ///
    /// Without either flag: the key file named by `$STRONGROOM_KEY_FILE`, the passphrase file named by
    /// `$STRONGROOM_PASSPHRASE_FILE`, the systemd credential `strongroom.key`, or the terminal, in this order.
    #[arg(long, value_name = "FILE", global = true, help_heading = "Unlocking")]
    pub(super) key_file: Option<PathBuf>,
}

/// A place that a passphrase or key can be taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    PassphraseFile(PathBuf),
    KeyFile(PathBuf),
    Terminal,
}

impl UnlockArgs {
    /// The unlock for an existing store; asks on the terminal when nothing else is given.
    pub(super) fn unlock(&self, store: &Path) -> anyhow::Result<Unlock> {
        match self.source() {
            Source::PassphraseFile(file) => read_passphrase(&file).map(Unlock::Passphrase),
            Source::KeyFile(file) => Ok(Unlock::KeyFile(file)),
            Source::Terminal => ask(&format!("Passphrase of {}: ", store.display())).map(Unlock::Passphrase),
        }
    }

    /// Whether a flag names a source.
    pub(super) fn is_given(&self) -> bool {
        self.passphrase_file.is_some() || self.key_file.is_some()
    }

    pub(super) fn source(&self) -> Source {
        self.source_with(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn source_with(&self, env: impl Fn(&str) -> Option<PathBuf>) -> Source {
        let credential =
            || env(CREDENTIALS_DIRECTORY).map(|dir| dir.join(CREDENTIAL)).filter(|file| file.exists());
        let given = self.passphrase_file.clone().map(Source::PassphraseFile);
        given
            .or_else(|| self.key_file.clone().map(Source::KeyFile))
            .or_else(|| env(KEY_FILE_VARIABLE).map(Source::KeyFile))
            .or_else(|| env(PASSPHRASE_FILE_VARIABLE).map(Source::PassphraseFile))
            .or_else(|| credential().map(Source::KeyFile))
            .unwrap_or(Source::Terminal)
    }
}

/// Asks for a new passphrase twice.
pub(super) fn ask_new(what: &str) -> anyhow::Result<Passphrase> {
    let first = ask_bytes(&format!("{what}: "))?;
    let again = ask_bytes("Repeat it: ")?;
    if first != again {
        return Err(Refusal::error(
            Exit::Locked,
            "the two passphrases differ: nothing was changed, try again",
        ));
    }
    Ok(Passphrase::new(first)?)
}

/// The passphrase in a file, or on stdin for `-`.
pub(super) fn read_passphrase(file: &Path) -> anyhow::Result<Passphrase> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE + 1));
    let shown = file.display();
    if file == Path::new("-") {
        take(io::stdin().lock(), &mut bytes).context("cannot read the passphrase from stdin")?;
    } else {
        let opened =
            File::open(file).with_context(|| format!("cannot open the passphrase file `{shown}`"))?;
        refuse_public(file, &opened)?;
        take(opened, &mut bytes).with_context(|| format!("cannot read the passphrase file `{shown}`"))?;
    }
    if bytes.len() > MAX_PASSPHRASE {
        return Err(Refusal::error(
            Exit::Failure,
            format!("`{shown}` is longer than 64 KiB: no passphrase is"),
        ));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(Passphrase::new(bytes)?)
}

fn take(from: impl Read, bytes: &mut Vec<u8>) -> io::Result<usize> {
    from.take(MAX_PASSPHRASE as u64 + 1).read_to_end(bytes)
}

/// A pipe or terminal is as private as its maker wants; a file that others can read is a mistake.
pub(super) fn refuse_public(path: &Path, file: &File) -> anyhow::Result<()> {
    let meta = file.metadata().with_context(|| format!("cannot look at `{}`", path.display()))?;
    let mode = meta.mode() & 0o7777;
    if meta.is_file() && mode & 0o077 != 0 {
        let message =
            format!("`{0}` can be used by others (mode {mode:04o}): run `chmod 600 {0}`", path.display());
        return Err(Refusal::error(Exit::Failure, message));
    }
    Ok(())
}

/// Asks for a passphrase.
pub(super) fn ask(prompt: &str) -> anyhow::Result<Passphrase> {
    Ok(Passphrase::new(ask_bytes(prompt)?)?)
}

fn ask_bytes(prompt: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if !io::stdin().is_terminal() {
        let message = "no terminal to ask for a passphrase: use --key-file or --passphrase-file, or set STRONGROOM_KEY_FILE";
        return Err(Refusal::error(Exit::Locked, message));
    }
    let typed = rpassword::prompt_password(prompt).context("cannot ask for the passphrase")?;
    Ok(Zeroizing::new(typed.into_bytes()))
}

/// A key file to use when no flag is given.
const KEY_FILE_VARIABLE: &str = "STRONGROOM_KEY_FILE";
/// A passphrase file to use when no flag is given.
const PASSPHRASE_FILE_VARIABLE: &str = "STRONGROOM_PASSPHRASE_FILE";
/// Where systemd puts the credentials of a service.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The credential that serves as key file.
const CREDENTIAL: &str = "strongroom.key";
/// Bytes.
const MAX_PASSPHRASE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn flags_go_before_the_environment_and_the_credential_comes_last() {
        let (dir, _) = file(b"", 0o600);
        fs::write(dir.path().join(CREDENTIAL), "key").unwrap();
        let flags = UnlockArgs { passphrase_file: None, key_file: Some("flag".into()) };
        let env = |name: &str| match name {
            CREDENTIALS_DIRECTORY => Some(dir.path().to_owned()),
            _ => Some(PathBuf::from(name)),
        };
        let credential = |name: &str| (name == CREDENTIALS_DIRECTORY).then(|| dir.path().to_owned());
        let none = UnlockArgs::default();
        assert_eq!(flags.source_with(env), Source::KeyFile("flag".into()));
        assert_eq!(none.source_with(env), Source::KeyFile(KEY_FILE_VARIABLE.into()));
        assert_eq!(none.source_with(credential), Source::KeyFile(dir.path().join(CREDENTIAL)));
        fs::remove_file(dir.path().join(CREDENTIAL)).unwrap();
        assert_eq!(none.source_with(credential), Source::Terminal);
    }

    #[test]
    fn a_passphrase_file_that_others_can_read_is_refused() {
        let (_dir, path) = file(b"secret\n", 0o640);
        let message = read_passphrase(&path).unwrap_err().to_string();
        assert!(message.contains("mode 0640") && message.contains("chmod 600"), "{message}");
    }

    #[test]
    fn empty_and_endless_passphrases_are_refused() {
        for content in [vec![], b"\n".to_vec(), vec![b'x'; MAX_PASSPHRASE + 1]] {
            let (_dir, path) = file(&content, 0o600);
            assert!(read_passphrase(&path).is_err(), "{} bytes", content.len());
        }
    }
}
