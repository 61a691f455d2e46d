//! Which program a process runs, for policies and the audit log, and who asks with it.
//!
//! A process has one program at a time, and the kernel tells which file that is by a `stat` of `/proc/PID/exe`. The path of
//! that file is remembered, which three more calls had found out. A process that replaced its program, and another one that
//! was given an old number, run another file, so that nobody is taken for who was there before; a file that was renamed
//! has another time. A process waits for the answer to its request: until then it cannot change.
//!
//! That `stat` costs some microseconds. For the audit log the memory of who asks again and again is held instead
//! ([`Memory`]), which goes with the program: as long as it lives, the process is the one it was and runs what it ran, though
//! the file may have another path by now. Policies ask for the path, so each request looks.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use super::{
    Caller,
    process::{Asker, Memory, ProgramFile},
};
use crate::{audit::Actor, policy::Process};

/// Programs of processes: each process has its place, which it may share with others.
pub(super) struct Programs {
    places: [Mutex<Option<Arc<Program>>>; PLACES as usize],
}

/// The program of a process.
#[derive(Default)]
pub(super) struct Program {
    pid: u32,
    file: ProgramFile,
    path: Option<Arc<str>>,
    /// Who asked last.
    asker: Mutex<Option<Arc<Actor>>>,
    memory: Option<Memory>,
    /// How often its file was looked at.
    looks: AtomicU32,
}

/// A process that asks, whose program may be known.
#[derive(Clone, Copy)]
pub(super) struct KnownAsker<'a> {
    pub(super) pid: u32,
    pub(super) programs: &'a Programs,
}

impl Process for KnownAsker<'_> {
    fn exe(&self) -> Option<String> {
        self.programs.path(self.pid).map(|path| path.to_string())
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

impl Default for Programs {
    fn default() -> Self {
        Self { places: [const { Mutex::new(None) }; PLACES as usize] }
    }
}

impl Programs {
    /// The path of the program that process `pid` runs, as it stands now; `None` where that cannot be seen or has no meaning
    /// here.
    pub(super) fn path(&self, pid: u32) -> Option<Arc<str>> {
        let asker = Asker { pid };
        let file = asker.program_file()?;
        match self.known(pid).filter(|program| program.file == file) {
            Some(program) => program.path(),
            None => self.note(asker, file, false)?.path(),
        }
    }

    /// The program that process `pid` runs; `None` where that cannot be seen.
    pub(super) fn of(&self, pid: u32) -> Option<Arc<Program>> {
        let known = self.known(pid);
        if known.as_ref().and_then(|program| program.memory.as_ref()).is_some_and(Memory::lives) {
            return known;
        }
        let asker = Asker { pid };
        let file = asker.program_file()?;
        let known = known.filter(|program| program.memory.is_none() && program.file == file);
        let looks = known.as_ref().map_or(0, |program| program.looks.fetch_add(1, Ordering::Relaxed));
        match known {
            Some(program) if looks != OFTEN => Some(program),
            _ => self.note(asker, file, looks == OFTEN),
        }
    }

    /// One whose path has no meaning here is asked again each time: it may have one there, and its number may be another's
    /// next.
    fn note(&self, asker: Asker, file: ProgramFile, is_frequent: bool) -> Option<Arc<Program>> {
        // Memory first: should another thread replace the program meanwhile, what is noted goes with the old one.
        let (memory, file) = if is_frequent { (asker.memory(), asker.program_file()?) } else { (None, file) };
        let path: Option<Arc<str>> = asker.exe().map(Into::into);
        let looks = AtomicU32::new(if is_frequent { OFTEN + 1 } else { 0 });
        let program =
            Arc::new(Program { pid: asker.pid, file, path, memory, looks, asker: Mutex::default() });
        if program.path.is_some() {
            let replaced = self.place(asker.pid).replace(program.clone());
            // A descriptor is closed with no lock held.
            drop(replaced);
        }
        Some(program)
    }

    fn known(&self, pid: u32) -> Option<Arc<Program>> {
        self.place(pid).clone().filter(|program| program.pid == pid)
    }

    fn place(&self, pid: u32) -> MutexGuard<'_, Option<Arc<Program>>> {
        let place = self.places.get((pid % PLACES) as usize).expect("a remainder is smaller");
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program {
    /// Its path; `None` where that has no meaning here.
    pub(super) fn path(&self) -> Option<Arc<str>> {
        self.path.clone()
    }

    /// Who asks with it: `caller`, of whom `make` says what is not known yet. A process may change its user and group.
    pub(super) fn asker(&self, caller: &Caller, make: impl FnOnce() -> Actor) -> Arc<Actor> {
        let mut asker = self.asker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = asker.as_ref().filter(|known| (known.uid, known.gid) == (caller.uid, caller.gid))
        {
            return known.clone();
        }
        asker.insert(Arc::new(make())).clone()
    }
}

/// Processes remembered, each with a descriptor at most. Numbers are given out in turn, so few of them meet.
const PLACES: u32 = 256;
/// Looks at the program of one process after which its memory is held instead: that takes some calls itself.
const OFTEN: u32 = 8;

#[cfg(test)]
mod tests {
    use std::{
        io::{BufReader, Lines},
        process::{Child, ChildStdout},
    };

    use super::*;
    use crate::engine::process;

    /// As policies and as the audit log see it.
    fn path_of(programs: &Programs, pid: u32) -> Option<Arc<str>> {
        let path = programs.path(pid);
        assert_eq!(programs.of(pid).and_then(|program| program.path()), path);
        path
    }

    #[test]
    fn who_asks_is_remembered_until_its_process_is_of_another_user_or_group() {
        let programs = Programs::default();
        let ask = |uid, gid| {
            let caller = Caller { uid, gid, pid: std::process::id(), umask: 0 };
            let program = programs.of(caller.pid).unwrap();
            program.asker(&caller, || Actor { kind: "IAMUser", uid, gid, ..Actor::default() })
        };
        let first = ask(1, 2);
        assert!(Arc::ptr_eq(&first, &ask(1, 2)));
        for (uid, gid) in [(1, 3), (4, 3), (1, 2)] {
            let now = ask(uid, gid);
            assert_eq!((now.uid, now.gid), (uid, gid));
        }
    }

    #[test]
    fn the_program_of_a_process_is_its_executable() {
        let programs = Programs::default();
        let me = std::env::current_exe().unwrap();
        for _ in 0..2 * OFTEN {
            assert_eq!(path_of(&programs, std::process::id()).unwrap().as_ref(), me.to_str().unwrap());
        }
        assert!(programs.of(u32::MAX).is_none());
    }

    /// A shell that waits for a word and then becomes `cat`, and what it says.
    fn shell() -> (Child, Lines<BufReader<ChildStdout>>) {
        let (child, mut said) = process::tests::shell("echo begun; read word; exec cat");
        assert_eq!(said.next().unwrap().unwrap(), "begun");
        (child, said)
    }

    fn holds(programs: &Programs, pid: u32) -> bool {
        programs.known(pid).is_some_and(|program| program.memory.is_some())
    }

    /// A shell that redirects its output opens the file, and the command that it becomes in the same process opens the
    /// next one: an answer that held for a tenth of a second took the second for the first.
    #[test]
    fn a_process_that_replaces_its_program_is_the_new_one_at_once() {
        let shell_path = std::fs::canonicalize("/bin/sh").unwrap();
        for looks in [1, 2 * OFTEN] {
            let (programs, (mut child, mut said)) = (Programs::default(), shell());
            for _ in 0..looks {
                assert_eq!(path_of(&programs, child.id()).unwrap().as_ref(), shell_path.to_str().unwrap());
            }
            assert_eq!(holds(&programs, child.id()), looks > OFTEN);
            let mut input = child.stdin.take().unwrap();
            std::io::Write::write_all(&mut input, b"word\nfrom cat\n").unwrap();
            assert_eq!(said.next().unwrap().unwrap(), "from cat");
            for _ in 0..looks {
                let program = path_of(&programs, child.id()).unwrap();
                assert!(program.ends_with("/cat") || program.ends_with("/coreutils"), "{program}");
            }
            drop(input);
            child.wait().unwrap();
            assert!(programs.of(child.id()).is_none());
        }
    }

    /// The number of a process that is gone comes back sooner or later.
    #[test]
    fn a_number_that_another_process_has_now_is_not_taken_for_the_one_before() {
        let programs = Programs::default();
        let me = std::process::id();
        let other =
            Asker { pid: 1 }.program_file().filter(|file| Asker { pid: me }.program_file() != Some(*file));
        let (file, path) = (other.unwrap_or_default(), Some("/usr/bin/before".into()));
        let before = Arc::new(Program { pid: me, file, path, ..Program::default() });
        *programs.place(me) = Some(before);
        assert_eq!(
            path_of(&programs, me).unwrap().as_ref(),
            std::env::current_exe().unwrap().to_str().unwrap()
        );
    }

    /// Nor is one whose number has the same place.
    #[test]
    fn who_has_the_place_of_another_is_not_taken_for_it() {
        let programs = Programs::default();
        let me = std::process::id();
        let file = Asker { pid: me }.program_file().unwrap();
        let other =
            Program { pid: me + PLACES, file, path: Some("/usr/bin/other".into()), ..Program::default() };
        *programs.place(me) = Some(Arc::new(other));
        assert!(programs.known(me).is_none());
        assert_eq!(
            path_of(&programs, me).unwrap().as_ref(),
            std::env::current_exe().unwrap().to_str().unwrap()
        );
        assert!(programs.known(me + PLACES).is_none(), "the last one has it");
    }
}
