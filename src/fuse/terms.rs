//! What is agreed with the kernel when the mount begins.

use std::{io, time::Duration};

use fuser::{InitFlags, KernelConfig};

/// What is negotiated with the kernel, and how long it may remember names and attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Life of names and attributes in the kernel.
    pub(super) ttl: Duration,
    /// Let the kernel gather writes.
    pub(super) writeback: bool,
    /// Access control lists (POSIX.1e); implies that the kernel checks permissions.
    pub(super) posix_acl: bool,
}

impl Terms {
    /// Asks for what is wanted and offered.
    pub(super) fn negotiate(&self, config: &mut KernelConfig) -> io::Result<()> {
        let offered = config.capabilities() & wanted(self);
        config.add_capabilities(offered).map_err(|refused| refusal("capabilities", &refused))?;
        config.set_max_write(MAX_WRITE).map_err(|limit| refusal("the write size", &limit))?;
        config.set_max_background(MAX_BACKGROUND).map_err(|limit| refusal("the queue length", &limit))?;
        config
            .set_time_granularity(Duration::from_nanos(1))
            .map_err(|nearest| refusal("the time granularity", &nearest))?;
        Ok(())
    }
}

/// Never `SETXATTR_EXT`, `SECURITY_CTX`, `CREATE_SUPP_GROUP` or `ALLOW_IDMAP`: this version of the library misparses
/// the requests that follow.
fn wanted(terms: &Terms) -> InitFlags {
    let mut flags = InitFlags::FUSE_ASYNC_READ
        | InitFlags::FUSE_ATOMIC_O_TRUNC
        | InitFlags::FUSE_BIG_WRITES
        | InitFlags::FUSE_MAX_PAGES
        | InitFlags::FUSE_DONT_MASK
        | InitFlags::FUSE_AUTO_INVAL_DATA
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_READDIRPLUS_AUTO
        | InitFlags::FUSE_ASYNC_DIO
        | InitFlags::FUSE_PARALLEL_DIROPS
        | InitFlags::FUSE_CACHE_SYMLINKS
        | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP;
    // With gathered writes the kernel clears set-id bits itself, before it gathers; the two do not go together.
    flags |=
        if terms.writeback { InitFlags::FUSE_WRITEBACK_CACHE } else { InitFlags::FUSE_HANDLE_KILLPRIV_V2 };
    if terms.posix_acl {
        flags |= InitFlags::FUSE_POSIX_ACL;
    }
    flags
}

fn refusal(what: &str, limit: &dyn std::fmt::Debug) -> io::Error {
    io::Error::other(format!("the kernel protocol refuses {what}: {limit:?}"))
}

const MAX_WRITE: u32 = 1 << 20;
const MAX_BACKGROUND: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { ttl: Duration::from_secs(1), writeback: false, posix_acl: true };

    #[test]
    fn flags_that_the_library_cannot_parse_are_never_wanted() {
        let poison = InitFlags::FUSE_SETXATTR_EXT
            | InitFlags::FUSE_SECURITY_CTX
            | InitFlags::FUSE_CREATE_SUPP_GROUP
            | InitFlags::FUSE_ALLOW_IDMAP
            | InitFlags::FUSE_SUBMOUNTS
            | InitFlags::FUSE_EXPORT_SUPPORT
            | InitFlags::FUSE_POSIX_LOCKS
            | InitFlags::FUSE_FLOCK_LOCKS;
        for writeback in [false, true] {
            assert!(!wanted(&Terms { writeback, ..TERMS }).intersects(poison));
        }
    }

    #[test]
    fn the_kernel_either_gathers_writes_or_leaves_set_id_bits_to_us() {
        let both = InitFlags::FUSE_WRITEBACK_CACHE | InitFlags::FUSE_HANDLE_KILLPRIV_V2;
        let through = wanted(&TERMS) & both;
        assert_eq!(through, InitFlags::FUSE_HANDLE_KILLPRIV_V2);
        assert_eq!(wanted(&Terms { writeback: true, ..TERMS }) & both, InitFlags::FUSE_WRITEBACK_CACHE);
    }
}
