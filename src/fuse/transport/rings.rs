//! The threads behind the rings.
//!
//! The kernel keeps one queue for each processor and hands a request to the queue of the processor that its caller runs
//! on. Each thread here holds one slot of one queue, so a slow operation keeps one thread and one slot, never the
//! requests behind it. All of a queue are bound to its processor: the kernel takes the slot that was given back last, which
//! is any of them once two requests overlapped, and waking a thread of another processor costs more than a small request.
//! Only who reads a long piece is let go for the next one: that is read-ahead, for which no caller waits yet.

use std::{
    fs, io,
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

use super::{
    super::protocol::opcode,
    Device, Service,
    exchange::{Outcome, exchange},
    processors::{self, Place},
    ring::{self, Ring},
};

/// Why there can be no rings.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The kernel knows nothing of them.
    #[error(
        "this kernel has no FUSE over io_uring: it came with Linux 6.14 (`CONFIG_FUSE_IO_URING`); use `--transport classic`"
    )]
    Unknown,
    /// They are switched off.
    #[error(
        "FUSE over io_uring is switched off: as root, write `Y` to `{PARAMETER}`, or use `--transport classic`"
    )]
    SwitchedOff,
    /// This process may not use them.
    #[error(
        "io_uring cannot be used here: {0}; see `sysctl kernel.io_uring_disabled`, or use `--transport classic`"
    )]
    Refused(#[source] io::Error),
    /// The kernel did not offer them for this mount.
    #[error("the kernel does not offer io_uring for this mount; use `--transport classic`")]
    NotOffered,
}

/// Whether rings can be asked for.
pub fn available() -> Result<(), Unavailable> {
    let switch = fs::read(PARAMETER).map_err(|_| Unavailable::Unknown)?;
    if switch.first() != Some(&b'Y') {
        return Err(Unavailable::SwitchedOff);
    }
    processors::possible().and_then(|_| ring::ring(1)).map_err(Unavailable::Refused).map(drop)
}

/// Starts the threads. On failure there are none, and the kernel has been told to do without.
pub(super) fn start(
    device: &Device,
    service: &Arc<impl Service>,
    max_write: u32,
) -> io::Result<Vec<JoinHandle<io::Result<()>>>> {
    let started = posts().and_then(|posts| start_all(device, service, max_write, posts));
    if started.is_err() {
        ring::decline(device.as_fd())?;
    }
    started
}

/// What one thread is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Post {
    /// The processor to be bound to, which is ours.
    bound: Option<u16>,
    /// The queues to hold a slot of.
    queues: Vec<u16>,
}

fn posts() -> io::Result<Vec<Post>> {
    let possible = processors::possible()?;
    Ok(planned(possible, &processors::ours(possible)?))
}

/// Every queue must have a slot before the kernel uses any; those of processors that are not ours, or not there, share
/// one thread.
fn planned(possible: u16, ours: &[u16]) -> Vec<Post> {
    let each = slots_each(ours.len());
    let post = |queue: &u16| Post { bound: Some(*queue), queues: vec![*queue] };
    let mut posts: Vec<Post> = ours.iter().flat_map(|queue| std::iter::repeat_n(post(queue), each)).collect();
    let others: Vec<u16> = (0..possible).filter(|queue| !ours.contains(queue)).collect();
    if !others.is_empty() {
        posts.push(Post { bound: None, queues: others });
    }
    posts
}

/// Threads of each queue.
fn slots_each(processors: usize) -> usize {
    (MOST_THREADS / processors.max(1)).clamp(2, SLOTS)
}

fn start_all(
    device: &Device,
    service: &Arc<impl Service>,
    max_write: u32,
    posts: Vec<Post>,
) -> io::Result<Vec<JoinHandle<io::Result<()>>>> {
    let payload = usize::try_from(max_write).map_err(io::Error::other)?;
    posts.into_iter().map(|post| start_one(device, service, payload, post)).collect()
}

/// One after the other: the order of registration is the order of use.
fn start_one(
    device: &Device,
    service: &Arc<impl Service>,
    payload: usize,
    post: Post,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let (ready, registered) = mpsc::channel();
    let (device, service) = (device.clone(), Arc::clone(service));
    let name = format!("ring-{}", post.queues.first().copied().unwrap_or_default());
    let thread =
        thread::Builder::new().name(name).spawn(move || serve(&device, &*service, payload, &post, &ready))?;
    registered.recv().map_err(|_| io::Error::other("a thread ended before its ring was set up"))??;
    Ok(thread)
}

fn serve(
    device: &Device,
    service: &impl Service,
    payload: usize,
    post: &Post,
    ready: &Sender<io::Result<()>>,
) -> io::Result<()> {
    let begun = post.bound.map(Place::at).transpose();
    let begun = begun.and_then(|place| Ok((place, Ring::new(device.as_fd(), &post.queues, payload)?)));
    let (mut place, mut ring) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // Whoever started this thread reports it.
            return ready.send(Err(error)).map_err(io::Error::other);
        }
    };
    ready.send(Ok(())).map_err(io::Error::other)?;
    while let Some(index) = ring.wait()? {
        let slot = ring.slot(index);
        let Some(header) = slot.header() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel sent less than a header"));
        };
        if removes_a_name(header.opcode) {
            device.backlog().wait();
        }
        match exchange(service, device.backlog(), &header, slot) {
            Outcome::Reply(reply) => {
                if let Some(place) = &mut place {
                    place.set_away(reply.len >= LONG)?;
                }
                ring.answer(index, &reply)?;
            }
            // Neither is ever sent over a ring: what needs no answer comes over `/dev/fuse`.
            Outcome::Silence | Outcome::End => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a request over a ring wants no answer",
                ));
            }
        }
    }
    Ok(())
}

fn removes_a_name(opcode: u32) -> bool {
    matches!(opcode, opcode::UNLINK | opcode::RMDIR | opcode::RENAME | opcode::RENAME2)
}

const PARAMETER: &str = "/sys/module/fuse/parameters/enable_uring";
/// Answers of this many bytes are read-ahead.
const LONG: u32 = 128 << 10;
/// Threads of each queue on machines with few processors.
const SLOTS: usize = 4;
/// Above this many, there are fewer for each queue; each has a buffer of a megabyte, resident once it was used.
const MOST_THREADS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(posts: &[Post], queue: u16) -> usize {
        posts.iter().filter(|post| post.queues.contains(&queue)).count()
    }

    #[test]
    fn every_queue_has_a_slot_also_where_no_processor_of_ours_is() {
        for (possible, ours) in [(1, vec![0]), (2, vec![1]), (8, vec![0, 1]), (128, (0..128).collect())] {
            let posts = planned(possible, &ours);
            for queue in 0..possible {
                assert!(slots(&posts, queue) >= 1, "queue {queue} of {possible}");
            }
        }
    }

    #[test]
    fn a_slow_operation_leaves_a_slot_to_its_own_processor() {
        for count in [1, 2, 8, 32, 128] {
            let ours: Vec<u16> = (0..count).collect();
            let posts = planned(count, &ours);
            for queue in ours {
                assert!(slots(&posts, queue) >= 2);
                let mut own = posts.iter().filter(|post| post.queues == [queue]);
                assert!(own.all(|post| post.bound == Some(queue)));
            }
        }
    }

    #[test]
    fn only_threads_bound_to_a_processor_of_ours_are_bound() {
        let posts = planned(4, &[2]);
        assert!(posts.iter().all(|post| post.bound.is_none_or(|bound| bound == 2)));
        assert_eq!(posts.last().unwrap().queues, [0, 1, 3]);
    }
}
