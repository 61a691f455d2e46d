//! One request and its answer, in buffers that a transport lends.

use std::panic::{self, AssertUnwindSafe};

use super::{
    super::{
        errno::Errno,
        protocol::{Header, OutHeader, Request},
    },
    Service,
    backlog::Backlog,
};

/// The buffers of one exchange. Those of the request and of the answer may be the same: the request is not looked at
/// any more when the answer is written.
pub(super) trait Buffers {
    /// The fixed fields of the request, and what follows them.
    fn request(&self) -> (&[u8], &[u8]);

    /// Room for an answer of at most `len` bytes, its header not counted, if there is as much.
    fn answer(&mut self, len: usize) -> Option<&mut [u8]>;
}

/// What is to be sent back.
pub(super) enum Outcome {
    /// A reply, whose first bytes are this header, and whose others lie in the answer buffer.
    Reply(OutHeader),
    /// Nothing.
    Silence,
    /// Nothing, and no request will follow.
    End,
}

/// Lets `service` deal with the request that is in `buffers`. A panic must not take the thread along, which would end
/// silently and leave the mount with one thread less: the request fails with `EIO` and the panic is logged.
pub(super) fn exchange(
    service: &impl Service,
    backlog: &Backlog,
    header: &Header,
    buffers: &mut impl Buffers,
) -> Outcome {
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| answered(service, backlog, header, buffers)));
    let answered = outcome.unwrap_or_else(|_| {
        log::error!(
            "the handler of request {} panicked; it failed with an input/output error",
            header.opcode
        );
        Err(Errno(libc::EIO))
    });
    match answered {
        Ok(Answered::With(len)) => Outcome::Reply(reply(header, len, 0)),
        Ok(Answered::Silently) => Outcome::Silence,
        Ok(Answered::Last) => Outcome::End,
        Err(Errno(errno)) => {
            // What programs look for and do not find is no failure.
            if ![libc::ENOENT, libc::ENODATA, libc::ENOSYS].contains(&errno) {
                log::debug!("request {} on node {} failed with errno {errno}", header.opcode, header.node);
            }
            Outcome::Reply(reply(header, 0, errno))
        }
    }
}

enum Answered {
    With(usize),
    Silently,
    Last,
}

fn answered(
    service: &impl Service,
    backlog: &Backlog,
    header: &Header,
    buffers: &mut impl Buffers,
) -> Result<Answered, Errno> {
    let (fixed, rest) = buffers.request();
    let answer = match Request::decode(header, fixed, rest) {
        Ok(Request::Operation(operation)) => service.answer(header, operation)?,
        Ok(Request::Fill(fill)) => {
            let size = usize::try_from(fill.size()).map_err(|_| Errno(libc::EINVAL))?;
            let out = buffers.answer(size).ok_or(Errno(libc::EINVAL))?;
            return Ok(Answered::With(service.fill(header, fill, out)?.min(size)));
        }
        Ok(Request::Forget(forgets)) => {
            let forget = || forgets.iter().for_each(|(node, count)| service.forget(node, count));
            backlog.work_off(forgets.len(), forget);
            return Ok(Answered::Silently);
        }
        Ok(Request::Destroy) => return Ok(Answered::Last),
        Ok(Request::Unknown) => return Err(Errno(libc::ENOSYS)),
        Err(error) => {
            log::error!("request {}: {error}", header.opcode);
            return Err(Errno(libc::EIO));
        }
    };
    let room = buffers.answer(LONGEST_ANSWER).ok_or(Errno(libc::EIO))?;
    answer.encode(room).map(Answered::With).map_err(|_| Errno(libc::ERANGE))
}

fn reply(header: &Header, len: usize, errno: i32) -> OutHeader {
    let len =
        u32::try_from(OutHeader::LEN + len).expect("a reply is no longer than its buffer of a megabyte");
    OutHeader { len, errno, unique: header.unique }
}

/// Attributes and lists of their names have at most this many bytes (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const LONGEST_ANSWER: usize = 64 << 10;
