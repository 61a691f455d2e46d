//! Which program a process runs, for the audit log.
//!
//! A process has one program at a time, and the kernel tells which file that is: one `stat` of `/proc/PID/exe` for each
//! request. The path of that file is remembered, which three more calls had found out. A process that replaced its
//! program, and another one that was given an old number, run another file, so that nobody is taken for who was there
//! before. A process waits for the answer to its request: until then it cannot change.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::process::{Asker, ProgramFile};
use crate::policy::Process;

/// Programs by process.
#[derive(Default)]
pub(super) struct Programs {
    known: Mutex<HashMap<u32, Program>>,
}

struct Program {
    file: ProgramFile,
    path: Option<Arc<str>>,
}

impl Programs {
    /// The path of the program that process `pid` runs; `None` where that cannot be seen.
    pub(super) fn of(&self, pid: u32) -> Option<Arc<str>> {
        let asker = Asker { pid };
        let file = asker.program_file()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = known.get(&pid).filter(|program| program.file == file) {
            return program.path.clone();
        }
        if known.len() >= MOST {
            known.clear();
        }
        drop(known);
        let path: Option<Arc<str>> = asker.exe().map(Into::into);
        let program = Program { file, path: path.clone() };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, program);
        path
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
        let before = Program { file: other.unwrap_or_default(), path: Some("/usr/bin/before".into()) };
        programs.known.lock().unwrap().insert(me, before);
        assert_eq!(programs.of(me).unwrap().as_ref(), std::env::current_exe().unwrap().to_str().unwrap());
    }

    #[test]
    fn what_is_remembered_stays_bounded() {
        let programs = Programs::default();
        let forget = |pid| (pid, Program { file: ProgramFile::default(), path: None });
        programs.known.lock().unwrap().extend((0..u32::try_from(MOST).unwrap()).map(forget));
        programs.of(std::process::id());
        assert_eq!(programs.known.lock().unwrap().len(), 1);
    }
}
