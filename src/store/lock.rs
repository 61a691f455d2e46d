//! The right to write a store: an exclusive `flock` on `.strongroom/lock`, which says who holds it.
//!
//! The lock belongs to the open file: it passes to a forked child and ends with the last process that has it open.
//! The text in the file is for people; only the lock itself decides.

use std::{
    fmt,
    fs::{File, TryLockError},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, openat},
};
use serde::{Deserialize, Serialize};

use super::{
    StoreError,
    layout::{LOCK_FILE, STORE_DIR},
};

/// Who holds a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Process number; 0 when it could not be read.
    pub pid: u32,
    /// Where the store is mounted, or what the process does.
    pub purpose: String,
    /// How requests reach a mount: `classic` or `uring`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
}

impl Holder {
    /// This process.
    pub fn this_process(purpose: impl Into<String>) -> Self {
        Self { pid: std::process::id(), purpose: purpose.into(), transport: None }
    }

    /// The same, for a mount whose requests come over `transport`.
    #[must_use]
    pub fn over(self, transport: impl fmt::Display) -> Self {
        Self { transport: Some(transport.to_string()), ..self }
    }

    fn unknown() -> Self {
        Self { pid: 0, purpose: String::new(), transport: None }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.purpose.as_str()) {
            (0, _) => f.write_str("another process"),
            (pid, "") => write!(f, "process {pid}"),
            (pid, purpose) => write!(f, "process {pid} (`{purpose}`)"),
        }
    }
}

/// A store locked for writing, until dropped.
#[derive(Debug)]
pub struct StoreLock {
    file: File,
    read_only: bool,
}

impl StoreLock {
    /// Locks the store at `root` without waiting; names the holder when there is one. On a read-only file system the
    /// lock is held as well, but cannot say by whom.
    pub fn acquire(root: &Path, holder: &Holder) -> Result<Self, StoreError> {
        let (file, read_only) = match open(root, OFlags::RDWR | OFlags::CREATE) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => (open_unwritable(root), true),
            opened => (opened, false),
        };
        let file = file.map_err(io_at("open the store's lock file"))?;
        if !lock(&file)? {
            return Err(StoreError::Locked { holder: read(&file) });
        }
        let lock = Self { file, read_only };
        if !read_only {
            lock.describe(holder)?;
        }
        Ok(lock)
    }

    /// Whether the store lies on a file system that takes no change.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Writes who holds the lock; again when there is more to tell.
    pub fn describe(&self, holder: &Holder) -> Result<(), StoreError> {
        let write = || {
            let text = serde_json::to_vec(holder)?;
            // In this order a longer text replaces a shorter one without a moment in which there is none.
            self.file.write_all_at(&text, 0)?;
            self.file.set_len(text.len() as u64)
        };
        write().map_err(io_at("write the store's lock file"))
    }
}

/// Who holds the store at `root`, if anybody.
pub fn holder(root: &Path) -> Result<Option<Holder>, StoreError> {
    let file = match open(root, OFlags::RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_at("open the store's lock file"))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(read(&file))),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { what: "look at the store's lock", source }),
    }
}

/// Tries more than once, because [`holder`] takes the lock for a moment to see whether it is free.
fn lock(file: &File) -> Result<bool, StoreError> {
    for _ in 0..ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::Io { what: "lock the store", source });
            }
        }
    }
    Ok(false)
}

/// Where no lock file was ever made, the directory around it serves.
fn open_unwritable(root: &Path) -> io::Result<File> {
    match open(root, OFlags::RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(open_dir(root, OFlags::RDONLY)?.into()),
        opened => opened,
    }
}

fn open_dir(root: &Path, access: OFlags) -> io::Result<OwnedFd> {
    let dir = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, dir | OFlags::PATH, Mode::empty())?;
    Ok(openat(root, STORE_DIR, dir | access | OFlags::NOFOLLOW, Mode::empty())?)
}

fn open(root: &Path, access: OFlags) -> io::Result<File> {
    let dir = open_dir(root, OFlags::PATH)?;
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(openat(dir, LOCK_FILE, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn read(file: &File) -> Holder {
    let mut text = Vec::new();
    let read = file.take(MAX_TEXT).read_to_end(&mut text);
    read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_else(Holder::unknown)
}

fn io_at(what: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::Io { what, source }
}

const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of the lock file that are looked at.
const MAX_TEXT: u64 = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(STORE_DIR)).unwrap();
        dir
    }

    #[test]
    fn the_second_process_is_told_about_the_first() {
        let dir = store();
        let me = Holder::this_process("/mnt/vault");
        let lock = StoreLock::acquire(dir.path(), &me).unwrap();
        assert_eq!(holder(dir.path()).unwrap(), Some(me.clone()));
        let error = StoreLock::acquire(dir.path(), &Holder::this_process("verify")).unwrap_err();
        assert!(matches!(&error, StoreError::Locked { holder } if *holder == me), "{error}");
        assert!(error.to_string().contains(&format!("process {} (`/mnt/vault`)", std::process::id())));
        drop(lock);
        assert_eq!(holder(dir.path()).unwrap(), None);
        StoreLock::acquire(dir.path(), &me).unwrap();
    }

    #[test]
    fn a_shorter_description_replaces_a_longer_one() {
        let dir = store();
        let lock = StoreLock::acquire(dir.path(), &Holder::this_process("a long purpose")).unwrap();
        let shorter = Holder { pid: 7, purpose: "x".into(), transport: None };
        lock.describe(&shorter).unwrap();
        assert_eq!(holder(dir.path()).unwrap(), Some(shorter));
    }

    #[test]
    fn a_crashed_holder_leaves_text_but_no_lock() {
        let dir = store();
        std::fs::write(dir.path().join(STORE_DIR).join(LOCK_FILE), r#"{"pid":1,"purpose":"gone"}"#).unwrap();
        assert_eq!(holder(dir.path()).unwrap(), None);
        StoreLock::acquire(dir.path(), &Holder::this_process("next")).unwrap();
    }

    #[test]
    fn unreadable_text_still_means_locked() {
        let dir = store();
        let _lock = StoreLock::acquire(dir.path(), &Holder::this_process("x")).unwrap();
        std::fs::write(dir.path().join(STORE_DIR).join(LOCK_FILE), "not json").unwrap();
        let error = StoreLock::acquire(dir.path(), &Holder::this_process("y")).unwrap_err();
        assert_eq!(error.to_string(), "the store is in use by another process; end that process first");
    }

    #[test]
    fn asking_for_the_holder_creates_nothing() {
        let dir = store();
        assert_eq!(holder(dir.path()).unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path().join(STORE_DIR)).unwrap().count(), 0);
    }
}
