//! Asking the daemon that holds a store.

use std::{io, net::Shutdown, os::unix::net::UnixStream, path::Path, time::Duration};

use rustix::net::sockopt::socket_peercred;
use serde::de::DeserializeOwned;

use super::{
    job::JobLine,
    message::{Answer, Call, Failure, Job, Refused, Request, VERSION},
    place::Place,
    wire::{Lines, read_line, write_line, write_line_with},
};
use crate::engine::Totals;

/// A way to the daemon that holds a store.
pub struct Client {
    place: Place,
}

/// Why a daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It refused.
    #[error("{message}")]
    Refused {
        /// The reason as far as it makes a difference.
        failure: Failure,
        /// What to tell the user.
        message: String,
    },
    /// It could not be asked.
    #[error("the process that has the store in use cannot be asked: {0}; unmount the drive, or try again")]
    Unheard(#[from] io::Error),
    /// It ended in the middle of a job.
    #[error(
        "the process that has the store in use ended in the middle of the job: run it again for the rest"
    )]
    Ended,
    /// What it told could not be handed on.
    #[error("{0}")]
    Untold(#[source] io::Error),
}

impl Client {
    /// A client for whoever holds the store at `store`.
    pub fn new(store: &Path) -> io::Result<Self> {
        Ok(Self { place: Place::of(store)? })
    }

    /// Sends `request` and waits for its answer, which must be a `T`.
    pub fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, ControlError> {
        asked(&self.connect()?, request)
    }

    /// A socket at whose other end the daemon makes replicas, on behalf of this process.
    pub fn target(&self) -> Result<UnixStream, ControlError> {
        let stream = self.connect()?;
        asked::<()>(&stream, Request::ReceiveReplicas)?;
        Ok(stream)
    }

    /// Has the daemon run `job` and hands on what it tells of each object, for as long as it takes; the totals. The job
    /// stops at the next object once `stop` says so. `target` is the socket at whose other end replicas are made; the
    /// daemon alone has it then.
    pub fn run(
        &self,
        job: Job,
        target: Option<UnixStream>,
        mut each: impl FnMut(&JobLine) -> io::Result<()>,
        stop: impl Fn() -> bool,
    ) -> Result<Totals, ControlError> {
        let stream = self.connect()?;
        let call = Call { version: VERSION, request: Request::Job(job) };
        match target {
            Some(target) => write_line_with(&stream, SEND, &call, target)?,
            None => write_line(&stream, SEND, &call)?,
        }
        let (mut lines, mut stopped) = (Lines::new(&stream), false);
        loop {
            if !stopped && stop() {
                stream.shutdown(Shutdown::Write)?;
                stopped = true;
            }
            let line = match lines.next(GLANCE) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ControlError::Ended);
                }
                line => line?,
            };
            match answer(&line)? {
                Answer::Object(object) => each(&object).map_err(ControlError::Untold)?,
                Answer::Done(totals) => return Ok(serde_json::from_value(totals).map_err(strange)?),
                Answer::Refused(Refused { failure, message }) => {
                    return Err(ControlError::Refused { failure, message });
                }
            }
        }
    }

    /// A connection to the daemon, which must be root's or the user's whose store it is.
    fn connect(&self) -> io::Result<UnixStream> {
        let stream = self.place.connect()?;
        let (server, owner) = (socket_peercred(&stream).map_err(io::Error::from)?.uid, self.place.owner()?);
        if !server.is_root() && server.as_raw() != owner {
            let who = format!("user {} answers on the socket of this store", server.as_raw());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, who));
        }
        Ok(stream)
    }
}

/// Sends `request` and waits for its answer.
fn asked<T: DeserializeOwned>(stream: &UnixStream, request: Request) -> Result<T, ControlError> {
    let call = Call { version: VERSION, request };
    // A daemon that is busy answers before it is asked, and hears no more: the answer counts, not the broken pipe.
    let line = match write_line(stream, SEND, &call) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            read_line(stream, ANSWER).map_err(|_| error)?
        }
        sent => sent.and_then(|()| read_line(stream, ANSWER))?,
    };
    match answer(&line)? {
        Answer::Done(value) => Ok(serde_json::from_value(value).map_err(strange)?),
        Answer::Refused(Refused { failure, message }) => Err(ControlError::Refused { failure, message }),
        Answer::Object(_) => Err(strange("news of a job that was not asked for").into()),
    }
}

fn answer(line: &[u8]) -> io::Result<Answer> {
    serde_json::from_slice(line).map_err(strange)
}

fn strange(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// How long the daemon may take to read a request.
const SEND: Duration = Duration::from_secs(10);
/// How long it may take to answer: storing everything on a slow disk takes a while.
const ANSWER: Duration = Duration::from_mins(5);
/// How often the follower of a job looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(200);
