//! The control socket: what an administrator asks of a store while a daemon holds it.
//!
//! A second face of the engine beside the mount. A stream socket in the store's reserved directory takes one request
//! per connection, one line of JSON, and gives one answer; a job tells of each object before, and replicas from another
//! store follow as frames. Only root and the user whose daemon it is are heard. The room decides nothing that the engine
//! decides; it must never let a client, however slow or hostile, hold up the daemon, nor let a secret into a log line or
//! an answer.

mod client;
mod job;
mod message;
mod place;
mod replicas;
mod server;
mod verbs;
mod wire;

pub use client::{Client, ControlError};
pub use job::JobLine;
pub use message::{BucketInfo, Failure, Job, Refused, Request, Scope, SecretText, Status};
pub use replicas::{Remote, receive};
pub use server::{Control, Host};
