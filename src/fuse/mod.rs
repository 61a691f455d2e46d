//! The mount.
mod activity;
mod adapter;
mod buffer;
mod errno;
mod handles;
mod inodes;
mod ops;
mod wire;
