//! Bytes of a simulated file: sectors with their versions, and the length.
//!
//! A missing sector is a hole. No byte that programs see stands beyond the length, except zeros of reserved sectors.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ops::Range,
    sync::Arc,
};

use rand::Rng;

use super::{
    crash::Cut,
    versions::{Stamp, Versions},
};

/// Bytes of a sector: the unit in which a disk keeps or loses.
pub(super) const SECTOR: u64 = LEN as u64;
/// The same, for arrays.
pub(super) const LEN: usize = 512;
/// Sectors of a page: the unit in which the kernel writes.
pub(super) const PAGE: u64 = 8;

/// The bytes of one sector; `None` is a hole.
pub(super) type Sector = Option<Bytes>;
/// Shared by all versions and disks that have them.
pub(super) type Bytes = Arc<[u8; LEN]>;

/// What a file holds.
#[derive(Clone)]
pub(super) struct Content {
    sectors: BTreeMap<u64, Versions<Sector>>,
    dirty: BTreeSet<u64>,
    len: Versions<u64>,
    allocated: u64,
}

impl Content {
    pub(super) fn empty() -> Self {
        Self { sectors: BTreeMap::new(), dirty: BTreeSet::new(), len: Versions::durable(0), allocated: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        *self.len.now()
    }

    /// Number of sectors that are no holes.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let there = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let done = buf.len().min(there);
        for (sector, part, bytes) in pieces(offset, done) {
            match self.sector(sector) {
                Some(data) => buf[bytes].copy_from_slice(&data[part]),
                None => buf[bytes].fill(0),
            }
        }
        done
    }

    /// How many of `len` bytes at `offset` can be written with `free` new sectors.
    pub(super) fn room(&self, offset: u64, len: usize, free: u64) -> usize {
        let mut left = free;
        for (sector, _, bytes) in pieces(offset, len) {
            let new = u64::from(self.sector(sector).is_none());
            if new > left {
                return bytes.start;
            }
            left -= new;
        }
        len
    }

    pub(super) fn write(&mut self, stamp: Stamp, bytes: &[u8], offset: u64) {
        for (sector, part, source) in pieces(offset, bytes.len()) {
            let mut data = self.sector(sector).map_or(ZEROS, |data| **data);
            data[part].copy_from_slice(&bytes[source]);
            self.put(stamp, sector, Some(Arc::new(data)));
        }
        let end = offset + bytes.len() as u64;
        if !bytes.is_empty() && end > self.len() {
            self.len.set(stamp, end);
        }
    }

    pub(super) fn set_len(&mut self, stamp: Stamp, len: u64) {
        if len < self.len() {
            self.clear(stamp, len, u64::MAX);
        }
        self.len.set(stamp, len);
    }

    /// Makes zeros of the range: holes of whole sectors.
    pub(super) fn clear(&mut self, stamp: Stamp, from: u64, to: u64) {
        let there = self.sectors.range(from / SECTOR..to.div_ceil(SECTOR));
        let there: Vec<_> = there.filter_map(|(at, data)| Some((*at, data.now().clone()?))).collect();
        for (sector, data) in there {
            let start = sector * SECTOR;
            let part = within(from.max(start) - start)..within(to.min(start + SECTOR) - start);
            let hole = part.len() as u64 == SECTOR;
            self.put(stamp, sector, (!hole).then(|| zeroed(&data, part)));
        }
    }

    /// Allocates the holes of the range as zeros, with at most `free` new sectors; whether that sufficed.
    pub(super) fn reserve(&mut self, stamp: Stamp, from: u64, to: u64, free: u64) -> bool {
        let zeros = Arc::new(ZEROS);
        let mut left = free;
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            if self.sector(sector).is_some() {
                continue;
            }
            if left == 0 {
                return false;
            }
            left -= 1;
            self.allocate(stamp, sector, &zeros);
        }
        true
    }

    /// Next allocated byte or hole at or after `offset`.
    pub(super) fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        if offset >= self.len() {
            return None;
        }
        let first = offset / SECTOR;
        let mut allocated = self.sectors.range(first..).filter(|(_, data)| data.now().is_some());
        let found = if data {
            *allocated.next()?.0
        } else {
            let run = allocated.zip(first..).take_while(|((at, _), expected)| *at == expected);
            first + run.count() as u64
        };
        let found = (found * SECTOR).max(offset);
        if data { (found < self.len()).then_some(found) } else { Some(found.min(self.len())) }
    }

    /// A sync that succeeded.
    pub(super) fn settle(&mut self) {
        self.each_dirty(Versions::settle);
        self.len.settle();
    }

    /// A sync that failed: data on its way is lost, though still seen; the length is still on its way.
    pub(super) fn strand(&mut self) {
        self.each_dirty(Versions::strand);
    }

    /// What a power cut leaves, all of it durable.
    pub(super) fn after(&self, cut: &Cut, rng: &mut impl Rng) -> Self {
        let durable = |(at, data): (&u64, &Versions<Sector>)| Some((*at, data.oldest().clone()?));
        let mut sectors: BTreeMap<_, _> = self.sectors.iter().filter_map(durable).collect();
        for page in self.dirty_pages() {
            for (at, data) in cut.page(&page, rng) {
                match data {
                    Some(data) => sectors.insert(at, data),
                    None => sectors.remove(&at),
                };
            }
        }
        Self::found(sectors, cut.pick(&self.len, rng))
    }

    fn found(mut sectors: BTreeMap<u64, Bytes>, len: u64) -> Self {
        drop(sectors.split_off(&len.div_ceil(SECTOR)));
        if let Some(last) = sectors.get_mut(&(len / SECTOR)) {
            *last = zeroed(last, within(len % SECTOR)..LEN);
        }
        let allocated = sectors.len() as u64;
        let sectors = sectors.into_iter().map(|(at, data)| (at, Versions::durable(Some(data)))).collect();
        Self { sectors, dirty: BTreeSet::new(), len: Versions::durable(len), allocated }
    }

    fn dirty_pages(&self) -> Vec<Vec<(u64, &Versions<Sector>)>> {
        let dirty: Vec<_> = self.dirty.iter().filter_map(|at| Some((*at, self.sectors.get(at)?))).collect();
        dirty.chunk_by(|(a, _), (b, _)| a / PAGE == b / PAGE).map(<[_]>::to_vec).collect()
    }

    fn sector(&self, sector: u64) -> Option<&Bytes> {
        self.sectors.get(&sector)?.now().as_ref()
    }

    fn put(&mut self, stamp: Stamp, sector: u64, data: Sector) {
        let versions = self.sectors.entry(sector).or_insert_with(|| Versions::durable(None));
        self.allocated -= u64::from(versions.now().is_some());
        self.allocated += u64::from(data.is_some());
        versions.set(stamp, data);
        self.dirty.insert(sector);
    }

    /// Zeros where never was anything change no byte, so there is nothing in flight.
    fn allocate(&mut self, stamp: Stamp, sector: u64, zeros: &Bytes) {
        match self.sectors.entry(sector) {
            Entry::Occupied(_) => self.put(stamp, sector, Some(zeros.clone())),
            Entry::Vacant(vacant) => {
                vacant.insert(Versions::durable(Some(zeros.clone())));
                self.allocated += 1;
            }
        }
    }

    fn each_dirty(&mut self, change: impl Fn(&mut Versions<Sector>)) {
        for sector in std::mem::take(&mut self.dirty) {
            self.sectors.get_mut(&sector).into_iter().for_each(&change);
        }
    }
}

/// The range of bytes cut at sector borders: sector, range in it, range in the buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let start = within(at % SECTOR);
        let size = (LEN - start).min(len - done);
        let piece = (at / SECTOR, start..start + size, done..done + size);
        done += size;
        (size > 0).then_some(piece)
    })
}

fn zeroed(data: &Bytes, part: Range<usize>) -> Bytes {
    let mut data = **data;
    data[part].fill(0);
    Arc::new(data)
}

/// An offset in a sector, or its end.
fn within(offset: u64) -> usize {
    usize::try_from(offset).expect("at most a sector")
}

const ZEROS: [u8; LEN] = [0; LEN];
