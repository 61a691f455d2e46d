//! Frames over a stream socket: a length, a kind, and what it says. Bounded in length; wiped when dropped.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    os::unix::net::UnixStream,
};

use crate::crypto::Zeroizing;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON.
    Step = 1,
    /// A place in an object, 8 bytes, and content.
    Data = 2,
}

/// Frames to and from the other end.
pub(super) struct Frames {
    stream: UnixStream,
    /// What came and was not asked for yet: `start..end` of it.
    ahead: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

/// Called when the other end keeps us waiting; its error ends that.
pub(super) type Idle<'a> = dyn FnMut() -> io::Result<()> + 'a;

impl Frames {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, ahead: Zeroizing::new(vec![0; AHEAD]), start: 0, end: 0 }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends a frame of these parts.
    pub(super) fn send(&self, kind: Kind, head: &[u8], body: &[u8], idle: &mut Idle<'_>) -> io::Result<()> {
        let len = u32::try_from(head.len() + body.len()).ok().filter(|len| *len <= MOST);
        let len = len.ok_or_else(too_long)?.to_be_bytes();
        let [a, b, c, d] = len;
        let start = [a, b, c, d, kind as u8];
        let mut parts = [IoSlice::new(&start), IoSlice::new(head), IoSlice::new(body)];
        let mut parts = parts.as_mut_slice();
        // Empty ones are taken for the end of everything.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match (&self.stream).write_vectored(parts) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(done) => IoSlice::advance_slices(&mut parts, done),
                Err(error) => wait(error, idle)?,
            }
        }
        Ok(())
    }

    /// The next frame, read into `body`.
    pub(super) fn next(&mut self, body: &mut Zeroizing<Vec<u8>>, idle: &mut Idle<'_>) -> io::Result<Kind> {
        let mut start = [0; 5];
        self.fill(&mut start, idle)?;
        let [len @ .., kind] = start;
        let kind = match kind {
            1 => Kind::Step,
            2 => Kind::Data,
            _ => return Err(io::Error::new(ErrorKind::InvalidData, "a frame of no known kind")),
        };
        let len = u32::from_be_bytes(len);
        if len > MOST {
            return Err(too_long());
        }
        body.resize(len as usize, 0);
        self.fill(body, idle)?;
        Ok(kind)
    }

    fn fill(&mut self, mut to: &mut [u8], idle: &mut Idle<'_>) -> io::Result<()> {
        while !to.is_empty() {
            let ready = self.ahead.get(self.start..self.end).unwrap_or_default();
            if ready.is_empty() {
                let direct = to.len() >= self.ahead.len();
                let got = (&self.stream).read(if direct { &mut *to } else { self.ahead.as_mut_slice() });
                match got {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(got) if direct => to = to.split_at_mut(got).1,
                    Ok(got) => (self.start, self.end) = (0, got),
                    Err(error) => wait(error, idle)?,
                }
                continue;
            }
            let (here, rest) = to.split_at_mut(ready.len().min(to.len()));
            here.copy_from_slice(ready.get(..here.len()).unwrap_or_default());
            self.start += here.len();
            to = rest;
        }
        Ok(())
    }
}

fn wait(error: io::Error, idle: &mut Idle<'_>) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => idle(),
        _ => Err(error),
    }
}

fn too_long() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a frame is longer than 4 MiB")
}

/// Longest frame after its length, in bytes: an object's attributes, a mebibyte at most, as text.
const MOST: u32 = 4 << 20;
/// Bytes that are read ahead, so that a short frame takes one call of the system.
const AHEAD: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pair() -> (Frames, Frames) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Frames::new(ours), Frames::new(theirs))
    }

    fn never() -> io::Result<()> {
        Err(ErrorKind::TimedOut.into())
    }

    #[test]
    fn frames_arrive_whole_and_in_order_whatever_their_length() {
        let (ours, mut theirs) = pair();
        let long: Vec<u8> = (0..3_000_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let expected = long.clone();
        let sender = std::thread::spawn(move || {
            ours.send(Kind::Step, b"one", b"", &mut never).unwrap();
            ours.send(Kind::Data, b"12345678", &long, &mut never).unwrap();
            ours.send(Kind::Step, b"", b"", &mut never).unwrap();
        });
        let mut body = Zeroizing::new(Vec::new());
        assert_eq!(theirs.next(&mut body, &mut never).unwrap(), Kind::Step);
        assert_eq!(*body, b"one");
        assert_eq!(theirs.next(&mut body, &mut never).unwrap(), Kind::Data);
        assert_eq!((&body[..8], &body[8..]), (&b"12345678"[..], &expected[..]));
        assert_eq!(theirs.next(&mut body, &mut never).unwrap(), Kind::Step);
        assert!(body.is_empty());
        sender.join().unwrap();
        assert_eq!(theirs.next(&mut body, &mut never).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_frame_that_claims_to_be_too_long_is_refused_before_there_is_room_for_it() {
        let (ours, mut theirs) = pair();
        for (start, said) in [([0xff, 0xff, 0xff, 0xff, 1], "longer"), ([0, 0, 0, 0, 9], "no known kind")] {
            ours.stream().write_all(&start).unwrap();
            let error = theirs.next(&mut Zeroizing::new(Vec::new()), &mut never).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        let refused = ours.send(Kind::Step, &vec![0; 5 << 20], b"", &mut never).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn who_keeps_us_waiting_is_left_when_that_is_said() {
        let (ours, mut theirs) = pair();
        for stream in [ours.stream(), theirs.stream()] {
            stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(5))).unwrap();
        }
        let mut looks = 0;
        let mut idle = || {
            looks += 1;
            if looks == 3 { never() } else { Ok(()) }
        };
        let error = theirs.next(&mut Zeroizing::new(Vec::new()), &mut idle).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = ours.send(Kind::Data, b"", &vec![0; 4 << 20], &mut never).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "nobody reads");
        assert_eq!(looks, 3);
    }
}
