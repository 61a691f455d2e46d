//! The keyring's files: private reads, the lock, the write path and the backups.
//!
//! A write never touches the file in place: under the lock, a new file is written beside it, synced, read back and
//! verified; the old file is linked to `keyring.bak.<generation>`; then the new one is renamed over it and the
//! directory synced. A crash at any step leaves the old or the new keyring whole; the leftover `keyring.new` is
//! removed by the next writer.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags};

use super::KeyringError;
use crate::crypto::Zeroizing;

/// An older keyring file that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Generation of the keyring in it.
    pub generation: u64,
    /// The file.
    pub path: PathBuf,
}

/// Tells one state of the keyring file from another: each write makes a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The directory that holds the keyring.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

/// The write lock; released when dropped.
pub(super) struct WriteLock(#[expect(dead_code, reason = "held for its lock")] File);

impl Place {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(super) fn keyring(&self) -> PathBuf {
        self.0.join(NAME)
    }

    fn fresh(&self) -> PathBuf {
        self.0.join(FRESH_NAME)
    }

    /// The stamp of the present file; one system call.
    pub(super) fn stamp(&self) -> Result<FileStamp, KeyringError> {
        let path = self.keyring();
        let meta = fs::metadata(&path).map_err(io_error("inspect", &path))?;
        Ok(FileStamp {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }

    /// Waits for the lock that serialises writers of all processes.
    pub(super) fn lock(&self) -> Result<WriteLock, KeyringError> {
        let path = self.0.join(LOCK_NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nofollow())
            .open(&path)
            .map_err(io_error("open", &path))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))
            .map_err(|e| io_error("lock", &path)(e.into()))?;
        Ok(WriteLock(file))
    }

    /// The keyring's backups, newest first.
    pub(super) fn backups(&self) -> Result<Vec<Backup>, KeyringError> {
        let listing = || -> io::Result<Vec<Backup>> {
            let entries = fs::read_dir(&self.0)?.collect::<io::Result<Vec<_>>>()?;
            Ok(entries.into_iter().filter_map(|entry| Backup::at(entry.path())).collect())
        };
        let mut found = listing().map_err(io_error("list", &self.0))?;
        found.sort_by_key(|backup| std::cmp::Reverse(backup.generation));
        Ok(found)
    }

    /// Puts `bytes` in the place of the keyring, once `verify` accepts what was read back.
    ///
    /// `old` is the generation of the file that is replaced, `None` for the first one.
    pub(super) fn replace(
        &self,
        _lock: &WriteLock,
        old: Option<u64>,
        bytes: &[u8],
        verify: impl FnOnce(&[u8]) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        let (path, fresh) = (self.keyring(), self.fresh());
        write_new(&fresh, bytes)?;
        verify(&read_private(&fresh, MAX_FILE)?)?;
        if let Some(generation) = old {
            self.keep(generation)?;
        }
        fs::rename(&fresh, &path).map_err(io_error("replace", &path))?;
        sync_dir(&self.0)?;
        // The write is done: a backup too many is no reason to call it failed.
        self.prune().unwrap_or_else(|error| log::warn!("{error}"));
        Ok(())
    }

    /// Links the present keyring to its backup name.
    fn keep(&self, generation: u64) -> Result<(), KeyringError> {
        let backup = self.0.join(format!("{BACKUP_PREFIX}{generation}"));
        match fs::hard_link(self.keyring(), &backup) {
            // A crash after this step, or a restored backup, leaves the same content under this name.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && self.is_kept_as(&backup)? => Ok(()),
            other => other.map_err(io_error("keep the old keyring as", &backup)),
        }
    }

    fn is_kept_as(&self, backup: &Path) -> Result<bool, KeyringError> {
        Ok(*read_private(&self.keyring(), MAX_FILE)? == *read_private(backup, MAX_FILE)?)
    }

    fn prune(&self) -> Result<(), KeyringError> {
        self.backups()?.into_iter().skip(BACKUPS_KEPT).try_for_each(|old| old.remove())
    }

    /// Removes the backups below `generation`, which hold what was erased since.
    pub(super) fn forget_before(&self, generation: u64) -> Result<(), KeyringError> {
        let old = self.backups()?.into_iter().filter(|backup| backup.generation < generation);
        old.into_iter().try_for_each(|backup| backup.remove())?;
        sync_dir(&self.0)
    }
}

impl Backup {
    fn at(path: PathBuf) -> Option<Self> {
        let digits = path.file_name()?.to_str()?.strip_prefix(BACKUP_PREFIX)?;
        let generation = digits.parse().ok()?;
        Some(Self { generation, path })
    }

    fn remove(&self) -> Result<(), KeyringError> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove the old backup", &self.path)(e))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a regular file of at most `limit` bytes that nobody but its owner can use.
pub(in crate::keys) fn read_private(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    read_protected(path, limit, 0o077)
}

/// The same, where only the permission bits `public` make a file public.
pub(super) fn read_protected(
    path: &Path,
    limit: u64,
    public: u32,
) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    // NONBLOCK: opening a FIFO by mistake must fail below, not hang here.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io_error("open", path))?;
    let meta = file.metadata().map_err(io_error("inspect", path))?;
    let refused = |why: &str| io_error("read", path)(io::Error::new(io::ErrorKind::InvalidData, why));
    if !meta.is_file() {
        return Err(refused("it is not a regular file"));
    }
    let mode = meta.mode() & 0o7777;
    if mode & public != 0 {
        return Err(KeyringError::NotPrivate { path: path.to_owned(), mode });
    }
    if meta.len() > limit {
        return Err(refused("it is larger than such a file can be"));
    }
    read_bounded(&mut file, meta.len(), limit).map_err(io_error("read", path))
}

/// Reads into one allocation, so that no copy of a secret is left behind by growing.
fn read_bounded(file: &mut File, expected: u64, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let size = usize::try_from(expected).map_err(io::Error::other)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    file.take(expected.saturating_add(1).min(limit)).read_to_end(&mut bytes)?;
    if bytes.len() == size { Ok(bytes) } else { Err(io::Error::other("it changed while it was read")) }
}

/// Creates `path` with mode 0600, after removing what an interrupted writer left there, and syncs it.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeyringError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove the leftover", path)(e));
        }
        _ => {}
    }
    create_private(path, bytes).map_err(io_error("write", path))
}

/// Writes a file that must not exist yet, readable by its owner only, and syncs it.
pub(super) fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), KeyringError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("sync", dir))
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> KeyringError {
    let path = path.to_owned();
    move |source| KeyringError::Io { action, path: path.clone(), source }
}

fn nofollow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

/// Largest keyring file that is read or written, in bytes.
pub(super) const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Backups that stay.
const BACKUPS_KEPT: usize = 10;
const NAME: &str = "keyring";
const FRESH_NAME: &str = "keyring.new";
const LOCK_NAME: &str = "keyring.lock";
const BACKUP_PREFIX: &str = "keyring.bak.";
