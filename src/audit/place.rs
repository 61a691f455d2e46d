//! The files of a log: `state`, and the lines in `audit-NNNNNNNN.jsonl`, numbered from 1 on.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Gid, OFlags, Uid, flock};

use super::{AuditError, error::io_error};

/// The directory of a log.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

/// The right to read and change the state and to append; given back when dropped.
pub(super) struct Turn<'a>(&'a File);

impl Place {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    pub(super) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub(super) fn file(&self, number: u64) -> PathBuf {
        self.0.join(format!("{PREFIX}{number:08}{SUFFIX}"))
    }

    /// Whether a log was begun here.
    pub(super) fn exists(&self) -> bool {
        self.state().symlink_metadata().is_ok()
    }

    /// Makes the directory, for its owner only.
    pub(super) fn make(&self) -> Result<(), AuditError> {
        let mut builder = DirBuilder::new();
        match builder.mode(0o700).create(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made.map_err(io_error("make the directory", &self.0))?,
        }
        let parent = self.0.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = File::open(&self.0).map_err(io_error("open", &self.0))?;
        give_to_owner_of(parent, &dir);
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(io_error("sync", parent))
    }

    /// Opens the state file, made empty if there is none and `make`.
    pub(super) fn open_state(&self, make: bool) -> io::Result<File> {
        let new = make && !self.exists();
        let file = options().read(true).write(true).create(make).open(self.state())?;
        if new {
            give_to_owner_of(&self.0, &file);
        }
        Ok(file)
    }

    /// Opens file `number` to append to it, made if there is none.
    pub(super) fn open_file(&self, number: u64) -> Result<File, AuditError> {
        let path = self.file(number);
        let new = !path.exists();
        let open = options().read(true).append(true).create(true).open(&path);
        let file = open.map_err(io_error("open", &path))?;
        if new {
            give_to_owner_of(&self.0, &file);
            self.sync()?;
        }
        Ok(file)
    }

    /// Makes the names durable.
    pub(super) fn sync(&self) -> Result<(), AuditError> {
        File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(io_error("sync", &self.0))
    }

    /// The files with lines, in their order.
    pub(super) fn files(&self) -> Result<Vec<(u64, PathBuf)>, AuditError> {
        let mut files = Vec::new();
        let list = |files: &mut Vec<(u64, PathBuf)>| -> io::Result<()> {
            for entry in fs::read_dir(&self.0)? {
                let entry = entry?;
                files
                    .extend(entry.file_name().to_str().and_then(number).map(|number| (number, entry.path())));
            }
            Ok(())
        };
        match list(&mut files) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(AuditError::NoLog(self.0.clone()));
            }
            done => done.map_err(io_error("list", &self.0))?,
        }
        files.sort_unstable();
        Ok(files)
    }
}

impl<'a> Turn<'a> {
    /// Waits for the turn of this process; others hold theirs for one batch of lines.
    pub(super) fn take(state: &'a File) -> io::Result<Self> {
        rustix::io::retry_on_intr(|| flock(state, FlockOperation::LockExclusive))?;
        Ok(Self(state))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Closing the file would do the same; a lock that is held cannot fail to be given back.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}

/// Writes a new file, or over what an interrupted writer left there, for its owner only, durably.
pub(super) fn private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = options().write(true).create(true).truncate(true).open(path)?;
    if let Some(dir) = path.parent() {
        give_to_owner_of(dir, &file);
    }
    file.write_all(bytes)?;
    file.sync_all()
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// What root makes in the store of somebody else belongs to that user, who could not go on with it otherwise. Without
/// the right to do so the two are the same user.
fn give_to_owner_of(dir: &Path, file: impl AsFd) {
    if let Ok(owner) = dir.metadata() {
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        if let Err(error) = rustix::fs::fchown(file, Some(uid), Some(gid)) {
            log::debug!("a file in `{}` keeps its owner: {error}", dir.display());
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";
