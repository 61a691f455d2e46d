//! What the kernel keeps of a mount: names, and plaintext that it may hand out without asking.

use std::{ffi::OsStr, sync::Weak};

use crate::{
    engine::{Face, Item},
    store::NodeKey,
};

use super::{ops::Ops, transport::Device};

/// A way to make the kernel forget what it keeps of the files of a mount.
#[derive(Clone)]
pub struct Pages {
    ops: Weak<Ops>,
    device: Device,
}

impl Pages {
    pub(super) fn new(ops: Weak<Ops>, device: Device) -> Self {
        Self { ops, device }
    }

    /// Drops the cached content and attributes of every file, also where it is mapped into memory: the next use asks
    /// the engine again. What the kernel has not written yet is written first.
    ///
    /// Must not be called while serving a request of the kernel: it waits for requests that are under way.
    pub fn forget(&self) {
        let Some(ops) = self.ops.upgrade() else { return };
        for id in ops.node_ids() {
            if let Err(error) = self.device.forget_content(id) {
                log::warn!("the kernel keeps pages of node {id}: {error}");
            }
        }
    }
}

impl Face for Pages {
    fn item(&self, key: NodeKey) -> Option<Item> {
        self.ops.upgrade()?.item(key)
    }

    fn look_again(&self, key: NodeKey) {
        let node = self.ops.upgrade().and_then(|ops| ops.node_id(key));
        if let Some(node) = node
            && let Err(error) = self.device.forget_attributes(node)
        {
            log::warn!("the kernel keeps attributes of node {node} until their time is over: {error}");
        }
    }

    fn forget(&self, dir: NodeKey, name: &OsStr) {
        let parent = self.ops.upgrade().and_then(|ops| ops.node_id(dir));
        if let Some(parent) = parent
            && let Err(error) = self.device.forget_entry(parent, name)
        {
            log::warn!("the kernel keeps a name of node {parent} until its time is over: {error}");
        }
    }
}
