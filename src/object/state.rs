//! Sector 1 of the header: what changes at every commit (format section 10.2).

use super::{Accumulator, FormatError, NullExtents, SALT_LEN};

/// Size, commit number and integrity state of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectState {
    /// Commit number, from 1.
    pub generation: u64,
    /// Plaintext size in bytes.
    pub size: u64,
    /// Sum over the tag pages.
    pub accumulator: Accumulator,
    /// Salt of segment 0.
    pub salt0: [u8; SALT_LEN],
    /// Block encryptions under it.
    pub writes0: u64,
    /// Segments that are all hole and have no tag page.
    pub null_extents: NullExtents,
    /// Written in place and never synced.
    pub birth: bool,
}

const BIRTH: u16 = 1;

impl ObjectState {
    /// The state of an object that was never committed.
    pub fn new() -> Self {
        Self {
            generation: 0,
            size: 0,
            accumulator: Accumulator::default(),
            salt0: [0; SALT_LEN],
            writes0: 0,
            null_extents: NullExtents::default(),
            birth: true,
        }
    }

    /// Writes sector 1, its MAC still zero.
    pub(super) fn encode(&self, sector: &mut [u8; 512]) {
        sector.fill(0);
        sector[0..8].copy_from_slice(&self.generation.to_be_bytes());
        sector[8..16].copy_from_slice(&self.size.to_be_bytes());
        sector[16..48].copy_from_slice(&self.accumulator.to_bytes());
        sector[48..64].copy_from_slice(&self.salt0);
        sector[64..72].copy_from_slice(&self.writes0.to_be_bytes());
        let count = u16::try_from(self.null_extents.runs().len()).expect("at most 16 runs are committed");
        sector[104..106].copy_from_slice(&count.to_be_bytes());
        sector[106..108].copy_from_slice(&if self.birth { BIRTH } else { 0 }.to_be_bytes());
        let mut area = [0; 256];
        self.null_extents.encode(&mut area);
        sector[112..368].copy_from_slice(&area);
    }

    /// Reads sector 1; its MAC is checked elsewhere.
    pub(super) fn decode(sector: &[u8; 512]) -> Result<Self, FormatError> {
        let flags = u16::from_be_bytes([sector[106], sector[107]]);
        if flags & !BIRTH != 0 {
            return Err(FormatError::Unknown { what: "state flags", value: flags.into() });
        }
        let zero = sector[72..104].iter().chain(&sector[108..112]).chain(&sector[368..480]);
        if zero.into_iter().any(|b| *b != 0) {
            return Err(FormatError::Malformed("reserved bytes of sector 1"));
        }
        let state = Self {
            generation: u64::from_be_bytes(sector[0..8].try_into().expect("8 bytes")),
            size: u64::from_be_bytes(sector[8..16].try_into().expect("8 bytes")),
            accumulator: Accumulator::from_bytes(sector[16..48].try_into().expect("32 bytes")),
            salt0: sector[48..64].try_into().expect("16 bytes"),
            writes0: u64::from_be_bytes(sector[64..72].try_into().expect("8 bytes")),
            null_extents: NullExtents::decode(
                u16::from_be_bytes([sector[104], sector[105]]),
                sector[112..368].try_into().expect("256 bytes"),
            )?,
            birth: flags & BIRTH != 0,
        };
        if state.generation == 0 {
            return Err(FormatError::Malformed("commit number"));
        }
        Ok(state)
    }
}

impl Default for ObjectState {
    fn default() -> Self {
        Self::new()
    }
}
