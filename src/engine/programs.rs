//! Which program a process runs, for policies and the audit log.
//!
//! A process has one program at a time, and the kernel tells which file that is: one `stat` of `/proc/PID/exe` for each
//! request. The path of that file is remembered, which three more calls had found out. A process that replaced its
//! program, and another one that was given an old number, run another file, so that nobody is taken for who was there
//! before; a file that was renamed has another time. A process waits for the answer to its request: until then it cannot
//! change.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::process::{Asker, ProgramFile};
use crate::policy::Process;

/// Programs by process.
#[derive(Default)]
pub(super) struct Programs {
    known: RwLock<HashMap<u32, Program>>,
}

struct Program {
    file: ProgramFile,
    path: Arc<str>,
}

/// A process that asks, whose program may be known.
#[derive(Clone, Copy)]
pub(super) struct KnownAsker<'a> {
    pub(super) pid: u32,
    pub(super) programs: &'a Programs,
}

impl Process for KnownAsker<'_> {
    fn exe(&self) -> Option<String> {
        self.programs.of(self.pid).map(|path| path.to_string())
    }

    fn groups(&self) -> Vec<u32> {
        Asker { pid: self.pid }.groups()
    }
}

impl std::fmt::Debug for KnownAsker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

impl Programs {
    /// The path of the program that process `pid` runs; `None` where that cannot be seen.
    pub(super) fn of(&self, pid: u32) -> Option<Arc<str>> {
        let asker = Asker { pid };
        let file = asker.program_file()?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = known.get(&pid).filter(|program| program.file == file) {
            return Some(program.path.clone());
        }
        drop(known);
        // One that has no name here is asked again each time: it may have one there, and its number may be another's next.
        let path: Arc<str> = asker.exe()?.into();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(pid, Program { file, path: path.clone() });
        Some(path)
    }
}

/// Processes remembered; with more, all are asked again.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn the_program_of_a_process_is_its_executable() {
        let programs = Programs::default();
        let me = std::env::current_exe().unwrap();
        for _ in 0..2 {
            assert_eq!(programs.of(std::process::id()).unwrap().as_ref(), me.to_str().unwrap());
        }
        assert_eq!(programs.of(u32::MAX), None);
    }

    /// A shell that redirects its output opens the file, and the command that it becomes in the same process opens the
    /// next one: an answer that held for a tenth of a second took the second for the first.
    #[test]
    fn a_process_that_replaces_its_program_is_the_new_one_at_once() {
        let programs = Programs::default();
        let mut child = Command::new("/bin/sh")
            .args(["-c", "echo begun; read word; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "begun");
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        assert_eq!(programs.of(child.id()).unwrap().as_ref(), shell.to_str().unwrap());
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"word\nfrom cat\n").unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "from cat");
        let program = programs.of(child.id()).unwrap();
        assert!(program.ends_with("/cat") || program.ends_with("/coreutils"), "{program}");
        drop(input);
        child.wait().unwrap();
    }

    /// The number of a process that is gone comes back sooner or later.
    #[test]
    fn a_number_that_another_process_has_now_is_not_taken_for_the_one_before() {
        let programs = Programs::default();
        let me = std::process::id();
        let other =
            Asker { pid: 1 }.program_file().filter(|file| Asker { pid: me }.program_file() != Some(*file));
        let before = Program { file: other.unwrap_or_default(), path: "/usr/bin/before".into() };
        programs.known.write().unwrap().insert(me, before);
        assert_eq!(programs.of(me).unwrap().as_ref(), std::env::current_exe().unwrap().to_str().unwrap());
    }

    #[test]
    fn what_is_remembered_stays_bounded() {
        let programs = Programs::default();
        let other = |number| (u32::MAX - number, Program { file: ProgramFile::default(), path: "/x".into() });
        programs.known.write().unwrap().extend((0..u32::try_from(MOST).unwrap()).map(other));
        programs.of(std::process::id());
        assert_eq!(programs.known.read().unwrap().len(), 1);
    }
}
