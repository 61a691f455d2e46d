//! Mounting and unmounting, and what the kernel lets us do to a connection.
//!
//! Root mounts by itself, so that the mount table says `fuse.strongroom` and nothing depends on an installed helper;
//! everybody else goes through `fusermount3`, which holds the privilege.

use std::{
    ffi::CString,
    fs,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::MetadataExt, net::UnixStream},
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, StatxFlags},
    io::Errno,
    mount::UnmountFlags,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
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

/// Mounts at `mountpoint`; the device over which the kernel will talk.
pub(super) fn connect(mountpoint: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    if is_root() { mount_device(mountpoint, options) } else { mount_with_helper(mountpoint, options) }
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

/// The helper mounts and passes the device over a socket, its standard input.
fn mount_with_helper(mountpoint: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut helper = Command::new(HELPER);
    helper.arg("-o").arg(options.helper_options()).arg("--").arg(mountpoint).env(HELPER_SOCKET, "0");
    helper.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = helper.spawn()?;
    // The command keeps our copy of its end.
    drop(helper);
    let device = received_device(&ours);
    let output = child.wait_with_output()?;
    if output.status.success() {
        return device;
    }
    Err(io::Error::other(format!("`{HELPER}` failed: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

fn received_device(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::io::retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags))?;
    let passed = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut devices) => devices.next(),
        _ => None,
    });
    passed.ok_or_else(|| io::Error::other(format!("`{HELPER}` passed no device")))
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

/// Detaches a mount whose daemon has died, which would make every use of the directory fail. Whether there was one.
pub(super) fn detach_if_dead(mountpoint: &Path) -> io::Result<bool> {
    match probe(mountpoint) {
        Err(error) if error.raw_os_error().is_some_and(|raw| ORPHANED.contains(&raw)) => {
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

/// Lets the kernel read ahead further than it does by itself: in requests of a mebibyte, several of which are answered at
/// once. To be done before the handshake, which can only lower it, so that it holds for every file that is opened; nothing is
/// asked of the file system.
pub(super) fn raise_read_ahead(mountpoint: &Path) -> io::Result<()> {
    let stat = rustix::fs::statx(CWD, mountpoint, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)?;
    let (major, minor) = (stat.stx_dev_major, stat.stx_dev_minor);
    fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), (READ_AHEAD / 1024).to_string())
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
}

/// Whether this process runs as root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a mount answers whose daemon has died: the first always; the others while its rings are being taken down.
const ORPHANED: [i32; 3] = [libc::ENOTCONN, libc::ECONNABORTED, libc::ECANCELED];
const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
/// The environment variable that names the descriptor of its socket to the helper.
const HELPER_SOCKET: &str = "_FUSE_COMMFD";
/// In bytes.
pub(super) const READ_AHEAD: u32 = 4 << 20;

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
