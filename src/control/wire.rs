//! Lines of JSON over a socket, bounded in length and time.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;

use crate::crypto::Zeroizing;

/// Lines that come over a socket. They may hold a secret, and are wiped when dropped.
pub(super) struct Lines<'a> {
    stream: &'a UnixStream,
    /// What came after the last line.
    rest: Zeroizing<Vec<u8>>,
    /// The descriptor that came with it.
    passed: Option<OwnedFd>,
}

impl<'a> Lines<'a> {
    /// The lines of `stream`.
    pub(super) fn new(stream: &'a UnixStream) -> Self {
        Self { stream, rest: Zeroizing::new(Vec::with_capacity(USUAL)), passed: None }
    }

    /// The next line, waited for until `patience` is over, however slowly it comes. What came of it until then is kept.
    pub(super) fn next(&mut self, patience: Duration) -> io::Result<Zeroizing<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        let (mut chunk, mut seen) = (Zeroizing::new([0; 4096]), 0);
        loop {
            let fresh = self.rest.get(seen..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let mut line = Zeroizing::new(Vec::with_capacity(USUAL.max(self.rest.len())));
                line.extend_from_slice(self.rest.get(..=seen + end).unwrap_or_default());
                self.rest.drain(..=seen + end);
                return Ok(line);
            }
            seen = self.rest.len();
            if seen > MAX_LINE {
                return Err(io::Error::new(ErrorKind::InvalidData, "a line is longer than 1 MiB"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.receive(chunk.as_mut_slice()) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.rest.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The descriptor that came with what was read.
    pub(super) fn passed(self) -> Option<OwnedFd> {
        self.passed
    }

    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(self.stream, &mut [IoSliceMut::new(into)], &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                // One at most is of use; the others are closed.
                self.passed = descriptors.last().or(self.passed.take());
            }
        }
        Ok(got.bytes)
    }
}

/// Reads one line until `patience` is over; nothing may be expected after it.
pub(super) fn read_line(stream: &UnixStream, patience: Duration) -> io::Result<Zeroizing<Vec<u8>>> {
    Lines::new(stream).next(patience)
}

/// Writes one line; who does not take it within `patience` does not get it.
pub(super) fn write_line(
    mut stream: &UnixStream,
    patience: Duration,
    message: &impl Serialize,
) -> io::Result<()> {
    let mut line = Zeroizing::new(Vec::with_capacity(USUAL));
    serde_json::to_writer(&mut *line, message)?;
    line.push(b'\n');
    if line.len() > MAX_LINE {
        return Err(io::Error::new(ErrorKind::InvalidData, "a line is longer than 1 MiB"));
    }
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&line)
}

/// The same with a descriptor, which the other side gets a copy of.
pub(super) fn write_line_with(
    mut stream: &UnixStream,
    patience: Duration,
    message: &impl Serialize,
    descriptor: impl AsFd,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.set_write_timeout(Some(patience))?;
    let descriptors = [descriptor.as_fd()];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("a descriptor has no room"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(line.get(sent..).unwrap_or_default())
}

/// Longest line, in bytes.
const MAX_LINE: usize = 1024 * 1024;
/// Bytes that no line with a secret exceeds, so that none is copied about as it grows.
const USUAL: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_is_written_is_read() {
        let (ours, theirs) = pair();
        write_line(&ours, LONG, &vec![1, 2, 3]).unwrap();
        assert_eq!(*read_line(&theirs, LONG).unwrap(), b"[1,2,3]\n");
    }

    #[test]
    fn lines_come_one_after_the_other_however_they_are_cut() {
        let (mut ours, theirs) = pair();
        let mut lines = Lines::new(&theirs);
        ours.write_all(b"1\n22\n3").unwrap();
        assert_eq!(*lines.next(LONG).unwrap(), b"1\n");
        assert_eq!(*lines.next(LONG).unwrap(), b"22\n");
        assert_eq!(lines.next(SHORT).unwrap_err().kind(), ErrorKind::TimedOut);
        ours.write_all(b"33\n").unwrap();
        drop(ours);
        assert_eq!(*lines.next(LONG).unwrap(), b"333\n");
        assert_eq!(lines.next(LONG).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_descriptor_comes_with_its_line_and_works() {
        let (ours, theirs) = pair();
        let (mut near, far) = pair();
        write_line_with(&ours, LONG, &7, &far).unwrap();
        drop(far);
        let mut lines = Lines::new(&theirs);
        assert_eq!(*lines.next(LONG).unwrap(), b"7\n");
        let far = UnixStream::from(lines.passed().expect("it came"));
        near.write_all(b"[]\n").unwrap();
        assert_eq!(*read_line(&far, LONG).unwrap(), b"[]\n");
        write_line(&ours, LONG, &8).unwrap();
        let mut lines = Lines::new(&theirs);
        lines.next(LONG).unwrap();
        assert!(lines.passed().is_none());
    }

    #[test]
    fn a_line_that_does_not_end_in_time_is_given_up() {
        let (mut ours, theirs) = pair();
        ours.write_all(b"[1,").unwrap();
        let error = read_line(&theirs, SHORT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_line_that_is_cut_off_is_refused() {
        let (mut ours, theirs) = pair();
        ours.write_all(b"[1").unwrap();
        drop(ours);
        let error = read_line(&theirs, LONG).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_before_it_ends() {
        let (ours, theirs) = pair();
        let writer = std::thread::spawn(move || {
            let endless = vec![b' '; 4 << 20];
            // Fails once the other side is gone.
            (&ours).write_all(&endless).is_err()
        });
        let error = read_line(&theirs, LONG).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        drop(theirs);
        assert!(writer.join().unwrap());
    }

    #[test]
    fn who_does_not_read_the_answer_is_not_waited_for() {
        let (ours, _theirs) = pair();
        let answer = "x".repeat(900_000);
        assert!(write_line(&ours, SHORT, &answer).is_err());
    }
}
