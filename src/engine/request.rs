//! What comes with a request: who makes it, and what is to be changed.

/// Who asks: taken from each kernel request.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Process; 0 where the kernel does not tell.
    pub pid: u32,
    /// The process's umask.
    pub umask: u32,
}

impl Caller {
    /// This process, which acts for whoever runs it.
    pub fn this_process() -> Self {
        Self {
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            pid: std::process::id(),
            umask: 0o077,
        }
    }

    /// Whether this program asks on behalf of whoever runs it. The kernel never asks for its own daemon.
    pub(super) fn is_own(&self) -> bool {
        self.pid == std::process::id()
    }
}

/// Attributes to change; `None` and `Keep` leave as is.
#[derive(Debug, Clone, Copy)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// The mode was not asked for: it is the present one without the set-id bits that the change takes away.
    pub drops_set_id: bool,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Plaintext size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: crate::store::SetTime,
    /// Last modification.
    pub mtime: crate::store::SetTime,
}

impl SetAttr {
    /// Nothing changes.
    pub const NOTHING: Self = Self {
        mode: None,
        drops_set_id: false,
        uid: None,
        gid: None,
        size: None,
        atime: crate::store::SetTime::Keep,
        mtime: crate::store::SetTime::Keep,
    };
}

/// How a file is opened.
#[allow(clippy::struct_excessive_bools, reason = "these are the independent flags of open(2)")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFlags {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// Content is dropped first.
    pub truncate: bool,
}

/// What `fallocate` is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocate {
    /// Reserve space.
    Reserve {
        /// Do not grow the object.
        keep_size: bool,
    },
    /// Make a hole.
    Punch,
    /// Make it read as zeroes.
    Zero {
        /// Do not grow the object.
        keep_size: bool,
    },
}
