//! Keeps the number of nodes that the kernel remembers bounded, and with it the memory of this process.
//!
//! When there are many, a thread asks the kernel to drop those that were not used lately. What it keeps all the same, as
//! directories in which it knows names, it is asked for again later. Kernels before Linux 6.18 cannot be asked by node;
//! they are told to drop the names of files, one by one, and keep directories.
//!
//! The thread serves no requests: one under way may hold what the kernel waits for when it drops a name. It takes no lock
//! while it talks to the kernel.

use std::{
    io,
    sync::{Arc, Weak, mpsc::Receiver},
    thread,
    time::Duration,
};

use super::{inode::Inode, inodes::Inodes, transport::Device};
use crate::{engine::Item, store::Kind};

/// Drops nodes whenever `many` says so, a quarter more than those beyond `most`, until the table is gone. Nothing else is
/// held meanwhile: the end of a mount waits for nobody here.
pub(super) fn run(many: &Receiver<()>, nodes: &Weak<Inodes<Item>>, most: usize, device: &Device) {
    let (mut by_node, spare) = (true, most / 4);
    while let (Ok(()), Some(nodes)) = (many.recv(), nodes.upgrade()) {
        let before = nodes.len();
        let idle = nodes.idle(before.saturating_sub(most) + spare);
        let mut outcome = if by_node { prune(device, &idle) } else { Ok(()) };
        if by_node && outcome.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL)) {
            log::debug!("this kernel cannot be asked to forget nodes; names are dropped instead");
            (by_node, outcome) = (false, Ok(()));
        }
        if !by_node {
            outcome = forget_names(device, &nodes, &idle);
        }
        match outcome {
            Err(error) => log::warn!("the kernel does not forget nodes: {error}"),
            Ok(()) => log::trace!("asked the kernel to forget {} nodes", idle.len()),
        }
        let asked = idle.len();
        drop(idle);
        wait_until(|| nodes.len() + asked / 2 <= before);
        // What the kernel keeps all the same must not be asked for all the time.
        nodes.report_from(most.max(nodes.len() + spare));
    }
}

/// Of what was dropped other threads hear, in a moment.
fn wait_until(is_done: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if is_done() {
            return;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn prune(device: &Device, idle: &[Arc<Inode<Item>>]) -> io::Result<()> {
    let numbers: Vec<u64> = idle.iter().map(|inode| inode.id()).collect();
    numbers.chunks(IN_ONE_NOTICE).try_for_each(|numbers| device.prune(numbers))
}

/// A directory whose name is dropped is lost to whoever stands in it, so they stay.
fn forget_names(device: &Device, nodes: &Inodes<Item>, idle: &[Arc<Inode<Item>>]) -> io::Result<()> {
    for inode in idle.iter().filter(|inode| inode.item().kind() != Kind::Directory) {
        if let Some((dir, name)) = inode.item().place()
            && let Some(parent) = nodes.find(dir)
        {
            device.forget_entry(parent.id(), name.as_os_str())?;
        }
    }
    Ok(())
}

/// A tenth of a second in all.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// Longer lists would keep an unmount waiting.
const IN_ONE_NOTICE: usize = 512;
