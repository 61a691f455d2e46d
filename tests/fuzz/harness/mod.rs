//! Fuzz harnesses for everything that is read from a store or from the kernel: bytes in, no panic out.
//!
//! Each has `run`, which feeds one input to the product and says whether it was accepted, and `seeds`, inputs that
//! are. Checksums and MACs would stop nearly every mutated input at once, so the harnesses also try each input with
//! those put right, as somebody with the keys could have made it.

pub mod fuse_request;
pub mod header;
pub mod journal_frame;
pub mod key_section;
pub mod keyring;
pub mod policy;
pub mod settings;
pub mod tag_page;

mod object;

/// A harness.
pub struct Target {
    /// Its name, as `cargo fuzz` has it.
    pub name: &'static str,
    /// Whether the input was accepted.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that are accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many inputs a short test takes; those that go through files are slow.
    pub smoke: usize,
}

/// All harnesses.
pub const TARGETS: [Target; 8] = [
    Target { name: "header", run: header::run, seeds: header::seeds, smoke: 10_000 },
    Target { name: "key_section", run: key_section::run, seeds: key_section::seeds, smoke: 10_000 },
    Target { name: "tag_page", run: tag_page::run, seeds: tag_page::seeds, smoke: 10_000 },
    Target { name: "journal_frame", run: journal_frame::run, seeds: journal_frame::seeds, smoke: 500 },
    Target { name: "keyring", run: keyring::run, seeds: keyring::seeds, smoke: 2_000 },
    Target { name: "settings", run: settings::run, seeds: settings::seeds, smoke: 2_000 },
    Target { name: "fuse_request", run: fuse_request::run, seeds: fuse_request::seeds, smoke: 10_000 },
    Target { name: "policy", run: policy::run, seeds: policy::seeds, smoke: 10_000 },
];
