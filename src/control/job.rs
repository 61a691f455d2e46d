//! A job on behalf of a client: what is told of each object, and when to stop.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::UCred,
};
use serde::{Deserialize, Serialize};

use super::{
    message::{Answer, Failure, Job, Refused},
    server::Host,
    verbs,
    wire::write_line,
};
use crate::engine::{Caller, Engine, Line, Outcome, Totals, Watch};

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLine {
    /// The bucket.
    pub bucket: String,
    /// Path in the bucket; bytes that are no UTF-8 as `\xNN`.
    pub key: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What was done, or why not.
    pub reason: String,
    /// The errno of a failure.
    pub errno: Option<i32>,
}

impl JobLine {
    /// The same as `line`, with the errno of its failure.
    pub fn new(line: &Line<'_>, errno: Option<i32>) -> Self {
        Self {
            bucket: line.bucket.to_string(),
            key: line.key_text(),
            outcome: line.outcome,
            reason: line.reason.clone(),
            errno,
        }
    }
}

/// A client that a job is run for.
struct Follower<'a> {
    stream: &'a UnixStream,
    peer: UCred,
    host: &'a dyn Host,
    gone: bool,
}

/// Runs `job` and tells of each object; the totals.
///
/// It ends at the next object when the client closes its side of the connection.
pub(super) fn run(
    engine: &Engine,
    host: &dyn Host,
    (stream, peer): (&UnixStream, UCred),
    job: &Job,
) -> Result<Totals, Refused> {
    let mut follower = Follower { stream, peer, host, gone: false };
    Ok(match job {
        Job::Rewrap(job) => engine.rewrap(job, &mut follower)?,
        Job::Reencrypt(job) => engine.reencrypt(job, &mut follower)?,
        Job::Replicate { job, target, unlock } => {
            let unlock = unlock.unlock().map_err(|error| Refused::new(Failure::Locked, error))?;
            engine.replicate(&host.open_target(target, unlock)?, job, &mut follower)?
        }
    })
}

impl Watch for Follower<'_> {
    /// A client that is gone is no failure of the job: it is told to stop.
    fn note(&mut self, line: &Line<'_>) -> io::Result<()> {
        let line = JobLine::new(line, line.error.map(|error| self.host.number_of(error)));
        if let Err(error) = write_line(self.stream, PATIENCE, &Answer::Object(line)) {
            log::warn!("who asked for the job does not follow it any more: {error}");
            self.gone = true;
        }
        Ok(())
    }

    /// A client says nothing after its request: whatever can be read is its end.
    fn is_cancelled(&mut self) -> bool {
        let mut ends = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN | PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.gone |= poll(&mut ends, Some(&now)).is_ok_and(|ready| ready > 0);
        self.gone
    }

    fn caller(&self) -> Caller {
        verbs::caller(self.peer)
    }
}

/// How long a client may take to read what it is told: it may be stopped for a while.
const PATIENCE: Duration = Duration::from_mins(1);
