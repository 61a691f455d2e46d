//! Where a PIN, token or passphrase comes from: a file, a command or a variable. Never an argument.

use std::{
    env,
    ffi::OsStr,
    fs::File,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ProviderError;

/// A place that holds a secret. In the configuration: `{ file = "F" }`, `{ command = "C" }` or `{ variable = "V" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// The content of a file that only its owner can use; one line feed at its end does not count.
    File(PathBuf),
    /// What a command prints, run by `sh -c`; one line feed at its end does not count.
    Command(String),
    /// An environment variable, which other processes of the user can read.
    Variable(String),
}

impl SecretSource {
    /// Reads the secret: 1 byte to 64 KiB. Reading again sees a new content.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        self.read_with(&[])
    }

    /// The same, with more variables in the environment of a command.
    pub fn read_with(&self, variables: &[(&str, &OsStr)]) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        let mut secret = match self {
            Self::File(path) => read_file(path),
            Self::Command(command) => run(command, variables),
            Self::Variable(name) => Ok(variable(name)),
        }?;
        if secret.last() == Some(&b'\n') {
            secret.pop();
        }
        let wrong = |why| Err(ProviderError::Secret { from: self.shown(), why });
        match secret.len() {
            0 => wrong("holds no secret: it is empty or not there"),
            1..=MAX_SECRET => Ok(secret),
            _ => wrong("holds more than 64 KiB: no secret is that long"),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::File(path) => format!("file `{}`", path.display()),
            Self::Command(command) => format!("command `{command}`"),
            Self::Variable(name) => format!("variable `{name}`"),
        }
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    let failed = |source| ProviderError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let mode = meta.mode() & 0o7777;
    if meta.is_file() && mode & 0o077 != 0 {
        return Err(ProviderError::NotPrivate { path: path.to_owned(), mode });
    }
    bounded(file).map_err(failed)
}

fn run(command: &str, variables: &[(&str, &OsStr)]) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    let failed = |why: String| ProviderError::Command { command: command.to_owned(), why };
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let output = child.stdout.take().map(bounded).transpose();
    // The pipe is closed by now: a command that has more to say ends too.
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    let secret = output.map_err(|error| failed(error.to_string()))?.unwrap_or_default();
    if secret.len() <= MAX_SECRET && !status.success() {
        return Err(failed(status.to_string()));
    }
    Ok(secret)
}

fn variable(name: &str) -> Zeroizing<Vec<u8>> {
    let value = env::var_os(name).unwrap_or_default();
    Zeroizing::new(value.as_os_str().as_bytes().to_vec())
}

/// All of `from`, or one byte more than a secret may have. The space is taken at once, so that no copy stays behind.
fn bounded(from: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 2));
    from.take(MAX_SECRET as u64 + 2).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes.
const MAX_SECRET: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn command(text: &str) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        SecretSource::Command(text.to_owned()).read()
    }

    #[test]
    fn a_command_gives_what_it_prints_without_the_line_feed_at_its_end() {
        assert_eq!(command("printf 'a b\\n\\n'").unwrap().as_slice(), b"a b\n");
        assert_eq!(command("printf x").unwrap().as_slice(), b"x");
    }

    #[test]
    fn a_failing_silent_or_endless_command_gives_nothing() {
        assert!(command("echo secret; exit 3").unwrap_err().to_string().contains("exit status: 3"));
        assert!(command("true").unwrap_err().to_string().contains("holds no secret"));
        assert!(command("yes").unwrap_err().to_string().contains("more than 64 KiB"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        fs::write(&path, "1234\n").unwrap();
        for (mode, good) in [(0o600, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = SecretSource::File(path.clone()).read();
            assert_eq!(read.is_ok_and(|pin| pin.as_slice() == b"1234"), good, "{mode:o}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_no_secret() {
        let message = SecretSource::Variable("STRONGROOM_NO_SUCH".into()).read().unwrap_err().to_string();
        assert_eq!(message, "variable `STRONGROOM_NO_SUCH` holds no secret: it is empty or not there");
    }
}
