//! The program as its users see it: help, messages, exit codes. Nothing here mounts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail where it stands"
)]

#[path = "cli/damage.rs"]
mod damage;
#[path = "cli/jobs.rs"]
mod jobs;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/snapshots.rs"]
mod snapshots;
#[path = "cli/unlocking.rs"]
mod unlocking;
