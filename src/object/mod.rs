//! The object format of `docs/format.md`: header, geometry, tag pages, block sealing. No input or output.
//!
//! Bytes from outside are decoded into checked types here; a decoded value is structurally sound but not yet
//! authentic. Only [`ObjectKeys`] can say that: commitment, header MAC, tag-page MAC, block tag.
//! No function hands out plaintext that failed authentication.

mod accumulator;
mod extents;
mod geometry;
mod header;
mod identity;
mod keysection;
mod remains;
mod schedule;
mod segment;
mod state;
#[cfg(test)]
mod vectors;

pub use accumulator::Accumulator;
pub use extents::NullExtents;
pub use geometry::{BlockSize, Geometry, PAGE};
pub use header::{HEADER_READ, Header, Page, is_object};
pub use identity::{Identity, MAGIC, SseMode};
pub use keysection::KeySection;
pub use schedule::{Nonces, ObjectKeys, SegmentCipher};
pub use segment::{OuterStamp, SALT_LEN, Segment, Stamp};
pub use state::ObjectState;

/// Why stored bytes are not an acceptable object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No object header: a plain or foreign file.
    #[error("not an encrypted object (no header magic)")]
    NotAnObject,
    /// The file ends inside its header.
    #[error("cut short: the header is incomplete")]
    Short,
    /// A version, suite, flag or mode that this program does not know.
    #[error("unknown {what} {value}: written by a newer version, or altered")]
    Unknown {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A field outside its range, or reserved bytes that are not zero.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The key section's checksum or a record is wrong.
    #[error("key section: {0}")]
    KeySection(String),
    /// The unwrapped data key is not the one this object was made with.
    #[error("key commitment does not match: wrong key, or a substituted header")]
    Commitment,
    /// The header was altered.
    #[error("header authentication failed")]
    HeaderMac,
    /// A tag page was altered, moved or is stale.
    #[error("tag page of segment {0} failed authentication")]
    TagPage(u64),
    /// The set of tag pages is not the current one.
    #[error("the tag pages are not the current set: a segment was replaced by an older version")]
    Accumulator,
    /// The stored length does not belong to the authenticated size.
    #[error("stored length {stored} does not fit the object's size of {size} bytes: truncated or extended")]
    Length {
        /// Bytes in the store.
        stored: u64,
        /// Authenticated plaintext size.
        size: u64,
    },
    /// A block was altered.
    #[error("block {0} failed authentication")]
    Block(u64),
}

impl From<crate::envelope::RecordError> for FormatError {
    fn from(error: crate::envelope::RecordError) -> Self {
        Self::KeySection(error.to_string())
    }
}
