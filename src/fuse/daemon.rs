//! Going to the background.
//!
//! The process that the user started waits until the mount serves or has failed, prints what there is to say and exits
//! with the daemon's code. Secrets are asked for before forking, because the daemon has no terminal; threads start
//! after it, because they do not survive a fork.

use std::{
    env, io,
    io::{PipeReader, PipeWriter, Read, Write},
};

use super::fork::{Side, fork, silence};

/// The two processes after [`background`].
#[derive(Debug)]
pub enum Background {
    /// The process the user started: all that is left to do is to wait and exit.
    Front(Front),
    /// The daemon: it mounts, then reports.
    Daemon(Ready),
}

/// Splits this process in two. Must be called before the first thread starts.
pub fn background() -> io::Result<Background> {
    let (reader, writer) = io::pipe()?;
    match fork()? {
        Side::Parent => Ok(Background::Front(Front { reader })),
        Side::Child => {
            drop(reader);
            rustix::process::setsid()?;
            silence([0])?;
            Ok(Background::Daemon(Ready { writer }))
        }
    }
}

/// The end of the pipe that waits.
#[derive(Debug)]
pub struct Front {
    reader: PipeReader,
}

/// What the daemon said about its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Exit code; 0 when the mount serves.
    pub code: u8,
    /// What to print; empty when the mount serves.
    pub message: String,
}

impl Front {
    /// Waits for the daemon's report.
    pub fn wait(mut self) -> io::Result<Report> {
        let mut bytes = Vec::new();
        self.reader.by_ref().take(MESSAGE_LIMIT).read_to_end(&mut bytes)?;
        Ok(match bytes.split_first() {
            Some((code, message)) => {
                Report { code: *code, message: String::from_utf8_lossy(message).into_owned() }
            }
            None => Report { code: 1, message: String::from(DIED) },
        })
    }
}

/// The daemon's end of the pipe.
#[derive(Debug)]
pub struct Ready {
    writer: PipeWriter,
}

impl Ready {
    /// The mount serves: lets the waiting process go, and lets go of its terminal and working directory.
    pub fn succeed(mut self) -> io::Result<()> {
        env::set_current_dir("/")?;
        silence([1, 2])?;
        self.writer.write_all(&[0])
    }

    /// The mount failed: `message` is printed by the waiting process, which exits with `code`.
    pub fn fail(mut self, code: u8, message: &str) -> io::Result<()> {
        self.writer.write_all(&[code.max(1)])?;
        self.writer.write_all(message.as_bytes())
    }
}

const DIED: &str = "the daemon ended before the mount was ready; start it in the foreground to see why";
/// More than any message, less than would hurt.
const MESSAGE_LIMIT: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Front, Ready) {
        let (reader, writer) = io::pipe().unwrap();
        (Front { reader }, Ready { writer })
    }

    #[test]
    fn a_failure_arrives_with_its_code_and_message() {
        let (front, ready) = pair();
        ready.fail(3, "no such key").unwrap();
        assert_eq!(front.wait().unwrap(), Report { code: 3, message: "no such key".into() });
    }

    #[test]
    fn a_failure_never_looks_like_success() {
        let (front, ready) = pair();
        ready.fail(0, "odd").unwrap();
        assert_eq!(front.wait().unwrap().code, 1);
    }

    #[test]
    fn a_daemon_that_dies_without_a_word_is_a_failure() {
        let (front, ready) = pair();
        drop(ready);
        assert_eq!(front.wait().unwrap(), Report { code: 1, message: DIED.into() });
    }
}
