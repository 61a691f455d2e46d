//! A way to a service on which things go wrong as told.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use crate::http::Message;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// So many requests get this answer (status line, body), and do not reach the service.
    Answer((&'static str, &'static str), usize),
    /// Connections are closed without an answer.
    Close,
    /// There is never an answer.
    Hang,
    /// The answer is not HTTP.
    Garbage,
    /// The body of the service's answer is changed.
    Rewrite(fn(&[u8]) -> Vec<u8>),
}

/// A listener before a service.
pub(crate) struct Faults {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    fault: Fault,
    answered: usize,
}

impl Faults {
    /// A way to the service at `upstream` that is good at first.
    pub(crate) fn before(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { fault: Fault::None, answered: 0 }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                // A client that goes away is its own affair.
                std::thread::spawn(move || pass(stream, upstream, &state).is_ok());
            }
        });
        Self { port, state }
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What goes wrong from now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// How many requests got the answer of [`Fault::Answer`].
    pub(crate) fn answered(&self) -> usize {
        self.state.lock().unwrap().answered
    }
}

/// One request, one answer, end of connection.
fn pass(mut client: TcpStream, upstream: u16, state: &Mutex<State>) -> io::Result<()> {
    let Some(request) = Message::read(&mut BufReader::new(client.try_clone()?))? else { return Ok(()) };
    match next(state) {
        Fault::Close => client.shutdown(Shutdown::Both),
        // Until the client gives up.
        Fault::Hang => client.read(&mut [0; 1]).map(|_| ()),
        Fault::Garbage => client.write_all(b"\0\x01 no HTTP at all\r\n\r\n"),
        Fault::Answer((status, body), _) => {
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n");
            Message { head, body: body.as_bytes().to_vec() }.write(&mut client)
        }
        Fault::None => forward(&request, upstream)?.write(&mut client),
        Fault::Rewrite(rewrite) => {
            let answer = forward(&request, upstream)?;
            Message { body: rewrite(&answer.body), ..answer }.write(&mut client)
        }
    }
}

fn next(state: &Mutex<State>) -> Fault {
    let mut state = state.lock().unwrap();
    let now = state.fault;
    if let Fault::Answer(answer, left) = now {
        if left == 0 {
            return Fault::None;
        }
        state.answered += 1;
        state.fault = Fault::Answer(answer, left - 1);
    }
    now
}

fn forward(request: &Message, upstream: u16) -> io::Result<Message> {
    let mut service = TcpStream::connect(("127.0.0.1", upstream))?;
    request.write(&mut service)?;
    Message::read(&mut BufReader::new(service))?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
