//! What the mount shows under a name: a node of the store and the bucket it lies in.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use super::{
    Bucket, Encryption, EngineError, Result,
    buckets::{file_name, not_found},
};
use crate::{
    name::{BucketName, FileName},
    object::FormatError,
    store::{Access, Kind, NodeKey, NodeRef, Stat, Timestamp, layout::BUCKET_DIR},
};

/// A file, directory or special file as the mount shows it.
#[derive(Clone)]
pub struct Item(Arc<Inner>);

struct Inner {
    node: NodeRef,
    kind: Kind,
    /// `None` for the root of the mount.
    bucket: Option<Arc<Bucket>>,
    is_bucket: bool,
    form: RwLock<Option<Form>>,
    /// What is asked for in a directory, once that was looked up.
    asked: RwLock<Option<Arc<Option<Encryption>>>>,
    /// The stored file, kept so that its number is given to no other, once another one has taken its place.
    replaced: OnceLock<NodeRef>,
}

/// How a regular file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// With a header.
    Encrypted,
}

impl Item {
    /// The root of the mount.
    pub(super) fn root(node: NodeRef) -> Self {
        Self::new(node, Kind::Directory, None, false)
    }

    /// The root directory of a bucket.
    pub(super) fn bucket_root(node: NodeRef, bucket: Arc<Bucket>) -> Self {
        Self::new(node, Kind::Directory, Some(bucket), true)
    }

    /// Something in this item's bucket.
    pub(super) fn child(&self, node: NodeRef, kind: Kind) -> Self {
        Self::new(node, kind, self.0.bucket.clone(), false)
    }

    fn new(node: NodeRef, kind: Kind, bucket: Option<Arc<Bucket>>, is_bucket: bool) -> Self {
        let (form, asked, replaced) = (RwLock::default(), RwLock::default(), OnceLock::new());
        Self(Arc::new(Inner { node, kind, bucket, is_bucket, form, asked, replaced }))
    }

    /// Identity of the stored file.
    pub fn key(&self) -> NodeKey {
        self.0.node.key()
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Keeps it usable after its last name is gone, until dropped.
    pub fn pin(&self) -> Result<()> {
        Ok(self.0.node.pin()?)
    }

    /// Tells it where it stands now.
    pub fn moved(&self, dir: &Item, name: &OsStr) {
        if let Ok(name) = FileName::parse(name) {
            self.0.node.moved(&dir.0.node, &name);
        }
    }

    /// The directory and name under which it was last known to stand; none for the root of the store.
    pub fn place(&self) -> Option<(NodeKey, FileName)> {
        self.0.node.place()
    }

    /// Refuses a file that another one has taken the place of (`ESTALE`: the kernel then looks the name up again).
    pub fn require_current(&self) -> Result<()> {
        if self.0.replaced.get().is_some() { Err(replaced()) } else { Ok(()) }
    }

    /// Another file has taken the place of `old`, which this item is of.
    pub(super) fn set_replaced(&self, old: NodeRef) {
        self.0.replaced.get_or_init(|| old);
    }

    pub(super) fn node(&self) -> &NodeRef {
        &self.0.node
    }

    /// The bucket; an error at the root of the mount.
    pub(super) fn bucket(&self) -> Result<&Arc<Bucket>> {
        self.0.bucket.as_ref().ok_or(EngineError::RootHoldsBuckets)
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.bucket.is_none()
    }

    /// Whether reserved names stand in this directory.
    pub(super) fn is_bucket_root(&self) -> bool {
        self.0.is_bucket
    }

    /// How a regular file is stored. Asks for its stored `size` and looks inside only where plain files are allowed.
    pub(super) fn form(&self, size: impl FnOnce() -> Result<u64>) -> Result<Form> {
        let bucket = self.bucket()?;
        if !bucket.settings().plaintext_allowed {
            return Ok(Form::Encrypted);
        }
        if let Some(form) = self.known_form() {
            return Ok(form);
        }
        if size()? == 0 {
            return Ok(Form::Plain);
        }
        let mut start = [0; 8];
        let got = self.node().open(Access::Read)?.read_at(&mut start, 0)?;
        let form = bucket.form_of(start.get(..got).unwrap_or_default());
        self.remember_form(form);
        Ok(form)
    }

    /// A name for looking something up: reserved names are not there.
    pub(super) fn visible_name(&self, name: &OsStr) -> Result<FileName> {
        if self.is_root() {
            return BucketName::parse(&name.to_string_lossy())
                .map(|name| file_name(&name))
                .map_err(|_| not_found());
        }
        if self.is_bucket_root() && name == BUCKET_DIR {
            return Err(not_found());
        }
        parse_name(name)
    }

    /// A name for changing something: reserved names and the root of the mount are refused.
    pub(super) fn usable_name(&self, name: &OsStr) -> Result<FileName> {
        self.bucket()?;
        if self.is_bucket_root() && name == BUCKET_DIR {
            return Err(EngineError::Reserved(BUCKET_DIR.to_owned()));
        }
        parse_name(name)
    }

    pub(super) fn known_form(&self) -> Option<Form> {
        *self.0.form.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remember_form(&self, form: Form) {
        *self.0.form.write().unwrap_or_else(PoisonError::into_inner) = Some(form);
    }

    /// What is asked for in this directory; `look` looks it up the first time. Nobody but the mount changes it.
    pub(super) fn asked(
        &self,
        look: impl FnOnce() -> Result<Option<Encryption>>,
    ) -> Result<Arc<Option<Encryption>>> {
        if let Some(asked) = &*self.0.asked.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(asked.clone());
        }
        // Held while looking, so that what was looked up before a change is not kept after it.
        let mut known = self.0.asked.write().unwrap_or_else(PoisonError::into_inner);
        let asked = Arc::new(look()?);
        *known = Some(asked.clone());
        Ok(asked)
    }

    /// Changes what is asked for in this directory.
    pub(super) fn ask_anew(&self, change: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut known = self.0.asked.write().unwrap_or_else(PoisonError::into_inner);
        *known = None;
        change()
    }

    /// Counts an open that passes the plain file through.
    pub(super) fn plain_opened(&self) {
        if let Some(bucket) = &self.0.bucket {
            bucket.plain_opens().opened(self.key());
        }
    }

    /// Ends such an open.
    pub(super) fn plain_closed(&self) {
        if let Some(bucket) = &self.0.bucket {
            bucket.plain_opens().closed(self.key());
        }
    }

    /// A plain file that is written anew becomes an encrypted object; `EBUSY` while anybody has it open as plain.
    pub(super) fn become_encrypted(&self) -> Result<()> {
        if self.bucket()?.plain_opens().count(self.key()) > 0 {
            return Err(EngineError::os(libc::EBUSY));
        }
        self.remember_form(Form::Encrypted);
        Ok(())
    }

    /// Path inside the bucket of `name` in this directory.
    pub(super) fn path_of(&self, name: &OsStr) -> PathBuf {
        let mut path = self.path().into_os_string();
        if !path.is_empty() {
            path.push("/");
        }
        path.push(name);
        path.into()
    }

    /// Path inside the bucket of the item itself.
    pub(super) fn path(&self) -> PathBuf {
        path_in_bucket(&self.0.node)
    }
}

/// Path of `node` inside its bucket, with which its path in the store begins.
pub(super) fn path_in_bucket(node: &NodeRef) -> PathBuf {
    let mut path = node.path().into_os_string().into_vec();
    let bucket = path.iter().position(|byte| *byte == b'/').map_or(path.len(), |slash| slash + 1);
    path.drain(..bucket);
    OsString::from_vec(path).into()
}

/// Attributes as users see them.
#[derive(Debug, Clone, Copy)]
pub struct Attr {
    /// Identity.
    pub key: NodeKey,
    /// Type.
    pub kind: Kind,
    /// Permission bits including set-id and sticky.
    pub mode: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u64,
    /// Plaintext length in bytes.
    pub size: u64,
    /// Allocated 512-byte units in the store.
    pub blocks: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
}

impl Attr {
    /// `stat` with the plaintext `size`.
    pub(super) fn new(stat: &Stat, size: u64) -> Self {
        Self {
            key: stat.key,
            kind: stat.kind,
            mode: stat.mode,
            nlink: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            rdev: stat.rdev,
            size,
            blocks: stat.blocks,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }
}

/// One name of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// The name.
    pub name: OsString,
    /// Inode number.
    pub ino: u64,
    /// Type.
    pub kind: Kind,
    /// Position just after this entry.
    pub next: i64,
}

/// A file that another one has taken the place of (`ESTALE`, and the kernel looks the name up again).
pub(super) fn replaced() -> EngineError {
    EngineError::os(libc::ESTALE)
}

fn parse_name(name: &OsStr) -> Result<FileName> {
    if name.len() > 255 {
        return Err(EngineError::os(libc::ENAMETOOLONG));
    }
    Ok(FileName::parse(name)?)
}

/// Logs damage to a stored object once, where it is found, and makes the error of it.
pub(super) fn damaged(node: &NodeRef, reason: FormatError) -> EngineError {
    let object = node.path().display().to_string();
    log::error!("object `{object}`: {reason}");
    EngineError::Integrity { object, reason }
}
