//! The two system calls that turn a process into two, and one of them into a daemon.
//!
//! The only unsafe code of this room. A forked child of a process with several threads may call next to nothing (another
//! thread may have held the lock of the allocator), so forking is refused unless there is one thread.
#![allow(
    unsafe_code,
    reason = "fork(2) and dup2(2) onto the standard descriptors have no safe face in our dependencies"
)]

use std::{fs, io, os::fd::AsRawFd};

/// Which of the two processes this is.
pub(super) enum Side {
    /// The one that forked.
    Parent,
    /// The new one.
    Child,
}

/// Forks this process, which must have a single thread.
pub(super) fn fork() -> io::Result<Side> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("cannot go to the background: {threads} threads are running")));
    }
    // SAFETY: this is the only thread, so the child inherits no lock held by a thread that does not exist in it and
    // may go on as an ordinary process.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        _ => Ok(Side::Parent),
    }
}

/// Puts `/dev/null` in the place of `standard` descriptors (0 to 2). They stay taken: a device or file opened later
/// must never land there.
pub(super) fn silence(standard: impl IntoIterator<Item = i32>) -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for descriptor in standard {
        debug_assert!((0..=2).contains(&descriptor), "only the standard descriptors are ours to replace");
        // SAFETY: no owned descriptor is 0, 1 or 2; the standard library uses these by number and expects nothing of
        // what is behind them.
        if unsafe { libc::dup2(null.as_raw_fd(), descriptor) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_does_not_fork() {
        // The test harness itself runs threads; one more makes sure.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || receiver.recv());
        assert!(fork().is_err());
        drop(sender);
        assert!(other.join().unwrap().is_err());
    }
}
