//! Mounting and unmounting, and what the kernel lets us do to a connection.
//!
//! Root mounts by itself, so that the mount table says `fuse.strongroom` and nothing depends on an installed helper;
//! everybody else goes through `fusermount3`, which holds the privilege.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use fuser::{Filesystem, Session};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, StatxFlags},
    io::Errno,
    mount::UnmountFlags,
};

use super::options::{MountOptions, SUBTYPE};

/// How to take a mount down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmount {
    /// Only if nothing uses it (`EBUSY`).
    Unused,
    /// Out of sight at once; it ends when its last user is gone.
    Lazy,
    /// Out of sight at once, failing what is still under way. The helper of ordinary users knows only [`Self::Lazy`].
    Forced,
}

/// Mounts `filesystem` and shakes hands with the kernel. On failure nothing stays mounted.
pub(super) fn connect<FS: Filesystem>(
    filesystem: FS,
    mountpoint: &Path,
    options: &MountOptions,
) -> io::Result<Session<FS>> {
    if !is_root() {
        return Session::new(filesystem, mountpoint, &options.config());
    }
    let device = mount_device(mountpoint, options)?;
    Session::from_fd(filesystem, device, options.acl(), options.config())
        .inspect_err(|_| drop(unmount(mountpoint, Unmount::Lazy)))
}

fn mount_device(mountpoint: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mode = fs::metadata(mountpoint)?.mode();
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let data = CString::new(options.data(device.as_raw_fd(), mode, uid.as_raw(), gid.as_raw()))?;
    let kind = format!("fuse.{SUBTYPE}");
    rustix::mount::mount(options.source.as_str(), mountpoint, kind, options.flags(), data.as_c_str())?;
    Ok(device)
}

/// Takes the mount at `mountpoint` down.
pub(super) fn unmount(mountpoint: &Path, how: Unmount) -> io::Result<()> {
    let flags = match how {
        Unmount::Unused => UnmountFlags::empty(),
        Unmount::Lazy => UnmountFlags::DETACH,
        Unmount::Forced => UnmountFlags::DETACH | UnmountFlags::FORCE,
    };
    match rustix::mount::unmount(mountpoint, flags) {
        Err(Errno::PERM) if !is_root() => unmount_with_helper(mountpoint, how),
        outcome => Ok(outcome?),
    }
}

fn unmount_with_helper(mountpoint: &Path, how: Unmount) -> io::Result<()> {
    let arguments: &[&str] = if how == Unmount::Unused { &["-u", "-q"] } else { &["-u", "-q", "-z"] };
    let mut helper = Command::new(HELPER);
    helper.args(arguments).arg("--").arg(mountpoint).stdin(Stdio::null()).stdout(Stdio::null());
    let status = helper.stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("`{HELPER}` failed: {status}"))) }
}

/// Detaches a mount whose daemon has died, which would make every use of the directory fail (`ENOTCONN`).
/// Whether there was one.
pub(super) fn detach_if_dead(mountpoint: &Path) -> io::Result<bool> {
    match probe(mountpoint) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => {
            unmount(mountpoint, Unmount::Lazy)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Asks the file system at `mountpoint` for its root, past every cache. The device number tells mounts apart.
pub(super) fn probe(mountpoint: &Path) -> io::Result<Device> {
    let stat = rustix::fs::statx(CWD, mountpoint, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS)?;
    Ok(Device { major: stat.stx_dev_major, minor: stat.stx_dev_minor })
}

/// The device number of a mount, by which the kernel names its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device {
    major: u32,
    minor: u32,
}

impl Device {
    /// Fails all requests, present and future, so that everybody waiting for the mount comes free.
    pub(super) fn abort(self) -> io::Result<()> {
        fs::write(format!("/sys/fs/fuse/connections/{}/abort", self.minor), "1")
    }

    /// Lets the kernel read ahead further than the handshake can ask for; sequential reading gains up to a third.
    pub(super) fn raise_read_ahead(self) -> io::Result<()> {
        let Self { major, minor } = self;
        fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), READ_AHEAD_KB)
    }
}

/// Whether this process runs as root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
const READ_AHEAD_KB: &str = "1024";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_directory_is_not_detached() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!detach_if_dead(dir.path()).unwrap());
        assert!(dir.path().is_dir());
    }

    #[test]
    fn two_file_systems_have_two_devices() {
        assert_ne!(probe(Path::new("/proc")).unwrap(), probe(Path::new("/sys")).unwrap());
    }
}
