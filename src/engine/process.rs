//! The process that makes a request, as `/proc` shows it.
//!
//! It waits for the answer meanwhile, so its number is not used anew. The path of its program tells which program asks;
//! it proves nothing against a user who can make that program do what he wants.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
};

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

    /// Its memory, to tell later whether it still has that; `None` where this would not tell whether it is the same process
    /// and program: of a thread, whose number another process may have while the other threads live on, and of a process
    /// that may share its parent's memory until it runs a program of its own (`vfork`, `posix_spawn`).
    pub(super) fn memory(self) -> Option<Memory> {
        let file = File::open(self.file("pagemap")?).ok()?;
        let status = fs::read_to_string(self.file("status")?).ok()?;
        let number =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let parent = Self { pid: number("PPid:")? };
        let is_process = number("Tgid:") == Some(self.pid);
        (is_process && self.layout()? != parent.layout()?).then_some(Memory(file))
    }

    /// Where its code and stack are, which is the same for who shares its memory; `None` where that may not be seen.
    fn layout(self) -> Option<[u64; 3]> {
        let stat = fs::read_to_string(self.file("stat")?).ok()?;
        // Field 2 is a name, which may hold anything; 26 to 28 are `startcode`, `endcode` and `startstack`.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(26 - 3);
        let mut next = || fields.next()?.parse().ok();
        let layout: [u64; 3] = [next()?, next()?, next()?];
        // What may not be seen is told as 0 or 1.
        layout.iter().all(|at| *at > 1).then_some(layout)
    }

    fn file(self, name: &str) -> Option<PathBuf> {
        (self.pid != 0).then(|| PathBuf::from(format!("/proc/{}/{name}", self.pid)))
    }
}

/// The memory of a process, which it has as long as it runs the same program. Nothing of it is kept from being freed.
#[derive(Debug)]
pub(super) struct Memory(File);

impl Memory {
    /// Whether anybody still has it. One short system call: `pagemap` refuses a read of less than an entry, of memory that
    /// is gone it reads nothing.
    pub(super) fn lives(&self) -> bool {
        self.0.read_at(&mut [0], 0).is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{BufRead, BufReader, Lines},
        process::{Child, ChildStdout, Command, Stdio},
    };

    use super::*;

    /// A shell that does this, and what it says.
    pub(in crate::engine) fn shell(what: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", what]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let said = BufReader::new(shell.stdout.take().unwrap()).lines();
        (shell, said)
    }

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
            assert!(asker.memory().is_none());
        }
    }

    #[test]
    fn memory_is_held_as_long_as_its_process_lives() {
        assert!(Asker { pid: std::process::id() }.memory().unwrap().lives());
        // One that says something has all of its program; until then it is not known where that is.
        let (mut child, mut said) = shell("echo begun; read word; true");
        assert_eq!(said.next().unwrap().unwrap(), "begun");
        let memory = Asker { pid: child.id() }.memory().unwrap();
        assert!(memory.lives());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!memory.lives());
    }

    /// Its number may be another one's while the memory lives on in the other threads.
    #[test]
    fn no_memory_is_held_of_a_thread() {
        let of_thread = || {
            let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
            (thread, Asker { pid: thread }.memory().is_some())
        };
        let (thread, is_held) = std::thread::spawn(of_thread).join().unwrap();
        assert_ne!(thread, std::process::id());
        assert!(!is_held);
    }

    /// A child of `vfork` shares its parent's memory until it runs another program: that one would have been taken for
    /// the parent's program for as long as the parent lives. One of `fork` looks the same.
    #[test]
    fn no_memory_is_held_of_a_child_that_looks_as_its_parent() {
        let (mut shell, mut said) = shell("( read pid rest </proc/self/stat; echo $pid; read word ); true");
        let pid: u32 = said.next().unwrap().unwrap().parse().unwrap();
        assert_ne!(pid, shell.id());
        assert!(Asker { pid }.program_file().is_some());
        assert!(Asker { pid }.memory().is_none());
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
