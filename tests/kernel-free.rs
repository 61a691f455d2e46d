//! Tests that need neither a kernel mount nor the built program.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail where it stands"
)]

#[path = "kernel_free/fuzz.rs"]
mod fuzz;
#[path = "fuzz/harness/mod.rs"]
#[allow(unreachable_pub, reason = "for cargo-fuzz the harnesses are a library")]
mod harness;
#[path = "kernel_free/imports.rs"]
mod imports;
#[path = "kernel_free/policies.rs"]
mod policies;
#[path = "kernel_free/reference.rs"]
mod reference;
