//! Which program a process runs, remembered for a moment, for the audit log.
//!
//! An answer is trusted for [`FRESH`]: too short for the number to be given to another process, yet a process that
//! replaces its program in that time still counts as the one before.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::process::Asker;
use crate::policy::Process;

/// Programs by process.
#[derive(Default)]
pub(super) struct Programs {
    known: Mutex<HashMap<u32, Program>>,
}

struct Program {
    exe: Option<Arc<str>>,
    read: Instant,
}

impl Programs {
    /// The path of the program that process `pid` runs; `None` where that cannot be seen.
    pub(super) fn of(&self, pid: u32) -> Option<Arc<str>> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = known.get(&pid)
            && now.duration_since(program.read) < FRESH
        {
            return program.exe.clone();
        }
        if known.len() >= MOST {
            known.retain(|_, program| now.duration_since(program.read) < FRESH);
        }
        drop(known);
        let exe: Option<Arc<str>> = Asker { pid }.exe().map(Into::into);
        let program = Program { exe: exe.clone(), read: now };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, program);
        exe
    }
}

/// How long an answer holds.
const FRESH: Duration = Duration::from_millis(100);
/// Processes remembered before old ones are forgotten.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_is_remembered_stays_bounded_when_it_is_old() {
        let programs = Programs::default();
        let old = Instant::now().checked_sub(FRESH * 2).unwrap();
        let forget = |pid| (pid, Program { exe: None, read: old });
        programs.known.lock().unwrap().extend((0..u32::try_from(MOST).unwrap()).map(forget));
        programs.of(std::process::id());
        assert_eq!(programs.known.lock().unwrap().len(), 1);
    }
}
