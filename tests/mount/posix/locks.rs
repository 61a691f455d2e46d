//! Locks between processes.

use crate::fixture::{alike, ok, python};

#[test]
fn whole_file_locks_exclude_other_processes() {
    const STEPS: &str = "
import fcntl, os
def attempt(kind):
    child = os.fork()
    if child == 0:
        try:
            fcntl.flock(os.open('f', os.O_RDWR), kind | fcntl.LOCK_NB)
            os._exit(0)
        except BlockingIOError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
file = os.open('f', os.O_RDWR | os.O_CREAT)
for held in (fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN):
    fcntl.flock(file, held)
    print(held, attempt(fcntl.LOCK_SH), attempt(fcntl.LOCK_EX))
fcntl.flock(file, fcntl.LOCK_EX)
os.close(file)
print('closed', attempt(fcntl.LOCK_EX))
";
    alike(|dir, seen| seen.value("locks", ok(&mut python(30, dir, STEPS))));
}

#[test]
fn record_locks_exclude_other_processes_from_their_range() {
    const STEPS: &str = "
import fcntl, os
def attempt(kind, length, start):
    child = os.fork()
    if child == 0:
        try:
            fcntl.lockf(os.open('f', os.O_RDWR), kind | fcntl.LOCK_NB, length, start)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
file = os.open('f', os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_EX, 100, 50)
fcntl.lockf(file, fcntl.LOCK_SH, 100, 1000)
for start in (0, 49, 50, 149, 150, 1000):
    print(start, attempt(fcntl.LOCK_EX, 1, start), attempt(fcntl.LOCK_SH, 1, start))
print(attempt(fcntl.LOCK_EX, 0, 0))
fcntl.lockf(file, fcntl.LOCK_UN, 50, 50)
print(attempt(fcntl.LOCK_EX, 50, 50), attempt(fcntl.LOCK_EX, 50, 100))
os.close(file)
print(attempt(fcntl.LOCK_EX, 0, 0))
";
    alike(|dir, seen| seen.value("locks", ok(&mut python(30, dir, STEPS))));
}

#[test]
fn a_waiting_process_gets_the_lock_when_it_is_free() {
    const STEPS: &str = "
import fcntl, os
for lock in (fcntl.flock, fcntl.lockf):
    file = os.open('f', os.O_RDWR | os.O_CREAT | os.O_APPEND)
    lock(file, fcntl.LOCK_EX)
    child = os.fork()
    if child == 0:
        own = os.open('f', os.O_RDWR | os.O_APPEND)
        lock(own, fcntl.LOCK_EX)
        os.write(own, b'second ')
        os._exit(0)
    os.write(file, b'first ')
    lock(file, fcntl.LOCK_UN)
    os.waitpid(child, 0)
    os.close(file)
print(open('f').read())
";
    alike(|dir, seen| seen.value("order", ok(&mut python(30, dir, STEPS))));
}
