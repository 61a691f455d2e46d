//! A umask of its own for every thread that creates.
//!
//! The kernel, not we, must apply the umask, because a default ACL of the directory overrides it. The umask belongs
//! to the process unless a thread leaves the shared "file system context"; that also gives the thread its own
//! current directory, so nothing in this product may rely on a change of directory after its threads have started.
//! The umask is left in place after a creation; a file made elsewhere by the same thread needs an explicit mode.

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::Mode,
    process::umask,
    thread::{UnshareFlags, unshare_unsafe},
};

/// Runs `create` under the umask `mask`.
pub(super) fn with_umask<T>(mask: u32, create: impl FnOnce() -> T) -> T {
    let mask = mask & 0o777;
    match CONTEXT.get() {
        Context::Own(last) if last == mask => create(),
        Context::Own(_) => {
            set(mask);
            create()
        }
        Context::Unknown if leave_shared_context() => {
            set(mask);
            create()
        }
        Context::Unknown | Context::Shared => {
            CONTEXT.set(Context::Shared);
            with_process_umask(mask, create)
        }
    }
}

fn set(mask: u32) {
    umask(Mode::from_bits_truncate(mask));
    CONTEXT.set(Context::Own(mask));
}

fn leave_shared_context() -> bool {
    #[allow(unsafe_code, reason = "the call is unsafe for descriptor tables, which stay shared here")]
    // SAFETY: only `FILES` can take descriptors away from other threads; `FS` is root, current directory and umask.
    let outcome = unsafe { unshare_unsafe(UnshareFlags::FS) };
    outcome.is_ok()
}

/// The way that is left where the sandbox forbids `unshare`: one creation at a time.
fn with_process_umask<T>(mask: u32, create: impl FnOnce() -> T) -> T {
    let _one_at_a_time = PROCESS_UMASK.lock().unwrap_or_else(PoisonError::into_inner);
    let before = umask(Mode::from_bits_truncate(mask));
    let made = create();
    umask(before);
    made
}

#[derive(Clone, Copy)]
enum Context {
    Unknown,
    Own(u32),
    Shared,
}

thread_local! {
    static CONTEXT: Cell<Context> = const { Cell::new(Context::Unknown) };
}

static PROCESS_UMASK: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::PermissionsExt, path::Path, thread};

    use super::*;

    fn made_mode(path: &Path) -> u32 {
        File::create(path).unwrap().metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn threads_create_under_different_umasks_at_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for mask in [0o000, 0o022, 0o077, 0o027] {
                let dir = dir.path();
                scope.spawn(move || {
                    for turn in 0..200 {
                        let path = dir.join(format!("{mask:o}-{turn}"));
                        assert_eq!(with_umask(mask, || made_mode(&path)), 0o666 & !mask);
                    }
                });
            }
        });
    }

    #[test]
    fn without_a_context_of_its_own_a_thread_gives_the_umask_back() {
        let dir = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(leave_shared_context(), "keeps this test from disturbing the others");
                umask(Mode::from_bits_truncate(0o002));
                CONTEXT.set(Context::Shared);
                assert_eq!(with_umask(0o077, || made_mode(&dir.path().join("a"))), 0o600);
                assert_eq!(made_mode(&dir.path().join("b")), 0o664);
            });
        });
    }
}
