//! The `/proc/self/fd` names of open handles: the way from an `O_PATH` handle to calls that want a path.
//!
//! The kernel resolves such a name to the very inode of the handle, also when that inode is a symbolic link.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// The path that means the inode of `fd`.
pub(super) fn path_of(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Fails with an explanation when `/proc` is not there.
pub(super) fn check(fd: impl AsFd) -> io::Result<()> {
    let ours = rustix::fs::fstat(&fd)?;
    match rustix::fs::stat(path_of(&fd)) {
        Ok(seen) if seen.st_ino == ours.st_ino && seen.st_dev == ours.st_dev => Ok(()),
        _ => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "`/proc` is missing here; mount it and try again"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_handle_leads_to_its_inode() {
        let dir = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        check(&fd).unwrap();
    }
}
