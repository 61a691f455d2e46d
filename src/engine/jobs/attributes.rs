//! Owner, mode, times and extended attributes, from one node to another.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use serde::{Deserialize, Serialize};

use super::octets;
use crate::{
    engine::{EngineError, Result, hidden},
    store::{Kind, NodeRef, SetTime, Stat, Timestamp, XattrMode},
};

/// What a node has besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    atime: Timestamp,
    mtime: Timestamp,
    /// Extended attributes, access lists among them, but none of ours.
    #[serde(with = "octets::pairs")]
    xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// In what a node differs from what it should have; times do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Difference {
    /// Owner or mode.
    pub(super) access: bool,
    /// Extended attributes.
    pub(super) xattrs: bool,
}

impl Difference {
    /// Whether there is any.
    pub(super) fn any(self) -> bool {
        self.access || self.xattrs
    }
}

impl Attributes {
    /// Those of `node`, whose own are `stat`. `E2BIG` for more extended attributes than any program sets.
    pub(super) fn of(node: &NodeRef, stat: &Stat) -> Result<Self> {
        let Stat { mode, uid, gid, atime, mtime, .. } = *stat;
        let (mut xattrs, mut bytes) = (BTreeMap::new(), 0);
        for name in node.xattrs()?.into_iter().filter(|name| !hidden::is_hidden(name)) {
            let value = node.xattr(&name)?;
            bytes += name.len() + value.len();
            if bytes > MOST_BYTES {
                return Err(EngineError::os(libc::E2BIG));
            }
            xattrs.insert(name, value);
        }
        Ok(Self { mode, uid, gid, atime, mtime, xattrs })
    }

    /// In what `to` differs.
    pub(super) fn difference(&self, to: &NodeRef) -> Result<Difference> {
        let now = to.stat()?;
        let access = (now.uid, now.gid) != (self.uid, self.gid)
            || now.kind != Kind::Symlink && now.mode != self.mode();
        let present = self.present(to)?;
        let xattrs = self.wanted().any(|(name, value)| present.get(name) != Some(value))
            || present.keys().any(|name| self.is_surplus(name));
        Ok(Difference { access, xattrs })
    }

    /// Gives `to` all of it but the times; whether that changed anything.
    pub(super) fn give(&self, to: &NodeRef) -> Result<bool> {
        let now = to.stat()?;
        let mut changed = false;
        if (now.uid, now.gid) != (self.uid, self.gid) {
            to.set_owner(Some(self.uid), Some(self.gid))?;
            changed = true;
        }
        changed |= self.give_xattrs(to)?;
        // After the owner, whose change takes set-id bits away, and the access lists, which change the group's bits.
        if now.kind != Kind::Symlink && to.stat()?.mode != self.mode() {
            to.set_mode(self.mode())?;
            changed = true;
        }
        Ok(changed)
    }

    fn give_xattrs(&self, to: &NodeRef) -> Result<bool> {
        let present = self.present(to)?;
        let mut changed = false;
        for (name, value) in self.wanted().filter(|(name, value)| present.get(*name) != Some(*value)) {
            to.set_xattr(name, value, XattrMode::Set)?;
            changed = true;
        }
        for name in present.keys().filter(|name| self.is_surplus(name)) {
            to.remove_xattr(name)?;
            changed = true;
        }
        Ok(changed)
    }

    /// Gives `to` the access and modification time.
    pub(super) fn give_times(&self, to: &NodeRef) -> Result<()> {
        let (atime, mtime) = self.times();
        Ok(to.set_times(atime, mtime)?)
    }

    /// The access and modification time, to be set.
    pub(super) fn times(&self) -> (SetTime, SetTime) {
        (SetTime::At(self.atime), SetTime::At(self.mtime))
    }

    /// The modification time.
    pub(super) fn mtime(&self) -> Timestamp {
        self.mtime
    }

    fn mode(&self) -> u32 {
        self.mode & PERMISSIONS
    }

    /// The extended attributes of `to`, but ours.
    fn present(&self, to: &NodeRef) -> Result<BTreeMap<OsString, Vec<u8>>> {
        let names = to.xattrs()?.into_iter().filter(|name| !hidden::is_hidden(name));
        // One that is not wanted is removed whatever it says.
        let value = |name: &OsString| {
            if self.xattrs.contains_key(name) { to.xattr(name) } else { Ok(Vec::new()) }
        };
        Ok(names.map(|name| value(&name).map(|value| (name, value))).collect::<std::io::Result<_>>()?)
    }

    fn wanted(&self) -> impl Iterator<Item = (&OsString, &Vec<u8>)> {
        // Whoever sent them may say what he likes.
        self.xattrs.iter().filter(|(name, _)| !hidden::is_hidden(name))
    }

    fn is_surplus(&self, name: &OsStr) -> bool {
        !self.xattrs.contains_key(name) && name != LABEL
    }
}

/// Permission bits with set-id and sticky.
const PERMISSIONS: u32 = 0o7777;
/// Most bytes of extended attributes, names and values together.
const MOST_BYTES: usize = 1 << 20;
/// Given by the system to every file that it labels.
const LABEL: &str = "security.selinux";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        name::FileName,
        store::{Birth, LocalStore},
    };

    fn file(root: &NodeRef, name: &str) -> NodeRef {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let birth = Birth { mode: 0o600, umask: 0, uid, gid };
        root.create_file(&FileName::parse(OsStr::new(name)).unwrap(), &birth).unwrap().0
    }

    fn set(node: &NodeRef, name: &str, value: &[u8]) {
        node.set_xattr(OsStr::new(name), value, XattrMode::Set).unwrap();
    }

    #[test]
    fn a_node_gets_what_another_has_and_loses_what_that_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = LocalStore::open_with_handles(dir.path(), 16).unwrap().root();
        let (from, to) = (file(&root, "from"), file(&root, "to"));
        from.set_mode(0o4751).unwrap();
        set(&from, "user.note", b"kept\xff");
        set(&from, "user.strongroom.replica", b"ours");
        set(&to, "user.old", b"");
        let wanted = Attributes::of(&from, &from.stat().unwrap()).unwrap();
        let sent: Attributes =
            serde_json::from_str(&serde_json::to_string(&wanted).unwrap()).expect("as it was sent");
        assert_eq!(sent, wanted);
        assert_eq!(sent.difference(&to).unwrap(), Difference { access: true, xattrs: true });
        assert!(sent.give(&to).unwrap());
        sent.give_times(&to).unwrap();
        assert!(!sent.difference(&to).unwrap().any() && !sent.give(&to).unwrap());
        assert_eq!(to.stat().unwrap().mode, 0o4751);
        assert_eq!(to.xattrs().unwrap(), ["user.note"], "ours stays where it is");
        assert_eq!(to.stat().unwrap().mtime, from.stat().unwrap().mtime);
    }

    #[test]
    fn what_is_ours_is_not_taken_from_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let root = LocalStore::open_with_handles(dir.path(), 16).unwrap().root();
        let to = file(&root, "to");
        let stat = to.stat().unwrap();
        let mut forged = Attributes::of(&to, &stat).unwrap();
        forged.xattrs.insert("user.strongroom.ctime".into(), b"1 2".to_vec());
        assert!(!forged.difference(&to).unwrap().any());
        assert!(!forged.give(&to).unwrap());
        assert!(to.xattrs().unwrap().is_empty());
    }
}
