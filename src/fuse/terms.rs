//! What is agreed with the kernel when the mount begins.

use super::{
    mount::READ_AHEAD,
    protocol::{Agreement, Offer, features},
};

/// What a mount wants of the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Let the kernel gather writes.
    pub(super) writeback: bool,
    /// Access control lists (POSIX.1e) that the kernel goes by; implies that it checks permissions.
    pub(super) posix_acl: bool,
    /// Requests over rings.
    pub(super) rings: bool,
}

impl Terms {
    /// What is wanted and offered.
    pub(super) fn agree(&self, offer: &Offer) -> Agreement {
        Agreement {
            max_readahead: READ_AHEAD,
            features: offer.features & wanted(self),
            max_background: MAX_BACKGROUND,
            max_write: MAX_WRITE,
        }
    }
}

/// Never features whose requests are laid out otherwise than they are decoded: `SETXATTR_EXT`, `SECURITY_CTX`,
/// `CREATE_SUPP_GROUP`, `ALLOW_IDMAP`. Locks are the kernel's own business.
fn wanted(terms: &Terms) -> u64 {
    let mut wanted = features::ASYNC_READ
        | features::ATOMIC_O_TRUNC
        | features::BIG_WRITES
        | features::MAX_PAGES
        | features::DONT_MASK
        | features::AUTO_INVAL_DATA
        | features::DO_READDIRPLUS
        | features::READDIRPLUS_AUTO
        | features::ASYNC_DIO
        | features::PARALLEL_DIROPS
        | features::CACHE_SYMLINKS
        | features::DIRECT_IO_ALLOW_MMAP;
    // With gathered writes the kernel clears set-id bits itself, before it gathers; the two do not go together.
    wanted |= if terms.writeback { features::WRITEBACK_CACHE } else { features::HANDLE_KILLPRIV_V2 };
    if terms.posix_acl {
        wanted |= features::POSIX_ACL;
    }
    if terms.rings {
        wanted |= features::OVER_IO_URING;
    }
    wanted
}

/// In bytes; also how much is read at once.
const MAX_WRITE: u32 = 1 << 20;
const MAX_BACKGROUND: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { writeback: false, posix_acl: true, rings: false };

    #[test]
    fn what_would_be_laid_out_otherwise_is_never_wanted() {
        let poison = features::SETXATTR_EXT
            | features::SECURITY_CTX
            | features::CREATE_SUPP_GROUP
            | features::ALLOW_IDMAP
            | features::SUBMOUNTS
            | features::EXPORT_SUPPORT
            | features::POSIX_LOCKS
            | features::FLOCK_LOCKS;
        for writeback in [false, true] {
            assert_eq!(wanted(&Terms { writeback, rings: true, ..TERMS }) & poison, 0);
        }
    }

    #[test]
    fn the_kernel_either_gathers_writes_or_leaves_set_id_bits_to_us() {
        let both = features::WRITEBACK_CACHE | features::HANDLE_KILLPRIV_V2;
        assert_eq!(wanted(&TERMS) & both, features::HANDLE_KILLPRIV_V2);
        assert_eq!(wanted(&Terms { writeback: true, ..TERMS }) & both, features::WRITEBACK_CACHE);
    }

    #[test]
    fn only_what_the_kernel_offers_is_agreed_on() {
        let offer = Offer { version: (7, 40), features: features::POSIX_ACL };
        let agreement = Terms { rings: true, ..TERMS }.agree(&offer);
        assert_eq!(agreement.features, features::POSIX_ACL);
    }
}
