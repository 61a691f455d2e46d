//! A store that fails on command, for the tests of everything that stands on a store.
//!
//! Wraps any backend. A fault is armed for one kind of call and counts down; then that call fails once with the chosen
//! errno and has no effect, except that a torn write leaves its first half behind.

use std::{
    any::Any,
    collections::HashMap,
    ffi::{OsStr, OsString},
    io::{self, IoSlice},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Access, Birth, Entries, File, FileRef, Kind, Node, NodeKey, NodeRef, RenameMode, Rights, SetTime, Space,
    Stat, Timestamp, XattrMode,
};
use crate::name::FileName;

/// The kinds of calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// [`Node::lookup`].
    Lookup,
    /// [`Node::open`].
    Open,
    /// Any creation, and [`Node::link`].
    Create,
    /// [`Node::unlink`] and [`Node::remove_dir`].
    Remove,
    /// [`Node::rename`].
    Rename,
    /// [`Node::sync_dir`].
    SyncDir,
    SyncStore,
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`]: nothing is written.
    Write,
    /// [`File::write_at`]: the first half is written.
    TornWrite,
    /// [`File::set_len`].
    SetLen,
    /// [`File::sync_data`] and [`File::sync_all`].
    Sync,
}

/// The faults of a wrapped store, for all its nodes and files.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<HashMap<Call, Fault>>>);

struct Fault {
    calls_before: u32,
    errno: i32,
}

impl Faults {
    /// `root` with the faults of `self`, none as yet.
    pub(crate) fn wrap(&self, root: NodeRef) -> NodeRef {
        Arc::new(FaultyNode { inner: root, faults: self.clone() })
    }

    /// Makes the `nth` call of its kind from now on (1 is the next) fail with `errno`.
    pub(crate) fn arm(&self, call: Call, nth: u32, errno: i32) {
        let fault = Fault { calls_before: nth.saturating_sub(1), errno };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(call, fault);
    }

    /// Whether the fault of this kind is still to come.
    pub(crate) fn is_armed(&self, call: Call) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&call)
    }

    fn pass(&self, call: Call) -> io::Result<()> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match faults.get_mut(&call) {
            None => return Ok(()),
            Some(fault) if fault.calls_before > 0 => {
                fault.calls_before -= 1;
                return Ok(());
            }
            Some(_) => {}
        }
        faults.remove(&call).map_or(Ok(()), |fault| Err(io::Error::from_raw_os_error(fault.errno)))
    }
}

struct FaultyNode {
    inner: NodeRef,
    faults: Faults,
}

impl FaultyNode {
    fn wrap_found(&self, (node, stat): (NodeRef, Stat)) -> (NodeRef, Stat) {
        (self.faults.wrap(node), stat)
    }

    fn wrap_file(&self, inner: FileRef) -> FileRef {
        Arc::new(FaultyFile { inner, faults: self.faults.clone() })
    }
}

/// The wrapped node; a node of another backend stays what it is.
fn inner(node: &NodeRef) -> &NodeRef {
    let any: &dyn Any = &**node;
    any.downcast_ref::<FaultyNode>().map_or(node, |faulty| &faulty.inner)
}

impl Node for FaultyNode {
    fn key(&self) -> NodeKey {
        self.inner.key()
    }

    fn path(&self) -> std::path::PathBuf {
        self.inner.path()
    }

    fn place(&self) -> Option<(NodeKey, FileName)> {
        self.inner.place()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn pin(&self) -> io::Result<()> {
        self.inner.pin()
    }

    fn moved(&self, dir: &NodeRef, name: &FileName) {
        self.inner.moved(inner(dir), name);
    }

    fn permits(&self, rights: Rights) -> io::Result<()> {
        self.inner.permits(rights)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.inner.set_mode(mode)
    }

    fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        self.inner.set_owner(uid, gid)
    }

    fn set_times(&self, atime: SetTime, mtime: SetTime) -> io::Result<()> {
        self.inner.set_times(atime, mtime)
    }

    fn xattr(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        self.inner.xattr(name)
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8], mode: XattrMode) -> io::Result<()> {
        self.inner.set_xattr(name, value, mode)
    }

    fn xattrs(&self) -> io::Result<Vec<OsString>> {
        self.inner.xattrs()
    }

    fn remove_xattr(&self, name: &OsStr) -> io::Result<()> {
        self.inner.remove_xattr(name)
    }

    fn read_link(&self) -> io::Result<OsString> {
        self.inner.read_link()
    }

    fn open_and_stat(&self, access: Access) -> io::Result<(FileRef, Stat)> {
        self.faults.pass(Call::Open)?;
        let (file, stat) = self.inner.open_and_stat(access)?;
        Ok((self.wrap_file(file), stat))
    }

    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }

    fn lookup(&self, name: &FileName) -> io::Result<(NodeRef, Stat)> {
        self.faults.pass(Call::Lookup)?;
        self.inner.lookup(name).map(|found| self.wrap_found(found))
    }

    fn create_file(&self, name: &FileName, birth: &Birth) -> io::Result<(NodeRef, Stat, FileRef)> {
        self.faults.pass(Call::Create)?;
        let (node, stat, file) = self.inner.create_file(name, birth)?;
        Ok((self.faults.wrap(node), stat, self.wrap_file(file)))
    }

    fn create_dir(&self, name: &FileName, birth: &Birth) -> io::Result<(NodeRef, Stat)> {
        self.faults.pass(Call::Create)?;
        self.inner.create_dir(name, birth).map(|made| self.wrap_found(made))
    }

    fn create_symlink(&self, name: &FileName, target: &OsStr, birth: &Birth) -> io::Result<(NodeRef, Stat)> {
        self.faults.pass(Call::Create)?;
        self.inner.create_symlink(name, target, birth).map(|made| self.wrap_found(made))
    }

    fn create_special(
        &self,
        name: &FileName,
        kind: Kind,
        rdev: u64,
        birth: &Birth,
    ) -> io::Result<(NodeRef, Stat)> {
        self.faults.pass(Call::Create)?;
        self.inner.create_special(name, kind, rdev, birth).map(|made| self.wrap_found(made))
    }

    fn link(&self, target: &NodeRef, name: &FileName) -> io::Result<Stat> {
        self.faults.pass(Call::Create)?;
        self.inner.link(inner(target), name)
    }

    fn unlink(&self, name: &FileName) -> io::Result<()> {
        self.faults.pass(Call::Remove)?;
        self.inner.unlink(name)
    }

    fn remove_dir(&self, name: &FileName) -> io::Result<()> {
        self.faults.pass(Call::Remove)?;
        self.inner.remove_dir(name)
    }

    fn rename(&self, name: &FileName, to: &NodeRef, to_name: &FileName, mode: RenameMode) -> io::Result<()> {
        self.faults.pass(Call::Rename)?;
        self.inner.rename(name, inner(to), to_name, mode)
    }

    fn entries(&self) -> io::Result<Box<dyn Entries>> {
        self.inner.entries()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.faults.pass(Call::SyncDir)?;
        self.inner.sync_dir()
    }

    fn sync_store(&self) -> io::Result<()> {
        self.faults.pass(Call::SyncStore)?;
        self.inner.sync_store()
    }
}

struct FaultyFile {
    inner: FileRef,
    faults: Faults,
}

impl File for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.pass(Call::Read)?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.faults.pass(Call::Write)?;
        if let Err(error) = self.faults.pass(Call::TornWrite) {
            let whole: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.inner.write_at(&[IoSlice::new(whole.split_at(whole.len() / 2).0)], offset)?;
            return Err(error);
        }
        self.inner.write_at(parts, offset)
    }

    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.pass(Call::SetLen)?;
        self.inner.set_len(len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch(offset, len)
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.reserve(offset, len)
    }

    fn set_mtime(&self, mtime: Timestamp) -> io::Result<()> {
        self.inner.set_mtime(mtime)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.pass(Call::Sync)?;
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.faults.pass(Call::Sync)?;
        self.inner.sync_all()
    }

    fn seek(&self, offset: u64, data: bool) -> io::Result<Option<u64>> {
        self.inner.seek(offset, data)
    }
}

#[cfg(test)]
mod tests {
    use libc::{EIO, ENOSPC};

    use super::*;
    use crate::store::{
        LocalStore,
        contract::{content, errno, name, names, put},
        small,
    };

    struct Fresh {
        _dir: tempfile::TempDir,
        root: NodeRef,
        faults: Faults,
    }

    fn fresh() -> Fresh {
        let dir = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let root = faults.wrap(LocalStore::open_with_handles(dir.path(), 16).unwrap().root());
        Fresh { _dir: dir, root, faults }
    }

    mod without_a_fault_armed {
        use std::ops::Deref;

        use super::{Fresh, NodeRef, fresh};
        use crate::store::contract::{core::core_suite, posix::posix_suite};

        impl Deref for Fresh {
            type Target = NodeRef;

            fn deref(&self) -> &NodeRef {
                &self.root
            }
        }

        core_suite!(fresh());
        posix_suite!(fresh());
    }

    #[test]
    fn the_nth_call_fails_once() {
        let Fresh { root, faults, _dir } = &fresh();
        let (_, file) = put(root, "a", b"before");
        faults.arm(Call::Sync, 2, EIO);
        file.sync_data().unwrap();
        assert!(faults.is_armed(Call::Sync));
        assert_eq!(errno(file.sync_all()), EIO);
        file.sync_all().unwrap();
        assert!(!faults.is_armed(Call::Sync));
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_a_torn_one_half() {
        let Fresh { root, faults, _dir } = &fresh();
        let (_, file) = put(root, "a", b"before");
        faults.arm(Call::Write, 1, ENOSPC);
        assert_eq!(errno(file.write_at(&[IoSlice::new(b"AFTER!")], 0)), ENOSPC);
        assert_eq!(content(&file), b"before");
        faults.arm(Call::TornWrite, 1, ENOSPC);
        assert_eq!(errno(file.write_at(&[IoSlice::new(b"AF"), IoSlice::new(b"TER!")], 0)), ENOSPC);
        assert_eq!(content(&file), b"AFTore");
    }

    #[test]
    fn a_small_file_keeps_its_old_content_when_its_replacement_fails() {
        for call in [Call::Create, Call::Write, Call::TornWrite, Call::Sync, Call::Rename] {
            let Fresh { root, faults, _dir } = &fresh();
            small::replace(root, &name("x"), b"old", 0o600).unwrap();
            faults.arm(call, 1, ENOSPC);
            assert_eq!(errno(small::replace(root, &name("x"), b"new", 0o600)), ENOSPC, "{call:?}");
            assert_eq!(small::read(root, &name("x"), 10).unwrap(), b"old");
            assert_eq!(names(root), ["x"], "{call:?}");
        }
    }

    #[test]
    fn a_small_file_that_may_not_last_is_an_error() {
        let Fresh { root, faults, _dir } = &fresh();
        faults.arm(Call::SyncDir, 1, EIO);
        assert_eq!(errno(small::replace(root, &name("x"), b"new", 0o600)), EIO);
    }
}
