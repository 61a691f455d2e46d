//! What can be read of a header that does not authenticate, for salvage.

use super::{
    FormatError, Header, Identity, KeySection, ObjectState, SALT_LEN, Segment,
    header::{ENTRIES, KEYS, STATE},
};

impl Header {
    /// Decodes a start of a stored object that may be damaged. Identity and keys must be whole; what does not decode
    /// of the state and of the tags of segment 0 is left out. Nothing of it is authentic: blocks prove themselves.
    pub fn decode_remains(bytes: &[u8]) -> Result<Self, FormatError> {
        let (page, _) = bytes.split_first_chunk::<4096>().ok_or(FormatError::Short)?;
        let (sector, _) = page.split_first_chunk().ok_or(FormatError::Short)?;
        let identity = Identity::decode(sector)?;
        let header_len = usize::from(identity.geometry.header_pages()) * page.len();
        let more = bytes.get(4096..header_len).ok_or(FormatError::Short)?;
        let keys = KeySection::decode(&[&page[KEYS..ENTRIES], more].concat())?;
        let (_, rest) = page.split_at(STATE);
        let (sector, _) = rest.split_first_chunk::<512>().ok_or(FormatError::Short)?;
        let (_, rest) = sector.split_at(48);
        let (salt0, _) = rest.split_first_chunk::<SALT_LEN>().ok_or(FormatError::Short)?;
        let state =
            ObjectState::decode(sector).unwrap_or(ObjectState { salt0: *salt0, ..ObjectState::new() });
        let mut segment0 = Segment::blank(&identity.geometry, 0);
        segment0.salt = *salt0;
        segment0.writes = state.writes0;
        // A failure comes after the stamps before it were taken; those that are wrong open no block.
        let _ = segment0.decode_stamps(&page[ENTRIES..], identity.is_dual());
        Ok(Self { identity, state, keys, segment0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::Secret,
        envelope::Id,
        object::{BlockSize, Geometry, ObjectKeys, SseMode},
    };

    fn page() -> Vec<u8> {
        let geometry = Geometry::new(BlockSize::DEFAULT, false);
        let bucket = Id::from_bytes([2; 16]);
        let mut identity = Identity::fresh(geometry, SseMode::S3, bucket, 0).unwrap();
        let keys = ObjectKeys::create(&Secret::random().unwrap().into(), &mut identity);
        let state = ObjectState { generation: 1, ..ObjectState::new() };
        let segment0 = Segment::empty(&geometry, 0).unwrap();
        let header = Header { identity, state, keys: KeySection::default(), segment0 };
        keys.seal_header(&header).unwrap().to_vec()
    }

    #[test]
    fn a_whole_header_is_the_same_either_way() {
        let page = page();
        assert_eq!(Header::decode_remains(&page), Header::decode(&page));
    }

    #[test]
    fn a_spoilt_state_leaves_identity_and_salt() {
        let mut page = page();
        page[STATE + 100] = 1;
        assert!(Header::decode(&page).is_err());
        let remains = Header::decode_remains(&page).unwrap();
        assert_eq!(remains.segment0.salt, page[STATE + 48..STATE + 64]);
        page[9] = 0;
        assert!(Header::decode_remains(&page).is_err(), "a spoilt identity leaves nothing");
    }
}
