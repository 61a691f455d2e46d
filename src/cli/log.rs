//! The log: to stderr, and from a drive in the background to the system log or a file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::{fs::OpenOptionsExt, net::UnixDatagram},
    process,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;

use crate::config::{LogLevel, LogOptions};

/// Where log lines go.
#[derive(Debug)]
pub(super) enum Sink {
    /// To stderr.
    Stderr,
    /// Appended to a file.
    File(File),
    /// To the system log (RFC 3164, `/dev/log`).
    System(UnixDatagram),
}

/// Starts the log, to stderr; later calls change nothing.
pub(super) fn start(level: LogLevel) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Off).filter_module("strongroom", level.into());
    builder.format(|out, record| {
        // One record is one line whatever a file name in it contains.
        let text: String =
            record.args().to_string().escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'");
        writeln!(out, "{}: {text}", record.level().as_str().to_ascii_lowercase())
    });
    builder.target(env_logger::Target::Pipe(Box::new(Lines)));
    // Only the first call in a process can succeed, and that is enough.
    let _ = builder.try_init();
    // A drive in the background has no stderr to show a panic on.
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log::error!("internal error, please report it: {panic}");
        shown(panic);
    }));
}

/// Opens the sink for a drive in the background. A machine without a system log logs nowhere.
pub(super) fn open(options: &LogOptions) -> anyhow::Result<Sink> {
    if options.file.as_os_str().is_empty() {
        return Ok(system().map_or(Sink::Stderr, Sink::System));
    }
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&options.file);
    Ok(Sink::File(opened.with_context(|| format!("cannot open the log file `{}`", options.file.display()))?))
}

/// Sends the lines to `sink` as well, so that what happens before the terminal is left is in the log, too.
pub(super) fn add(sink: Sink) {
    if !matches!(sink, Sink::Stderr) {
        sinks().push(sink);
    }
}

/// Sends no more lines to stderr, unless that is all there is.
pub(super) fn leave_stderr() {
    let mut sinks = sinks();
    if sinks.len() > 1 {
        sinks.retain(|sink| !matches!(sink, Sink::Stderr));
    }
}

fn sinks() -> MutexGuard<'static, Vec<Sink>> {
    SINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn system() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SYSTEM_LOG)?;
    // A stuck log daemon must not stop the drive: lines are lost instead.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Takes whole lines, as the logger writes them.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A sink that takes nothing must not keep the line from the others.
        let outcomes: Vec<_> = sinks().iter_mut().map(|sink| sink.take(line)).collect();
        outcomes.into_iter().collect::<io::Result<()>>()?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn take(&mut self, line: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(line);
        match self {
            Self::Stderr => write!(io::stderr(), "strongroom: {text}"),
            Self::File(file) => write!(file, "{:.3} {} {text}", jiff::Timestamp::now(), process::id()),
            Self::System(socket) => {
                let message = format!("<{}>strongroom[{}]: {text}", priority(line), process::id());
                socket.send(message.trim_end().as_bytes()).map(drop)
            }
        }
    }
}

/// Facility `daemon` (3) and the severity that the line begins with.
fn priority(line: &[u8]) -> u8 {
    let severity = match line.first() {
        Some(b'e') => 3,
        Some(b'w') => 4,
        Some(b'd' | b't') => 7,
        _ => 6,
    };
    3 * 8 + severity
}

static SINKS: LazyLock<Mutex<Vec<Sink>>> = LazyLock::new(|| Mutex::new(vec![Sink::Stderr]));
const SYSTEM_LOG: &str = "/dev/log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_those_of_syslog() {
        assert_eq!(
            [b"error: ", b"warn: x", b"info: x", b"debug: "].map(|line| priority(line)),
            [27, 28, 30, 31]
        );
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_an_error_not_a_silent_log() {
        let options = LogOptions { level: LogLevel::Info, file: "/nowhere/log".into() };
        assert!(open(&options).unwrap_err().to_string().contains("`/nowhere/log`"));
    }
}
