//! Objects without encryption that are written as the engine writes them: a token stands for a sealed block.
//!
//! The order of a commit is that of the design: blocks that no durable state refers to may go in place first and are
//! flushed; then the frame; and only then everything else in place.

use std::{
    collections::BTreeSet,
    io::{self, IoSlice},
};

use rand::{RngExt, rngs::StdRng};

use super::{Frame, Journal, MAGIC, NodeRef, Subject};
use crate::{
    crypto,
    store::{Access, FileRef, RenameMode, contract::name},
};

pub(super) const BLOCKS: usize = 6;
const BLOCK: u64 = 4096;

/// What an object is at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) id: u8,
    pub(super) size: u64,
    /// Token of each block; 0 is a hole.
    pub(super) entries: [u64; BLOCKS],
}

impl Snapshot {
    pub(super) fn empty(id: u8) -> Self {
        Self { id, size: 0, entries: [0; BLOCKS] }
    }

    fn blocks(&self) -> usize {
        usize::try_from(self.size.div_ceil(BLOCK)).unwrap()
    }

    fn block(&self, i: usize) -> Vec<u8> {
        let len = (self.size - i as u64 * BLOCK).min(BLOCK);
        let words = self.entries[i].to_be_bytes().into_iter().cycle();
        words.take(usize::try_from(len).unwrap()).collect()
    }

    pub(super) fn header(&self) -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[..8].copy_from_slice(&MAGIC);
        page[16..32].copy_from_slice(&[self.id; 16]);
        let words = [self.size].into_iter().chain(self.entries);
        let state: Vec<u8> = words.flat_map(u64::to_be_bytes).collect();
        page[512..512 + state.len()].copy_from_slice(&state);
        let mac = crypto::frame_digest(&[&page]);
        page[4080..].copy_from_slice(&mac);
        page
    }

    /// The whole object in `file`, if it is sound. It may be followed by bytes that nothing refers to.
    pub(super) fn read(file: &FileRef) -> Result<Self, String> {
        let mut page = vec![0; 4096];
        file.read_at(&mut page, 0).unwrap();
        let words = page[512..].chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().unwrap()));
        let words: Vec<u64> = words.take(1 + BLOCKS).collect();
        let found = Self { id: page[16], size: words[0], entries: words[1..].try_into().unwrap() };
        if page != found.header() {
            return Err("header page".into());
        }
        // Longer is no loss: blocks that were written in place, and then the crash came before their commit.
        if file.stat().unwrap().size < BLOCK + found.size {
            return Err("length".into());
        }
        for i in (0..found.blocks()).filter(|i| found.entries[*i] != 0) {
            let expected = found.block(i);
            let mut block = vec![0; expected.len()];
            file.read_at(&mut block, offset(i)).unwrap();
            if block != expected {
                return Err(format!("block {i}"));
            }
        }
        Ok(found)
    }
}

/// An open object.
pub(super) struct Toy {
    pub(super) node: NodeRef,
    file: FileRef,
    pub(super) name: String,
    durable: Snapshot,
    now: Snapshot,
    /// Blocks that are not committed.
    dirty: BTreeSet<usize>,
    /// Dirty blocks that are in place.
    early: BTreeSet<usize>,
    punched: BTreeSet<usize>,
    /// A commit under way: what it writes once the frame is durable.
    pending: Option<Pending>,
}

struct Pending {
    next: Snapshot,
    writes: Vec<(u64, Vec<u8>)>,
    holes: Vec<usize>,
}

impl Toy {
    pub(super) fn open(node: NodeRef, name: String) -> io::Result<Self> {
        let file = node.open(Access::ReadWrite)?;
        let now = Snapshot::read(&file).map_err(io::Error::other)?;
        let (dirty, early, punched) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Ok(Self { node, file, name, durable: now, now, dirty, early, punched, pending: None })
    }

    /// One change in memory, or of a fresh block in place.
    pub(super) fn change(&mut self, token: &mut u64, rng: &mut StdRng) -> io::Result<()> {
        let i = rng.random_range(0..BLOCKS);
        *token += 1;
        match rng.random_range(0..100) {
            0..66 => self.write(i, *token, rng),
            66..76 => self.truncate(rng.random_range(0..=self.now.size), *token),
            76..82 => self.punch(i),
            82..85 => self.renew(token),
            _ => return self.write_early(rng),
        }
        Ok(())
    }

    fn write(&mut self, i: usize, token: u64, rng: &mut StdRng) {
        let end = i as u64 * BLOCK + if rng.random_bool(0.5) { BLOCK } else { rng.random_range(1..BLOCK) };
        if end > self.now.size {
            self.grow(end, token << 32);
        }
        self.set(i, token);
    }

    fn grow(&mut self, size: u64, token: u64) {
        self.seal_tail(token);
        self.now.size = size;
    }

    fn truncate(&mut self, size: u64, token: u64) {
        self.now.size = size;
        for i in self.now.blocks()..BLOCKS {
            self.clear(i);
        }
        self.seal_tail(token);
    }

    /// A short last block is sealed anew when the length changes.
    fn seal_tail(&mut self, token: u64) {
        let tail = self.now.blocks().saturating_sub(1);
        if !self.now.size.is_multiple_of(BLOCK) && self.now.entries[tail] != 0 {
            self.set(tail, token);
        }
    }

    fn punch(&mut self, i: usize) {
        if i < self.now.blocks() {
            self.clear(i);
            self.punched.insert(i);
        }
    }

    /// Truncation to nothing makes a new object of the file.
    fn renew(&mut self, token: &mut u64) {
        self.truncate(0, *token);
        self.now.id = 1 + u8::try_from(*token % 250).unwrap();
    }

    fn set(&mut self, i: usize, token: u64) {
        self.now.entries[i] = token;
        self.dirty.insert(i);
        self.early.remove(&i);
        self.punched.remove(&i);
    }

    fn clear(&mut self, i: usize) {
        self.now.entries[i] = 0;
        self.dirty.remove(&i);
        self.early.remove(&i);
    }

    fn write_early(&mut self, rng: &mut StdRng) -> io::Result<()> {
        let fresh: Vec<usize> = self.dirty.iter().copied().filter(|i| self.is_fresh(*i)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        self.put_early(fresh[rng.random_range(0..fresh.len())])
    }

    fn put_early(&mut self, i: usize) -> io::Result<()> {
        self.file.write_at(&[IoSlice::new(&self.now.block(i))], offset(i))?;
        self.early.insert(i);
        Ok(())
    }

    /// The durable state does not refer to it.
    fn is_fresh(&self, i: usize) -> bool {
        i >= self.durable.blocks() || self.durable.entries[i] == 0
    }

    /// The first half of a commit, up to its frame, and what the object is after it.
    pub(super) fn prepare(&mut self, rng: &mut StdRng) -> io::Result<(Frame, Snapshot)> {
        for i in self.dirty.clone() {
            if self.is_fresh(i) && !self.early.contains(&i) && rng.random_bool(0.5) {
                self.put_early(i)?;
            }
        }
        if self.file.stat()?.size > BLOCK + self.now.size {
            // The cut to come may destroy the last page: the journal must have it.
            self.seal_tail(rng.random());
        }
        if !self.early.is_empty() {
            self.file.sync_data()?;
        }
        let next = self.now;
        let mut frame = Frame::new(&self.subject(next.id));
        if next.id != self.durable.id {
            frame.superseded(&[self.durable.id; 16]);
        }
        frame.truncate(BLOCK + next.size);
        for i in &self.early {
            frame.direct(offset(*i), next.block(*i).len() as u64);
        }
        let holes: Vec<usize> = self.punched.iter().copied().filter(|i| *i < next.blocks()).collect();
        for i in &holes {
            frame.punch(offset(*i), BLOCK);
        }
        let mut writes = vec![(0, next.header())];
        let journaled = self.dirty.difference(&self.early);
        writes.extend(journaled.map(|i| (offset(*i), next.block(*i))));
        for (offset, bytes) in &writes {
            frame.write(*offset, bytes);
        }
        self.pending = Some(Pending { next, writes, holes });
        Ok((frame, next))
    }

    /// The second half, when the frame is durable.
    pub(super) fn apply(&mut self) -> io::Result<()> {
        let Pending { next, writes, holes } = self.pending.take().expect("prepared");
        self.durable = next;
        self.dirty.clear();
        self.early.clear();
        self.punched.clear();
        self.file.set_len(BLOCK + next.size)?;
        for i in holes {
            self.file.punch(offset(i), BLOCK)?;
        }
        for (offset, bytes) in writes {
            self.file.write_at(&[IoSlice::new(&bytes)], offset)?;
        }
        Ok(())
    }

    /// Moves it to its other name.
    pub(super) fn rename(&mut self, root: &NodeRef, journal: &Journal) -> io::Result<()> {
        let to = if self.name.ends_with('2') { self.name[..1].into() } else { format!("{}2", self.name) };
        let lsn = journal
            .append(Frame::new(&self.subject(self.durable.id)).path(to.as_bytes()), self.node.clone())?;
        root.rename(&name(&self.name), root, &name(&to), RenameMode::Replace)?;
        journal.applied(lsn);
        self.name = to;
        Ok(())
    }

    fn subject(&self, id: u8) -> Subject {
        Subject { object_id: [id; 16], inode: self.node.key().ino, path: self.name.clone().into() }
    }
}

fn offset(i: usize) -> u64 {
    BLOCK + i as u64 * BLOCK
}
