//! Where this process stands among those that want a processor, so that callers keep theirs.
//!
//! Over rings a request is handled on the processor of its caller. But when the answer wakes the caller, the scheduler
//! looks for an idle processor first, finds the other one, and moves the caller there: its next request wakes a processor that
//! sleeps. That costs more than the request, and goes on for ever. A processor on which only threads of the policy
//! `SCHED_IDLE` run counts as idle, and then the caller is left where it is.
//!
//! The policy gives way to others of the same scheduling group, up to starving. So it is taken only while this
//! process has a group of its own, which gets its fair share as a whole, whatever the policies of its threads:
//! sched(7), "The autogroup feature", and `cpu.weight` of cgroups(7).
#![allow(unsafe_code, reason = "sched_setscheduler(2) has no safe face in our dependencies")]

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use rustix::process::{getpid, getsid};

/// Gives way for as long as it is held. Groups change, so it looks again from time to time.
#[derive(Debug)]
pub(super) struct GivingWay {
    _end: Sender<()>,
}

impl GivingWay {
    /// Begins with what threads there are; those started later inherit from the one that starts them.
    pub(super) fn begin() -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let mut gives_way = false;
        let mut look = move || {
            let wanted = has_own_group();
            if wanted != gives_way {
                match give_way(wanted) {
                    Ok(()) => {
                        log::debug!("callers keep their processor: {wanted}");
                        gives_way = wanted;
                    }
                    Err(error) => log::debug!("the scheduling policy stays as it is: {error}"),
                }
            }
        };
        look();
        let watch = move || {
            while ended.recv_timeout(BETWEEN_LOOKS) == Err(RecvTimeoutError::Timeout) {
                look();
            }
        };
        thread::Builder::new().name("standing".to_owned()).spawn(watch)?;
        Ok(Self { _end: end })
    }
}

/// Sets the policy of all threads of this process.
fn give_way(on: bool) -> io::Result<()> {
    let policy = if on { libc::SCHED_IDLE } else { libc::SCHED_OTHER };
    for entry in fs::read_dir("/proc/self/task")? {
        let Some(thread) = entry?.file_name().to_str().and_then(|name| name.parse::<libc::pid_t>().ok())
        else {
            continue;
        };
        set_policy(thread, policy)?;
    }
    Ok(())
}

fn set_policy(thread: libc::pid_t, policy: libc::c_int) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads the structure, which outlives it, and changes no memory of this process.
    let outcome = unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) };
    match (outcome, io::Error::last_os_error()) {
        (0, _) => Ok(()),
        // The thread has ended meanwhile.
        (_, error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        (_, error) => Err(error),
    }
}

/// Whether nobody else is in the scheduling group of this process. What cannot be found out counts as no.
fn has_own_group() -> bool {
    fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| match group_of(&text, Path::new(CGROUPS)) {
        Group::Known(dir) => holds_only_us(&dir),
        // Processes of the root group are grouped by session, if that is switched on.
        Group::Root => {
            let grouped = fs::read(AUTOGROUP).is_ok_and(|switch| switch.first() == Some(&b'1'));
            grouped && getsid(None).is_ok_and(|leader| leader == getpid())
        }
        Group::Unknown => false,
    })
}

/// The cgroup that decides about processor time.
#[derive(Debug, PartialEq, Eq)]
enum Group {
    /// None below the root.
    Root,
    /// That of this directory.
    Known(PathBuf),
    Unknown,
}

/// Reads `/proc/self/cgroup`; `top` is where cgroups are mounted.
fn group_of(text: &str, top: &Path) -> Group {
    let lines = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let path_of =
        |wanted: &dyn Fn(&str) -> bool| lines().find(|(names, _)| wanted(names)).map(|(_, path)| path);
    // The first version, with a hierarchy for each controller.
    if let Some(path) = path_of(&|names| names.split(',').any(|name| name == "cpu")) {
        let top = top.join("cpu");
        return match path {
            // A container sees its own group as the root; only the real one has this file.
            "/" if top.join("release_agent").exists() => Group::Root,
            "/" => Group::Unknown,
            below => Group::Known(top.join(below.trim_start_matches('/'))),
        };
    }
    let Some(path) = path_of(&str::is_empty) else { return Group::Unknown };
    let own = top.join(path.trim_start_matches('/'));
    // Where a group has no say about processor time, the next one above has; there others are in it, too.
    match own.ancestors().take_while(|dir| dir.starts_with(top)).find(|dir| dir.join("cpu.weight").exists()) {
        None if own.join("cgroup.procs").exists() => Group::Root,
        Some(dir) if dir == own => Group::Known(own),
        _ => Group::Unknown,
    }
}

/// Whether all processes in a cgroup run this program.
fn holds_only_us(group: &Path) -> bool {
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let ours = program("self");
    fs::read_to_string(group.join("cgroup.procs"))
        .is_ok_and(|list| ours.is_some() && list.lines().all(|pid| program(pid) == ours))
}

const CGROUPS: &str = "/sys/fs/cgroup";
const AUTOGROUP: &str = "/proc/sys/kernel/sched_autogroup_enabled";
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of cgroups with these files.
    fn cgroups(files: &[&str]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for file in files {
            let path = top.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        top
    }

    #[test]
    fn the_group_is_the_nearest_that_has_a_say_if_it_is_our_own() {
        let top = cgroups(&["cgroup.procs", "a/cgroup.procs", "a/b/cgroup.procs", "a/b/cpu.weight"]);
        let group = |path: &str| group_of(&format!("0::{path}\n"), top.path());
        assert_eq!(group("/"), Group::Root);
        assert_eq!(group("/a"), Group::Root);
        assert_eq!(group("/a/b"), Group::Known(top.path().join("a/b")));
        assert_eq!(group("/a/b/c"), Group::Unknown, "others may be in the one above");
        assert_eq!(group("/elsewhere"), Group::Unknown);
        assert_eq!(group_of("", top.path()), Group::Unknown);
    }

    #[test]
    fn a_container_is_not_taken_for_the_root() {
        let inside = cgroups(&["cgroup.procs", "cpu.weight"]);
        assert_eq!(group_of("0::/\n", inside.path()), Group::Known(inside.path().to_owned()));
        let first_version = "5:memory:/x\n4:cpu,cpuacct:/\n0::/\n";
        assert_eq!(group_of(first_version, inside.path()), Group::Unknown);
        let real = cgroups(&["cpu/release_agent"]);
        assert_eq!(group_of(first_version, real.path()), Group::Root);
        let below = "4:cpuacct,cpu:/s\n0::/\n";
        assert_eq!(group_of(below, real.path()), Group::Known(real.path().join("cpu/s")));
    }

    #[test]
    fn a_group_with_anybody_else_is_not_ours() {
        let group = cgroups(&["cgroup.procs"]);
        let holding = |pids: &[u32]| {
            let lines = pids.iter().map(u32::to_string).collect::<Vec<_>>().join("\n");
            fs::write(group.path().join("cgroup.procs"), lines).unwrap();
            holds_only_us(group.path())
        };
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(holding(&[std::process::id()]));
        assert!(!holding(&[std::process::id(), other.id()]));
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!holds_only_us(&group.path().join("gone")));
    }

    #[test]
    fn the_policy_of_a_thread_can_be_taken_and_given_back() {
        let policy = || {
            let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).unwrap().to_owned()
        };
        thread::spawn(move || {
            set_policy(0, libc::SCHED_IDLE).unwrap();
            assert_eq!(policy(), "5");
            set_policy(0, libc::SCHED_OTHER).unwrap();
            assert_eq!(policy(), "0");
        })
        .join()
        .unwrap();
    }
}
