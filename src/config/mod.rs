//! The configuration file: every option as a checked type, with defaults and a search order.
//!
//! `config/strongroom.toml` is the one place where options and defaults are described; a test holds
//! [`Config::default`] to it. This room reads files and nothing else: it never mounts, unlocks or logs.

mod account;
mod choice;
mod file;
mod identity;
mod inode_cache;
mod options;
mod region;
mod size;
mod span;
mod threads;

pub use account::AccountId;
pub use choice::{
    AuditFail, AuditSwitch, AuditSync, DefaultEncryption, JournalSwitch, LogLevel, PolicyMode,
    RequestBucketKey, RequestEncryption, Switch, Transport,
};
pub use file::{ConfigError, DEFAULT_TEXT, find, load, parse};
pub use identity::Identity;
pub use inode_cache::InodeCache;
pub use options::{
    AuditOptions, BucketOptions, Config, EngineOptions, LogOptions, MemoryOptions, MountOptions,
    PolicyOptions, Profile, UnlockOptions,
};
pub use region::Region;
pub use size::{ByteSize, SizeError, parse_block_size};
pub use span::{Life, Span, SpanError, Timeout};
pub use threads::Threads;
