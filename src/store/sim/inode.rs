//! A simulated file, directory or special node, apart from its names.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
};

use libc::{EEXIST, ENODATA, EPERM};
use rand::Rng;

use super::{
    content::Content,
    crash::Cut,
    errno,
    names::Place,
    versions::{Stamp, Versions},
};
use crate::store::{Kind, NodeKey, SetTime, Stat, Timestamp, XattrMode};

/// Everything about a node. Content, length, mode, owner, times and each extended attribute reach the disk
/// independently of each other.
#[derive(Clone)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    pub(super) rdev: u64,
    /// Target of a symbolic link.
    pub(super) target: OsString,
    pub(super) nlink: u32,
    /// A name of it, or its last one; `None` is the root.
    pub(super) place: Option<Place>,
    pub(super) content: Content,
    mode: Versions<u32>,
    owner: Versions<(u32, u32)>,
    times: Versions<Times>,
    ctime: Timestamp,
    xattrs: BTreeMap<OsString, Versions<Option<Vec<u8>>>>,
}

#[derive(Clone, Copy)]
struct Times {
    atime: Timestamp,
    mtime: Timestamp,
}

impl Inode {
    pub(super) fn new(kind: Kind, mode: u32, owner: (u32, u32), now: Timestamp) -> Self {
        Self {
            kind,
            rdev: 0,
            target: OsString::new(),
            nlink: 0,
            place: None,
            content: Content::empty(),
            mode: Versions::durable(mode),
            owner: Versions::durable(owner),
            times: Versions::durable(Times { atime: now, mtime: now }),
            ctime: now,
            xattrs: BTreeMap::new(),
        }
    }

    pub(super) fn stat(&self, key: NodeKey) -> Stat {
        let (uid, gid) = *self.owner.now();
        let Times { atime, mtime } = *self.times.now();
        let size = if self.kind == Kind::Symlink { self.target.len() as u64 } else { self.content.len() };
        Stat {
            key,
            kind: self.kind,
            mode: *self.mode.now(),
            nlink: self.nlink,
            uid,
            gid,
            rdev: self.rdev,
            size,
            blocks: self.content.allocated(),
            atime,
            mtime,
            ctime: self.ctime,
        }
    }

    /// The content or the entries changed.
    pub(super) fn touch(&mut self, stamp: Stamp, now: Timestamp) {
        self.set_times(stamp, SetTime::Keep, SetTime::At(now), now);
    }

    pub(super) fn set_times(&mut self, stamp: Stamp, atime: SetTime, mtime: SetTime, now: Timestamp) {
        let before = *self.times.now();
        let chosen = |time, old| match time {
            SetTime::Keep => old,
            SetTime::Now => now,
            SetTime::At(time) => time,
        };
        let times = Times { atime: chosen(atime, before.atime), mtime: chosen(mtime, before.mtime) };
        self.times.set(stamp, times);
        self.ctime = now;
    }

    pub(super) fn set_mode(&mut self, stamp: Stamp, mode: u32) {
        self.mode.set(stamp, mode);
    }

    pub(super) fn set_owner(&mut self, stamp: Stamp, uid: Option<u32>, gid: Option<u32>) {
        let before = *self.owner.now();
        self.owner.set(stamp, (uid.unwrap_or(before.0), gid.unwrap_or(before.1)));
    }

    pub(super) fn xattr(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        let value = self.xattrs.get(name).and_then(|value| value.now().clone());
        value.ok_or_else(|| errno(ENODATA))
    }

    pub(super) fn xattr_names(&self) -> Vec<OsString> {
        let there = self.xattrs.iter().filter(|(_, value)| value.now().is_some());
        there.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn set_xattr(
        &mut self,
        stamp: Stamp,
        name: &OsStr,
        value: &[u8],
        mode: XattrMode,
    ) -> io::Result<()> {
        if !matches!(self.kind, Kind::File | Kind::Directory) {
            return Err(errno(EPERM));
        }
        match (self.xattr(name).is_ok(), mode) {
            (true, XattrMode::Create) => return Err(errno(EEXIST)),
            (false, XattrMode::Replace) => return Err(errno(ENODATA)),
            _ => {}
        }
        let versions = self.xattrs.entry(name.to_owned()).or_insert_with(|| Versions::durable(None));
        versions.set(stamp, Some(value.to_vec()));
        Ok(())
    }

    pub(super) fn remove_xattr(&mut self, stamp: Stamp, name: &OsStr) -> io::Result<()> {
        let there = self.xattrs.get_mut(name).filter(|value| value.now().is_some());
        there.ok_or_else(|| errno(ENODATA))?.set(stamp, None);
        Ok(())
    }

    /// A sync of everything but the content.
    pub(super) fn settle_attributes(&mut self) {
        self.mode.settle();
        self.owner.settle();
        self.times.settle();
        self.xattrs.values_mut().for_each(Versions::settle);
    }

    /// What a power cut leaves, all of it durable; without names.
    pub(super) fn after(&self, cut: &Cut, rng: &mut impl Rng) -> Self {
        let xattrs = self.xattrs.iter();
        Self {
            target: self.target.clone(),
            nlink: 0,
            place: None,
            content: self.content.after(cut, rng),
            mode: Versions::durable(cut.pick(&self.mode, rng)),
            owner: Versions::durable(cut.pick(&self.owner, rng)),
            times: Versions::durable(cut.pick(&self.times, rng)),
            xattrs: xattrs
                .map(|(name, value)| (name.clone(), Versions::durable(cut.pick(value, rng))))
                .collect(),
            ..*self
        }
    }
}
