//! Which processor the writer runs on: not the one where requests are made and handled, if there is another.
//!
//! The scheduler wakes a thread where it ran before, and takes a processor for free on which only threads of low standing
//! run, as those do that serve rings. There the writer would hold them up for as long as a batch takes. Where a request
//! goes from one processor to another and back, nothing is won by this.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The processor of the calling thread.
pub(super) fn processor() -> usize {
    sched_getcpu()
}

/// Moves the calling thread away from `processor`, if it is there and may run on another one. Later it may be anywhere.
pub(super) fn leave(processor: usize) -> io::Result<()> {
    if sched_getcpu() != processor || processor >= CpuSet::MAX_CPU {
        return Ok(());
    }
    let ours = sched_getaffinity(None)?;
    let mut others = ours;
    others.unset(processor);
    if others.count() > 0 {
        sched_setaffinity(None, &others)?;
        sched_setaffinity(None, &ours)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_a_processor_stays_where_there_is_no_other_and_may_come_back() {
        let ours = sched_getaffinity(None).unwrap();
        for here in (0..CpuSet::MAX_CPU).filter(|processor| ours.is_set(*processor)) {
            let mut only_here = CpuSet::new();
            only_here.set(here);
            sched_setaffinity(None, &only_here).unwrap();
            assert_eq!(processor(), here);
            leave(here).unwrap();
            assert_eq!(processor(), here);
            sched_setaffinity(None, &ours).unwrap();
            leave(processor()).unwrap();
            assert_eq!(sched_getaffinity(None).unwrap(), ours);
        }
    }
}
