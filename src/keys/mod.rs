//! Keys: who wraps what, and where wrapping keys live.
//!
//! A [`MasterKey`] wraps bucket keys, bucket root secrets and, without bucket keys, data keys.
//! This room may assume nothing about files it did not authenticate, knows no bucket directory, object or policy,
//! and must never let a secret into an error, a log line or `Debug`.

mod clock;
mod master;
mod state;

pub use clock::{Clock, SystemClock};
pub use master::{Binding, KeyError, MasterKey};
pub use state::KeyState;
