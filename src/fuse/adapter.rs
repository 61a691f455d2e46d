//! The face towards the transports: each request becomes one call of [`Ops`], and its result an answer.
//!
//! Nothing is decided here.

use std::{sync::Arc, time::Duration};

use crate::engine::{Attr, Caller};

use super::{
    activity::Activity,
    errno::Errno,
    ops::{self, Ops, Result},
    options::MountOptions,
    protocol::{Answer, Entry, Fill, Header, Lines, Opened, Operation, open_reply, write_flags},
    transport::Service,
};

/// The file system as the transports see it.
pub(super) struct Adapter {
    ops: Arc<Ops>,
    activity: Arc<Activity>,
    /// Something else may change the store.
    shared: bool,
    /// Life of names and attributes in the kernel.
    ttl: Duration,
    /// Programs do not know the numbers that only keys have.
    plain_errno: bool,
}

impl Adapter {
    /// Serves `ops` as `options` have it.
    pub(super) fn new(ops: Arc<Ops>, activity: Arc<Activity>, options: &MountOptions) -> Self {
        let MountOptions { shared, ttl, plain_errno, .. } = *options;
        Self { ops, activity, shared, ttl, plain_errno }
    }

    /// The error numbers that the programs on this mount are meant to see.
    fn numbered<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|errno| if self.plain_errno { errno.plain() } else { errno })
    }

    /// Operations on names in the directory of the header.
    fn by_name(&self, header: &Header, operation: &Operation<'_>) -> Option<Result<Answer>> {
        let (ops, parent) = (&self.ops, header.node);
        let creator = |umask| creator(header, umask);
        Some(match *operation {
            Operation::Lookup { name } => self.looked_up(ops.lookup(parent, name)),
            Operation::MakeNode { name, mode, rdev, umask } => {
                self.entry(ops.make_node(&creator(umask), parent, name, mode, rdev.into()))
            }
            Operation::MakeDir { name, mode, umask } => {
                self.entry(ops.make_dir(&creator(umask), parent, name, mode))
            }
            Operation::Symlink { name, target } => {
                self.entry(ops.make_symlink(&creator(0), parent, name, target))
            }
            Operation::Link { node, name } => self.entry(ops.link(&creator(0), node, parent, name)),
            Operation::Unlink { name } => done(ops.unlink(&creator(0), parent, name)),
            Operation::RemoveDir { name } => done(ops.remove_dir(&creator(0), parent, name)),
            Operation::Rename { name, to_parent, to_name, flags } => {
                done(ops.rename(&creator(0), (parent, name), (to_parent, to_name), flags))
            }
            Operation::Create { name, mode, umask, flags } => {
                let created = ops.create(&creator(umask), parent, name, mode, flags);
                created.map(|it| {
                    Answer::Created(
                        self.remembered(it.entry.id, it.entry.attr),
                        opened(&it.opened, self.shared),
                    )
                })
            }
            _ => return None,
        })
    }

    /// Operations on a node, open or not.
    fn by_node(&self, header: &Header, operation: &Operation<'_>) -> Option<Result<Answer>> {
        let (ops, node, caller) = (&self.ops, header.node, creator(header, 0));
        Some(match *operation {
            Operation::Attr { handle } => self.attr(node, ops.attr(node, handle)),
            Operation::Access { mask } => done(ops.access(node, mask)),
            Operation::SetAttr { handle, set } => self.attr(node, ops.set_attr(&caller, node, handle, set)),
            Operation::ReadLink => ops.read_link(node).map(Answer::Target),
            Operation::Open { flags } => {
                ops.open(&caller, node, flags).map(|it| Answer::Opened(opened(&it, self.shared)))
            }
            Operation::OpenDir => {
                ops.open_dir(&caller, node).map(|handle| Answer::Opened(Opened { handle, flags: 0 }))
            }
            Operation::Space => ops.space(node).map(Answer::Space),
            Operation::SetXattr { name, value, flags } => {
                done(ops.set_xattr(&caller, node, name, value, flags))
            }
            Operation::Xattr { name, size } => {
                ops.xattr(&caller, node, name).and_then(|value| sized(value, size))
            }
            Operation::Xattrs { size } => ops.xattrs(node).and_then(|names| sized(names, size)),
            Operation::RemoveXattr { name } => done(ops.remove_xattr(&caller, node, name)),
            _ => return None,
        })
    }

    /// Operations on what is open.
    fn by_handle(&self, header: &Header, operation: Operation<'_>) -> Result<Answer> {
        let (ops, caller) = (&self.ops, creator(header, 0));
        match operation {
            Operation::Write { handle, offset, data, flags, of_file } => {
                let kill = flags & write_flags::KILL_SUIDGID != 0;
                let written = ops.write(&caller, handle, offset, data, kill, of_file)?;
                u32::try_from(written).map(Answer::Written).map_err(|_| Errno(libc::EINVAL))
            }
            Operation::Flush { handle } => done(ops.flush(handle)),
            Operation::Sync { handle, data_only } => done(ops.sync(handle, data_only)),
            Operation::SyncDir { handle } => done(ops.sync_dir(handle)),
            Operation::Release { handle } => {
                ops.release(handle);
                Ok(Answer::Done)
            }
            Operation::ReleaseDir { handle } => {
                ops.release_dir(handle);
                Ok(Answer::Done)
            }
            Operation::Allocate { handle, offset, len, mode } => {
                done(ops.allocate(&caller, handle, offset, len, mode))
            }
            Operation::Seek { handle, offset, whence } => {
                ops.seek(handle, offset, whence).map(Answer::Offset)
            }
            Operation::CopyRange { from, to, len } => {
                ops.copy_range(&caller, from, to, len).map(Answer::Written)
            }
            Operation::Ioctl => Err(Errno(libc::ENOTTY)),
            _ => Err(Errno(libc::ENOSYS)),
        }
    }

    /// The kernel may remember that a name is absent for as long as it may remember others: what it makes itself, it
    /// knows of.
    fn looked_up(&self, outcome: Result<ops::Entry>) -> Result<Answer> {
        match outcome {
            Err(Errno(libc::ENOENT)) if !self.ttl.is_zero() && !self.shared => Ok(Answer::Absent(self.ttl)),
            outcome => self.entry(outcome),
        }
    }

    fn entry(&self, outcome: Result<ops::Entry>) -> Result<Answer> {
        outcome.map(|it| Answer::Entry(self.remembered(it.id, it.attr)))
    }

    fn attr(&self, node: u64, outcome: Result<Attr>) -> Result<Answer> {
        outcome.map(|attr| Answer::Attr(self.remembered(node, attr)))
    }

    fn remembered(&self, id: u64, attr: Attr) -> Entry {
        Entry { id, attr, ttl: self.ttl }
    }

    fn list_plus(&self, handle: u64, position: u64, lines: &mut Lines<'_>) -> Result<()> {
        self.ops.read_dir_plus(handle, position, |plus| {
            let found = plus.found.map(|(id, attr)| self.remembered(id, attr));
            let ino = found.map_or(shown(plus.line.ino), |found| found.id);
            !lines.add_found(found.as_ref(), ino, plus.line.next, plus.line.kind, &plus.line.name)
        })
    }

    /// Fills `out`; the number of bytes.
    fn filled(&self, fill: Fill, out: &mut [u8]) -> Result<usize> {
        match fill {
            Fill::Read { handle, offset, .. } => self.ops.read(handle, offset, out),
            Fill::List { handle, position, .. } => {
                let mut lines = Lines::new(out);
                self.ops.read_dir(handle, position, |line| {
                    !lines.add(shown(line.ino), line.next, line.kind, &line.name)
                })?;
                Ok(lines.used())
            }
            Fill::ListPlus { handle, position, .. } => {
                let mut lines = Lines::new(out);
                self.list_plus(handle, position, &mut lines)?;
                Ok(lines.used())
            }
        }
    }
}

impl Service for Adapter {
    fn answer(&self, header: &Header, operation: Operation<'_>) -> Result<Answer> {
        self.activity.note();
        let named = self.by_name(header, &operation).or_else(|| self.by_node(header, &operation));
        self.numbered(named.unwrap_or_else(|| self.by_handle(header, operation)))
    }

    fn fill(&self, _header: &Header, fill: Fill, out: &mut [u8]) -> Result<usize> {
        self.activity.note();
        self.numbered(self.filled(fill, out))
    }

    /// Not a sign of life: the kernel forgets on its own account.
    fn forget(&self, node: u64, count: u64) {
        self.ops.forget(node, count);
    }
}

fn creator(header: &Header, umask: u32) -> Caller {
    Caller { uid: header.uid, gid: header.gid, pid: header.pid, umask }
}

/// Pages stay valid across opens: attribute revalidation drops them when the file changed behind the mount, which a shared
/// store does not rely on.
fn opened(opened: &ops::Opened, shared: bool) -> Opened {
    let flush = if opened.writable { 0 } else { open_reply::NOFLUSH };
    let pages = match (opened.direct, shared) {
        (true, _) => open_reply::DIRECT_IO,
        (false, true) => 0,
        (false, false) => open_reply::KEEP_CACHE,
    };
    Opened { handle: opened.handle, flags: pages | flush }
}

fn done(outcome: Result<()>) -> Result<Answer> {
    outcome.map(|()| Answer::Done)
}

/// A value, or its length where the kernel asked for that.
fn sized(value: Vec<u8>, size: u32) -> Result<Answer> {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => Ok(Answer::Length(len)),
        Ok(len) if len <= size => Ok(Answer::Bytes(value)),
        _ => Err(Errno(libc::ERANGE)),
    }
}

/// Programs skip names whose inode number is 0.
fn shown(ino: u64) -> u64 {
    if ino == 0 { UNKNOWN_INO } else { ino }
}

const UNKNOWN_INO: u64 = 0xffff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_can_be_written_to_is_flushed_on_close() {
        let flags = |writable| opened(&ops::Opened { handle: 1, writable, direct: false }, false).flags;
        assert_eq!(flags(false), open_reply::KEEP_CACHE | open_reply::NOFLUSH);
        assert_eq!(flags(true), open_reply::KEEP_CACHE);
    }

    #[test]
    fn of_a_shared_store_no_page_is_kept_for_the_next_open() {
        let flags = |direct| opened(&ops::Opened { handle: 1, writable: true, direct }, true).flags;
        assert_eq!(flags(false), 0);
        assert_eq!(flags(true), open_reply::DIRECT_IO);
    }

    #[test]
    fn a_value_is_sent_whole_or_not_at_all() {
        assert!(matches!(sized(vec![1, 2], 0), Ok(Answer::Length(2))));
        assert!(matches!(sized(vec![1, 2], 2), Ok(Answer::Bytes(_))));
        assert!(matches!(sized(vec![1, 2], 1), Err(Errno(libc::ERANGE))));
    }

    #[test]
    fn a_name_without_an_inode_number_is_still_shown() {
        assert_eq!(shown(0), UNKNOWN_INO);
        assert_eq!(shown(7), 7);
    }
}
