//! The kernel's page cache of a mount: plaintext that it may hand out without asking.

use std::{io, sync::Weak};

use fuser::{INodeNo, Notifier};

use super::ops::Ops;

/// A way to make the kernel forget what it keeps of the files of a mount.
#[derive(Clone)]
pub struct Pages {
    ops: Weak<Ops>,
    notifier: Notifier,
}

impl Pages {
    pub(super) fn new(ops: Weak<Ops>, notifier: Notifier) -> Self {
        Self { ops, notifier }
    }

    /// Drops the cached content and attributes of every file, also where it is mapped into memory: the next use asks
    /// the engine again. What the kernel has not written yet is written first.
    ///
    /// Must not be called while serving a request of the kernel: it waits for requests that are under way.
    pub fn forget(&self) {
        let Some(ops) = self.ops.upgrade() else { return };
        for id in ops.node_ids() {
            match self.notifier.inval_inode(INodeNo(id), 0, 0) {
                // Forgotten meanwhile, with its pages.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => log::warn!("the kernel keeps pages of node {id}: {error}"),
                Ok(()) => {}
            }
        }
    }
}
