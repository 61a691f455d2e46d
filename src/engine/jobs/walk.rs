//! What stands in a bucket, one after the other, without a key and without keeping more than the way down to it.
//!
//! Memory is bounded by the depth of the tree: one open listing for each directory on the way. The order is that of the
//! file system. What is renamed or removed meanwhile may be seen or not, and a name that was replaced may come twice.

use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{
    name::FileName,
    store::{Entries, Kind, NodeRef, Stat, layout::BUCKET_DIR},
};

/// Something that stands in a bucket.
pub(super) struct Found {
    /// Path in the bucket.
    pub(super) path: PathBuf,
    /// The directory it stands in.
    pub(super) dir: NodeRef,
    /// Its name there.
    pub(super) name: FileName,
    /// What it is.
    pub(super) node: NodeRef,
    /// Its stored attributes.
    pub(super) stat: Stat,
}

impl Found {
    /// What stands at `path` below `root`, the directory of a bucket, if anything does.
    pub(super) fn at(root: &NodeRef, path: &Path) -> io::Result<Option<Self>> {
        let (mut dir, mut parts) = (root.clone(), path.iter().peekable());
        while let Some(part) = parts.next() {
            let name = FileName::parse(part).map_err(io::Error::other)?;
            let (node, stat) = match dir.lookup(&name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                found => found?,
            };
            if parts.peek().is_none() {
                return Ok(Some(Self { path: path.to_owned(), dir, name, node, stat }));
            }
            dir = node;
        }
        Ok(None)
    }
}

/// A place that could not be looked at.
#[derive(Debug)]
pub(super) struct Unseen {
    /// Path in the bucket.
    pub(super) path: PathBuf,
    /// Why.
    pub(super) error: io::Error,
}

/// A walk through a bucket: directories before what is in them.
pub(super) struct Walk {
    /// First bytes of the paths to be seen.
    prefix: Vec<u8>,
    way: Vec<Level>,
    /// Nothing else is looked at.
    directories: bool,
}

struct Level {
    dir: NodeRef,
    path: PathBuf,
    entries: Box<dyn Entries>,
}

impl Walk {
    /// Begins at `root`, the directory of a bucket, and shows what has a path that begins with `prefix`.
    pub(super) fn new(root: NodeRef, prefix: &OsStr) -> io::Result<Self> {
        let entries = root.entries()?;
        let top = Level { dir: root, path: PathBuf::new(), entries };
        Ok(Self { prefix: prefix.as_bytes().to_vec(), way: vec![top], directories: false })
    }

    /// The same, showing directories alone.
    pub(super) fn directories(root: NodeRef, prefix: &OsStr) -> io::Result<Self> {
        Ok(Self { directories: true, ..Self::new(root, prefix)? })
    }

    /// Whether the path begins with the prefix, or leads to one that does.
    fn covers(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_bytes();
        path.starts_with(&self.prefix)
            || self.prefix.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"))
    }

    fn begins(&self, path: &Path) -> bool {
        path.as_os_str().as_bytes().starts_with(&self.prefix)
    }

    /// The next name of the deepest listing; `None` at its end.
    fn step(&mut self) -> Option<Result<Option<Found>, Unseen>> {
        let top = self.way.len() == 1;
        let level = self.way.last_mut()?;
        let entry = match level.entries.next() {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                self.way.pop();
                return Some(Ok(None));
            }
            Err(error) => {
                let path = level.path.clone();
                self.way.pop();
                return Some(Err(Unseen { path, error }));
            }
        };
        let is_other = self.directories && entry.kind.is_some_and(|kind| kind != Kind::Directory);
        if is_other || top && entry.name == BUCKET_DIR {
            return Some(Ok(None));
        }
        let (dir, path) = (level.dir.clone(), level.path.join(&entry.name));
        if !self.covers(&path) {
            return Some(Ok(None));
        }
        Some(self.enter(dir, path, &entry.name))
    }

    fn enter(&mut self, dir: NodeRef, path: PathBuf, name: &OsStr) -> Result<Option<Found>, Unseen> {
        let unseen = |error: io::Error| Unseen { path: path.clone(), error };
        let name = FileName::parse(name).map_err(|error| unseen(io::Error::other(error)))?;
        let (node, stat) = match dir.lookup(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(unseen)?,
        };
        if stat.kind == Kind::Directory {
            let entries = node.entries().map_err(unseen)?;
            self.way.push(Level { dir: node.clone(), path: path.clone(), entries });
        }
        let shown = self.begins(&path) && (!self.directories || stat.kind == Kind::Directory);
        Ok(shown.then_some(Found { path, dir, name, node, stat }))
    }
}

impl Iterator for Walk {
    type Item = Result<Found, Unseen>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step()? {
                Ok(Some(found)) => return Some(Ok(found)),
                Ok(None) => {}
                Err(unseen) => return Some(Err(unseen)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalStore;

    fn seen(prefix: &str) -> Vec<String> {
        seen_by(|root| Walk::new(root, OsStr::new(prefix)))
    }

    fn seen_by(walk: impl FnOnce(NodeRef) -> io::Result<Walk>) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for path in [".eob/kek/x", "a/b/c", "a/.eob", "ab", "b/a"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let root = LocalStore::open_with_handles(dir.path(), 16).unwrap().root();
        let mut seen: Vec<_> =
            walk(root).unwrap().map(|found| found.unwrap().path.display().to_string()).collect();
        seen.sort();
        seen
    }

    #[test]
    fn everything_is_seen_but_the_reserved_directory_of_the_bucket() {
        assert_eq!(seen(""), ["a", "a/.eob", "a/b", "a/b/c", "ab", "b", "b/a"]);
    }

    #[test]
    fn a_prefix_is_of_the_path_as_in_s3() {
        assert_eq!(seen("a"), ["a", "a/.eob", "a/b", "a/b/c", "ab"]);
        assert_eq!(seen("a/b"), ["a/b", "a/b/c"]);
        assert_eq!(seen("a/b/"), ["a/b/c"]);
        assert_eq!(seen("nothing"), Vec::<String>::new());
    }

    #[test]
    fn directories_are_shown_alone_where_that_is_asked_for() {
        assert_eq!(seen_by(|root| Walk::directories(root, OsStr::new(""))), ["a", "a/b", "b"]);
        assert_eq!(seen_by(|root| Walk::directories(root, OsStr::new("a/"))), ["a/b"]);
    }
}
