//! The whole state of a simulated disk: nodes, names, power and faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use libc::{EIO, ENOSPC, ESTALE};
use rand::Rng;

use super::{
    PowerIsOff,
    content::{Content, SECTOR},
    crash::{CrashMode, Cut},
    errno,
    inode::Inode,
    names::{Host, Names, Place},
    versions::Stamp,
};
use crate::store::{Kind, NodeKey, Stat, Timestamp};

/// Inode number of the root directory.
pub(super) const ROOT: u64 = 1;

enum Power {
    On,
    /// So many operations work yet. If the one after them is a write, its first pages work too.
    Going {
        left: u64,
        pages: u64,
    },
    Off,
}

/// One file system.
pub(super) struct Disk {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: Names,
    last_ino: u64,
    stamp: Stamp,
    power: Power,
    /// The syncs until one fails.
    syncs_left: Option<u64>,
    /// Sectors, where they are limited.
    free: Option<u64>,
    /// Where the clock of this disk starts.
    boot: u64,
}

impl Disk {
    pub(super) fn new(host: Host) -> Self {
        let root = Inode::new(Kind::Directory, 0o755, (0, 0), Timestamp { sec: EPOCH, nsec: 0 });
        let inodes = BTreeMap::from([(ROOT, root)]);
        let mut disk = Self::of(inodes, Names::durable(host, BTreeMap::new()), ROOT, 0);
        disk.count_links();
        disk
    }

    fn of(inodes: BTreeMap<u64, Inode>, names: Names, last_ino: u64, boot: u64) -> Self {
        Self { inodes, names, last_ino, stamp: 0, power: Power::On, syncs_left: None, free: None, boot }
    }

    pub(super) fn operations(&self) -> u64 {
        self.stamp
    }

    pub(super) fn cut_power_at(&mut self, nth: u64, pages: u64) {
        if !self.is_off() {
            self.power = Power::Going { left: nth.saturating_sub(1), pages };
        }
    }

    /// How many bytes of a write of `len` bytes at `offset` come before the power goes, if it goes now.
    pub(super) fn interrupted(&self, offset: u64, len: usize) -> Option<usize> {
        let Power::Going { left: 0, pages: pages @ 1.. } = self.power else { return None };
        let end = (offset / PAGE).saturating_add(pages).saturating_mul(PAGE);
        Some(len.min(usize::try_from(end - offset).unwrap_or(len)))
    }

    pub(super) fn limit_space(&mut self, bytes: u64) {
        self.free = Some(bytes / SECTOR);
    }

    pub(super) fn fail_sync_at(&mut self, nth: u64) {
        self.syncs_left = Some(nth.saturating_sub(1));
    }

    /// To be called before anything that only looks.
    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.is_off() { Err(io::Error::other(PowerIsOff)) } else { Ok(()) }
    }

    /// To be called before anything that may change the disk; the number of the operation.
    pub(super) fn begin(&mut self) -> io::Result<Stamp> {
        self.check_power()?;
        match &mut self.power {
            Power::Going { left: 0, .. } => {
                self.power = Power::Off;
                return self.check_power().map(|()| self.stamp);
            }
            Power::Going { left, .. } => *left -= 1,
            Power::On | Power::Off => {}
        }
        self.stamp += 1;
        Ok(self.stamp)
    }

    /// The time, which passes with operations only.
    pub(super) fn now(&self) -> Timestamp {
        let millis = self.boot + self.stamp;
        let sec = EPOCH.saturating_add_unsigned(millis / 1000);
        Timestamp { sec, nsec: u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000 }
    }

    pub(super) fn inode(&self, ino: u64) -> io::Result<&Inode> {
        self.inodes.get(&ino).ok_or_else(|| errno(ESTALE))
    }

    pub(super) fn inode_mut(&mut self, ino: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or_else(|| errno(ESTALE))
    }

    pub(super) fn stat(&self, ino: u64) -> io::Result<Stat> {
        Ok(self.inode(ino)?.stat(key(ino)))
    }

    /// Takes a node in; it has no name yet.
    pub(super) fn add(&mut self, inode: Inode) -> u64 {
        self.last_ino += 1;
        self.inodes.insert(self.last_ino, inode);
        self.last_ino
    }

    /// Changes the content of a file by a function that is told how many new sectors it may have.
    pub(super) fn change_content<T>(
        &mut self,
        ino: u64,
        change: impl FnOnce(&mut Content, Stamp, u64) -> T,
    ) -> io::Result<T> {
        let (stamp, now, free) = (self.begin()?, self.now(), self.free.unwrap_or(u64::MAX));
        let inode = self.inode_mut(ino)?;
        let before = inode.content.allocated();
        let outcome = change(&mut inode.content, stamp, free);
        let (after, named) = (inode.content.allocated(), inode.nlink > 0);
        inode.touch(stamp, now);
        if named {
            self.free = self.free.map(|free| (free + before).saturating_sub(after));
        }
        Ok(outcome)
    }

    /// Gives back the space of a file that lost its last name.
    pub(super) fn release(&mut self, sectors: u64) {
        self.free = self.free.map(|free| free + sectors);
    }

    /// Sectors that can still be allocated, where they are limited.
    pub(super) fn free_sectors(&self) -> Option<u64> {
        self.free
    }

    /// A sync of a file, of its attributes too if so wanted.
    pub(super) fn sync_file(&mut self, ino: u64, attributes: bool) -> io::Result<()> {
        self.begin()?;
        if self.is_sync_to_fail() {
            self.inode_mut(ino)?.content.strand();
            return Err(errno(EIO));
        }
        self.names.sync_birth(ino);
        let inode = self.inode_mut(ino)?;
        inode.content.settle();
        if attributes {
            inode.settle_attributes();
        }
        Ok(())
    }

    /// A sync of the whole file system.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        self.begin()?;
        self.names.sync_all();
        for inode in self.inodes.values_mut() {
            inode.content.settle();
            inode.settle_attributes();
        }
        Ok(())
    }

    pub(super) fn after_power_cut(&self, rng: &mut impl Rng, mode: CrashMode) -> Self {
        let cut = Cut::new(mode, self.stamp, rng);
        let mut names = self.names.after(&cut, rng);
        let dirs = self.reachable_dirs(&names);
        names.retain(|(dir, _), _| dirs.contains(dir));
        let mut inodes = BTreeMap::new();
        for ino in names.values().copied().chain([ROOT]).collect::<BTreeSet<_>>() {
            if let Some(inode) = self.inodes.get(&ino) {
                inodes.insert(ino, inode.after(&cut, rng));
            }
        }
        let mut disk =
            Self::of(inodes, Names::durable(self.names.host(), names), self.last_ino, self.boot + self.stamp);
        disk.count_links();
        disk
    }

    fn is_off(&self) -> bool {
        matches!(self.power, Power::Off)
    }

    fn is_sync_to_fail(&mut self) -> bool {
        let fails = self.syncs_left == Some(0);
        self.syncs_left = if fails { None } else { self.syncs_left.map(|left| left - 1) };
        fails
    }

    fn reachable_dirs(&self, names: &BTreeMap<Place, u64>) -> BTreeSet<u64> {
        let is_dir = |ino: &u64| self.inodes.get(ino).is_some_and(|inode| inode.kind == Kind::Directory);
        let mut found = BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        while let Some(dir) = todo.pop() {
            let children = names.range((dir, "".into())..(dir + 1, "".into())).map(|(_, ino)| *ino);
            todo.extend(children.filter(is_dir).filter(|child| found.insert(*child)));
        }
        found
    }

    fn count_links(&mut self) {
        self.inodes.entry(ROOT).and_modify(|root| root.nlink = 2);
        for (place, ino) in self.names.all() {
            self.count_link(&place, ino);
        }
    }
}

/// Identity of a node of any simulated disk.
pub(super) fn key(ino: u64) -> NodeKey {
    NodeKey { dev: 1, ino }
}

/// `ENOSPC` unless all could be done.
pub(super) fn or_full(complete: bool) -> io::Result<()> {
    if complete { Ok(()) } else { Err(errno(ENOSPC)) }
}

/// Bytes that the system copies at once.
const PAGE: u64 = 4096;
/// Seconds since 1970 when the first operation of a disk happens.
const EPOCH: i64 = 1_700_000_000;
