//! The names that a store and a bucket reserve, and the marker that makes a directory a store.
//!
//! Works on [`Node`](super::Node)s alone, so that a simulated disk serves as well. Knows names and the marker; what the
//! files of a bucket mean is for others to know.

use std::{ffi::OsStr, fmt, io};

use serde::{Deserialize, Serialize};

use super::{Birth, Kind, NodeRef, StoreError, small};
use crate::name::FileName;

/// Directory at the root of a store that makes it one; never a bucket name.
pub const STORE_DIR: &str = ".strongroom";
/// The marker in [`STORE_DIR`]: the format, its version and the store id as JSON.
pub const STORE_FILE: &str = "store";
/// The file in [`STORE_DIR`] whose lock is the right to write.
pub const LOCK_FILE: &str = "lock";
/// The socket in [`STORE_DIR`] on which the process that has the store in use takes requests.
pub const CONTROL_SOCKET: &str = "control";

/// Directory at the root of a bucket for everything about it that is not an object.
pub const BUCKET_DIR: &str = ".eob";
/// In [`BUCKET_DIR`]: the bucket's configuration.
pub const BUCKET_FILE: &str = "bucket";
/// In [`BUCKET_DIR`]: the bucket policy.
pub const POLICY_FILE: &str = "policy.json";
/// In [`BUCKET_DIR`]: directory of the key-encryption-key records.
pub const KEK_DIR: &str = "kek";
/// In [`BUCKET_DIR`]: directory of the write-ahead log.
pub const WAL_DIR: &str = "wal";
/// In [`BUCKET_DIR`]: directory of objects that are not finished.
pub const TMP_DIR: &str = "tmp";

/// Identity of a store: 16 random bytes, in text 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId([u8; 16]);

impl StoreId {
    /// An id from bytes that the caller drew at random.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        let lower = text.bytes().all(|byte| !byte.is_ascii_uppercase());
        (lower && hex::decode_to_slice(text, &mut id).is_ok()).then_some(Self(id))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Makes the empty directory `root` a store. It may hold `lost+found`, and what an interrupted creation left.
pub fn create_store(root: &NodeRef, id: StoreId) -> Result<(), StoreError> {
    refuse_foreign_content(root)?;
    let dir = store_dir_for_creation(root)?;
    let marker = Marker { format: FORMAT.into(), version: VERSION, store_id: id.to_string() };
    let mut text =
        serde_json::to_vec(&marker).map_err(|error| io_at("word the store marker")(error.into()))?;
    text.push(b'\n');
    small::replace(&dir, &fixed(STORE_FILE), &text, MARKER_MODE).map_err(io_at("write the store marker"))?;
    root.sync_dir().map_err(io_at("sync the root directory"))
}

/// Checks that `root` is a store which this program understands; its id.
pub fn open_store(root: &NodeRef) -> Result<StoreId, StoreError> {
    let dir = match root.lookup(&fixed(STORE_DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::NotAStore),
        found => found.map_err(io_at("look for the store marker"))?.0,
    };
    match small::read(&dir, &fixed(STORE_FILE), MARKER_MAX) {
        Ok(text) => read_marker(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NotAStore),
        Err(error) => Err(StoreError::Io { what: "read the store marker", source: error }),
    }
}

/// A reserved name of this file, ready for use.
///
/// # Panics
/// On a text that is not a file name; those of this file are.
pub fn fixed(name: &'static str) -> FileName {
    FileName::parse(OsStr::new(name)).expect("reserved names are file names")
}

/// Content of [`STORE_FILE`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    format: String,
    version: u32,
    store_id: String,
}

/// The two fields that every version has.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

fn read_marker(text: &[u8]) -> Result<StoreId, StoreError> {
    let broken = |error: serde_json::Error| StoreError::Marker { reason: error.to_string() };
    let header: Header = serde_json::from_slice(text).map_err(broken)?;
    if header.format != FORMAT {
        return Err(StoreError::Marker { reason: format!("its format is `{}`", header.format) });
    }
    if header.version != VERSION {
        return Err(StoreError::Version { found: header.version, known: VERSION });
    }
    let marker: Marker = serde_json::from_slice(text).map_err(broken)?;
    StoreId::parse(&marker.store_id)
        .ok_or_else(|| StoreError::Marker { reason: "`store_id` is not 32 hexadecimal digits".into() })
}

fn refuse_foreign_content(root: &NodeRef) -> Result<(), StoreError> {
    let list = io_at("list the directory");
    let mut entries = root.entries().map_err(&list)?;
    while let Some(entry) = entries.next().map_err(&list)? {
        if entry.name != STORE_DIR && entry.name != "lost+found" {
            return Err(StoreError::NotEmpty { found: entry.name.to_string_lossy().into_owned() });
        }
    }
    Ok(())
}

fn store_dir_for_creation(root: &NodeRef) -> Result<NodeRef, StoreError> {
    let name = fixed(STORE_DIR);
    match root.create_dir(&name, &private_dir(root)?) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return Ok(made.map_err(io_at("make the directory of the store marker"))?.0),
    }
    let (dir, stat) = root.lookup(&name).map_err(io_at("look for the store marker"))?;
    if stat.kind != Kind::Directory {
        return Err(StoreError::NotEmpty { found: STORE_DIR.into() });
    }
    match dir.lookup(&fixed(STORE_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(dir),
        Err(source) => Err(StoreError::Io { what: "look for the store marker", source }),
        Ok(_) => Err(StoreError::AlreadyAStore),
    }
}

fn private_dir(root: &NodeRef) -> Result<Birth, StoreError> {
    let stat = root.stat().map_err(io_at("look at the root directory"))?;
    Ok(Birth { mode: 0o700, umask: 0, uid: stat.uid, gid: stat.gid })
}

fn io_at(what: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |source| StoreError::Io { what, source }
}

const FORMAT: &str = "strongroom-store";
const VERSION: u32 = 1;
const MARKER_MODE: u32 = 0o600;
/// Bytes; a marker has about 100.
const MARKER_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalStore;

    const ID: StoreId = StoreId([0xA5; 16]);

    fn empty() -> (tempfile::TempDir, NodeRef) {
        let dir = tempfile::tempdir().unwrap();
        let root = LocalStore::open_with_handles(dir.path(), 16).unwrap().root();
        (dir, root)
    }

    fn with_marker(text: &str) -> Result<StoreId, StoreError> {
        let (dir, root) = empty();
        std::fs::create_dir(dir.path().join(STORE_DIR)).unwrap();
        std::fs::write(dir.path().join(STORE_DIR).join(STORE_FILE), text).unwrap();
        open_store(&root)
    }

    #[test]
    fn a_created_store_opens_with_its_id() {
        let (dir, root) = empty();
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        create_store(&root, ID).unwrap();
        assert_eq!(open_store(&root).unwrap(), ID);
        let text = std::fs::read_to_string(dir.path().join(".strongroom/store")).unwrap();
        let id = "a5".repeat(16);
        assert_eq!(
            text,
            format!("{{\"format\":\"strongroom-store\",\"version\":1,\"store_id\":\"{id}\"}}\n")
        );
        assert!(matches!(create_store(&root, ID), Err(StoreError::AlreadyAStore)));
    }

    #[test]
    fn an_interrupted_creation_can_be_repeated() {
        let (dir, root) = empty();
        std::fs::create_dir(dir.path().join(STORE_DIR)).unwrap();
        std::fs::write(dir.path().join(STORE_DIR).join(".tmp-1-1"), "half").unwrap();
        assert!(matches!(open_store(&root), Err(StoreError::NotAStore)));
        create_store(&root, ID).unwrap();
        assert_eq!(open_store(&root).unwrap(), ID);
    }

    #[test]
    fn a_directory_with_content_never_becomes_a_store() {
        let (dir, root) = empty();
        std::fs::write(dir.path().join("thesis.txt"), "mine").unwrap();
        let error = create_store(&root, ID).unwrap_err();
        assert!(matches!(&error, StoreError::NotEmpty { found } if found == "thesis.txt"), "{error}");
        assert!(!dir.path().join(STORE_DIR).exists());
    }

    #[test]
    fn a_symbolic_link_is_not_the_store_directory() {
        let (dir, root) = empty();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join(STORE_DIR)).unwrap();
        assert!(matches!(create_store(&root, ID), Err(StoreError::NotEmpty { .. })));
        assert!(open_store(&root).is_err());
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_directory_is_not_a_store() {
        let (_dir, root) = empty();
        assert!(matches!(open_store(&root), Err(StoreError::NotAStore)));
    }

    #[test]
    fn a_newer_store_is_refused_by_its_version_whatever_else_it_says() {
        let newer = r#"{"format":"strongroom-store","version":2,"store_id":"?","more":[]}"#;
        assert!(matches!(with_marker(newer), Err(StoreError::Version { found: 2, known: 1 })));
    }

    #[test]
    fn a_damaged_or_foreign_marker_is_refused() {
        let id = "0".repeat(32);
        for bad in [
            String::new(),
            "{}".into(),
            "[".repeat(4000),
            " ".repeat(5000),
            format!(r#"{{"format":"other","version":1,"store_id":"{id}"}}"#),
            format!(r#"{{"format":"strongroom-store","version":0,"store_id":"{id}"}}"#),
            format!(r#"{{"format":"strongroom-store","version":1,"store_id":"{id}","x":1}}"#),
            r#"{"format":"strongroom-store","version":1,"store_id":"00"}"#.into(),
            format!(r#"{{"format":"strongroom-store","version":1,"store_id":"{}"}}"#, "A".repeat(32)),
        ] {
            assert!(with_marker(&bad).is_err(), "{bad}");
        }
    }
}
