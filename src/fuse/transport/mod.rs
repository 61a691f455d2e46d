//! How requests come from the kernel and answers go back: over `/dev/fuse` alone, or over rings beside it.
//!
//! A transport moves bytes and knows nothing of files: a [`Service`] answers. Both share the handshake, the decoding and
//! the encoding, so that what the drive does cannot depend on how it was asked.
//!
//! Over `/dev/fuse` each request costs a `read(2)` and a `writev(2)`, and the kernel wakes whichever thread waits. Over
//! rings (Linux 6.14, `CONFIG_FUSE_IO_URING`) a request is handed to a thread that belongs to the caller's processor,
//! and one system call both answers it and waits for the next. What nobody waits for (`FORGET`) comes over `/dev/fuse` always.

mod backlog;
mod classic;
mod device;
mod exchange;
mod processors;
mod ring;
mod rings;
mod standing;

use std::{
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
};

use super::{
    errno::Errno,
    protocol::{Answer, Fill, Header, Operation},
};

use standing::GivingWay;

pub use device::{Device, HandshakeError};
pub use rings::{Unavailable, available};

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers an operation.
    fn answer(&self, header: &Header, operation: Operation<'_>) -> Result<Answer, Errno>;

    /// Answers into `out`, which is as long as the answer may be; the number of bytes written.
    fn fill(&self, header: &Header, fill: Fill, out: &mut [u8]) -> Result<usize, Errno>;

    /// Takes back `count` references to `node`.
    fn forget(&self, node: u64, count: u64);
}

/// The transport that a mount uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `/dev/fuse` alone.
    Classic,
    /// Rings, with `/dev/fuse` beside them.
    Uring,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::Uring => "uring",
        })
    }
}

/// The threads that serve a connection.
#[derive(Debug)]
pub struct Serving {
    transport: Transport,
    threads: Vec<JoinHandle<io::Result<()>>>,
    _giving_way: Option<GivingWay>,
}

impl Serving {
    /// Starts to serve a connection whose handshake is done. `threads` is how many wait on `/dev/fuse` where nothing
    /// else does. If the kernel was told of rings and they cannot be set up, it is served without.
    pub fn start(device: &Device, service: &Arc<impl Service>, threads: usize) -> io::Result<Self> {
        let max_write = device.agreement().max_write;
        let mut all = Vec::new();
        let mut transport = Transport::Classic;
        if device.agreed_on_rings() {
            match rings::start(device, service, max_write) {
                Ok(started) => {
                    all = started;
                    transport = Transport::Uring;
                }
                Err(error) => log::warn!("rings cannot be set up, serving without: {error}"),
            }
        }
        let readers = if transport == Transport::Uring { 1 } else { threads };
        for number in 0..readers {
            let (device, service) = (device.clone(), Arc::clone(service));
            let body = move || classic::serve(&device, &*service, max_write);
            all.push(thread::Builder::new().name(format!("fuse-{number}")).spawn(body)?);
        }
        let giving_way = (transport == Transport::Uring).then(GivingWay::begin).transpose()?;
        Ok(Self { transport, threads: all, _giving_way: giving_way })
    }

    /// The transport in use.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Waits until the connection has ended and every thread with it; the first error any of them met.
    pub fn join(self) -> io::Result<()> {
        let mut outcome = Ok(());
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            outcome = outcome.and(ended);
        }
        outcome
    }
}
