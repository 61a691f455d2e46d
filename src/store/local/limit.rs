//! The limit on open files, and the share of it that idle nodes may take.

use std::{io, os::fd::AsFd};

use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// Raises the soft limit on open files (`RLIMIT_NOFILE`) to the hard limit; gives the limit now in force.
pub fn raise_fd_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Lets the kernel make its table of open files large enough for `handles` at once; `open` is any descriptor.
///
/// In a process with several threads each doubling of that table waits until no processor looks at the old one (RCU),
/// many milliseconds in which every open stands still. Call it before the first thread starts. A fork shrinks the table.
pub(super) fn make_room(open: impl AsFd, handles: usize) {
    let highest = i32::try_from(handles.min(ROOM_AHEAD)).unwrap_or(i32::MAX);
    if let Err(errno) = fcntl_dupfd_cloexec(open, highest) {
        log::debug!("the table of open files stays small at first: {errno}");
    }
}

/// How many idle nodes to keep open under the limit in force.
pub(super) fn default_handles() -> usize {
    handles_under(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

fn handles_under(limit: u64) -> usize {
    let share = (limit / 5).saturating_mul(4).saturating_sub(ROOM_FOR_FILES);
    usize::try_from(share).unwrap_or(MOST).clamp(FEWEST, MOST)
}

/// Descriptors left for open files, beyond the fifth of the limit that is left for the rest of the process.
const ROOM_FOR_FILES: u64 = 1024;
/// Descriptors to make room for from the beginning: 128 KiB of kernel memory, and few doublings left.
const ROOM_AHEAD: usize = 16_000;
const FEWEST: usize = 256;
const MOST: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_never_take_the_whole_limit() {
        assert_eq!(handles_under(1024), 256);
        assert_eq!(handles_under(20_000), 14_976);
        assert_eq!(handles_under(1 << 20), 100_000);
        assert_eq!(handles_under(u64::MAX), 100_000);
        assert_eq!(handles_under(0), 256);
    }

    #[test]
    fn the_table_of_open_files_is_made_larger_at_once() {
        let file = tempfile::tempfile().unwrap();
        make_room(&file, 200);
        make_room(&file, usize::MAX);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let table = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        assert!(table.trim().parse::<usize>().unwrap() > 200, "FDSize is {table}");
    }

    #[test]
    fn raising_the_limit_reaches_the_hard_limit() {
        let raised = raise_fd_limit().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), raised);
    }
}
