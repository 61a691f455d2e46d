//! What a node of the local store is, and how it reaches its inode.
//!
//! A node knows its identity and its place (parent and name). Its handle is opened at first need, checked against
//! the identity, and may be closed again by the clock in `handles`. A name that now leads elsewhere gives `ESTALE`:
//! never another file, never a place outside.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, fstat, openat, statat},
    io::Errno,
};

use super::{
    file::LocalFile,
    handles::{Handle, Handles, SharedFd},
    stat::{key_of, stat_of},
};
use crate::{
    name::FileName,
    store::{Access, File, Kind, NodeKey, Stat},
};

/// A file, directory or special node at or below the root directory.
pub(super) struct LocalNode {
    me: Weak<LocalNode>,
    pub(super) key: NodeKey,
    pub(super) kind: Kind,
    /// Made at first need: most nodes are looked at by name and never opened.
    handle: OnceLock<Arc<Handle>>,
    pub(super) handles: Arc<Handles>,
    /// `None` for the root only. Locked for the moment of a copy, with no other lock.
    place: Mutex<Option<Arc<Place>>>,
}

/// Where a node stands.
struct Place {
    dir: Arc<LocalNode>,
    name: FileName,
}

impl LocalNode {
    /// The node of the root directory, open for good.
    pub(super) fn root(fd: OwnedFd, handles: Arc<Handles>) -> io::Result<Arc<Self>> {
        let stat = stat_of(&fstat(&fd)?);
        let root = Self::new(&stat, handles, None);
        drop(root.handles.keep(root.handle(), fd));
        root.pin_open().map(|()| root)
    }

    /// The node that was just seen here as `name`; not open yet.
    pub(super) fn child(&self, name: &FileName, stat: &Stat) -> Arc<Self> {
        let place = Place { dir: self.me(), name: name.clone() };
        Self::new(stat, self.handles.clone(), Some(Arc::new(place)))
    }

    /// The node that was just made here as `name`, with its `O_PATH` handle.
    pub(super) fn open_child(&self, name: &FileName, stat: &Stat, fd: OwnedFd) -> Arc<Self> {
        let child = self.child(name, stat);
        drop(self.handles.keep(child.handle(), fd));
        child
    }

    fn new(stat: &Stat, handles: Arc<Handles>, place: Option<Arc<Place>>) -> Arc<Self> {
        let (key, kind, handle, place) = (stat.key, stat.kind, OnceLock::new(), Mutex::new(place));
        Arc::new_cyclic(|me| Self { me: me.clone(), key, kind, handle, handles, place })
    }

    fn handle(&self) -> &Arc<Handle> {
        self.handle.get_or_init(Handle::closed)
    }

    /// The `O_PATH` handle, where it is open.
    fn open_handle(&self) -> Option<SharedFd> {
        self.handle.get()?.get()
    }

    /// This node, shared.
    pub(super) fn me(&self) -> Arc<Self> {
        self.me.upgrade().expect("a node is only ever made inside an `Arc`, which a caller holds now")
    }

    /// The `O_PATH` handle, opened where it is not.
    pub(super) fn fd(&self) -> io::Result<SharedFd> {
        if let Some(fd) = self.open_handle() {
            return Ok(fd);
        }
        loop {
            let closed = self.closed_chain()?;
            if let Some(fd) = reopen_chain(closed)? {
                return Ok(fd);
            }
        }
    }

    /// The regular file, opened by its name, where that is the shorter way and leads to it; needs no handle.
    pub(super) fn open_by_name(&self, access: Access) -> io::Result<Option<(LocalFile, Stat)>> {
        if self.open_handle().is_some() {
            return Ok(None);
        }
        let place = self.place()?;
        let dir = place.dir.fd()?;
        let opened = self.handles.with_room(|| LocalFile::open_at(&*dir, &place.name, access));
        // Whatever is wrong, the way through the handle finds it out.
        let seen = opened.and_then(|file| file.stat().map(|stat| (file, stat)));
        Ok(seen.ok().filter(|(_, stat)| stat.key == self.key))
    }

    /// Current attributes: one system call, when this node or its parent is open.
    pub(super) fn stat_now(&self) -> io::Result<Stat> {
        loop {
            if let Some(fd) = self.open_handle() {
                return Ok(stat_of(&fstat(&*fd)?));
            }
            let place = self.place()?;
            match self.stat_at(&place) {
                Err(_) if self.has_left(&place) => {}
                outcome => return outcome,
            }
        }
    }

    /// Keeps the handle open until the node is dropped or placed again.
    pub(super) fn pin_open(&self) -> io::Result<()> {
        loop {
            // Held here, the descriptor may still leave the handle before the pin takes effect.
            let _open = self.fd()?;
            if self.handles.pin(self.handle()) {
                return Ok(());
            }
        }
    }

    /// Notes a new place and ends a pin.
    pub(super) fn settle_at(&self, dir: Arc<Self>, name: &FileName) {
        let mut place = lock(&self.place);
        if place.is_some() {
            let before = place.replace(Arc::new(Place { dir, name: name.clone() }));
            drop(place);
            drop(before);
            if let Some(handle) = self.handle.get() {
                self.handles.unpin(handle);
            }
        }
    }

    /// The names from the root down to this node.
    pub(super) fn place_names(&self) -> PathBuf {
        // From the last letter to the first, as the names are found.
        let mut letters = Vec::with_capacity(USUAL_LENGTH);
        let own = lock(&self.place).clone();
        for here in std::iter::successors(own, |here| lock(&here.dir.place).clone()) {
            if !letters.is_empty() {
                letters.push(b'/');
            }
            letters.extend(here.name.as_os_str().as_bytes().iter().rev());
        }
        letters.reverse();
        OsString::from_vec(letters).into()
    }

    /// The directory and name under which this node was last known to stand.
    pub(super) fn last_place(&self) -> Option<(NodeKey, FileName)> {
        let place = lock(&self.place).clone()?;
        Some((place.dir.key, place.name.clone()))
    }

    fn place(&self) -> io::Result<Arc<Place>> {
        lock(&self.place).clone().ok_or_else(|| Errno::STALE.into())
    }

    /// Whether a look at `place` proves nothing any more, because the node was pinned or moved meanwhile. The handle
    /// comes first: between a pin and the news of the move it is open, afterwards the place is another.
    fn has_left(&self, place: &Arc<Place>) -> bool {
        self.open_handle().is_some() || !lock(&self.place).as_ref().is_some_and(|now| Arc::ptr_eq(now, place))
    }

    fn stat_at(&self, place: &Place) -> io::Result<Stat> {
        let dir = place.dir.fd()?;
        let raw = statat(&*dir, place.name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(gone)?;
        if key_of(&raw) == self.key { Ok(stat_of(&raw)) } else { Err(Errno::STALE.into()) }
    }

    /// This node and its ancestors up to the first that is open; the root always is.
    fn closed_chain(&self) -> io::Result<Chain> {
        let mut closed = Vec::new();
        let mut node = self.me();
        loop {
            if let Some(open) = node.open_handle() {
                return Ok(Chain { open, closed });
            }
            if closed.len() == MAX_DEPTH {
                return Err(Errno::STALE.into());
            }
            let place = node.place()?;
            let dir = place.dir.clone();
            closed.push((node, place));
            node = dir;
        }
    }

    fn reopen(&self, dir: impl AsFd, name: &FileName) -> io::Result<SharedFd> {
        let fd = self.handles.with_room(|| Ok(open_path(&dir, name).map_err(gone)?))?;
        if key_of(&fstat(&fd)?) == self.key {
            Ok(self.handles.keep(self.handle(), fd))
        } else {
            Err(Errno::STALE.into())
        }
    }
}

impl Drop for LocalNode {
    /// Unwinds the chain of parents in a loop: a tree may be deeper than the stack.
    fn drop(&mut self) {
        if let Some(handle) = self.handle.get() {
            self.handles.forget(handle);
        }
        let mut place = lock(&self.place).take();
        while let Some(Place { dir, .. }) = place.and_then(Arc::into_inner) {
            place = Arc::into_inner(dir).and_then(|node| lock(&node.place).take());
        }
    }
}

/// Opens `name` in `dir` without access to its content and without following it.
pub(super) fn open_path(dir: impl AsFd, name: &FileName) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name.as_os_str(), flags, Mode::empty())
}

/// Closed nodes, the deepest first, and the open directory that the last one stands in.
struct Chain {
    open: SharedFd,
    closed: Vec<(Arc<LocalNode>, Arc<Place>)>,
}

/// Opens a chain from the top down; `None` when one of its nodes was moved meanwhile.
fn reopen_chain(Chain { open: mut fd, mut closed }: Chain) -> io::Result<Option<SharedFd>> {
    while let Some((node, place)) = closed.pop() {
        match node.reopen(&*fd, &place.name) {
            Ok(opened) => fd = opened,
            Err(_) if node.has_left(&place) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(fd))
}

/// A known node that is not where it was last seen is stale, not absent.
fn gone(errno: Errno) -> Errno {
    if errno == Errno::NOENT { Errno::STALE } else { errno }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most paths are shorter, and so they are with a name added; longer ones cost a second allocation.
const USUAL_LENGTH: usize = 128;
/// More ancestors than any real tree has; ends the walk should places ever form a ring.
const MAX_DEPTH: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn root() -> Arc<LocalNode> {
        let fd = std::fs::File::open("/").unwrap();
        LocalNode::root(fd.into(), Arc::new(Handles::new(8))).unwrap()
    }

    #[test]
    fn a_chain_deeper_than_the_stack_is_dropped() {
        let name = FileName::parse(OsStr::new("d")).unwrap();
        let mut node = root();
        let stat = node.stat_now().unwrap();
        for _ in 0..500_000 {
            node = node.child(&name, &stat);
        }
        drop(node);
    }

    #[test]
    fn places_that_form_a_ring_are_stale() {
        let name = FileName::parse(OsStr::new("d")).unwrap();
        let root = root();
        let stat = root.stat_now().unwrap();
        let (above, below) = (root.child(&name, &stat), root.child(&name, &stat));
        above.settle_at(below.clone(), &name);
        below.settle_at(above.clone(), &name);
        assert_eq!(below.fd().unwrap_err().raw_os_error(), Some(libc::ESTALE));
        above.settle_at(root, &name);
    }
}
