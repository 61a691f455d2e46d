//! Bounds what the allocator of the C library keeps for later.
//!
//! It gives each thread an arena of its own as far as it can. Nodes are made by the threads that look names up and dropped
//! by the one that hears of forgetting, so that what is free in the arena of one is missing in those of the others, and
//! listing half a million files again and again grew the daemon from 84 to 166 MiB. Few arenas share what is free.
#![allow(unsafe_code, reason = "mallopt(3) has no safe face in our dependencies")]

use std::thread;

/// To be called before the threads that serve are started: what has an arena keeps it.
pub(super) fn bound() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let most = i32::try_from(most(processors)).unwrap_or(i32::MAX);
    // SAFETY: the call changes a setting of the allocator, which guards it by its own lock, and touches no memory of ours.
    if unsafe { libc::mallopt(libc::M_ARENA_MAX, most) } != 1 {
        log::debug!("the allocator takes no bound of {most} arenas");
    }
}

/// Two made no difference to any figure on two processors; more processors meet more often.
fn most(processors: usize) -> usize {
    (processors / 4).clamp(2, 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_processors_have_more_arenas_but_few() {
        assert_eq!([1, 2, 8, 32, 512].map(most), [2, 2, 2, 8, 8]);
    }
}
