//! The documents of the product, as pages of its API documentation.
//!
//! Each fact stands in one of them; code cites them by section.

#![allow(clippy::doc_markdown, reason = "pages to read: names in tables and formulas stand as they are")]

/// Rooms, their direction, and the path of a request.
pub mod architecture {
    #![doc = include_str!("architecture.md")]
}

/// The commands, and their exit codes.
pub mod cli {
    #![doc = include_str!("cli.md")]
}

/// The configuration file.
pub mod configuration {
    #![doc = include_str!("configuration.md")]
    #![doc = "```toml"]
    #![doc = include_str!("../../config/strongroom.toml")]
    #![doc = "```"]
}

/// The bytes of stored objects, buckets and stores.
pub mod format {
    #![doc = include_str!("format.md")]
}

/// How fast it is, and how that is measured.
pub mod performance {
    #![doc = include_str!("performance.md")]
}

/// Keys that a key service holds: AWS KMS, PKCS#11, Transit.
pub mod providers {
    #![doc = include_str!("providers.md")]
}

/// Policies: who decides, what is asked, where the encryption of a request comes from, retention.
pub mod policies {
    #![doc = include_str!("policies.md")]
}

/// What the drive does where S3 and POSIX leave a choice.
pub mod semantics {
    #![doc = include_str!("semantics.md")]
}

/// Who can learn or change what.
pub mod threat_model {
    #![doc = include_str!("threat-model.md")]
}
