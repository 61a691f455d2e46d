//! How a file system is mounted.

use std::{path::PathBuf, thread, time::Duration};

use fuser::{Config, MountOption, SessionACL};
use rustix::mount::MountFlags;

/// Options of one mount. [`MountOptions::new`] gives the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "these are the independent switches of mount(8)")]
pub struct MountOptions {
    /// Directory to mount on.
    pub mountpoint: PathBuf,
    /// What the mount table shows as the source.
    pub source: String,
    /// Refuse every change.
    pub read_only: bool,
    /// Users other than the one who mounts may enter; the kernel then checks permissions.
    pub allow_other: bool,
    /// Access control lists (POSIX.1e). The kernel then checks permissions on every mount.
    pub posix_acl: bool,
    /// Honour set-user-id and set-group-id.
    pub suid: bool,
    /// Honour device files.
    pub dev: bool,
    /// Allow programs to be executed.
    pub exec: bool,
    /// Do not record access times.
    pub noatime: bool,
    /// Number of threads that serve requests; `None` chooses by the number of processors.
    pub threads: Option<usize>,
    /// How long the kernel may remember names and attributes.
    pub ttl: Duration,
    /// Unmount after this time without open files or requests.
    pub idle_timeout: Option<Duration>,
    /// Let the kernel gather writes. Only where nothing else writes to the store.
    pub writeback: bool,
    /// Show programs `EACCES` where a key cannot be used, instead of the numbers that only keys have.
    pub plain_errno: bool,
}

impl MountOptions {
    /// A read-write mount for one user that honours neither set-id bits nor devices.
    pub fn new(mountpoint: impl Into<PathBuf>) -> Self {
        Self {
            mountpoint: mountpoint.into(),
            source: SUBTYPE.to_owned(),
            read_only: false,
            allow_other: false,
            posix_acl: true,
            suid: false,
            dev: false,
            exec: true,
            noatime: false,
            threads: None,
            ttl: Duration::from_secs(1),
            idle_timeout: None,
            writeback: false,
            plain_errno: false,
        }
    }

    /// Whether the kernel is told to check permission bits. A mount of one user can do without.
    pub(super) fn kernel_checks(&self) -> bool {
        self.allow_other || self.posix_acl
    }

    /// Flags of `mount(2)`.
    pub(super) fn flags(&self) -> MountFlags {
        let switches = [
            (self.read_only, MountFlags::RDONLY),
            (!self.suid, MountFlags::NOSUID),
            (!self.dev, MountFlags::NODEV),
            (!self.exec, MountFlags::NOEXEC),
            (self.noatime, MountFlags::NOATIME),
        ];
        switches.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag).collect()
    }

    /// Data of `mount(2)` for the file system type `fuse`.
    pub(super) fn data(&self, device: i32, root_mode: u32, uid: u32, gid: u32) -> String {
        let mut data = format!("fd={device},rootmode={root_mode:o},user_id={uid},group_id={gid}");
        if self.kernel_checks() {
            data.push_str(",default_permissions");
        }
        if self.allow_other {
            data.push_str(",allow_other");
        }
        data
    }

    /// Configuration of the protocol library; the mount options in it are used where it mounts through `fusermount3`.
    pub(super) fn config(&self) -> Config {
        let threads = self.thread_count();
        let mut config = Config::default();
        config.mount_options = self.library_options();
        config.acl = self.acl();
        config.n_threads = Some(threads);
        config.clone_fd = threads >= CLONE_FROM;
        config
    }

    /// Whose requests are served.
    pub(super) fn acl(&self) -> SessionACL {
        if self.allow_other { SessionACL::All } else { SessionACL::Owner }
    }

    fn library_options(&self) -> Vec<MountOption> {
        let either = |on, yes, no| if on { yes } else { no };
        let mut options = vec![
            MountOption::Subtype(SUBTYPE.to_owned()),
            MountOption::FSName(escaped(&self.source)),
            either(self.read_only, MountOption::RO, MountOption::RW),
            either(self.suid, MountOption::Suid, MountOption::NoSuid),
            either(self.dev, MountOption::Dev, MountOption::NoDev),
            either(self.exec, MountOption::Exec, MountOption::NoExec),
        ];
        if self.noatime {
            options.push(MountOption::NoAtime);
        }
        if self.kernel_checks() {
            options.push(MountOption::DefaultPermissions);
        }
        options
    }

    fn thread_count(&self) -> usize {
        let usual = || thread::available_parallelism().map_or(FEWEST, usize::from).clamp(FEWEST, MOST);
        self.threads.map_or_else(usual, |threads| threads.max(1))
    }
}

/// The mount helper separates options by commas and takes a backslash for an escape.
fn escaped(source: &str) -> String {
    source.replace('\\', "\\\\").replace(',', "\\,")
}

/// The type of file system after `fuse.`.
pub(super) const SUBTYPE: &str = "strongroom";

const FEWEST: usize = 2;
const MOST: usize = 16;
/// With fewer threads a device descriptor for each was measured to gain nothing.
const CLONE_FROM: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_honour_neither_set_id_bits_nor_devices() {
        assert_eq!(MountOptions::new("/mnt").flags(), MountFlags::NOSUID | MountFlags::NODEV);
    }

    #[test]
    fn each_switch_is_a_flag_of_its_own() {
        let options = MountOptions {
            read_only: true,
            suid: true,
            dev: true,
            exec: false,
            noatime: true,
            ..MountOptions::new("/mnt")
        };
        assert_eq!(options.flags(), MountFlags::RDONLY | MountFlags::NOEXEC | MountFlags::NOATIME);
    }

    #[test]
    fn a_mount_for_others_is_never_without_the_permission_check() {
        for posix_acl in [false, true] {
            let options = MountOptions { allow_other: true, posix_acl, ..MountOptions::new("/mnt") };
            let data = options.data(7, 0o40755, 0, 0);
            assert_eq!(data, "fd=7,rootmode=40755,user_id=0,group_id=0,default_permissions,allow_other");
            assert!(options.config().mount_options.contains(&MountOption::DefaultPermissions));
            assert_eq!(options.config().acl, SessionACL::All);
        }
    }

    #[test]
    fn a_mount_of_one_user_without_access_lists_skips_the_permission_check() {
        let options = MountOptions { posix_acl: false, ..MountOptions::new("/mnt") };
        assert_eq!(options.data(3, 0o40700, 1000, 100), "fd=3,rootmode=40700,user_id=1000,group_id=100");
        assert_eq!(options.config().acl, SessionACL::Owner);
    }

    #[test]
    fn a_source_with_commas_cannot_smuggle_options_in() {
        let options = MountOptions { source: r"a,suid\b".into(), ..MountOptions::new("/mnt") };
        assert!(options.config().mount_options.contains(&MountOption::FSName(r"a\,suid\\b".into())));
    }

    #[test]
    fn threads_follow_the_processors_within_bounds_unless_given() {
        let threads = |threads| MountOptions { threads, ..MountOptions::new("/mnt") }.config();
        let usual = threads(None).n_threads.unwrap();
        assert!((FEWEST..=MOST).contains(&usual));
        assert_eq!(threads(Some(0)).n_threads, Some(1));
        assert!(!threads(Some(3)).clone_fd);
        assert!(threads(Some(4)).clone_fd);
    }
}
