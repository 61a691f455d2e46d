//! A small process that cleans up after a daemon that was killed.
//!
//! A dead daemon leaves a mount on which everything fails (`ENOTCONN`). The watchdog holds one end of a pipe; when the
//! other end goes, the daemon is gone, and if the mount is dead it is detached. After an orderly end it finds nothing
//! to do. It must be started before any secret is read: it would keep a copy in its memory for as long as it lives.

use std::{
    io::{self, PipeReader, PipeWriter, Read},
    path::{self, Path},
    process,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{
    fork::{Side, fork, silence},
    mount,
};

/// The daemon's end. Hold it until the process ends.
#[derive(Debug)]
pub struct Watchdog {
    _alive: PipeWriter,
}

impl Watchdog {
    /// Starts the watchdog for what will be mounted at `mountpoint`. Must be called before the first thread starts and
    /// before the first secret is read.
    pub fn start(mountpoint: &Path) -> io::Result<Self> {
        let mountpoint = path::absolute(mountpoint)?;
        let (reader, writer) = io::pipe()?;
        match fork()? {
            Side::Parent => Ok(Self { _alive: writer }),
            Side::Child => {
                drop(writer);
                let outcome = watch(reader, &mountpoint);
                process::exit(i32::from(outcome.is_err()))
            }
        }
    }
}

fn watch(alive: PipeReader, mountpoint: &Path) -> io::Result<()> {
    rustix::process::setsid()?;
    silence(0..=2)?;
    std::env::set_current_dir("/")?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        // It ends with the daemon, not before it.
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    wait_for_end(alive)?;
    mount::detach_if_dead(mountpoint).map(drop)
}

/// Nothing is ever written: the pipe only ends.
fn wait_for_end(mut alive: PipeReader) -> io::Result<()> {
    alive.read_to_end(&mut Vec::new()).map(drop)
}
