//! The daemon's side: a thread that accepts, and one for each request under way.

use std::{
    io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::{UCred, sockopt::socket_peercred};

use super::{
    message::{Answer, Call, Failure, Refused, Request, VERSION},
    place::Place,
    replicas::receive,
    verbs::{self, Asked, Served},
    wire::{Lines, write_line},
};
use crate::engine::{Engine, EngineError};

/// What the program around the engine does for requests.
pub trait Host: Send + Sync {
    /// Makes the faces of the engine drop the plaintext that they cache.
    fn forget(&self);

    /// The errno that stands for a failure.
    fn number_of(&self, error: &EngineError) -> i32;
}

/// The socket of a store in use. Answers until dropped; requests under way are finished first.
pub struct Control {
    place: Place,
    listener: Arc<UnixListener>,
    accepting: Option<JoinHandle<()>>,
}

/// A request under way.
struct Visit {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

impl Control {
    /// Answers for `engine`, which has the store at `store`, until the engine is gone. Starts a thread.
    pub fn start(engine: &Arc<Engine>, store: &Path, host: impl Host + 'static) -> io::Result<Self> {
        let place = Place::of(store)?;
        let listener = Arc::new(place.bind()?);
        let (served, accepted) = (Served::new(engine, host), listener.clone());
        let accepting =
            thread::Builder::new().name("control".to_owned()).spawn(move || accept(&accepted, &served))?;
        Ok(Self { place, listener, accepting: Some(accepting) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(error) = self.place.remove() {
            log::warn!("the control socket stays behind: {error}");
        }
        // Wakes the thread: `accept` on a socket that was shut down fails.
        if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both) {
            log::warn!("the control socket cannot be closed: {error}");
            return;
        }
        if self.accepting.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the control thread ended in a panic");
        }
    }
}

fn accept(listener: &UnixListener, served: &Served) {
    let mut visits: Vec<Visit> = Vec::new();
    while let Ok(stream) = next(listener) {
        visits.retain(|visit| !visit.thread.is_finished());
        if let Err(error) = admit(stream, &mut visits, served) {
            log::warn!("a request to the control socket was not served: {error}");
        }
    }
    for visit in visits {
        // Who has not said what they want by now is not waited for; who has gets the answer. Jobs end at the next object.
        if visit.stream.shutdown(Shutdown::Read).is_err() {
            log::debug!("a client of the control socket is gone already");
        }
        if visit.thread.join().is_err() {
            log::error!("a control request ended in a panic");
        }
    }
}

/// The next client. A process that is out of file descriptors waits for better times instead of giving up.
fn next(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(stream),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Err(error),
            Err(error) => {
                log::warn!("the control socket cannot accept: {error}");
                thread::sleep(PAUSE);
            }
        }
    }
}

/// Starts to serve a client, if it may ask and there is room.
fn admit(stream: UnixStream, visits: &mut Vec<Visit>, served: &Served) -> io::Result<()> {
    let peer = socket_peercred(&stream)?;
    if !peer.uid.is_root() && peer.uid != rustix::process::getuid() {
        let who = format!("user {} may not ask", peer.uid.as_raw());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, who));
    }
    if visits.len() >= MAX_VISITS {
        let refused = Refused::new(Failure::Busy, "the daemon has too many requests under way: try again");
        return write_line(&stream, PAUSE, &Answer::Refused(refused));
    }
    let (served, ours) = (served.clone(), stream.try_clone()?);
    let thread = thread::Builder::new().name("control-request".to_owned()).spawn(move || {
        if let Err(error) = serve((&ours, peer), &served) {
            log::warn!("a request to the control socket was not served: {error}");
        }
        // The list of visits holds the stream as well: this ends it for the client.
        if let Err(error) = ours.shutdown(Shutdown::Both) {
            log::debug!("a client of the control socket is gone already: {error}");
        }
    })?;
    visits.push(Visit { stream, thread });
    Ok(())
}

/// One request, one answer, and the replicas that may follow it.
fn serve((stream, peer): (&UnixStream, UCred), served: &Served) -> io::Result<()> {
    let mut lines = Lines::new(stream);
    let line = match lines.next(PATIENCE) {
        Ok(line) => Ok(line),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Refused::new(Failure::BadRequest, error))
        }
        Err(error) => return Err(error),
    };
    let passed = lines.passed();
    let request = line.and_then(|line| request(&line));
    let receives = matches!(request, Ok(Request::ReceiveReplicas));
    let answer = request.and_then(|request| verbs::answer(served, Asked { stream, peer, passed }, request));
    let engine = if receives && answer.is_ok() { served.engine().ok() } else { None };
    write_line(stream, PATIENCE, &answer.map_or_else(Answer::Refused, Answer::Done))?;
    let Some(engine) = engine else { return Ok(()) };
    let (caller, number_of) = (verbs::caller(peer), |error: &EngineError| served.host().number_of(error));
    receive(&engine, caller, stream.try_clone()?, &number_of)
}

/// The request in a line; the version is looked at before anything that another version may have.
fn request(line: &[u8]) -> Result<Request, Refused> {
    let senseless =
        |error| Refused::new(Failure::BadRequest, format_args!("the request makes no sense: {error}"));
    let head: Head = serde_json::from_slice(line).map_err(senseless)?;
    if head.version != VERSION {
        let message = "the daemon is of another version of strongroom: unmount and mount the drive again";
        return Err(Refused::new(Failure::BadRequest, message));
    }
    serde_json::from_slice(line).map_err(senseless).map(|call: Call| call.request)
}

/// What every version of a request has.
#[derive(serde::Deserialize)]
struct Head {
    version: u32,
}

/// Requests at a time.
const MAX_VISITS: usize = 8;
/// How long a client may take to send a request, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
