//! The processors of this machine: those that the kernel makes queues for, those that we may run on, and the one that a
//! thread belongs to.

use std::{fs, io};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// For how many processors the kernel has queues: all that there can ever be, whether they are there now or not.
pub(super) fn possible() -> io::Result<u16> {
    let text = fs::read_to_string(POSSIBLE)?;
    count(text.trim()).ok_or_else(|| io::Error::other(format!("`{POSSIBLE}` is no list of processors")))
}

/// Which of the first `count` processors this process may run on.
pub(super) fn ours(count: u16) -> io::Result<Vec<u16>> {
    let set = sched_getaffinity(None)?;
    Ok((0..count)
        .filter(|number| usize::from(*number) < CpuSet::MAX_CPU && set.is_set((*number).into()))
        .collect())
}

/// Where the calling thread runs: at home, on one processor, or wherever there is room.
pub(super) struct Place {
    home: CpuSet,
    anywhere: CpuSet,
    away: bool,
}

impl Place {
    /// Binds the calling thread to `processor`, from where it may be let go.
    pub(super) fn at(processor: u16) -> io::Result<Self> {
        let anywhere = sched_getaffinity(None)?;
        let mut home = CpuSet::new();
        home.set(processor.into());
        sched_setaffinity(None, &home)?;
        Ok(Self { home, anywhere, away: false })
    }

    /// Lets the thread run anywhere, or binds it again.
    pub(super) fn set_away(&mut self, away: bool) -> io::Result<()> {
        if self.away != away {
            sched_setaffinity(None, if away { &self.anywhere } else { &self.home })?;
            self.away = away;
        }
        Ok(())
    }
}

/// Numbers in a list like `0-3,8`.
fn count(list: &str) -> Option<u16> {
    list.split(',').try_fold(0_u16, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

const POSSIBLE: &str = "/sys/devices/system/cpu/possible";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-1"), Some(2));
        assert_eq!(count("0-3,8,10-11"), Some(7));
        for wrong in ["", "3-1", "x", "0-", "0-70000"] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn this_machine_has_processors_that_we_may_use() {
        let possible = possible().unwrap();
        let ours = ours(possible).unwrap();
        assert!(!ours.is_empty() && ours.len() <= usize::from(possible));
    }
}
