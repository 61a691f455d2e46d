//! Operations on open directories.
//!
//! The engine lists without "." and ".."; they come first here. Positions given to the kernel are 0 before ".",
//! 1 before "..", and the engine's own position plus 2 from there on.

use std::{
    ffi::{OsStr, OsString},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    engine::{self, Attr, Caller, Item, ListEntry, OpenDir},
    store::Kind,
};

use super::{Errno, Inode, Ops, Result};

/// A name in a listing.
pub(in crate::fuse) struct Line {
    /// The name.
    pub(in crate::fuse) name: OsString,
    /// Inode number, 0 where it is not known.
    pub(in crate::fuse) ino: u64,
    /// Type.
    pub(in crate::fuse) kind: Kind,
    /// Position just after it.
    pub(in crate::fuse) next: u64,
}

/// A name in a listing with attributes. Without them the kernel must look the name up to learn more.
pub(in crate::fuse) struct PlusLine<'a> {
    /// The name and its position.
    pub(in crate::fuse) line: &'a Line,
    /// Node number and attributes.
    pub(in crate::fuse) found: Option<(u64, Attr)>,
}

/// An open directory.
pub(super) struct OpenListing {
    inode: Arc<Inode<Item>>,
    listing: Mutex<Listing<OpenDir>>,
}

impl Ops {
    /// Starts a listing of `id`.
    pub(in crate::fuse) fn open_dir(&self, caller: &Caller, id: u64) -> Result<u64> {
        let inode = self.inode(id)?;
        let source = self.engine.open_dir(caller, inode.item())?;
        let listing = Mutex::new(Listing::new(source, id));
        Ok(self.listings.insert(OpenListing { inode, listing }))
    }

    /// Hands names from `position` on to `add` until it answers that it is full.
    pub(in crate::fuse) fn read_dir(
        &self,
        handle: u64,
        position: u64,
        mut add: impl FnMut(&Line) -> bool,
    ) -> Result<()> {
        let open = self.listing(handle)?;
        let mut listing = open.listing.lock().unwrap_or_else(PoisonError::into_inner);
        listing.read(position, |line| if add(line) { Step::Full } else { Step::Added })
    }

    /// The same with attributes; each name added with attributes is one more reference held by the kernel.
    pub(in crate::fuse) fn read_dir_plus(
        &self,
        handle: u64,
        position: u64,
        mut add: impl FnMut(PlusLine<'_>) -> bool,
    ) -> Result<()> {
        let open = self.listing(handle)?;
        let mut listing = open.listing.lock().unwrap_or_else(PoisonError::into_inner);
        listing.read(position, |line| self.add_plus(&open.inode, line, &mut add))
    }

    fn add_plus(&self, dir: &Inode<Item>, line: &Line, add: &mut impl FnMut(PlusLine<'_>) -> bool) -> Step {
        let entry = if is_dot(&line.name) { None } else { Some(self.lookup_in(dir, &line.name)) };
        let found = match entry {
            Some(Ok(entry)) => Some((entry.id, entry.attr)),
            Some(Err(Errno(libc::ENOENT))) => return Step::Skipped,
            // An object that cannot be opened must not hide its neighbours, nor itself.
            Some(Err(_)) | None => None,
        };
        if !add(PlusLine { line, found }) {
            return Step::Added;
        }
        if let Some((id, _)) = found {
            self.forget(id, 1);
        }
        Step::Full
    }

    /// The last use of a listing.
    pub(in crate::fuse) fn release_dir(&self, handle: u64) {
        drop(self.listings.remove(handle));
    }

    /// Makes the names in the directory durable.
    pub(in crate::fuse) fn sync_dir(&self, handle: u64) -> Result<()> {
        let open = self.listing(handle)?;
        let listing = open.listing.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(listing.source.sync()?)
    }

    fn listing(&self, handle: u64) -> Result<Arc<OpenListing>> {
        self.listings.get(handle).ok_or(Errno(libc::EBADF))
    }
}

/// What became of a name.
enum Step {
    Added,
    Skipped,
    Full,
}

/// Names in order, without the two that every directory has.
trait Source {
    fn next(&mut self) -> engine::Result<Option<ListEntry>>;
    fn seek(&mut self, position: i64) -> engine::Result<()>;
}

impl Source for OpenDir {
    fn next(&mut self) -> engine::Result<Option<ListEntry>> {
        Self::next(self)
    }

    fn seek(&mut self, position: i64) -> engine::Result<()> {
        Self::seek(self, position)
    }
}

/// A listing and where it stands.
struct Listing<S> {
    source: S,
    own: u64,
    position: u64,
    /// A name that was read but did not fit; it stands at `position`.
    pending: Option<Line>,
}

impl<S: Source> Listing<S> {
    fn new(source: S, own: u64) -> Self {
        Self { source, own, position: 0, pending: None }
    }

    /// An error is reported only when nothing was added before it; the next request meets it again.
    fn read(&mut self, position: u64, mut add: impl FnMut(&Line) -> Step) -> Result<()> {
        self.seek(position)?;
        let mut added = false;
        loop {
            let line = match self.next() {
                Ok(Some(line)) => line,
                Err(error) if !added => return Err(error),
                Ok(None) | Err(_) => return Ok(()),
            };
            match add(&line) {
                Step::Full => {
                    self.pending = Some(line);
                    return Ok(());
                }
                Step::Added => added = true,
                Step::Skipped => {}
            }
            self.position = line.next;
        }
    }

    fn seek(&mut self, position: u64) -> Result<()> {
        if position != self.position {
            self.pending = None;
            self.source.seek(inner_position(position)?)?;
            self.position = position;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Line>> {
        if let Some(line) = self.pending.take() {
            return Ok(Some(line));
        }
        match self.position {
            0 => Ok(Some(dot(".", self.own, 1))),
            1 => Ok(Some(dot("..", 0, FIRST))),
            _ => Ok(self.source.next()?.map(line)),
        }
    }
}

fn line(entry: ListEntry) -> Line {
    let ListEntry { name, ino, kind, next } = entry;
    Line { name, ino, kind, next: outer_position(next) }
}

fn dot(name: &str, ino: u64, next: u64) -> Line {
    Line { name: name.into(), ino, kind: Kind::Directory, next }
}

fn is_dot(name: &OsStr) -> bool {
    name == "." || name == ".."
}

/// The end of a directory may be the largest number there is (ext4, btrfs): it maps to itself.
fn outer_position(inner: i64) -> u64 {
    inner.saturating_add(FIRST.cast_signed()).max(0).cast_unsigned()
}

fn inner_position(outer: u64) -> Result<i64> {
    let outer = i64::try_from(outer).map_err(|_| Errno(libc::EINVAL))?;
    Ok(if outer == i64::MAX { outer } else { (outer - FIRST.cast_signed()).max(0) })
}

/// The position of the engine's first name.
const FIRST: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Names at positions that jump, as those of real file systems do; the last ends at the largest number.
    struct Names {
        at: usize,
        seeks: usize,
    }

    const NAMES: [(&str, i64); 4] = [("a", 7), ("b", 4_000_000_000), ("c", i64::MAX - 40), ("d", i64::MAX)];

    impl Source for Names {
        fn next(&mut self) -> engine::Result<Option<ListEntry>> {
            let entry = NAMES.get(self.at).map(|(name, next)| ListEntry {
                name: name.into(),
                ino: 9,
                kind: Kind::File,
                next: *next,
            });
            self.at += usize::from(entry.is_some());
            Ok(entry)
        }

        fn seek(&mut self, position: i64) -> engine::Result<()> {
            self.seeks += 1;
            self.at = NAMES.iter().position(|(_, next)| *next == position).map_or(0, |index| index + 1);
            Ok(())
        }
    }

    fn listing() -> Listing<Names> {
        Listing::new(Names { at: 0, seeks: 0 }, 55)
    }

    fn read(listing: &mut Listing<Names>, position: u64, room: usize) -> Vec<(String, u64)> {
        let mut names = Vec::new();
        let add = |line: &Line| {
            if names.len() == room {
                return Step::Full;
            }
            names.push((line.name.clone().into_string().unwrap(), line.next));
            Step::Added
        };
        listing.read(position, add).unwrap();
        names
    }

    fn names(lines: &[(String, u64)]) -> Vec<&str> {
        lines.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_listing_begins_with_the_two_names_every_directory_has() {
        assert_eq!(names(&read(&mut listing(), 0, 99)), [".", "..", "a", "b", "c", "d"]);
    }

    #[test]
    fn reading_on_in_pieces_of_any_size_gives_each_name_once_and_never_seeks() {
        for room in 1..8 {
            let (mut listing, mut position, mut seen) = (listing(), 0, Vec::new());
            loop {
                let piece = read(&mut listing, position, room);
                let Some((_, next)) = piece.last() else { break };
                position = *next;
                seen.extend(piece);
            }
            assert_eq!(names(&seen), [".", "..", "a", "b", "c", "d"], "{room} at a time");
            assert_eq!(listing.source.seeks, 0);
        }
    }

    #[test]
    fn any_position_can_be_returned_to() {
        let whole = read(&mut listing(), 0, 99);
        let mut listing = listing();
        for (index, (name, next)) in whole.iter().enumerate().rev() {
            let rest = read(&mut listing, *next, 99);
            assert_eq!(rest, whole[index + 1..], "after `{name}`");
        }
    }

    #[test]
    fn rewinding_reads_the_directory_afresh() {
        let mut listing = listing();
        read(&mut listing, 0, 4);
        assert_eq!(read(&mut listing, 0, 99).len(), 6);
        assert_eq!(listing.source.seeks, 1);
    }

    #[test]
    fn a_skipped_name_does_not_come_back() {
        let mut listing = listing();
        let mut seen = 0;
        listing
            .read(0, |_| {
                seen += 1;
                Step::Skipped
            })
            .unwrap();
        assert_eq!(seen, 6);
    }

    #[test]
    fn a_negative_position_is_invalid() {
        assert_eq!(listing().read(u64::MAX, |_| Step::Added), Err(Errno(libc::EINVAL)));
    }
}
