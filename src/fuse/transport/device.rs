//! The connection to the kernel: the open `/dev/fuse`, and the handshake with which it begins.

use std::{
    ffi::OsStr,
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::io::Errno;

use super::backlog::Backlog;

use super::super::protocol::{
    Agreement, Header, Malformed, Offer, OutHeader, TooSmall, features, forget_attributes, forget_content,
    forget_entry, opcode, prune,
};

/// Why a connection did not begin.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The device failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The kernel sent something else than its offer.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The kernel is too old.
    #[error("the kernel speaks version {}.{} of the FUSE protocol; Linux 5.4 or later is needed", .0.0, .0.1)]
    Version((u32, u32)),
}

/// A connection whose handshake is done.
#[derive(Debug, Clone)]
pub struct Device {
    fd: Arc<OwnedFd>,
    agreement: Agreement,
    backlog: Arc<Backlog>,
}

impl Device {
    /// Shakes hands on `fd`, a mounted `/dev/fuse`, with what `agree` takes of the kernel's offer.
    pub fn open(fd: OwnedFd, agree: impl Fn(&Offer) -> Agreement) -> Result<Self, HandshakeError> {
        loop {
            let (header, offer) = first_request(&fd)?;
            let mut body = [0; 64];
            if offer.is_too_new() {
                let len = Agreement::encode_version(&mut body).map_err(too_small)?;
                send(&fd, &header, 0, body.get(..len).unwrap_or_default())?;
                continue;
            }
            if !offer.is_understood() {
                send(&fd, &header, libc::EPROTO, &[])?;
                return Err(HandshakeError::Version(offer.version));
            }
            let agreement = agree(&offer);
            let len = agreement.encode(&mut body).map_err(too_small)?;
            send(&fd, &header, 0, body.get(..len).unwrap_or_default())?;
            return Ok(Self { fd: Arc::new(fd), agreement, backlog: Arc::default() });
        }
    }

    /// What was agreed on.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// How far behind the forgetting of nodes is.
    pub(super) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Whether the kernel waits for rings.
    pub(super) fn agreed_on_rings(&self) -> bool {
        self.agreement.features & features::OVER_IO_URING != 0
    }

    /// Waits for a request; its length, or `None` when the connection has ended.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::io::read(&self.fd, &mut *buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(Errno::NODEV) => return Ok(None),
                // The request was withdrawn while it was being handed over, or a signal came.
                Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a reply. That nobody waits for it any more is not an error.
    pub(super) fn reply(&self, header: &OutHeader, body: &[u8]) -> io::Result<()> {
        match write(self.fd.as_fd(), header, body) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Makes the kernel drop the cached content of `node`. That it does not know the node any more is not an error.
    pub(in crate::fuse) fn forget_content(&self, node: u64) -> io::Result<()> {
        self.notify(&forget_content(node))
    }

    /// Makes the kernel ask again for the attributes of `node`; the same holds. It waits for nothing.
    pub(in crate::fuse) fn forget_attributes(&self, node: u64) -> io::Result<()> {
        self.notify(&forget_attributes(node))
    }

    /// Makes the kernel drop what it knows of `name` in the directory `parent`; the same holds.
    pub(in crate::fuse) fn forget_entry(&self, parent: u64, name: &OsStr) -> io::Result<()> {
        self.notify(&forget_entry(parent, name))
    }

    /// Makes the kernel drop those of `nodes` that nobody uses. `EINVAL` where it cannot (before Linux 6.18).
    ///
    /// Must not be called while serving a request: what the kernel has not written of these nodes is written first.
    pub(in crate::fuse) fn prune(&self, nodes: &[u64]) -> io::Result<()> {
        self.notify(&prune(nodes))
    }

    fn notify(&self, notice: &[u8]) -> io::Result<()> {
        match rustix::io::write(&self.fd, notice) {
            Err(Errno::NOENT | Errno::NODEV | Errno::NOTDIR) => Ok(()),
            outcome => Ok(outcome.map(drop)?),
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn first_request(fd: &OwnedFd) -> Result<(Header, Offer), HandshakeError> {
    let mut buffer = vec![0; LEAST_BUFFER];
    let len = loop {
        match rustix::io::read(fd, &mut *buffer) {
            Err(Errno::INTR | Errno::AGAIN | Errno::NOENT) => {}
            outcome => break outcome.map_err(io::Error::from)?,
        }
    };
    let (header, body) =
        buffer.get(..len).and_then(|it| it.split_at_checked(Header::LEN)).ok_or(Malformed)?;
    let header = Header::decode(header)?;
    if header.opcode != opcode::INIT {
        return Err(Malformed.into());
    }
    Ok((header, Offer::decode(body)?))
}

fn send(fd: &OwnedFd, header: &Header, errno: i32, body: &[u8]) -> io::Result<()> {
    let len = u32::try_from(OutHeader::LEN + body.len()).expect("the reply to a handshake is short");
    write(fd.as_fd(), &OutHeader { len, errno, unique: header.unique }, body)
}

fn write(fd: BorrowedFd<'_>, header: &OutHeader, body: &[u8]) -> io::Result<()> {
    let head = header.encode();
    rustix::io::writev(fd, &[IoSlice::new(&head), IoSlice::new(body)])?;
    Ok(())
}

fn too_small(error: TooSmall) -> HandshakeError {
    io::Error::other(error).into()
}

/// `FUSE_MIN_READ_BUFFER`.
const LEAST_BUFFER: usize = 8192;
