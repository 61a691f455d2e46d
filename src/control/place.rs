//! Where the socket is: `control` in the reserved directory of the store.
//!
//! A socket address has at most 108 bytes. The directory is opened first and the socket named through
//! `/proc/self/fd`, so that the path of the store may be of any length.

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, chmodat, openat, unlinkat},
    io::Errno,
};

use crate::store::layout::{CONTROL_SOCKET, STORE_DIR};

/// The reserved directory of a store, open.
pub(super) struct Place(OwnedFd);

impl Place {
    pub(super) fn of(store: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let root = openat(CWD, store, flags, Mode::empty())?;
        Ok(Self(openat(root, STORE_DIR, flags | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// Makes the socket, in place of one that a crash left. Only the holder of the store's lock may do so.
    pub(super) fn bind(&self) -> io::Result<UnixListener> {
        self.remove()?;
        let listener = UnixListener::bind(self.socket())?;
        chmodat(&self.0, CONTROL_SOCKET, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
        Ok(listener)
    }

    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.socket())
    }

    /// Removes the socket, if there is one.
    pub(super) fn remove(&self) -> io::Result<()> {
        match unlinkat(&self.0, CONTROL_SOCKET, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Who owns the directory.
    pub(super) fn owner(&self) -> io::Result<u32> {
        Ok(rustix::fs::fstat(&self.0)?.st_uid)
    }

    fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{CONTROL_SOCKET}", self.0.as_raw_fd()))
    }
}
