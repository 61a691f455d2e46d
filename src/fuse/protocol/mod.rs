//! The FUSE protocol: what the kernel sends as bytes, and what it gets, as values of ours.
//!
//! The layouts are those of `include/uapi/linux/fuse.h`, version 7.42, in the byte order of the machine. A request
//! comes in two parts, its fixed fields and what follows them (names, data), whether one `read(2)` brought both or the
//! kernel put them into two buffers of a ring. Nothing here does input or output or decides anything, and no input may
//! panic: whatever does not fit its layout is [`Malformed`].

mod fields;
mod handshake;
mod listing;
mod notice;
mod numbers;
mod operation;
mod reply;
mod request;

pub use handshake::{Agreement, Offer};
pub use listing::Lines;
pub use notice::{forget_attributes, forget_content, forget_entry, prune};
pub use numbers::{features, opcode, open_reply, write_flags};
pub use operation::{Fill, Operation};
pub use reply::{Answer, Entry, Opened, OutHeader, TooSmall};
pub use request::{Forgets, Header, Malformed, Request, fixed_len};
