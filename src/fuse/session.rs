//! A mount from its beginning to its end.
//!
//! [`Session::start`] returns when the mount answers; [`Session::wait`] when it is gone, whoever ended it: `umount(8)`,
//! a signal, or idleness. An orderly end makes everything durable first, detaches, and gives programs that still have
//! files open ten seconds before their requests are failed. A second signal fails them at once.

use std::{
    io,
    path::{self, Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};

use crate::engine::{Engine, EngineError};

use super::{
    activity::{Activity, report_idleness},
    adapter::Adapter,
    connecting::{answering, serve},
    mount::{self, Unmount},
    notify::{STOPPING, notify},
    ops::Ops,
    options::MountOptions,
    pages::Pages,
    prune,
    transport::{HandshakeError, Transport, Unavailable},
};

/// Why a mount did not come up, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The mount point cannot be used.
    #[error("cannot mount on `{path}`: {source}; give an existing directory that you may write to")]
    Mountpoint {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The mount was refused.
    #[error("cannot mount on `{path}`: {source}; check that /dev/fuse exists and that you may mount")]
    Mount {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel and the daemon do not understand each other.
    #[error("cannot serve `{path}`: {source}")]
    Handshake {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        source: HandshakeError,
    },
    /// The transport that was asked for is not to be had.
    #[error("cannot mount with `--transport uring`: {0}")]
    Transport(#[source] Unavailable),
    /// The mount came up and does not answer.
    #[error("`{path}` was mounted but does not answer: {source}")]
    Silent {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or a signal handler could not be set up.
    #[error("cannot prepare to serve: {0}")]
    Prepare(#[source] io::Error),
    /// A loop thread ended with an error.
    #[error("the mount ended with an error: {0}")]
    Served(#[source] io::Error),
    /// The mount could not be taken down.
    #[error("cannot unmount `{path}`: {source}; close what uses it and run `umount -l` on it")]
    Unmount {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not everything could be made durable.
    #[error("some changes may not have reached the disk: {0}")]
    Sync(#[source] EngineError),
}

/// A mount that serves.
pub struct Session {
    engine: Arc<Engine>,
    mountpoint: PathBuf,
    device: mount::Device,
    transport: Transport,
    pages: Pages,
    events: Receiver<Event>,
    sender: Sender<Event>,
    _signals: Forwarding,
    /// The idle watch ends when this goes.
    _idle: Option<Sender<()>>,
}

/// What a session waits for.
pub(super) enum Event {
    Signal(i32),
    Idle,
    Synced(Result<(), EngineError>),
    Ended(io::Result<()>),
}

impl Session {
    /// Mounts and serves what `engine` shows. A dead mount on the same directory is replaced.
    ///
    /// From here on SIGTERM, SIGINT and SIGHUP do not end the process but are acted on by [`Session::wait`].
    pub fn start(engine: Arc<Engine>, options: &MountOptions) -> Result<Self, SessionError> {
        let mountpoint = prepared(&options.mountpoint)?;
        let options = &MountOptions { read_only: options.read_only || engine.read_only(), ..options.clone() };
        #[cfg(target_env = "gnu")]
        super::arenas::bound();
        spawn("entropy", Engine::warm_up)?;
        let (sender, events) = mpsc::channel();
        let signals = forward_signals(sender.clone()).map_err(SessionError::Prepare)?;
        let (ops, many) = Ops::new(Arc::clone(&engine), options);
        let (ops, activity) = (Arc::new(ops), Arc::default());
        let (nodes, idle) =
            (Arc::downgrade(ops.inodes()), watch_idleness(options, &ops, &activity, &sender)?);
        let weak = Arc::downgrade(&ops);
        let adapter = Adapter::new(ops, activity, options);
        let (transport, connection) = serve(adapter, &mountpoint, options, sender.clone())?;
        let device = answering(&mountpoint)?;
        log::info!("serving `{}`, transport {transport}", mountpoint.display());
        if transport == Transport::Uring {
            engine.keep_log_aside();
        }
        let pages = Pages::new(weak, connection.clone());
        let most = options.inode_cache;
        spawn("prune", move || prune::run(&many, &nodes, most, &connection))?;
        engine.show_on(Box::new(pages.clone()));
        Ok(Self {
            engine,
            mountpoint,
            device,
            transport,
            pages,
            events,
            sender,
            _signals: signals,
            _idle: idle,
        })
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The pages that the kernel keeps of this mount.
    pub fn pages(&self) -> Pages {
        self.pages.clone()
    }

    /// How requests come from the kernel.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Serves until the mount is gone. On a signal or when idle it is taken down first.
    pub fn wait(self) -> Result<(), SessionError> {
        loop {
            match self.next(None) {
                Some(Event::Ended(outcome)) => return self.finish(outcome),
                Some(Event::Signal(signal)) => {
                    log::info!("signal {signal}: unmounting");
                    return self.stop();
                }
                Some(Event::Idle) => self.leave_if_unused(),
                Some(Event::Synced(_)) | None => {}
            }
        }
    }

    /// Takes the mount down and waits for its end.
    pub fn unmount(self) -> Result<(), SessionError> {
        self.stop()
    }

    fn stop(self) -> Result<(), SessionError> {
        if let Err(error) = notify(STOPPING) {
            log::debug!("the service manager was not told: {error}");
        }
        self.sync_in_background()?;
        loop {
            match self.next(None) {
                Some(Event::Synced(Ok(()))) => return self.detach(),
                Some(Event::Synced(Err(error))) => {
                    log::error!("not everything could be made durable before unmounting: {error}");
                    return self.detach();
                }
                Some(Event::Ended(outcome)) => return self.finish(outcome),
                Some(Event::Signal(_)) => return self.abort(),
                Some(Event::Idle) | None => {}
            }
        }
    }

    fn detach(self) -> Result<(), SessionError> {
        if let Err(source) = mount::unmount(&self.mountpoint, Unmount::Lazy) {
            // `umount(8)` may have been faster; then the loop has ended or is about to.
            return match self.next(Some(Instant::now() + AFTER_ABORT)) {
                Some(Event::Ended(outcome)) => self.finish(outcome),
                _ => Err(SessionError::Unmount { path: self.mountpoint, source }),
            };
        }
        let deadline = Instant::now() + GRACE;
        loop {
            match self.next(Some(deadline)) {
                Some(Event::Ended(outcome)) => return self.finish(outcome),
                Some(Event::Signal(_)) | None => return self.abort(),
                Some(Event::Idle | Event::Synced(_)) => {}
            }
        }
    }

    /// Fails what is still under way. Where even that does not end the loop, the end of the process will.
    fn abort(self) -> Result<(), SessionError> {
        log::warn!("`{}` is still in use: failing all further requests", self.mountpoint.display());
        let forced = mount::unmount(&self.mountpoint, Unmount::Forced);
        if let (Err(error), Err(_)) = (self.device.abort(), forced) {
            // Already detached, and no control file system to name it by: the end of the process is what is left.
            log::debug!("the connection cannot be aborted: {error}");
            return self.finish(Ok(()));
        }
        let deadline = Instant::now() + AFTER_ABORT;
        loop {
            match self.next(Some(deadline)) {
                Some(Event::Ended(outcome)) => return self.finish(outcome),
                Some(_) => {}
                None => return self.finish(Ok(())),
            }
        }
    }

    /// Files closed at the very end have been committed by now; this makes them durable.
    fn finish(self, outcome: io::Result<()>) -> Result<(), SessionError> {
        self.engine.sync_all().map_err(SessionError::Sync)?;
        outcome.map_err(SessionError::Served)?;
        log::info!("`{}` is unmounted", self.mountpoint.display());
        Ok(())
    }

    /// A program may stand in the mount without having anything open: then it stays.
    fn leave_if_unused(&self) {
        match mount::unmount(&self.mountpoint, Unmount::Unused) {
            Ok(()) => log::info!("idle: unmounting"),
            Err(error) => log::debug!("idle, but still in use: {error}"),
        }
    }

    /// In a thread of its own, so that an impatient second signal is heard.
    fn sync_in_background(&self) -> Result<(), SessionError> {
        let (engine, sender) = (Arc::clone(&self.engine), self.sender.clone());
        spawn("sync", move || drop(sender.send(Event::Synced(engine.sync_all()))))
    }

    /// The next event; `None` when `deadline` has passed.
    fn next(&self, deadline: Option<Instant>) -> Option<Event> {
        let Some(deadline) = deadline else {
            return Some(self.events.recv().expect("the session itself holds a sender"));
        };
        self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }
}

/// Ends the forwarding of signals when dropped.
struct Forwarding(Handle);

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// An absolute path (the daemon will leave its working directory) to a directory without a dead mount on it.
fn prepared(mountpoint: &Path) -> Result<PathBuf, SessionError> {
    let refused = |source| SessionError::Mountpoint { path: mountpoint.to_owned(), source };
    let absolute = path::absolute(mountpoint).map_err(refused)?;
    if mount::detach_if_dead(&absolute).map_err(refused)? {
        log::warn!("`{}` had a mount whose daemon was gone: detached", absolute.display());
    }
    let canonical = absolute.canonicalize().map_err(refused)?;
    if canonical.is_dir() { Ok(canonical) } else { Err(refused(io::ErrorKind::NotADirectory.into())) }
}

fn forward_signals(sender: Sender<Event>) -> io::Result<Forwarding> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let forwarding = Forwarding(signals.handle());
    let forward = move || {
        for signal in signals.forever() {
            if sender.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(forward)?;
    Ok(forwarding)
}

fn watch_idleness(
    options: &MountOptions,
    ops: &Arc<Ops>,
    activity: &Arc<Activity>,
    sender: &Sender<Event>,
) -> Result<Option<Sender<()>>, SessionError> {
    let Some(timeout) = options.idle_timeout else { return Ok(None) };
    let (stop, stopped) = mpsc::channel();
    let (ops, activity, sender) = (Arc::downgrade(ops), Arc::clone(activity), sender.clone());
    let busy = move || activity.take() || ops.upgrade().is_some_and(|ops| ops.is_busy());
    spawn("idle", move || report_idleness(timeout, &stopped, busy, || sender.send(Event::Idle).is_ok()))?;
    Ok(Some(stop))
}

pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), SessionError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map(drop).map_err(SessionError::Prepare)
}

/// How long programs keep their open files after the mount has been detached.
const GRACE: Duration = Duration::from_secs(10);
/// How long the loop may take to end once nothing keeps it.
const AFTER_ABORT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_mount_point() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = prepared(file.path()).unwrap_err();
        assert!(error.to_string().contains("not a directory"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_no_mount_point() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(prepared(&dir.path().join("none")), Err(SessionError::Mountpoint { .. })));
    }
}
