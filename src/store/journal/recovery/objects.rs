//! Whom the frames are about: which file each of their objects is.

use std::{collections::HashMap, io, path::PathBuf};

use super::{
    super::op::{Action, Op},
    scan::Log,
};
use crate::store::{Access, NodeRef};

/// A file that frames are about, by all that they say of it.
#[derive(Default)]
pub(super) struct Object {
    /// Its ids, of which it has one now.
    pub(super) ids: Vec<[u8; 16]>,
    /// Its inode number, unless the store was copied.
    pub(super) inode: u64,
    /// Where it may stand, the newest hint last.
    pub(super) hints: Vec<Vec<u8>>,
    /// The file, once found.
    pub(super) node: Option<NodeRef>,
    last_lsn: u64,
}

/// All objects of a log. Two files may have one id (copies made behind our back) or one inode number (a file removed,
/// another made), so it takes both to tell them apart.
#[derive(Default)]
pub(super) struct Objects {
    pub(super) all: Vec<Object>,
    by_identity: HashMap<Identity, usize>,
}

/// Id and inode number.
type Identity = ([u8; 16], u64);

impl Objects {
    /// The objects of the frames of `log`.
    pub(super) fn of(log: &Log) -> io::Result<Self> {
        let mut objects = Self::default();
        for place in &log.frames {
            let frame = log.frame(*place)?;
            for subject in subjects(&frame.ops()?) {
                objects.note(subject, place.lsn);
            }
        }
        Ok(objects)
    }

    /// The objects that a frame with `ops` calls number 0, 1, ... by their place in [`Self::all`].
    pub(super) fn of_frame(&self, ops: &[Op<'_>]) -> Vec<Option<usize>> {
        subjects(ops).iter().map(|subject| self.known(subject)).collect()
    }

    /// Whether a file with this id and inode number is in the log.
    pub(super) fn knows(&self, id: [u8; 16], inode: u64) -> bool {
        self.by_identity.contains_key(&(id, inode))
    }

    /// Whether `object` is the last in the log to have its inode number.
    pub(super) fn is_newest_of_inode(&self, object: &Object) -> bool {
        !self.all.iter().any(|other| other.inode == object.inode && other.last_lsn > object.last_lsn)
    }

    /// Makes durable what was written.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.found().try_for_each(|node| node.open(Access::Read)?.sync_data())
    }

    /// Where the found files stand.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.found().map(|node| node.path()).collect()
    }

    fn found(&self) -> impl Iterator<Item = &NodeRef> {
        self.all.iter().filter_map(|object| object.node.as_ref())
    }

    fn known(&self, subject: &Object) -> Option<usize> {
        subject.ids.iter().find_map(|id| self.by_identity.get(&(*id, subject.inode))).copied()
    }

    /// Adds what frame number `lsn` says of one object.
    fn note(&mut self, subject: Object, lsn: u64) {
        let index = self.known(&subject).unwrap_or(self.all.len());
        for id in &subject.ids {
            self.by_identity.entry((*id, subject.inode)).or_insert(index);
        }
        match self.all.get_mut(index) {
            Some(object) => object.add(subject, lsn),
            None => self.all.push(Object { last_lsn: lsn, ..subject }),
        }
    }
}

impl Object {
    fn add(&mut self, later: Object, lsn: u64) {
        self.last_lsn = lsn;
        self.ids.extend(later.ids);
        self.ids.sort_unstable();
        self.ids.dedup();
        for hint in later.hints {
            self.hint(hint);
        }
    }

    /// Takes a newer hint; old ones are forgotten at last, so that a file moved for ever costs no more than another.
    fn hint(&mut self, path: Vec<u8>) {
        if !path.is_empty() && self.hints.last() != Some(&path) {
            self.hints.retain(|known| *known != path);
            self.hints.push(path);
            let surplus = self.hints.len().saturating_sub(MOST_HINTS);
            self.hints.drain(..surplus);
        }
    }
}

/// What one frame says of its objects, by their numbers.
fn subjects(ops: &[Op<'_>]) -> Vec<Object> {
    let mut subjects: Vec<Object> = Vec::new();
    for op in ops {
        let number = usize::try_from(op.object).unwrap_or(usize::MAX);
        match (op.action, subjects.get_mut(number)) {
            (Action::Object { id, inode, path }, None) => {
                let mut subject = Object { ids: vec![id], inode, ..Object::default() };
                subject.hint(path.to_vec());
                subjects.push(subject);
            }
            (Action::Object { id, .. }, Some(subject)) => subject.ids.push(id),
            (Action::Path(path), Some(subject)) => subject.hint(path.to_vec()),
            _ => {}
        }
    }
    subjects
}

const MOST_HINTS: usize = 8;
