//! Small whole files: read with a bound, replaced all or nothing.

use std::{
    ffi::OsStr,
    io::{self, IoSlice},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Access, Birth, FileRef, NodeRef, RenameMode};
use crate::name::FileName;

/// The content of the file `name` in `dir`; `EFBIG` when it is longer than `max` bytes.
pub fn read(dir: &NodeRef, name: &FileName, max: usize) -> io::Result<Vec<u8>> {
    let (node, _) = dir.lookup(name)?;
    let file = node.open(Access::Read)?;
    // One byte more than allowed tells a file that grew from one that fits.
    let len = file.stat()?.size.min(max as u64) + 1;
    let mut content = vec![0; usize::try_from(len).unwrap_or(max)];
    let done = file.read_at(&mut content, 0)?;
    if done > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    content.truncate(done);
    Ok(content)
}

/// Gives the file `name` in `dir` a new content. After a crash it has the old one or the new one; once this returns,
/// the new one is durable. The owner is the directory's, where the daemon may say so.
pub fn replace(dir: &NodeRef, name: &FileName, content: &[u8], mode: u32) -> io::Result<()> {
    let owner = dir.stat()?;
    let birth = Birth { mode, umask: 0, uid: owner.uid, gid: owner.gid };
    let (temporary, file) = create_temporary(dir, &birth)?;
    let placed = fill(&file, content).and_then(|()| dir.rename(&temporary, dir, name, RenameMode::Replace));
    if let Err(error) = placed {
        // The first error is the one to report; a leftover is harmless.
        let _ = dir.unlink(&temporary);
        return Err(error);
    }
    dir.sync_dir()
}

fn fill(file: &FileRef, content: &[u8]) -> io::Result<()> {
    file.write_at(&[IoSlice::new(content)], 0)?;
    file.sync_all()
}

/// Steps over names that an earlier process of the same number left behind.
fn create_temporary(dir: &NodeRef, birth: &Birth) -> io::Result<(FileName, FileRef)> {
    loop {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let text = format!("{TEMPORARY}{}-{serial}", std::process::id());
        let name = FileName::parse(OsStr::new(&text)).expect("a prefix and two numbers are a file name");
        match dir.create_file(&name, birth) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return Ok((name, made?.2)),
        }
    }
}

/// How the name of an unfinished small file begins.
pub const TEMPORARY: &str = ".tmp-";

static SERIAL: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalStore;

    fn name(text: &str) -> FileName {
        FileName::parse(OsStr::new(text)).unwrap()
    }

    fn empty() -> (tempfile::TempDir, NodeRef) {
        let dir = tempfile::tempdir().unwrap();
        let root = LocalStore::open_with_handles(dir.path(), 16).unwrap().root();
        (dir, root)
    }

    #[test]
    fn a_replaced_file_reads_back_and_leaves_nothing_else() {
        let (dir, root) = empty();
        for content in ["first", "second, longer", ""] {
            replace(&root, &name("x"), content.as_bytes(), 0o640).unwrap();
            assert_eq!(read(&root, &name("x"), 100).unwrap(), content.as_bytes());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(root.lookup(&name("x")).unwrap().1.mode, 0o640);
    }

    #[test]
    fn the_bound_is_exact() {
        let (_dir, root) = empty();
        replace(&root, &name("x"), b"12345", 0o600).unwrap();
        assert_eq!(read(&root, &name("x"), 5).unwrap(), b"12345");
        assert_eq!(read(&root, &name("x"), 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_failed_replacement_leaves_the_target_and_no_temporary() {
        let (dir, root) = empty();
        std::fs::create_dir(dir.path().join("x")).unwrap();
        assert!(replace(&root, &name("x"), b"content", 0o600).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn reading_never_follows_a_symbolic_link() {
        let (dir, root) = empty();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("x")).unwrap();
        assert!(read(&root, &name("x"), 1 << 20).is_err());
    }
}
