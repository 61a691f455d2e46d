//! The configuration file: every option as a checked type, with defaults and a search order.
//!
//! `config/strongroom.toml` is the one place where options and defaults are described; a test holds
//! [`Config::default`] to it. This room reads files and nothing else: it never mounts, unlocks or logs.

mod file;
mod identity;
mod inode_cache;
mod options;
mod size;
mod span;

pub use file::{ConfigError, DEFAULT_TEXT, find, load, parse};
pub use identity::Identity;
pub use inode_cache::InodeCache;
pub use options::{
    AccountId, AuditFail, AuditOptions, AuditSwitch, AuditSync, BucketOptions, Config, DefaultEncryption,
    EngineOptions, JournalSwitch, LogLevel, LogOptions, MemoryOptions, MountOptions, PolicyMode,
    PolicyOptions, Profile, RequestBucketKey, RequestEncryption, Switch, Threads, Transport, UnlockOptions,
};
pub use size::{ByteSize, SizeError, parse_block_size};
pub use span::{Span, SpanError, Timeout};
