//! Lines for the system journal, in its native protocol: one datagram with `NAME=value` lines for each.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. The journal gets a copy of every line, MAC included, which somebody
//! who owns this machine cannot take back once it was forwarded. The files stay the log: a journal that does not take a
//! line is reported, and not waited for.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

/// The journal's socket.
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    failing: bool,
}

impl Journal {
    /// The journal that listens at `path`; connected when there is something to say.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: None, failing: false }
    }

    /// Sends every line of `lines`.
    pub(super) fn send(&mut self, lines: &[u8]) {
        let mut unsent = 0;
        let mut why = None;
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Err(error) = self.send_line(line) {
                (unsent, why, self.socket) = (unsent + 1, Some(error), None);
            }
        }
        match why {
            Some(error) if !self.failing => {
                log::warn!(
                    "the journal at `{}` misses {unsent} or more audit lines: {error}",
                    self.path.display()
                );
            }
            None if self.failing => log::warn!("the journal takes audit lines again"),
            _ => {}
        }
        self.failing = unsent > 0;
    }

    fn send_line(&mut self, line: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => connect(&self.path)?,
        };
        // JSON has no line feed outside of its escapes, so the short form of a field will do.
        let datagram = [FIELDS, line, b"\n"].concat();
        let socket = self.socket.insert(socket);
        socket.send(&datagram).map(drop)
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

const FIELDS: &[u8] = b"SYSLOG_IDENTIFIER=strongroom-audit\nPRIORITY=6\nMESSAGE=";
const PATIENCE: Duration = Duration::from_millis(200);
