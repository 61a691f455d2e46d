//! The store in a local directory.
//!
//! Assumes Linux with `/proc` mounted. Never follows a symbolic link, never leaves the root directory, and never
//! builds a path from more than one name: everything goes through directory handles.

mod attributes;
mod create;
mod entries;
mod file;
mod handles;
mod limit;
mod node;
mod operations;
mod proc;
mod stat;
#[cfg(test)]
mod tests;
mod umask;
mod watch;

use std::{io, path::Path, sync::Arc};

use rustix::fs::{Mode, OFlags};

use self::{handles::Handles, node::LocalNode};
use crate::store::NodeRef;

pub use limit::raise_fd_limit;
pub use watch::Watcher;

/// A store directory, open.
pub struct LocalStore {
    root: Arc<LocalNode>,
}

impl LocalStore {
    /// Opens the directory `root`, with as many handles as the limit on open files leaves room for
    /// (call [`raise_fd_limit`] first).
    pub fn open(root: &Path) -> io::Result<Self> {
        Self::open_with_handles(root, limit::default_handles())
    }

    /// Opens the directory `root` and keeps at most `handles` idle nodes of it open.
    pub fn open_with_handles(root: &Path, handles: usize) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root, flags, Mode::empty())?;
        proc::check(&fd)?;
        limit::make_room(&fd, handles);
        let root = LocalNode::root(fd, Arc::new(Handles::new(handles)))?;
        Ok(Self { root })
    }

    /// Opens the directory `root`; makes it, with mode 0700, when it is absent. Its parent must exist.
    pub fn open_or_make(root: &Path) -> io::Result<Self> {
        match rustix::fs::mkdir(root, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Self::open(root),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The root directory.
    pub fn root(&self) -> NodeRef {
        self.root.clone()
    }
}
