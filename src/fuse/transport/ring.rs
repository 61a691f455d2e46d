//! One ring: buffers that the kernel fills with requests, and the commands that go with them.
//!
//! The audited unsafe code of this transport. The kernel's side is `fs/fuse/dev_uring.c` and the structures
//! `fuse_uring_req_header` and `fuse_uring_cmd_req` of `include/uapi/linux/fuse.h`.
//!
//! What makes it sound:
//!
//! 1. The kernel writes to a slot only in the thread that enters the ring (`SINGLE_ISSUER`, `DEFER_TASKRUN`), and only
//!    inside `io_uring_enter(2)`. That call is made in [`Ring::wait`] and [`Ring::new`], which borrow the whole ring
//!    mutably: no reference into a slot can exist meanwhile.
//! 2. The memory of a slot is allocated once, never moved, and freed after the ring is closed: fields are dropped in the
//!    order of their declaration, and `io` comes first. Commands still under way are then cancelled without a copy.
//! 3. Buffers are plain bytes, initialised from the start, for which every bit pattern is valid.
#![allow(unsafe_code, reason = "commands carry addresses of memory that the kernel reads and writes")]

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
};

use io_uring::{IoUring, cqueue, opcode::UringCmd80, squeue, types::Fd};

use super::super::{
    buffer::Buffer,
    protocol::{Header, OutHeader, fixed_len},
};
use super::exchange::Buffers;

/// A ring with one slot for each queue given to it.
pub(super) struct Ring {
    io: IoUring<squeue::Entry128, cqueue::Entry>,
    slots: Vec<Slot>,
    /// Slots that held a request as soon as they were registered.
    early: Vec<usize>,
    device: i32,
}

/// A pair of buffers, one request at a time.
pub(super) struct Slot {
    queue: u16,
    /// `struct fuse_uring_req_header`.
    head: Buffer,
    /// Names and data of the request, then all of the answer but its header.
    payload: Buffer,
    /// Where both are, for the kernel to read once.
    places: Box<[libc::iovec; 2]>,
}

impl Ring {
    /// A ring on `device`, which must outlive it, whose slots are registered with `queues`. `payload` is the most bytes
    /// of one transfer.
    pub(super) fn new(device: BorrowedFd<'_>, queues: &[u16], payload: usize) -> io::Result<Self> {
        let io = ring(u32::try_from(queues.len()).map_err(io::Error::other)?)?;
        let slots = queues.iter().map(|queue| Slot::new(*queue, payload)).collect();
        let mut ring = Self { io, slots, early: Vec::new(), device: device.as_raw_fd() };
        for index in 0..ring.slots.len() {
            ring.push(index, REGISTER)?;
        }
        ring.io.submit()?;
        // A registration that failed completes at once; one that succeeded completes with a request.
        while let Some((index, outcome)) = ring.finished() {
            outcome?;
            ring.early.push(index);
        }
        Ok(ring)
    }

    /// Sends off the answers pushed so far and waits until a slot holds a request; its index, or `None` when the
    /// connection has ended.
    pub(super) fn wait(&mut self) -> io::Result<Option<usize>> {
        if let Some(index) = self.early.pop() {
            return Ok(Some(index));
        }
        loop {
            match self.finished() {
                Some((index, Ok(()))) => return Ok(Some(index)),
                Some((_, Err(error))) if is_end(&error) => return Ok(None),
                Some((_, Err(error))) => return Err(error),
                None => self.enter()?,
            }
        }
    }

    /// The slot at `index`.
    pub(super) fn slot(&mut self, index: usize) -> &mut Slot {
        self.slots.get_mut(index).expect("the kernel returns the numbers it was given")
    }

    /// Answers the request in the slot at `index`, whose payload holds the rest of the reply, when next waiting.
    pub(super) fn answer(&mut self, index: usize, reply: &OutHeader) -> io::Result<()> {
        self.slot(index).set_reply(reply);
        self.push(index, COMMIT_AND_FETCH)
    }

    fn enter(&mut self) -> io::Result<()> {
        match self.io.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// A slot whose command has completed.
    fn finished(&mut self) -> Option<(usize, io::Result<()>)> {
        let entry = self.io.completion().next()?;
        let index = usize::try_from(entry.user_data()).expect("numbers of slots fit");
        let outcome =
            if entry.result() < 0 { Err(io::Error::from_raw_os_error(-entry.result())) } else { Ok(()) };
        Some((index, outcome))
    }

    fn push(&mut self, index: usize, command: u32) -> io::Result<()> {
        let device = Fd(self.device);
        let slot = self.slot(index);
        let mut entry = UringCmd80::new(device, command).cmd(slot.command());
        if command == REGISTER {
            entry = entry.addr(Some(slot.places.as_ptr() as u64));
        }
        let mut entry = entry.build().user_data(index as u64);
        if command == REGISTER {
            set_len(&mut entry, slot.places.len());
        }
        // SAFETY: the addresses in the entry are those of the slot's buffers, which live as long as the ring.
        unsafe { self.io.submission().push(&entry) }.map_err(io::Error::other)
    }
}

impl Slot {
    fn new(queue: u16, payload: usize) -> Self {
        let (mut head, mut payload) = (Buffer::new(HEAD), Buffer::new(payload));
        let place =
            |bytes: &mut [u8]| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let places = Box::new([place(head.bytes_mut()), place(payload.bytes_mut())]);
        Self { queue, head, payload, places }
    }

    /// The header of the request.
    pub(super) fn header(&mut self) -> Option<Header> {
        self.payload.mark(self.payload_len());
        Header::decode(self.head.bytes()).ok()
    }

    /// `struct fuse_uring_cmd_req`: flags, commit id and queue.
    fn command(&self) -> [u8; 80] {
        let mut command = [0; 80];
        put(&mut command, 8, &self.head_array::<8>(COMMIT_ID));
        put(&mut command, 16, &self.queue.to_ne_bytes());
        command
    }

    fn payload_len(&self) -> usize {
        usize::try_from(u32::from_ne_bytes(self.head_array(PAYLOAD_LEN))).unwrap_or(usize::MAX)
    }

    fn set_reply(&mut self, reply: &OutHeader) {
        let head = self.head.bytes_mut();
        put(head, 0, &reply.encode());
        let body = reply.len - u32::try_from(OutHeader::LEN).expect("it is sixteen");
        put(head, PAYLOAD_LEN, &body.to_ne_bytes());
    }

    fn head_array<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.head.bytes().get(at..).and_then(<[u8]>::first_chunk);
        *bytes.expect("the places of the fields lie within the header")
    }
}

impl Buffers for Slot {
    fn request(&self) -> (&[u8], &[u8]) {
        let opcode = Header::decode(self.head.bytes()).map_or(0, |header| header.opcode);
        let fixed = self.head.bytes().get(FIXED..FIXED + fixed_len(opcode)).unwrap_or_default();
        (fixed, self.payload.bytes().get(..self.payload_len()).unwrap_or_default())
    }

    fn answer(&mut self, len: usize) -> Option<&mut [u8]> {
        self.payload.prefix_mut(len)
    }
}

/// An empty ring of the kind needed; where that is refused, so are rings.
pub(super) fn ring(slots: u32) -> io::Result<IoUring<squeue::Entry128, cqueue::Entry>> {
    IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(slots.next_power_of_two())
}

/// Tells the kernel that there will be no rings after all: a registration that it must refuse.
pub(super) fn decline(device: BorrowedFd<'_>) -> io::Result<()> {
    let mut io = ring(1)?;
    let entry = UringCmd80::new(Fd(device.as_raw_fd()), REGISTER).build();
    // SAFETY: the entry carries no address; the kernel refuses it for that.
    unsafe { io.submission().push(&entry) }.map_err(io::Error::other)?;
    io.submit_and_wait(1).map(drop)
}

/// Sets the `len` of a submission, for which the library has no name.
fn set_len(entry: &mut squeue::Entry128, len: usize) {
    const { assert!(mem::size_of::<squeue::Entry128>() == 128) };
    let len = u32::try_from(len).expect("it is two");
    // SAFETY: the entry is `struct io_uring_sqe` with its extension, 128 bytes of plain data, and its 32-bit `len` lies
    // at byte 24 (io_uring_enter(2)).
    unsafe { std::ptr::from_mut(entry).cast::<u8>().add(24).cast::<[u8; 4]>().write(len.to_ne_bytes()) };
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    let place = bytes.get_mut(at..at + field.len());
    place.expect("the places of the fields lie within their structure").copy_from_slice(field);
}

/// How commands end when the file system goes away.
fn is_end(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ECANCELED | libc::ENODEV))
}

/// `FUSE_IO_URING_CMD_REGISTER`.
const REGISTER: u32 = 1;
/// `FUSE_IO_URING_CMD_COMMIT_AND_FETCH`.
const COMMIT_AND_FETCH: u32 = 2;
/// Length of `struct fuse_uring_req_header`: two headers of 128 bytes, and 32 bytes about the payload.
const HEAD: usize = 288;
/// Where the fixed fields of the request are.
const FIXED: usize = 128;
/// Where the number that a commit must name is.
const COMMIT_ID: usize = 264;
/// Where the length of the payload is.
const PAYLOAD_LEN: usize = 272;
