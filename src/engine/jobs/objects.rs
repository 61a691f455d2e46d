//! The objects of a bucket that a filter takes, one after the other, with what their headers tell.

use std::{io, path::Path};

use super::{
    description::{Description, KeyFiles},
    filter::Filter,
    walk::{Found, Unseen, Walk},
};
use crate::{
    engine::clock,
    store::{Kind, NodeRef},
};

/// Something that stands in a bucket.
pub(super) enum Seen {
    /// A regular file that the filter takes.
    Object(Box<Found>, Description),
    /// A directory, link or special file.
    Other(Box<Found>),
}

/// A walk through a bucket.
pub(super) struct Objects {
    walk: Walk,
    keys: KeyFiles,
    filter: Filter,
    /// Unix seconds, for ages.
    now: u64,
}

impl Objects {
    /// Begins at `root`, the directory of a bucket with the reserved directory `private`.
    pub(super) fn new(root: NodeRef, private: &NodeRef, filter: Filter) -> io::Result<Self> {
        let walk = Walk::new(root, &filter.prefix)?;
        Ok(Self { walk, keys: KeyFiles::new(private)?, filter, now: clock::now_secs() })
    }

    /// The regular file at `path` below `root`, if there is one now.
    pub(super) fn at(&mut self, root: &NodeRef, path: &Path) -> io::Result<Option<(Found, Description)>> {
        let Some(found) = Found::at(root, path)?.filter(|found| found.stat.kind == Kind::File) else {
            return Ok(None);
        };
        let description = self.keys.describe(&found.node)?;
        Ok(Some((found, description)))
    }

    /// What `found` is; `None` for what the filter leaves out or is gone meanwhile.
    fn see(&mut self, found: Found) -> Result<Option<Seen>, Unseen> {
        if found.stat.kind != Kind::File {
            return Ok(Some(Seen::Other(Box::new(found))));
        }
        match self.keys.describe(&found.node) {
            Ok(description) if self.filter.takes(&description, self.now) => {
                Ok(Some(Seen::Object(Box::new(found), description)))
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => Ok(None),
            Err(error) => Err(Unseen { path: found.path, error }),
        }
    }
}

impl Iterator for Objects {
    type Item = Result<Seen, Unseen>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let seen = self.walk.next()?.and_then(|found| self.see(found));
            if let Some(seen) = seen.transpose() {
                return Some(seen);
            }
        }
    }
}
