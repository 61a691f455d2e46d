//! strongroom: encrypted buckets as a drive.
//!
//! The rooms and the one direction that data and imports take are described in [`docs::architecture`].

pub mod audit;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod docs;
pub mod engine;
pub mod envelope;
pub mod fuse;
pub mod keys;
pub mod name;
pub mod object;
pub mod policy;
pub mod store;
