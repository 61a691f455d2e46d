//! The target's end: each frame becomes a call of a [`Receiver`].
//!
//! It waits for the source for as long as that is there: whoever ends this process shuts the stream down for reading.

use std::{
    io::{self, ErrorKind},
    os::unix::net::UnixStream,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    frames::{Frames, Kind},
    steps::{NumberOf, Said, Sent, Step, Why},
};
use crate::{
    crypto::Zeroizing,
    engine::{Caller, Engine, EngineError, Receiver, Replicas, Result},
};

/// Makes replicas of what comes over `stream` in the store of `engine`, on behalf of `caller`, until the source is done
/// or gone, or the stream is shut down for reading. `number_of` tells the errno of an error.
pub fn receive(
    engine: &Engine,
    caller: Caller,
    stream: UnixStream,
    number_of: &dyn Fn(&EngineError) -> i32,
) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut frames = Frames::new(stream);
    let (mut receiver, mut body) = (Receiver::new(engine, caller), Zeroizing::new(Vec::new()));
    loop {
        let kind = match frames.next(&mut body, &mut too_late) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return stop(receiver, &frames, number_of);
            }
            kind => kind?,
        };
        let said = match kind {
            Kind::Data => data(&mut receiver, &body).map(|()| None),
            Kind::Step => match serde_json::from_slice(&body) {
                Ok(step) => {
                    let ends = matches!(step, Step::Finish(_));
                    let said = carried_out(&mut receiver, step, number_of);
                    if ends && said.is_ok() {
                        return say(&frames, &Said::Done);
                    }
                    said.map(Some)
                }
                Err(error) => {
                    log::warn!("a replication is ended that makes no sense: {error}");
                    Err(EngineError::Invalid("a step of a replication"))
                }
            },
        };
        match said {
            Ok(None) => {}
            Ok(Some(said)) => say(&frames, &said)?,
            Err(error) => return say(&frames, &Said::Refused(Why::of(error, number_of))),
        }
    }
}

/// The error is one that ends the job.
fn carried_out(receiver: &mut Receiver<'_>, step: Step, number_of: NumberOf<'_>) -> Result<Said> {
    let of_object =
        |outcome: Result<Said>| outcome.unwrap_or_else(|error| Said::Failed(Why::of(error, number_of)));
    Ok(match step {
        Step::Begin(job) => receiver.begin(&job).map(|()| Said::Done)?,
        Step::Bucket(name, source) => Said::Yes(receiver.bucket(&name, &source)?),
        Step::Offer(replica) => of_object(receiver.offer(&replica)?.map(Said::Answer)),
        Step::Start(replica) => of_object(receiver.start(&replica)?.map(|()| Said::Done)),
        Step::Check => Said::Yes(receiver.data(0, &[])?),
        Step::End(digest) => {
            let digest = digest.map(|digits| {
                let mut digest = [0; 32];
                hex::decode_to_slice(digits, &mut digest).map(|()| digest)
            });
            let digest = digest.transpose().map_err(|_| EngineError::Invalid("a digest"))?;
            of_object(receiver.end(digest)?.map(|()| Said::Done))
        }
        Step::Settle => Said::Settled(Sent::all(receiver.settle()?, number_of)),
        Step::Finish(cancelled) => receiver.finish(cancelled).map(|()| Said::Done)?,
    })
}

fn data(receiver: &mut Receiver<'_>, body: &[u8]) -> Result<()> {
    let (at, bytes) = body.split_first_chunk().ok_or(EngineError::Invalid("content without a place"))?;
    receiver.data(u64::from_be_bytes(*at), bytes).map(drop)
}

/// Nothing more will come: either the source is gone, or it is not to be waited for, which it is told.
fn stop(receiver: Receiver<'_>, frames: &Frames, number_of: NumberOf<'_>) -> io::Result<()> {
    let mut end = [PollFd::new(frames.stream(), PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut end, Some(&now))?;
    let is_there = end.iter().all(|end| !end.revents().intersects(PollFlags::HUP | PollFlags::ERR));
    match receiver.abandon(is_there) {
        Ok(_) if !is_there => Ok(()),
        Ok(settled) => say(frames, &Said::Stopped(Sent::all(settled, number_of))),
        Err(error) => say(frames, &Said::Refused(Why::of(error, number_of))),
    }
}

fn say(frames: &Frames, said: &Said) -> io::Result<()> {
    let text = serde_json::to_vec(said)?;
    frames.send(Kind::Step, &text, &[], &mut too_late)
}

fn too_late() -> io::Result<()> {
    Err(ErrorKind::TimedOut.into())
}

/// How long the source may take to read an answer: it may be stopped for a while.
const PATIENCE: Duration = Duration::from_mins(1);
