//! How much the kernel may remember of a drive.

use serde::{Deserialize, Serialize};

/// A number of files and directories, [`InodeCache::LEAST`] or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct InodeCache(usize);

impl InodeCache {
    /// With fewer, programs at work would be asked about their files again and again.
    pub const LEAST: usize = 1000;

    /// The number.
    pub fn count(self) -> usize {
        self.0
    }
}

/// Some forty megabytes of the daemon's memory, and more files than most programs work with at a time.
impl Default for InodeCache {
    fn default() -> Self {
        Self(100_000)
    }
}

impl TryFrom<usize> for InodeCache {
    type Error = String;

    fn try_from(count: usize) -> Result<Self, String> {
        let count = Some(count).filter(|count| *count >= Self::LEAST);
        count.map(Self).ok_or_else(|| format!("`inode_cache` is too small: write {} or more", Self::LEAST))
    }
}

impl From<InodeCache> for usize {
    fn from(cache: InodeCache) -> Self {
        cache.0
    }
}
