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
    let (mut frames, mut body) = (Frames::new(stream), Zeroizing::new(Vec::new()));
    let mut target = Target { receiver: Receiver::new(engine, caller), unstarted: None, number_of };
    loop {
        let kind = match frames.next(&mut body, &mut too_late) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return stop(target.receiver, &frames, number_of);
            }
            kind => kind?,
        };
        let said = match kind {
            Kind::Data => target.data(&body).map(|()| None),
            Kind::Step => step(&body).and_then(|step| {
                let ends = matches!(step, Step::Finish(_));
                target.carry_out(step).map(|said| said.map(|said| (said, ends)))
            }),
        };
        match said {
            Ok(None) => {}
            Ok(Some((said, ends))) => {
                say(&frames, &said)?;
                if ends {
                    return Ok(());
                }
            }
            Err(error) => return say(&frames, &Said::Refused(Why::of(error, number_of))),
        }
    }
}

/// What the frames are for.
struct Target<'a> {
    receiver: Receiver<'a>,
    /// Why the object whose content comes in was not begun, which its source has not heard of yet: its content is dropped,
    /// and the answer to its end says so.
    unstarted: Option<EngineError>,
    number_of: NumberOf<'a>,
}

fn step(body: &[u8]) -> Result<Step> {
    serde_json::from_slice(body).map_err(|error| {
        log::warn!("a replication is ended that makes no sense: {error}");
        EngineError::Invalid("a step of a replication")
    })
}

impl Target<'_> {
    /// What is said to a step, unless it is one without an answer. The error is one that ends the job.
    fn carry_out(&mut self, step: Step) -> Result<Option<Said>> {
        let number_of = self.number_of;
        let of_object =
            |outcome: Result<Said>| outcome.unwrap_or_else(|error| Said::Failed(Why::of(error, number_of)));
        let receiver = &mut self.receiver;
        Ok(Some(match step {
            Step::Begin(job) => receiver.begin(&job).map(|()| Said::Done)?,
            Step::Bucket(name, source) => Said::Yes(receiver.bucket(&name, &source)?),
            Step::Offer(replica) => of_object(receiver.offer(&replica)?.map(Said::Answer)),
            Step::Start(_) if self.unstarted.is_some() => {
                return Err(EngineError::Invalid("an object that begins before the end of another"));
            }
            Step::Start(replica) => {
                self.unstarted = receiver.start(&replica)?.err();
                return Ok(None);
            }
            Step::Check => Said::Yes(self.unstarted.is_none() && receiver.data(0, &[])?),
            Step::End(digest) => match self.unstarted.take() {
                Some(error) => of_object(Err(error)),
                None => of_object(receiver.end(bytes_of(digest)?)?.map(|()| Said::Done)),
            },
            Step::Settle => Said::Settled(Sent::all(receiver.settle()?, number_of)),
            Step::Finish(cancelled) => receiver.finish(cancelled).map(|()| Said::Done)?,
        }))
    }

    fn data(&mut self, body: &[u8]) -> Result<()> {
        let (at, bytes) = body.split_first_chunk().ok_or(EngineError::Invalid("content without a place"))?;
        if self.unstarted.is_some() {
            return Ok(());
        }
        self.receiver.data(u64::from_be_bytes(*at), bytes).map(drop)
    }
}

fn bytes_of(digest: Option<String>) -> Result<Option<[u8; 32]>> {
    let bytes = digest.map(|digits| {
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).map(|()| digest)
    });
    bytes.transpose().map_err(|_| EngineError::Invalid("a digest"))
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
