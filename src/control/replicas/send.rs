//! The source's end: a target in another process.

use std::{
    io::{self, ErrorKind},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use super::{
    frames::{Frames, Kind},
    steps::{Said, Sent, Step, Why},
};
use crate::{
    crypto::Zeroizing,
    engine::{Answer, Beginning, PeerCause, PeerError, Replica, Replicas, Result, Settled},
    name::BucketName,
};

/// A target in another process.
pub struct Remote<'a> {
    frames: Frames,
    /// Whether the job is to stop, asked while the target keeps it waiting.
    stop: &'a dyn Fn() -> bool,
    answer: Zeroizing<Vec<u8>>,
    /// Pieces of content since the target was asked about them, and whether it wants more.
    pieces: u32,
    wanted: bool,
    /// What became of what was queued when the target ended by itself.
    left: Option<Vec<Settled>>,
}

impl<'a> Remote<'a> {
    /// The target at the other end of `stream`. While it keeps the job waiting, `stop` tells whether to go on.
    pub fn new(stream: UnixStream, stop: &'a dyn Fn() -> bool) -> io::Result<Self> {
        stream.set_read_timeout(Some(GLANCE))?;
        stream.set_write_timeout(Some(GLANCE))?;
        let answer = Zeroizing::new(Vec::new());
        Ok(Self { frames: Frames::new(stream), stop, answer, pieces: 0, wanted: true, left: None })
    }

    /// Sends a step.
    fn tell(&mut self, step: &Step) -> Result<()> {
        let text = serde_json::to_vec(step).map_err(|error| gone(&error.into()))?;
        self.send(Kind::Step, &text, &[]).map_err(|error| self.ended(&error).into())
    }

    /// The same, and waits for its answer.
    fn ask(&mut self, step: &Step) -> Result<Said> {
        self.tell(step)?;
        if let Err(error) = self.receive() {
            return Err(self.ended(&error).into());
        }
        match self.said()? {
            Said::Refused(why) => Err(self.refused(why).into()),
            Said::Stopped(settled) => Err(self.stopped(settled).into()),
            said => Ok(said),
        }
    }

    /// The same for a step of one object.
    fn ask_of_object(&mut self, step: &Step) -> Result<Result<Said>> {
        Ok(match self.ask(step)? {
            Said::Failed(why) => Err(PeerError::from(why).into()),
            said => Ok(said),
        })
    }

    fn send(&self, kind: Kind, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.frames.send(kind, head, body, &mut patience(self.stop))
    }

    fn receive(&mut self) -> io::Result<()> {
        self.frames.next(&mut self.answer, &mut patience(self.stop)).map(drop)
    }

    fn said(&self) -> Result<Said> {
        Ok(serde_json::from_slice(&self.answer).map_err(|error| gone(&error.into()))?)
    }

    /// Why nothing more can be sent or received: the target may have said so before.
    fn ended(&mut self, error: &io::Error) -> PeerError {
        if error.kind() == ErrorKind::TimedOut {
            return self.stopped(Vec::new());
        }
        match self.receive().map(|()| self.said()) {
            Ok(Ok(Said::Stopped(settled))) => self.stopped(settled),
            Ok(Ok(Said::Refused(why))) => self.refused(why),
            _ => gone(error),
        }
    }

    fn refused(&mut self, why: Why) -> PeerError {
        self.left = Some(Vec::new());
        let error = PeerError::from(why);
        PeerError { message: format!("the target: {}", error.message), ..error }
    }

    fn stopped(&mut self, settled: Vec<Sent>) -> PeerError {
        self.left = Some(settled.into_iter().map(Settled::from).collect());
        let message = "the target is not to be waited for".to_owned();
        PeerError { cause: PeerCause::Stopped, message, errno: libc::ECANCELED }
    }
}

impl Replicas for Remote<'_> {
    fn begin(&mut self, job: &Beginning) -> Result<()> {
        self.ask(&Step::Begin(job.clone())).map(drop)
    }

    fn bucket(&mut self, name: &BucketName, source: &BucketName) -> Result<bool> {
        match self.ask(&Step::Bucket(name.clone(), source.clone()))? {
            Said::Yes(is_there) => Ok(is_there),
            other => Err(strange(&other).into()),
        }
    }

    fn offer(&mut self, replica: &Replica) -> Result<Result<Answer>> {
        match self.ask_of_object(&Step::Offer(replica.clone()))? {
            Ok(Said::Answer(answer)) => Ok(Ok(answer)),
            Ok(other) => Err(strange(&other).into()),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Has no answer of its own: that it failed is told at the end.
    fn start(&mut self, replica: &Replica) -> Result<Result<()>> {
        (self.pieces, self.wanted) = (0, true);
        self.tell(&Step::Start(replica.clone())).map(Ok)
    }

    fn data(&mut self, at: u64, bytes: &[u8]) -> Result<bool> {
        if let Err(error) = self.send(Kind::Data, &at.to_be_bytes(), bytes) {
            return Err(self.ended(&error).into());
        }
        self.pieces += 1;
        if self.pieces.is_multiple_of(PIECES) {
            match self.ask(&Step::Check)? {
                Said::Yes(wanted) => self.wanted = wanted,
                other => return Err(strange(&other).into()),
            }
        }
        Ok(self.wanted)
    }

    fn end(&mut self, digest: Option<[u8; 32]>) -> Result<Result<()>> {
        Ok(self.ask_of_object(&Step::End(digest.map(hex::encode)))?.map(drop))
    }

    fn settle(&mut self) -> Result<Vec<Settled>> {
        if let Some(left) = self.left.take() {
            return Ok(left);
        }
        match self.ask(&Step::Settle)? {
            Said::Settled(settled) => Ok(settled.into_iter().map(Settled::from).collect()),
            other => Err(strange(&other).into()),
        }
    }

    fn finish(&mut self, cancelled: bool) -> Result<()> {
        self.ask(&Step::Finish(cancelled)).map(drop)
    }
}

/// Goes on waiting, but once `stop` says so only for a while.
fn patience(stop: &dyn Fn() -> bool) -> impl FnMut() -> io::Result<()> + '_ {
    let mut since = None;
    move || {
        if !stop() {
            return Ok(());
        }
        let since = *since.get_or_insert_with(Instant::now);
        if since.elapsed() < PATIENCE { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }
}

fn gone(error: &io::Error) -> PeerError {
    log::debug!("the target is gone: {error}");
    let message =
        "the process that has the target in use ended in the middle of the job: run it again for the rest";
    PeerError { cause: PeerCause::Other, message: message.to_owned(), errno: libc::EPIPE }
}

fn strange(said: &Said) -> PeerError {
    log::debug!("the target said {said:?}");
    let message = "the process that has the target in use answers what was not asked".to_owned();
    PeerError { cause: PeerCause::Other, message, errno: libc::EPROTO }
}

/// How often it is looked whether the job is to stop.
const GLANCE: Duration = Duration::from_millis(200);
/// How long a target may take to answer after that.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pieces of content after which the target is asked whether it takes them.
const PIECES: u32 = 64;
