//! Asking the daemon that holds a store.

use std::{io, path::Path, time::Duration};

use rustix::net::sockopt::socket_peercred;
use serde::de::DeserializeOwned;

use super::{
    message::{Answer, Call, Failure, Refused, Request, VERSION},
    place::Place,
    wire::{read_line, write_line},
};

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
}

impl Client {
    /// A client for whoever holds the store at `store`.
    pub fn new(store: &Path) -> io::Result<Self> {
        Ok(Self { place: Place::of(store)? })
    }

    /// Sends `request` and waits for its answer, which must be a `T`.
    pub fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, ControlError> {
        let stream = self.place.connect()?;
        let (server, owner) = (socket_peercred(&stream).map_err(io::Error::from)?.uid, self.place.owner()?);
        if !server.is_root() && server.as_raw() != owner {
            let who = format!("user {} answers on the socket of this store", server.as_raw());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, who).into());
        }
        let call = Call { version: VERSION, request };
        // A daemon that is busy answers before it is asked, and hears no more: the answer counts, not the broken pipe.
        let line = match write_line(&stream, SEND, &call) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                read_line(&stream, ANSWER).map_err(|_| error)?
            }
            sent => sent.and_then(|()| read_line(&stream, ANSWER))?,
        };
        let strange = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        match serde_json::from_slice(&line).map_err(strange)? {
            Answer::Done(value) => Ok(serde_json::from_value(value).map_err(strange)?),
            Answer::Refused(Refused { failure, message }) => Err(ControlError::Refused { failure, message }),
        }
    }
}

/// How long the daemon may take to read a request.
const SEND: Duration = Duration::from_secs(10);
/// How long it may take to answer: storing everything on a slow disk takes a while.
const ANSWER: Duration = Duration::from_mins(5);
