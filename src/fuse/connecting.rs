//! The way from a mount point to a mount that answers.

use std::{
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, mpsc::Sender},
};

use super::{
    adapter::Adapter,
    mount::{self, Unmount},
    options::MountOptions,
    session::{Event, SessionError, spawn},
    terms::Terms,
    transport::{self, Serving, Transport, Unavailable},
};

/// Mounts and begins to serve; on failure nothing is mounted.
pub(super) fn serve(
    adapter: Adapter,
    mountpoint: &Path,
    options: &MountOptions,
    sender: Sender<Event>,
) -> Result<(Transport, transport::Device), SessionError> {
    let rings = wants_rings(options.transport)?;
    let device = mount::connect(mountpoint, options)
        .map_err(|source| SessionError::Mount { path: mountpoint.to_owned(), source })?;
    if mount::is_root()
        && let Err(error) = mount::raise_read_ahead(mountpoint)
    {
        log::debug!("read-ahead stays at its default: {error}");
    }
    let served = serve_on(device, adapter, mountpoint, options, rings, sender);
    served.inspect_err(|_| drop(mount::unmount(mountpoint, Unmount::Lazy)))
}

fn serve_on(
    device: OwnedFd,
    adapter: Adapter,
    mountpoint: &Path,
    options: &MountOptions,
    rings: bool,
    sender: Sender<Event>,
) -> Result<(Transport, transport::Device), SessionError> {
    let terms = Terms { writeback: options.writeback, posix_acl: options.allow_other, rings };
    let device = transport::Device::open(device, |offer| terms.agree(offer))
        .map_err(|source| SessionError::Handshake { path: mountpoint.to_owned(), source })?;
    let serving =
        Serving::start(&device, &Arc::new(adapter), options.thread_count()).map_err(SessionError::Prepare)?;
    let transport = serving.transport();
    if options.transport == Some(Transport::Uring) && transport != Transport::Uring {
        return Err(SessionError::Transport(Unavailable::NotOffered));
    }
    spawn("mount", move || drop(sender.send(Event::Ended(serving.join()))))?;
    Ok((transport, device))
}

/// Whether to ask the kernel for rings.
fn wants_rings(transport: Option<Transport>) -> Result<bool, SessionError> {
    match (transport, transport::available()) {
        (Some(Transport::Classic), _) => Ok(false),
        (Some(Transport::Uring), outcome) => outcome.map(|()| true).map_err(SessionError::Transport),
        (None, Ok(())) => Ok(true),
        (None, Err(why)) => {
            log::info!("serving over /dev/fuse alone: {why}");
            Ok(false)
        }
    }
}

/// Waits until the mount answers.
pub(super) fn answering(mountpoint: &Path) -> Result<mount::Device, SessionError> {
    mount::probe(mountpoint).map_err(|source| {
        let _ = mount::unmount(mountpoint, Unmount::Lazy);
        SessionError::Silent { path: mountpoint.to_owned(), source }
    })
}
