//! Keeps other processes and core dumps away from this process's memory.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps, and debuggers of the same user (`PR_SET_DUMPABLE` 0, `RLIMIT_CORE` 0).
///
/// To be called first in a process that will hold secrets. Child processes inherit the core limit; `execve` resets
/// the other. Files under `/proc/<pid>` belong to root from then on.
/// <https://man7.org/linux/man-pages/man2/pr_set_dumpable.2const.html>
pub fn harden_process() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn a_hardened_process_leaves_no_core() {
        harden_process().unwrap();
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
    }
}
