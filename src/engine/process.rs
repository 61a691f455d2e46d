//! The process that makes a request, as `/proc` shows it.
//!
//! It waits for the answer meanwhile, so its number is not used anew. The path of its program tells which program asks;
//! it proves nothing against a user who can make that program do what he wants.

use std::{fs, path::PathBuf};

use crate::policy::Process;

/// A process by its number as this one sees it; 0 where the kernel does not tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) pid: u32,
}

/// The file that a process executes: device and inode number, and when the inode was last changed or renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ProgramFile {
    device: u64,
    inode: u64,
    changed: (i64, u64),
}

impl Process for Asker {
    /// In another mount namespace any file can stand at any path, so the program of a process there has no name here.
    fn exe(&self) -> Option<String> {
        let namespace = fs::read_link(self.file("ns/mnt")?).ok()?;
        if namespace != fs::read_link("/proc/self/ns/mnt").ok()? {
            return None;
        }
        fs::read_link(self.file("exe")?).ok()?.into_os_string().into_string().ok()
    }

    fn groups(&self) -> Vec<u32> {
        let status = self.file("status").and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
        line.split_ascii_whitespace().filter_map(|gid| gid.parse().ok()).collect()
    }
}

impl Asker {
    /// The file that it executes, where that may be seen. One system call.
    pub(super) fn program_file(self) -> Option<ProgramFile> {
        let stat = rustix::fs::stat(self.file("exe")?).ok()?;
        let changed = (stat.st_ctime, stat.st_ctime_nsec);
        Some(ProgramFile { device: stat.st_dev, inode: stat.st_ino, changed })
    }

    fn file(self, name: &str) -> Option<PathBuf> {
        (self.pid != 0).then(|| PathBuf::from(format!("/proc/{}/{name}", self.pid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known_by_its_program_and_groups() {
        let own = Asker { pid: std::process::id() };
        assert_eq!(own.exe(), std::env::current_exe().unwrap().into_os_string().into_string().ok());
        let mut groups = own.groups();
        groups.sort_unstable();
        let mut kernel: Vec<u32> =
            rustix::process::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        kernel.sort_unstable();
        assert_eq!(groups, kernel);
    }

    #[test]
    fn a_process_that_cannot_be_seen_has_no_program_and_no_groups() {
        for pid in [0, u32::MAX] {
            let asker = Asker { pid };
            assert_eq!(asker.exe(), None);
            assert_eq!(asker.groups(), [0; 0]);
        }
    }
}
