//! The header page(s): identity, state, wrapped keys and the tags of segment 0.
#![allow(clippy::indexing_slicing, reason = "constant ranges of fixed-size pages")]

use super::{FormatError, Identity, KeySection, ObjectState, SALT_LEN, Segment, identity::MAGIC};

/// One 4096-byte page.
pub type Page = [u8; 4096];

/// Bytes to read from the start of a stored object to be sure of the whole header (16 pages at most).
pub const HEADER_READ: usize = 16 * 4096;

pub(super) const STATE: usize = 512;
pub(super) const MAC: usize = 992;
pub(super) const KEYS: usize = 1024;
pub(super) const ENTRIES: usize = 2560;

/// Whether bytes begin like an encrypted object.
pub fn is_object(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// A decoded header. It is authentic only after [`super::ObjectKeys::check_header`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What never changes.
    pub identity: Identity,
    /// What changes at every commit.
    pub state: ObjectState,
    /// The wrapped keys.
    pub keys: KeySection,
    /// Tags of the first blocks.
    pub segment0: Segment,
}

impl Header {
    /// Decodes the start of a stored object; `bytes` must hold every header page.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some((page, _)) = bytes.split_first_chunk::<4096>() else {
            return Err(if is_object(bytes) { FormatError::Short } else { FormatError::NotAnObject });
        };
        let identity = Identity::decode(page.first_chunk().expect("a page has a first sector"))?;
        let header_len = usize::try_from(identity.geometry.header_len()).expect("at most 64 KiB");
        let more = bytes.get(4096..header_len).ok_or(FormatError::Short)?;
        let state = ObjectState::decode(page[STATE..KEYS].try_into().expect("one sector"))?;
        let mut section = page[KEYS..ENTRIES].to_vec();
        section.extend(more);
        let mut segment0 = Segment::blank(&identity.geometry, 0);
        segment0.decode_stamps(&page[ENTRIES..], identity.is_dual())?;
        segment0.salt = state.salt0;
        segment0.writes = state.writes0;
        if segment0.salt == [0; SALT_LEN] && segment0.present().next().is_some() {
            return Err(FormatError::Malformed("salt of segment 0"));
        }
        Ok(Self { identity, state, keys: KeySection::decode(&section)?, segment0 })
    }

    /// Whether `stored` is the exact length of an object of this size. Ask after the MAC was checked.
    pub fn check_length(&self, stored: u64) -> Result<(), FormatError> {
        let size = self.state.size;
        if self.identity.geometry.stored_len(size) == stored {
            Ok(())
        } else {
            Err(FormatError::Length { stored, size })
        }
    }

    /// The header page with its MAC still zero. Objects written here have exactly one header page.
    pub(super) fn encode_unsigned(&self) -> Result<Box<Page>, FormatError> {
        let mut page = Box::new([0; 4096]);
        self.identity.encode(page.first_chunk_mut().expect("a page has a first sector"));
        let mut state = self.state.clone();
        (state.salt0, state.writes0) = (self.segment0.salt, self.segment0.writes);
        state.encode((&mut page[STATE..KEYS]).try_into().expect("one sector"));
        if self.identity.geometry.header_pages() != 1 {
            return Err(FormatError::Unknown {
                what: "number of header pages for writing",
                value: self.identity.geometry.header_pages().into(),
            });
        }
        let section = self
            .keys
            .encode(ENTRIES - KEYS)
            .ok_or_else(|| FormatError::KeySection("too long for the header page".to_owned()))?;
        page[KEYS..KEYS + section.len()].copy_from_slice(&section);
        self.segment0.encode_stamps(&mut page[ENTRIES..]);
        Ok(page)
    }
}
