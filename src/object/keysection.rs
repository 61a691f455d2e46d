//! The key section of the header: wrapped keys, outside the header MAC so that they can be rewrapped blindly
//! (format section 10.4). A checksum guards against damage; the keys authenticate themselves.

use super::{
    FormatError,
    header::{ENTRIES, KEYS},
};
use crate::{
    crypto::crc32c,
    envelope::{RecordType, WrappedKey},
};

const MAGIC: [u8; 4] = *b"EOBK";
const VERSION: u16 = 1;
/// Bytes before the records.
const HEAD: usize = 16;
/// More records than any object needs; bounds what a hostile header can make us do.
const MAX_RECORDS: u16 = 16;

/// The wrapped keys of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySection {
    /// How often the keys were rewrapped.
    pub rewraps: u32,
    /// The records.
    pub records: Vec<WrappedKey>,
}

impl KeySection {
    /// The first record of `kind`.
    pub fn find(&self, kind: RecordType) -> Option<&WrappedKey> {
        self.records.iter().find(|record| record.kind == kind)
    }

    /// Whether it can be stored in a header of one page.
    pub fn fits(&self) -> bool {
        self.encode(ENTRIES - KEYS).is_some()
    }

    /// The section's bytes; at most `room`, else `None`.
    pub(super) fn encode(&self, room: usize) -> Option<Vec<u8>> {
        if self.records.is_empty() {
            return Some(Vec::new());
        }
        let mut out = Vec::with_capacity(512);
        out.extend(MAGIC);
        out.extend(VERSION.to_be_bytes());
        out.extend(u16::try_from(self.records.len()).ok()?.to_be_bytes());
        out.extend([0; 4]);
        out.extend(self.rewraps.to_be_bytes());
        for record in &self.records {
            record.encode(&mut out);
        }
        let used = u32::try_from(out.len() + 4).ok()?;
        out.get_mut(8..12)?.copy_from_slice(&used.to_be_bytes());
        out.extend(crc32c(&out).to_be_bytes());
        (out.len() <= room).then_some(out)
    }

    /// Reads a section; an all-zero one has no records.
    pub(super) fn decode(area: &[u8]) -> Result<Self, FormatError> {
        let bad = |text: &str| FormatError::KeySection(text.to_owned());
        if area.iter().all(|b| *b == 0) {
            return Ok(Self::default());
        }
        let (head, _) = area.split_first_chunk::<HEAD>().ok_or_else(|| bad("cut short"))?;
        if head[..4] != MAGIC {
            return Err(bad("no magic"));
        }
        if head[4..6] != VERSION.to_be_bytes() {
            return Err(bad("unknown version"));
        }
        let count = u16::from_be_bytes([head[6], head[7]]);
        let used = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let used = usize::try_from(used).map_err(|_| bad("wrong length"))?;
        let section = area.get(..used).filter(|s| s.len() >= HEAD + 4).ok_or_else(|| bad("wrong length"))?;
        let (body, crc) = section.split_last_chunk::<4>().ok_or_else(|| bad("wrong length"))?;
        if crc32c(body).to_be_bytes() != *crc {
            return Err(bad("checksum mismatch"));
        }
        if !(1..=MAX_RECORDS).contains(&count) {
            return Err(bad("no records, or too many"));
        }
        let mut rest = body.get(HEAD..).ok_or_else(|| bad("wrong length"))?;
        let records = (0..count).map(|_| WrappedKey::decode(&mut rest)).collect::<Result<_, _>>()?;
        if !rest.is_empty() {
            return Err(bad("bytes after the last record"));
        }
        let rewraps = u32::from_be_bytes([head[12], head[13], head[14], head[15]]);
        Ok(Self { rewraps, records })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fuzzing found that such a section was read and then written as another one.
    #[test]
    fn a_section_without_records_is_all_zero_and_nothing_else() {
        let mut section =
            [&MAGIC[..], &VERSION.to_be_bytes(), &[0, 0], &20_u32.to_be_bytes(), &[0, 0, 0, 9]].concat();
        section.extend(crc32c(&section).to_be_bytes());
        assert!(matches!(KeySection::decode(&section), Err(FormatError::KeySection(_))));
        assert_eq!(KeySection::decode(&[0; 20]), Ok(KeySection::default()));
    }
}
