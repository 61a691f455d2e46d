//! Where customer keys are read from: a history file, or the kernel's keyring. They are only read, never written.

use std::path::{Path, PathBuf};

use super::{CustomerKey, KernelKeyError, KeyringError, kernel_key::read_kernel_key, keyring::read_private};

/// Why no customer key could be read.
#[derive(Debug, thiserror::Error)]
pub enum CustomerKeyError {
    /// The file cannot be read, or others can use it too.
    #[error(transparent)]
    File(#[from] KeyringError),
    /// A line that is no key.
    #[error("`{path}`, line {line}: write a key as Base64 or hex of 32 bytes", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// No line has a key.
    #[error("`{path}` has no key: write one as Base64 or hex of 32 bytes", path = .0.display())]
    Empty(PathBuf),
    /// The kernel does not hand out such a key.
    #[error(transparent)]
    Kernel(#[from] KernelKeyError),
    /// The key in the kernel is something else.
    #[error("the key `{0}` in the kernel's keyring does not hold 32 bytes, nor Base64 or hex of them")]
    Payload(String),
}

impl CustomerKey {
    /// The keys of a history file: one a line, the current one first, then older ones for reading. Empty lines and lines that
    /// begin with `#` are skipped. A file that others than its owner can use is refused.
    pub fn read_file(path: &Path) -> Result<Vec<Self>, CustomerKeyError> {
        let content = read_private(path, MAX_FILE)?;
        let mut keys = Vec::new();
        for (at, line) in content.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let bad = || CustomerKeyError::Line { path: path.to_owned(), line: at + 1 };
            keys.push(Self::parse(line).ok_or_else(bad)?);
        }
        if keys.is_empty() { Err(CustomerKeyError::Empty(path.to_owned())) } else { Ok(keys) }
    }

    /// The key called `name` of type `user` in a keyring of the session or the user: 32 bytes, or text of them.
    /// See `keyrings(7)`.
    pub fn read_kernel(name: &str) -> Result<Self, CustomerKeyError> {
        let payload = read_kernel_key(name)?;
        let raw = || crate::crypto::Secret::from_slice(&payload).map(Self::new);
        raw().or_else(|| Self::parse(&payload)).ok_or_else(|| CustomerKeyError::Payload(name.to_owned()))
    }
}

/// Longest history file, in bytes: thousands of keys.
const MAX_FILE: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use linux_keyutils::{KeyRing, KeyRingIdentifier};

    use super::*;

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn row_f3_a_history_file_gives_its_keys_in_their_order() {
        let text = format!("# keys\n{}\n\n  {}\r\n", "11".repeat(32), "22".repeat(32));
        let (_dir, path) = file(&text, 0o600);
        assert_eq!(CustomerKey::read_file(&path).unwrap().len(), 2);
        let (_dir, path) = file("\n# none\n", 0o400);
        assert!(matches!(CustomerKey::read_file(&path), Err(CustomerKeyError::Empty(_))));
    }

    #[test]
    fn row_f3_a_key_is_taken_from_the_kernel_as_bytes_or_as_text_of_them() {
        let ring = KeyRing::from_special_id(KeyRingIdentifier::User, true).unwrap();
        let name = |what: &str| format!("strongroom-test-{what}-{}", std::process::id());
        for (what, payload, usable) in [
            ("raw", vec![7; 32], true),
            ("hex", "07".repeat(32).into_bytes(), true),
            ("short", vec![7; 31], false),
        ] {
            let key = ring.add_key(&name(what), &payload).unwrap();
            let read = CustomerKey::read_kernel(&name(what));
            key.invalidate().unwrap();
            assert_eq!(read.is_ok(), usable, "{what}");
        }
        let missing = CustomerKey::read_kernel(&name("none"));
        assert!(matches!(missing, Err(CustomerKeyError::Kernel { .. })));
    }

    #[test]
    fn row_f2_a_file_that_others_can_read_and_a_line_that_is_no_key_are_refused() {
        let key = "11".repeat(32);
        let (_dir, path) = file(&key, 0o640);
        let message = CustomerKey::read_file(&path).unwrap_err().to_string();
        assert!(message.contains("0640"), "{message}");
        let (_dir, path) = file(&format!("{key}\n{}", &key[2..]), 0o600);
        let message = CustomerKey::read_file(&path).unwrap_err().to_string();
        assert!(message.contains("line 2") && !message.contains("1111"), "{message}");
    }
}
