//! Where the passphrase or key comes from. A passphrase is never an argument and never a variable.
//!
//! In this order: flags, `STRONGROOM_KEY_FILE`, `STRONGROOM_PASSPHRASE_FILE`, the systemd credential
//! `strongroom.key`, the configuration, and last the terminal.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use zeroize::Zeroizing;

use super::{
    exit::{Exit, Refusal},
    tpm2::Tpm2Args,
};
use crate::{
    config::UnlockOptions,
    keys::{Passphrase, SecretSource, Unlock},
};

/// How to unlock a store.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(id = "unlock")]
pub(super) struct UnlockArgs {
    /// Read the passphrase from FILE (`-`: stdin); one line feed at its end does not count
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["passphrase_command", "key_file", "credential", "kernel_key"],
        global = true,
        help_heading = "Unlocking"
    )]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Read the passphrase from what COMMAND prints, run by `sh -c` with `$STRONGROOM_STORE` set
    #[arg(
        long,
        value_name = "COMMAND",
        conflicts_with_all = ["key_file", "credential", "kernel_key"],
        global = true,
        help_heading = "Unlocking"
    )]
    pub(super) passphrase_command: Option<String>,
    /// Unlock with a key file: 32 bytes or more, random, mode 0600
    ///
    /// Without such a flag: the key file named by `$STRONGROOM_KEY_FILE`, the passphrase file named by
    /// `$STRONGROOM_PASSPHRASE_FILE`, the systemd credential `strongroom.key`, what the configuration says, or the
    /// terminal, in this order.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["credential", "kernel_key"],
        global = true,
        help_heading = "Unlocking"
    )]
    pub(super) key_file: Option<PathBuf>,
    /// Unlock with the systemd credential NAME, as with a key file
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "kernel_key",
        global = true,
        help_heading = "Unlocking"
    )]
    pub(super) credential: Option<String>,
    /// Unlock with the key NAME (of type `user`) in a keyring of the kernel, as with a key file
    #[arg(long, value_name = "NAME", global = true, help_heading = "Unlocking")]
    pub(super) kernel_key: Option<String>,
    #[command(flatten)]
    pub(super) tpm2: Tpm2Args,
}

/// A place that a passphrase or key can be taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    PassphraseFile(PathBuf),
    PassphraseCommand(String),
    /// A key, or where to find it.
    Key(KeyPlace),
    Tpm2,
    Terminal,
}

/// A place that has a key rather than a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyPlace {
    File(PathBuf),
    Credential(PathBuf),
    Kernel(String),
}

impl From<KeyPlace> for Unlock {
    fn from(place: KeyPlace) -> Self {
        match place {
            KeyPlace::File(path) => Self::KeyFile(path),
            KeyPlace::Credential(path) => Self::Credential(path),
            KeyPlace::Kernel(name) => Self::KernelKey(name),
        }
    }
}

impl UnlockArgs {
    /// The unlock for an existing store; asks on the terminal when nothing else is given.
    pub(super) fn unlock(&self, store: &Path) -> anyhow::Result<Unlock> {
        let source = self.source();
        if self.tpm2.tpm2_pin_file.is_some() && source != Source::Tpm2 {
            return Err(Refusal::error(Exit::Usage, "--tpm2-pin-file is for the TPM: use --tpm2 as well"));
        }
        match source {
            Source::PassphraseFile(file) => read_passphrase(&file).map(Unlock::Passphrase),
            Source::PassphraseCommand(command) => run_command(&command, store).map(Unlock::Passphrase),
            Source::Key(place) => Ok(place.into()),
            Source::Tpm2 => self.tpm2.unlock(store),
            Source::Terminal => ask(&format!("Passphrase of {}: ", store.display())).map(Unlock::Passphrase),
        }
    }

    /// Whether a flag names a source.
    pub(super) fn is_given(&self) -> bool {
        self.named().is_some()
    }

    /// What a flag names, if any.
    pub(super) fn named(&self) -> Option<Source> {
        self.flag(variable)
    }

    pub(super) fn source(&self) -> Source {
        self.source_with(variable, &configured())
    }

    /// These flags, and `other` where they say nothing.
    pub(super) fn or(&self, other: &Self) -> Self {
        if !self.is_given() {
            return Self { tpm2: self.tpm2.or(&other.tpm2), ..other.clone() };
        }
        // A PIN that is given for the TPM is for no other source.
        let tpm2 = if self.tpm2.tpm2 { self.tpm2.or(&other.tpm2) } else { self.tpm2.clone() };
        Self { tpm2, ..self.clone() }
    }

    fn source_with(&self, env: impl Fn(&str) -> Option<PathBuf>, configured: &UnlockOptions) -> Source {
        let credential =
            || env(CREDENTIALS_DIRECTORY).map(|dir| dir.join(CREDENTIAL)).filter(|file| file.exists());
        self.flag(&env)
            .or_else(|| env(KEY_FILE_VARIABLE).map(|file| Source::Key(KeyPlace::File(file))))
            .or_else(|| env(PASSPHRASE_FILE_VARIABLE).map(Source::PassphraseFile))
            .or_else(|| credential().map(|file| Source::Key(KeyPlace::Credential(file))))
            .or_else(|| from_configuration(configured))
            .unwrap_or(Source::Terminal)
    }

    /// What a flag names.
    fn flag(&self, env: impl Fn(&str) -> Option<PathBuf>) -> Option<Source> {
        // Outside a service the name alone is what the message about the missing file shows.
        let credential = |name: &String| env(CREDENTIALS_DIRECTORY).unwrap_or_default().join(name);
        let key = |place| Some(Source::Key(place));
        None.or_else(|| self.passphrase_file.clone().map(Source::PassphraseFile))
            .or_else(|| self.passphrase_command.clone().map(Source::PassphraseCommand))
            .or_else(|| self.key_file.clone().map(KeyPlace::File).and_then(key))
            .or_else(|| self.credential.as_ref().map(credential).map(KeyPlace::Credential).and_then(key))
            .or_else(|| self.kernel_key.clone().map(KeyPlace::Kernel).and_then(key))
            .or_else(|| self.tpm2.tpm2.then_some(Source::Tpm2))
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Takes over what the configuration says about unlocking, until another configuration takes its place.
pub(super) fn configure(options: &UnlockOptions) {
    *CONFIGURED.lock().unwrap_or_else(PoisonError::into_inner) = Some(options.clone());
}

/// What it says.
pub(super) fn configured() -> UnlockOptions {
    CONFIGURED.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
}

fn from_configuration(options: &UnlockOptions) -> Option<Source> {
    let UnlockOptions { key_file, passphrase_command, kernel_key, tpm2, .. } = options;
    let file = Some(key_file).filter(|file| !file.as_os_str().is_empty());
    let kernel = Some(kernel_key).filter(|name| !name.is_empty());
    let command = Some(passphrase_command).filter(|command| !command.is_empty());
    file.map(|file| Source::Key(KeyPlace::File(file.clone())))
        .or_else(|| kernel.map(|name| Source::Key(KeyPlace::Kernel(name.clone()))))
        .or_else(|| tpm2.then_some(Source::Tpm2))
        .or_else(|| command.map(|command| Source::PassphraseCommand(command.clone())))
}

/// The passphrase that a command prints; the command may ask on the terminal.
pub(super) fn run_command(command: &str, store: &Path) -> anyhow::Result<Passphrase> {
    let variables = [(STORE_VARIABLE, store.as_os_str())];
    let printed = SecretSource::Command(command.to_owned()).read_with(&variables);
    let bytes = printed.map_err(|error| Refusal::error(Exit::Locked, error.to_string()))?;
    Ok(Passphrase::new(bytes)?)
}

/// Asks for a new passphrase twice.
pub(super) fn ask_new(what: &str) -> anyhow::Result<Passphrase> {
    let first = ask_bytes(&format!("{what}: "), FOR_PASSPHRASE)?;
    let again = ask_bytes("Repeat it: ", FOR_PASSPHRASE)?;
    if first != again {
        return Err(Refusal::error(Exit::Locked, "the two differ: nothing was changed, try again"));
    }
    Ok(Passphrase::new(first)?)
}

/// The passphrase in a file, or on stdin for `-`.
pub(super) fn read_passphrase(file: &Path) -> anyhow::Result<Passphrase> {
    read_phrase(file, "passphrase")
}

/// The PIN in a file, or on stdin for `-`.
pub(super) fn read_pin(file: &Path) -> anyhow::Result<Passphrase> {
    read_phrase(file, "PIN")
}

fn read_phrase(file: &Path, what: &str) -> anyhow::Result<Passphrase> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE + 1));
    let shown = file.display();
    if file == Path::new("-") {
        take(io::stdin().lock(), &mut bytes).with_context(|| format!("cannot read the {what} from stdin"))?;
    } else {
        let opened = File::open(file).with_context(|| format!("cannot open the {what} file `{shown}`"))?;
        refuse_public(file, &opened)?;
        take(opened, &mut bytes).with_context(|| format!("cannot read the {what} file `{shown}`"))?;
    }
    if bytes.len() > MAX_PASSPHRASE {
        return Err(Refusal::error(Exit::Failure, format!("`{shown}` is longer than 64 KiB: no {what} is")));
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
    Ok(Passphrase::new(ask_bytes(prompt, FOR_PASSPHRASE)?)?)
}

/// Asks for the PIN of the TPM's slot of a store.
pub(super) fn ask_pin(store: &Path) -> anyhow::Result<Passphrase> {
    Ok(Passphrase::new(ask_bytes(&format!("PIN of {} for the TPM: ", store.display()), FOR_PIN)?)?)
}

/// `instead` says what to do without a terminal.
fn ask_bytes(prompt: &str, instead: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if !io::stdin().is_terminal() {
        return Err(Refusal::error(Exit::Locked, format!("no terminal to ask for a {instead}")));
    }
    let typed = rpassword::prompt_password(prompt).context("cannot ask for the passphrase")?;
    Ok(Zeroizing::new(typed.into_bytes()))
}

/// What to do where nobody can be asked.
const FOR_PASSPHRASE: &str = "passphrase: use --key-file or --passphrase-file, or set STRONGROOM_KEY_FILE";
/// The same.
const FOR_PIN: &str = "PIN: use --tpm2-pin-file, or unlock another way";
/// A key file to use when no flag is given.
const KEY_FILE_VARIABLE: &str = "STRONGROOM_KEY_FILE";
/// A passphrase file to use when no flag is given.
const PASSPHRASE_FILE_VARIABLE: &str = "STRONGROOM_PASSPHRASE_FILE";
/// Tells a command which store it is asked about.
const STORE_VARIABLE: &str = "STRONGROOM_STORE";
/// What the configuration says; set before any command runs.
static CONFIGURED: Mutex<Option<UnlockOptions>> = Mutex::new(None);
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
    fn flags_go_before_the_environment_the_credential_and_the_configuration() {
        let (dir, _) = file(b"", 0o600);
        fs::write(dir.path().join(CREDENTIAL), "key").unwrap();
        let flags = UnlockArgs { key_file: Some("flag".into()), ..UnlockArgs::default() };
        let env = |name: &str| match name {
            CREDENTIALS_DIRECTORY => Some(dir.path().to_owned()),
            _ => Some(PathBuf::from(name)),
        };
        let credential = |name: &str| (name == CREDENTIALS_DIRECTORY).then(|| dir.path().to_owned());
        let (none, plain) = (UnlockArgs::default(), UnlockOptions::default());
        let configured = UnlockOptions { kernel_key: "k".into(), ..plain.clone() };
        let key_file = |path: &str| Source::Key(KeyPlace::File(path.into()));
        assert_eq!(flags.source_with(env, &configured), key_file("flag"));
        assert_eq!(none.source_with(env, &configured), key_file(KEY_FILE_VARIABLE));
        let found = Source::Key(KeyPlace::Credential(dir.path().join(CREDENTIAL)));
        assert_eq!(none.source_with(credential, &configured), found);
        fs::remove_file(dir.path().join(CREDENTIAL)).unwrap();
        assert_eq!(none.source_with(credential, &configured), Source::Key(KeyPlace::Kernel("k".into())));
        assert_eq!(none.source_with(credential, &plain), Source::Terminal);
    }

    #[test]
    fn the_tpm_is_a_source_like_others() {
        let nothing = |_: &str| None;
        let configured =
            UnlockOptions { tpm2: true, passphrase_command: "c".into(), ..UnlockOptions::default() };
        assert_eq!(UnlockArgs::default().source_with(nothing, &configured), Source::Tpm2);
        let before = UnlockOptions { kernel_key: "k".into(), ..configured };
        assert_ne!(UnlockArgs::default().source_with(nothing, &before), Source::Tpm2);
        let flag = UnlockArgs { tpm2: Tpm2Args::new(true, None), ..UnlockArgs::default() };
        assert_eq!(flag.source_with(|name| Some(name.into()), &before), Source::Tpm2);
    }

    #[test]
    fn a_named_credential_is_looked_for_where_systemd_puts_them() {
        let flags = UnlockArgs { credential: Some("c".into()), ..UnlockArgs::default() };
        let env = |name: &str| (name == CREDENTIALS_DIRECTORY).then(|| PathBuf::from("/run/c"));
        let source = flags.source_with(env, &UnlockOptions::default());
        assert_eq!(source, Source::Key(KeyPlace::Credential("/run/c/c".into())));
    }

    #[test]
    fn a_command_knows_the_store_and_its_failure_is_no_passphrase() {
        let printed = run_command("test \"$STRONGROOM_STORE\" = /s && printf secret", Path::new("/s"));
        assert!(printed.is_ok());
        let error = run_command("exit 3", Path::new("/s")).unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Locked);
        assert!(error.to_string().contains("exit status: 3"), "{error}");
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
