//! Files of the source with several names, and where the first of them stands in the target.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{super::walk::Found, replica::LinkedFile};
use crate::{
    engine::Result,
    store::{NodeKey, NodeRef},
};

/// Files of which not all names were seen yet. Memory grows with these alone.
#[derive(Default)]
pub(super) struct LinkedFiles(HashMap<(u64, u64), Linked>);

/// A file with several names.
struct Linked {
    /// One of them, and what stood there; none while its content is queued.
    place: Option<(PathBuf, NodeKey)>,
    /// Names of the source that are still to come.
    left: u32,
}

/// What is known here of a file with several names.
pub(super) enum Known {
    /// Nothing, or nothing that still holds.
    No,
    /// Its content waits for the flush.
    Queued,
    /// It stands there.
    At(Found),
}

impl LinkedFiles {
    /// What is known of `file` below `root`.
    pub(super) fn known(&self, root: &NodeRef, file: &LinkedFile) -> Result<Known> {
        let Some(linked) = self.0.get(&file.key) else { return Ok(Known::No) };
        let Some((path, key)) = &linked.place else { return Ok(Known::Queued) };
        let found = Found::at(root, path)?.filter(|found| found.node.key() == *key);
        Ok(found.map_or(Known::No, Known::At))
    }

    /// The content of `file` is queued under its first name.
    pub(super) fn queued(&mut self, file: &LinkedFile) {
        self.0.insert(file.key, Linked { place: None, left: file.names.saturating_sub(1) });
    }

    /// The first name of `file` stands at `path`.
    pub(super) fn placed(&mut self, file: &LinkedFile, path: &Path, key: NodeKey) {
        let left = self.0.get(&file.key).map_or(file.names.saturating_sub(1), |linked| linked.left);
        self.0.insert(file.key, Linked { place: Some((path.to_owned(), key)), left });
    }

    /// The first name of `file` could not be placed.
    pub(super) fn lost(&mut self, file: &LinkedFile) {
        self.0.remove(&file.key);
    }

    /// A further name of `file` is there; it is forgotten with the last.
    pub(super) fn named(&mut self, file: &LinkedFile) {
        if let Some(linked) = self.0.get_mut(&file.key) {
            linked.left = linked.left.saturating_sub(1);
            if linked.left == 0 {
                self.0.remove(&file.key);
            }
        }
    }
}
