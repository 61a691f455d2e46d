//! The daemon's side: a thread that accepts, and one for each request under way.

use std::{
    io,
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Weak},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::sockopt::socket_peercred;

use super::{
    message::{Answer, Call, Failure, Refused, VERSION},
    place::Place,
    verbs,
    wire::{read_line, write_line},
};
use crate::engine::Engine;

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
    pub fn start(engine: &Arc<Engine>, store: &Path) -> io::Result<Self> {
        let place = Place::of(store)?;
        let listener = Arc::new(place.bind()?);
        let (engine, accepted) = (Arc::downgrade(engine), listener.clone());
        let accepting =
            thread::Builder::new().name("control".to_owned()).spawn(move || accept(&accepted, &engine))?;
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

fn accept(listener: &UnixListener, engine: &Weak<Engine>) {
    let mut visits: Vec<Visit> = Vec::new();
    while let Ok(stream) = next(listener) {
        visits.retain(|visit| !visit.thread.is_finished());
        if let Err(error) = admit(stream, &mut visits, engine) {
            log::warn!("a request to the control socket was not served: {error}");
        }
    }
    for visit in visits {
        // Who has not said what they want by now is not waited for; who has gets the answer.
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
fn admit(stream: UnixStream, visits: &mut Vec<Visit>, engine: &Weak<Engine>) -> io::Result<()> {
    let peer = socket_peercred(&stream)?.uid;
    if !peer.is_root() && peer != rustix::process::getuid() {
        let who = format!("user {} may not ask", peer.as_raw());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, who));
    }
    if visits.len() >= MAX_VISITS {
        let refused = Refused::new(Failure::Busy, "the daemon has too many requests under way: try again");
        return write_line(&stream, PAUSE, &Answer::Refused(refused));
    }
    let (engine, ours) = (engine.clone(), stream.try_clone()?);
    let thread = thread::Builder::new().name("control-request".to_owned()).spawn(move || {
        if let Err(error) = serve(&ours, &engine) {
            log::warn!("a request to the control socket was not served: {error}");
        }
    })?;
    visits.push(Visit { stream, thread });
    Ok(())
}

/// One request, one answer.
fn serve(stream: &UnixStream, engine: &Weak<Engine>) -> io::Result<()> {
    let answer = match read_line::<serde_json::Value>(stream, PATIENCE) {
        Ok(value) => match call(value) {
            Ok(call) => verbs::answer(engine, call.request),
            Err(refused) => Err(refused),
        },
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Refused::new(Failure::BadRequest, format_args!("the request is no line of JSON: {error}")))
        }
        Err(error) => return Err(error),
    };
    let answer = answer.map_or_else(Answer::Refused, Answer::Done);
    write_line(stream, PATIENCE, &answer)
}

/// The request in `value`; the version is looked at before anything that another version may have.
fn call(value: serde_json::Value) -> Result<Call, Refused> {
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => serde_json::from_value(value).map_err(|error| {
            Refused::new(Failure::BadRequest, format_args!("the request makes no sense: {error}"))
        }),
        _ => {
            let message = "the daemon is of another version of strongroom: unmount and mount the drive again";
            Err(Refused::new(Failure::BadRequest, message))
        }
    }
}

/// Requests at a time.
const MAX_VISITS: usize = 8;
/// How long a client may take to send a request, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
