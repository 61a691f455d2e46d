//! How a file system is mounted.

use std::{path::PathBuf, thread, time::Duration};

use rustix::mount::MountFlags;

use super::transport::Transport;

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
    /// Users other than the one who mounts may enter; the kernel then checks permissions and access control lists.
    pub allow_other: bool,
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
    /// Something else may change the store: the kernel remembers neither that a name is absent, nor content from one open to
    /// the next.
    pub shared: bool,
    /// How long the kernel may remember names and attributes.
    pub ttl: Duration,
    /// How many nodes the kernel may remember before it is asked to drop some.
    pub inode_cache: usize,
    /// Unmount after this time without open files or requests.
    pub idle_timeout: Option<Duration>,
    /// Let the kernel gather writes. Only where nothing else writes to the store.
    pub writeback: bool,
    /// How requests come from the kernel; `None` takes the fastest way that there is.
    pub transport: Option<Transport>,
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
            suid: false,
            dev: false,
            exec: true,
            noatime: false,
            threads: None,
            shared: false,
            ttl: Duration::from_secs(1),
            inode_cache: 100_000,
            idle_timeout: None,
            writeback: false,
            transport: None,
            plain_errno: false,
        }
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
        if self.allow_other {
            data.push_str(FOR_OTHERS);
        }
        data
    }

    /// Options for `fusermount3`, which mounts for those who are not root.
    pub(super) fn helper_options(&self) -> String {
        let either = |on, yes, no| if on { yes } else { no };
        let mut options = vec![
            format!("fsname={}", escaped(&self.source)),
            format!("subtype={SUBTYPE}"),
            either(self.read_only, "ro", "rw").to_owned(),
            either(self.suid, "suid", "nosuid").to_owned(),
            either(self.dev, "dev", "nodev").to_owned(),
            either(self.exec, "exec", "noexec").to_owned(),
        ];
        if self.noatime {
            options.push("noatime".to_owned());
        }
        let for_others = if self.allow_other { FOR_OTHERS } else { "" };
        options.join(",") + for_others
    }

    /// Number of threads that wait on `/dev/fuse`.
    pub(super) fn thread_count(&self) -> usize {
        let usual = || thread::available_parallelism().map_or(FEWEST, usize::from).clamp(FEWEST, MOST);
        self.threads.map_or_else(usual, |threads| threads.max(1))
    }
}

/// The mount helper separates options by commas and takes a backslash for an escape.
fn escaped(source: &str) -> String {
    source.replace('\\', "\\\\").replace(',', "\\,")
}

/// Lets other users in, and the kernel check what each of them may do. Where the one who mounts is alone, that check would
/// cost a request after every change of a directory; his daemon may do what he may, and the store's file system checks it.
const FOR_OTHERS: &str = ",default_permissions,allow_other";

/// The type of file system after `fuse.`.
pub(super) const SUBTYPE: &str = "strongroom";

const FEWEST: usize = 2;
const MOST: usize = 16;

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
        let options = MountOptions { allow_other: true, ..MountOptions::new("/mnt") };
        let data = options.data(7, 0o40755, 0, 0);
        assert_eq!(data, "fd=7,rootmode=40755,user_id=0,group_id=0,default_permissions,allow_other");
        assert!(options.helper_options().ends_with(",default_permissions,allow_other"));
    }

    #[test]
    fn a_mount_of_one_user_skips_the_permission_check() {
        let options = MountOptions::new("/mnt");
        assert_eq!(options.data(3, 0o40700, 1000, 100), "fd=3,rootmode=40700,user_id=1000,group_id=100");
        assert_eq!(options.helper_options(), "fsname=strongroom,subtype=strongroom,rw,nosuid,nodev,exec");
    }

    #[test]
    fn a_source_with_commas_cannot_smuggle_options_in() {
        let options = MountOptions { source: r"a,suid\b".into(), ..MountOptions::new("/mnt") };
        assert!(options.helper_options().starts_with(r"fsname=a\,suid\\b,subtype="));
    }

    #[test]
    fn threads_follow_the_processors_within_bounds_unless_given() {
        let threads = |threads| MountOptions { threads, ..MountOptions::new("/mnt") }.thread_count();
        assert!((FEWEST..=MOST).contains(&threads(None)));
        assert_eq!(threads(Some(0)), 1);
        assert_eq!(threads(Some(3)), 3);
    }
}
