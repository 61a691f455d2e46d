//! Making a live object: a new one, or one that is stored.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, RwLock, Weak},
};

use super::{
    Budget, Inner, LiveObject, Result,
    access::KeyAccess,
    base::{Base, Promise},
    blocks::DirtyBlocks,
    tags::{TagTable, Tags, read_tags},
};
use crate::{
    engine::{
        Bucket,
        item::{damaged, path_in_bucket},
        table::ObjectTable,
        wraps::{NewObject, Whom},
    },
    object::{Accumulator, FormatError, HEADER_READ, Header, ObjectKeys, ObjectState, Page, Segment},
    store::{Access, FileRef, NodeRef, Stat},
};

/// What for an object is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Opening {
    /// To be read.
    Reading,
    /// To be read and written.
    Writing,
    /// To be found sound or not: nothing that a crash left is passed over.
    Verifying,
}

impl LiveObject {
    /// A new, empty object in the empty `file`. Its header is stored at the end of its first commit.
    pub(crate) fn create(
        bucket: Arc<Bucket>,
        node: NodeRef,
        file: FileRef,
        new: NewObject,
        budget: Arc<Budget>,
        peers: Weak<ObjectTable>,
    ) -> Self {
        let (geometry, access) = (new.identity.geometry, KeyAccess::proven_in(new.generation));
        let segment0 = Segment::blank(&geometry, 0);
        let mut inner = Inner {
            file,
            writable: true,
            identity: new.identity,
            state: ObjectState::new(),
            key_section: new.key_section,
            keys: new.keys,
            tags: TagTable::new(Tags::stored(segment0, None), budget.clone()),
            dirty: DirtyBlocks::new(geometry.block_size(), budget.clone()),
            stored_len: 0,
            base: Base::Free,
            promise: Promise::Nothing,
            early: Vec::new(),
            early_writes: 0,
            early_synced: 0,
            pending: VecDeque::new(),
            superseded: None,
            intent: None,
            attributes_unsynced: true,
            freed: Vec::new(),
            unsaved_since: None,
            mtime: None,
        };
        inner.touch();
        Self {
            bucket,
            node,
            geometry,
            budget,
            peers,
            access,
            turn: Mutex::new(()),
            inner: RwLock::new(inner),
        }
    }

    /// Opens a stored object, whose file was just opened: header, key, commitment, MAC, length and, up to the configured
    /// size, all tag pages. Its key is used for `whom`.
    pub(crate) fn open(
        bucket: Arc<Bucket>,
        node: NodeRef,
        (file, stat): (FileRef, &Stat),
        (opening, whom): (Opening, Whom<'_>),
        budget: Arc<Budget>,
        peers: Weak<ObjectTable>,
    ) -> Result<Self> {
        let refused = |reason| damaged(&node, reason);
        let stored_len = stat.size;
        let (page, header) = read_header(&file)?.map_err(refused)?;
        if header.identity.bucket != bucket.id() || header.identity.geometry != bucket.geometry() {
            return Err(refused(FormatError::Malformed("bucket: this object was made in another bucket")));
        }
        let access = KeyAccess::proven_in(bucket.key_generation());
        let path = || path_in_bucket(&node);
        let data_keys =
            bucket.wraps().data_keys(&header.identity, &header.keys, &bucket.asker(&path, whom))?;
        let keys = ObjectKeys::open(&data_keys, &header.identity).map_err(refused)?;
        keys.check_header(&page, &header).map_err(refused)?;
        let unsure = header.state.birth
            && opening != Opening::Verifying
            && bucket.may_be_unfinished(stat.ctime)
            && !bucket.crashes().is_whole(stat);
        let excess = excess(&bucket, &node, &header, stat, unsure)?;
        let geometry = header.identity.geometry;
        let base = match bucket.journal() {
            Some(_) => Base::committed(geometry.blocks(header.state.size)),
            None => Base::Free,
        };
        let inner = Inner {
            base,
            promise: if header.state.birth { Promise::Unknown } else { Promise::Made },
            early: Vec::new(),
            early_writes: 0,
            early_synced: 0,
            pending: VecDeque::new(),
            superseded: None,
            intent: None,
            attributes_unsynced: true,
            file,
            writable: opening == Opening::Writing,
            tags: TagTable::new(Tags::stored(header.segment0, None), budget.clone()),
            identity: header.identity,
            state: header.state,
            key_section: header.keys,
            keys,
            dirty: DirtyBlocks::new(geometry.block_size(), budget.clone()),
            stored_len,
            freed: Vec::new(),
            unsaved_since: None,
            mtime: None,
        };
        let live = Self {
            bucket,
            node,
            geometry,
            budget,
            peers,
            access,
            turn: Mutex::new(()),
            inner: RwLock::new(inner),
        };
        if unsure {
            if !live.keep_sound()? {
                return Ok(live);
            }
            live.bucket.crashes().note_whole(stat);
        } else if live.size() <= live.budget.limits().strict_open {
            live.check_freshness()?;
        }
        if excess > 0 {
            live.make_writable(|| live.node.open(Access::ReadWrite))?;
            live.write_lock().mark_unsaved();
        }
        Ok(live)
    }

    /// Checks every tag page and that together they are the current set.
    pub(crate) fn check_freshness(&self) -> Result<()> {
        let inner = self.read_lock();
        let mut sum = Accumulator::default();
        for g in 1..self.geometry.segments(inner.state.size) {
            if inner.state.null_extents.contains(g) {
                continue;
            }
            let tags = read_tags(&inner.file, &inner.keys, &inner.identity, g)
                .map_err(|error| self.load_failed(error))?;
            sum.add(&tags.term.unwrap_or_default());
        }
        let kept = inner.identity.accumulated;
        if kept && sum != inner.state.accumulator {
            return Err(self.damaged(FormatError::Accumulator));
        }
        Ok(())
    }

    /// Lets later opens write through `file`, where the object was opened for reading only.
    pub(crate) fn make_writable(&self, file: impl FnOnce() -> std::io::Result<FileRef>) -> Result<()> {
        let mut inner = self.write_lock();
        if !inner.writable {
            inner.file = file()?;
            inner.writable = true;
        }
        Ok(())
    }

    /// Starts over as the new, empty object `new` (truncation to nothing is a new PUT: a new data key).
    pub(crate) fn replace(&self, new: NewObject) -> Result<()> {
        let mut inner = self.write_lock();
        inner.require_writable()?;
        let birth = inner.state.birth;
        inner.dirty.remove_range(0..u64::MAX);
        inner.freed.clear();
        inner.base.cut_at(0);
        let old = inner.identity.object;
        if !inner.base.is_free() {
            inner.superseded.get_or_insert(old);
        }
        inner.tags =
            TagTable::new(Tags::stored(Segment::blank(&new.identity.geometry, 0), None), self.budget.clone());
        inner.state = ObjectState { birth, ..ObjectState::new() };
        inner.identity = new.identity;
        inner.key_section = new.key_section;
        inner.keys = new.keys;
        self.access.prove_in(new.generation);
        inner.touch();
        Ok(())
    }
}

/// Bytes past the end of the last commit, which the next one cuts off: a crash in the middle of an append leaves them
/// behind. Where there was no such crash, a length that the size does not have is damage; so are missing bytes, unless the
/// object `may_be_short`.
fn excess(bucket: &Bucket, node: &NodeRef, header: &Header, stat: &Stat, may_be_short: bool) -> Result<u64> {
    let wanted = header.identity.geometry.stored_len(header.state.size);
    if header.check_length(stat.size).is_ok() || may_be_short && stat.size < wanted {
        return Ok(0);
    }
    if stat.size < wanted || !bucket.may_be_unfinished(stat.ctime) {
        return Err(damaged(node, FormatError::Length { stored: stat.size, size: header.state.size }));
    }
    let excess = stat.size - wanted;
    log::warn!("object `{}`: {excess} bytes past its end were never committed", node.path().display());
    Ok(excess)
}

/// Reads and decodes the header of a stored file: page 0 as it stands, and what it says (not yet authentic).
pub(in crate::engine) fn read_header(
    file: &FileRef,
) -> std::io::Result<std::result::Result<(Box<Page>, Header), FormatError>> {
    let mut page = Box::new([0; 4096]);
    let got = file.read_at(page.as_mut_slice(), 0)?;
    let start = page.get(..got).unwrap_or_default();
    let header = match Header::decode(start) {
        Err(FormatError::Short) if got == page.len() => {
            let mut whole = vec![0; HEADER_READ];
            let got = file.read_at(&mut whole, 0)?;
            Header::decode(whole.get(..got).unwrap_or_default())
        }
        other => other,
    };
    Ok(header.map(|header| (page, header)))
}

/// Whether a stored file has no header yet: no first page, or a blank one.
pub(in crate::engine) fn is_unborn(file: &FileRef) -> std::io::Result<bool> {
    let mut page: Page = [0; 4096];
    let got = file.read_at(&mut page, 0)?;
    Ok(page.iter().take(got).all(|byte| *byte == 0))
}
