//! The mount: requests of the kernel in, calls of the engine out, and the process around it.
//!
//! The room translates and decides nothing: access, keys and formats are the engine's. It knows the engine and the plain
//! types of the store, never policies, keys or ciphers, and the types of the protocol stop here.
//!
//! What a program does to mount in the background, in this order: [`Watchdog::start`]; ask for secrets; [`background`];
//! in the daemon build the engine (with its threads), [`Session::start`], [`Ready::succeed`] or [`Ready::fail`], and
//! [`Session::wait`] with the [`Watchdog`] held to the end. In the foreground [`background`] is left out and [`notify`]
//! tells the service manager [`READY`].

mod activity;
mod adapter;
#[cfg(target_env = "gnu")]
mod arenas;
mod buffer;
mod connecting;
mod daemon;
mod errno;
mod fork;
mod handles;
mod inode;
mod inodes;
mod mount;
mod notify;
mod ops;
mod options;
mod pages;
pub mod protocol;
mod prune;
mod session;
mod terms;
pub mod transport;
mod watchdog;

pub use daemon::{Background, Front, Ready, Report, background};
pub use errno::{Errno, number_of};
pub use notify::{READY, STOPPING, notify};
pub use options::MountOptions;
pub use pages::Pages;
pub use session::{Session, SessionError};
pub use transport::Transport;
pub use watchdog::Watchdog;
