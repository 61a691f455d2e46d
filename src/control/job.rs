//! A job on behalf of a client: what is told of each object, and when to stop.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        AddressFamily, SocketType, UCred,
        sockopt::{socket_domain, socket_type},
    },
};
use serde::{Deserialize, Serialize};

use super::{
    message::{Answer, Failure, Job, Refused},
    replicas::Remote,
    server::Host,
    verbs::{self, Asked},
    wire::write_line,
};
use crate::engine::{Caller, Engine, EngineError, Line, Outcome, Totals, Watch};

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
pub(super) fn run(engine: &Engine, host: &dyn Host, client: Asked<'_>, job: &Job) -> Result<Totals, Refused> {
    let Asked { stream, peer, passed } = client;
    let mut follower = Follower { stream, peer, host, gone: false };
    Ok(match job {
        Job::Rewrap(job) => engine.rewrap(job, &mut follower)?,
        Job::Reencrypt(job) => engine.reencrypt(job, &mut follower)?,
        Job::Replicate(job) => {
            let stop = || has_ended(stream);
            let mut target = Remote::new(socket(passed)?, &stop).map_err(EngineError::from)?;
            engine.send_replicas(&mut target, job, &mut follower)?
        }
    })
}

/// The socket that came with a request.
fn socket(passed: Option<OwnedFd>) -> Result<UnixStream, Refused> {
    let is_stream = |socket: &OwnedFd| {
        let domain = socket_domain(socket).is_ok_and(|domain| domain == AddressFamily::UNIX);
        domain && socket_type(socket).is_ok_and(|kind| kind == SocketType::STREAM)
    };
    let passed = passed.filter(is_stream).map(UnixStream::from);
    passed.ok_or_else(|| Refused::new(Failure::BadRequest, "no socket of a target came with the request"))
}

/// A client says nothing after its request: whatever can be read is its end.
fn has_ended(stream: &UnixStream) -> bool {
    let mut ends = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN | PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut ends, Some(&now)).is_ok_and(|ready| ready > 0)
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

    fn is_cancelled(&mut self) -> bool {
        self.gone |= has_ended(self.stream);
        self.gone
    }

    fn caller(&self) -> Caller {
        verbs::caller(self.peer)
    }
}

/// How long a client may take to read what it is told: it may be stopped for a while.
const PATIENCE: Duration = Duration::from_mins(1);
