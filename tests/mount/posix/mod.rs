//! The calls of POSIX and Linux, compared with what the native file system does.

mod attributes;
mod buckets;
mod content;
mod directories;
mod locks;
mod names;
mod opening;
mod owner;
mod users;
