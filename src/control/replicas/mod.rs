//! Replicas on their way to the process that has the target in use: the calls of [`Replicas`] over a stream socket.
//!
//! Each step of the source is a frame. Each has one answer, which is waited for, but `start` and the pieces of content
//! after it: that an object could not be begun is the answer to its end. So neither side ever waits for the other while
//! that waits for it. Content goes in pieces of a mebibyte at most. No key and no passphrase goes over it: each side has
//! those of its own store.
//!
//! [`Replicas`]: crate::engine::Replicas

mod frames;
mod receive;
mod send;
mod steps;

pub use receive::receive;
pub use send::Remote;
