//! What is said in frames, as JSON.

use serde::{Deserialize, Serialize};

use crate::{
    control::message::{Failure, Refused},
    engine::{Answer, Beginning, Done, EngineError, Kept, PeerCause, PeerError, Replica, Settled},
    name::BucketName,
};

/// A step of the source, each a call of [`Replicas`](crate::engine::Replicas).
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    Begin(Beginning),
    Bucket(BucketName, BucketName),
    Offer(Replica),
    /// Without an answer: that to `End` says what became of it.
    Start(Replica),
    /// Whether the content sent so far was taken.
    Check,
    /// The digest in hex.
    End(Option<String>),
    Settle,
    Finish(bool),
}

/// The answer to a step.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    Done,
    Yes(bool),
    Answer(Answer),
    Settled(Vec<Sent>),
    /// Of one object.
    Failed(Why),
    /// The job cannot go on.
    Refused(Why),
    /// The target ends by itself; what became of what was queued.
    Stopped(Vec<Sent>),
}

/// A [`Settled`] on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Sent {
    Done(Done),
    Kept(Kept),
    Failed(Why),
}

/// An error on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    failure: Failure,
    message: String,
    errno: i32,
}

/// Tells the errno that stands for an error.
pub(super) type NumberOf<'a> = &'a dyn Fn(&EngineError) -> i32;

impl Why {
    pub(super) fn of(error: EngineError, number_of: NumberOf<'_>) -> Self {
        let errno = number_of(&error);
        let Refused { failure, message } = error.into();
        Self { failure, message, errno }
    }
}

impl From<Why> for PeerError {
    fn from(Why { failure, message, errno }: Why) -> Self {
        let cause = match failure {
            Failure::Busy => PeerCause::Busy,
            Failure::Denied => PeerCause::Denied,
            Failure::Damaged => PeerCause::Damaged,
            Failure::NotFound
            | Failure::Exists
            | Failure::NotEmpty
            | Failure::NoRule
            | Failure::BadRequest
            | Failure::Other => PeerCause::Other,
        };
        Self { cause, message, errno }
    }
}

impl Sent {
    pub(super) fn all(settled: Vec<Settled>, number_of: NumberOf<'_>) -> Vec<Self> {
        let sent = settled.into_iter().map(|settled| match settled {
            Settled::Done(done) => Self::Done(done),
            Settled::Kept(kept) => Self::Kept(kept),
            Settled::Failed(error) => Self::Failed(Why::of(error, number_of)),
        });
        sent.collect()
    }
}

impl From<Sent> for Settled {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::Done(done) => Self::Done(done),
            Sent::Kept(kept) => Self::Kept(kept),
            Sent::Failed(why) => Self::Failed(PeerError::from(why).into()),
        }
    }
}
