//! Tests of the journal as a whole, on a real directory.

mod flushing;
mod recovering;
mod segments;
mod stored;

use std::io::IoSlice;

use super::{Defect, Defects, Frame, Journal, Recovery, Settings, Subject};
use crate::store::{
    Access, FileRef, LocalStore, NodeRef,
    contract::{birth, find, make_dir, name},
};

const BUCKET: [u8; 16] = [0xB0; 16];
const SMALL: Settings = Settings { segment_bytes: 64 * 1024, segments: 3 };
const MAGIC: [u8; 8] = [0x89, b'E', b'O', b'B', b'\r', b'\n', 0x1a, b'\n'];

/// A bucket in a directory of its own.
struct Bucket {
    dir: tempfile::TempDir,
    root: NodeRef,
    wal: NodeRef,
}

/// An object and how the journal knows it.
struct Object {
    node: NodeRef,
    file: FileRef,
    subject: Subject,
}

fn bucket() -> Bucket {
    let dir = tempfile::tempdir().unwrap();
    let root = LocalStore::open_with_handles(dir.path(), 64).unwrap().root();
    let wal = make_dir(&make_dir(&root, ".eob"), "wal");
    Bucket { dir, root, wal }
}

/// A header page of the object `id`, whose other bytes are `fill`.
fn header(id: u8, fill: u8) -> Vec<u8> {
    let mut page = vec![fill; 4096];
    page[..8].copy_from_slice(&MAGIC);
    page[16..32].copy_from_slice(&[id; 16]);
    page
}

impl Bucket {
    fn open(&self) -> (Journal, Recovery) {
        Journal::open(self.wal.clone(), &self.root, BUCKET, SMALL).unwrap()
    }

    /// What is recovered after a crash now.
    fn recover(&self) -> Recovery {
        self.open().1
    }

    /// The object `id` at `path`, with a header page and `blocks` pages of `b'0'`.
    fn object(&self, path: &str, id: u8, blocks: usize) -> Object {
        let (node, _, file) = self.root.create_file(&name(path), &birth(&self.root, 0o600)).unwrap();
        file.write_at(&[IoSlice::new(&header(id, b'0')), IoSlice::new(&vec![b'0'; blocks * 4096])], 0)
            .unwrap();
        let subject = Subject { object_id: [id; 16], inode: node.key().ino, path: path.into() };
        Object { node, file, subject }
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(path)).unwrap()
    }

    fn wal_files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.dir.path().join(".eob/wal"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Object {
    fn frame(&self) -> Frame {
        Frame::new(&self.subject)
    }
}

/// Appends `frame` and flushes it.
fn log(journal: &Journal, frame: &Frame, object: &Object) -> super::Lsn {
    let lsn = journal.append(frame, object.node.clone()).unwrap();
    journal.flush(lsn).unwrap();
    lsn
}

/// The bytes of `path` in words of their first byte per page.
fn pages(bytes: &[u8]) -> String {
    bytes.chunks(4096).map(|page| if page[0] == 0 { '.' } else { char::from(page[0].max(b'!')) }).collect()
}

fn reopened(root: &NodeRef, text: &str) -> FileRef {
    find(root, text).0.open(Access::ReadWrite).unwrap()
}
