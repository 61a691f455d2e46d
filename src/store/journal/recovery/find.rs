//! Finding the files that frames are about: by path, then by inode number, then by id.
//!
//! Nothing found is trusted for its place: the file must show that it is the object. A path from the journal is walked
//! name by name through [`Node::lookup`](crate::store::Node::lookup), which follows no link, and leads neither below
//! `.eob` nor to another file system.

use std::{collections::HashSet, ffi::OsStr, io, os::unix::ffi::OsStrExt};

use super::objects::{Object, Objects};
use crate::{
    name::FileName,
    store::{Access, DirEntry, Kind, NodeRef, Stat, layout::BUCKET_DIR},
};

/// Finds what is still there of `objects` in the bucket at `root`.
pub(super) fn all(objects: &mut Objects, root: &NodeRef) -> io::Result<()> {
    for index in 0..objects.all.len() {
        let found =
            objects.all.get(index).map(|object| by_hints(objects, object, root)).transpose()?.flatten();
        set(objects, index, found);
    }
    for thorough in [false, true] {
        if objects.all.iter().any(|object| object.node.is_none()) {
            search(objects, root, thorough)?;
        }
    }
    Ok(())
}

fn set(objects: &mut Objects, index: usize, found: Option<NodeRef>) {
    if let Some(object) = objects.all.get_mut(index) {
        object.node = found.or(object.node.take());
    }
}

fn by_hints(objects: &Objects, object: &Object, root: &NodeRef) -> io::Result<Option<NodeRef>> {
    for path in object.hints.iter().rev() {
        if let Some((node, stat)) = walk(root, path)?
            && stat.kind == Kind::File
            && is_object(objects, object, &identity(&node)?, &stat)
        {
            return Ok(Some(node));
        }
    }
    Ok(None)
}

fn walk(root: &NodeRef, path: &[u8]) -> io::Result<Option<(NodeRef, Stat)>> {
    let mut at = (root.clone(), root.stat()?);
    for (depth, part) in path.split(|byte| *byte == b'/').enumerate() {
        let name = OsStr::from_bytes(part);
        let Ok(name) = FileName::parse(name) else { return Ok(None) };
        let reserved = depth == 0 && name.as_os_str() == BUCKET_DIR;
        if reserved || at.1.kind != Kind::Directory {
            return Ok(None);
        }
        match child(&at.0, &name, root)? {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// The child `name`, unless it is gone or of another file system.
fn child(dir: &NodeRef, name: &FileName, root: &NodeRef) -> io::Result<Option<(NodeRef, Stat)>> {
    match dir.lookup(name) {
        Err(error) if is_gone(&error) => Ok(None),
        found => found.map(|(node, stat)| (stat.key.dev == root.key().dev).then_some((node, stat))),
    }
}

/// Walks the whole bucket for the objects without a file. A file is looked into when its inode number is one of
/// theirs, or, if the walk is `thorough`, in any case.
fn search(objects: &mut Objects, root: &NodeRef, thorough: bool) -> io::Result<()> {
    let wanted: HashSet<u64> =
        objects.all.iter().filter(|object| object.node.is_none()).map(|object| object.inode).collect();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        let at_root = dir.key() == root.key();
        let mut entries = dir.entries()?;
        while let Some(entry) = entries.next()? {
            if at_root && entry.name == BUCKET_DIR || !may_matter(&entry, thorough, &wanted) {
                continue;
            }
            let Ok(name) = FileName::parse(&entry.name) else { continue };
            match child(&dir, &name, root)? {
                Some((node, stat)) if stat.kind == Kind::Directory => dirs.push(node),
                Some((node, stat)) => offer(objects, &node, &stat)?,
                None => {}
            }
        }
    }
    Ok(())
}

fn may_matter(entry: &DirEntry, thorough: bool, wanted: &HashSet<u64>) -> bool {
    match entry.kind {
        None | Some(Kind::Directory) => true,
        Some(Kind::File) => thorough || wanted.contains(&entry.ino),
        Some(_) => false,
    }
}

/// Gives the file to the objects without one that it is.
fn offer(objects: &mut Objects, node: &NodeRef, stat: &Stat) -> io::Result<()> {
    if stat.kind != Kind::File {
        return Ok(());
    }
    let shown = identity(node)?;
    for index in 0..objects.all.len() {
        let missing = objects.all.get(index).filter(|object| object.node.is_none());
        if missing.is_some_and(|object| is_object(objects, object, &shown, stat)) {
            set(objects, index, Some(node.clone()));
        }
    }
    Ok(())
}

/// Whether the regular file that shows `shown` is `object`.
fn is_object(objects: &Objects, object: &Object, shown: &Shown, stat: &Stat) -> bool {
    let same_inode = stat.key.ino == object.inode;
    match shown {
        // With another inode number it is a copy of the store, unless it is a copy of the object that is in the log
        // by itself.
        Shown::Id(id) => object.ids.contains(id) && (same_inode || !objects.knows(*id, stat.key.ino)),
        // A crash destroyed the first sector while it was written: whose it was, only the inode number says. It says
        // so of the last owner of that number, and an object has at least its header page.
        Shown::Nothing => same_inode && stat.size >= LEAST_OBJECT && objects.is_newest_of_inode(object),
    }
}

/// What the first sector of a file says.
enum Shown {
    Id([u8; 16]),
    Nothing,
}

fn identity(node: &NodeRef) -> io::Result<Shown> {
    let mut head = [0; HEAD_LEN];
    match node.open(Access::Read).and_then(|file| file.read_at(&mut head, 0)) {
        // A sector that was in flight may be unreadable until it is written again.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(Shown::Nothing),
        outcome => _ = outcome?,
    }
    let id = head.last_chunk::<16>().expect("the id ends the head");
    Ok(if head.starts_with(&OBJECT_MAGIC) { Shown::Id(*id) } else { Shown::Nothing })
}

fn is_gone(error: &io::Error) -> bool {
    [libc::ENOENT, libc::ENOTDIR, libc::ESTALE, libc::ELOOP, libc::ENAMETOOLONG]
        .map(Some)
        .contains(&error.raw_os_error())
}

/// The first bytes of every object, the id among them (format section 10.2).
const HEAD_LEN: usize = 32;
const OBJECT_MAGIC: [u8; 8] = [0x89, b'E', b'O', b'B', b'\r', b'\n', 0x1a, b'\n'];
/// Bytes of one header page.
const LEAST_OBJECT: u64 = 4096;
