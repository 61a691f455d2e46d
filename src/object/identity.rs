//! Sector 0 of the header: what never changes during an object's life (format section 10.2).

use super::{BlockSize, FormatError, Geometry};
use crate::{crypto, envelope::Id};

/// The first eight bytes of every object.
pub const MAGIC: [u8; 8] = [0x89, b'E', b'O', b'B', b'\r', b'\n', 0x1a, b'\n'];

const VERSION: u8 = 1;
const SUITE_AES_256_GCM: u8 = 1;

/// How the data key is kept, as S3 names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum SseMode {
    /// `AES256`: the store's own service key.
    S3 = 1,
    /// `aws:kms`: a key of the key service.
    Kms = 2,
    /// A key that the customer brings.
    Customer = 3,
    /// `aws:kms:dsse`: two layers.
    DualKms = 4,
}

impl SseMode {
    fn from_byte(value: u8) -> Result<Self, FormatError> {
        [Self::S3, Self::Kms, Self::Customer, Self::DualKms]
            .into_iter()
            .find(|mode| *mode as u8 == value)
            .ok_or(FormatError::Unknown { what: "encryption mode", value: value.into() })
    }

    /// Whether a key of the key service protects the content.
    pub fn is_kms(self) -> bool {
        matches!(self, Self::Kms | Self::DualKms)
    }

    /// The value of `x-amz-server-side-encryption`, or `SSE-C`.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3 => "AES256",
            Self::Kms => "aws:kms",
            Self::Customer => "SSE-C",
            Self::DualKms => "aws:kms:dsse",
        }
    }
}

/// Who an object is: ids, geometry, mode, salt and key commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Layout.
    pub geometry: Geometry,
    /// How the data key is kept.
    pub mode: SseMode,
    /// The object will not change any more.
    pub sealed: bool,
    /// The accumulator is kept.
    pub accumulated: bool,
    /// The data key is wrapped by a bucket key.
    pub bucket_key: bool,
    /// Random id of the object.
    pub object: Id,
    /// Id of its bucket.
    pub bucket: Id,
    /// Salt of the key schedule.
    pub salt: [u8; 32],
    /// Commitment to the data key.
    pub commitment: [u8; 32],
    /// Commitment to the data key of the outer layer; zero where there is none.
    pub outer_commitment: [u8; 32],
    /// Time of creation, nanoseconds since the Unix epoch; informative.
    pub created: u64,
}

const SEALED: u16 = 1 << 0;
const ACCUMULATED: u16 = 1 << 1;
const RESERVED: [(u16, &str); 3] =
    [(1 << 2, "flag NAME_BIND"), (1 << 3, "flag INLINE"), (1 << 5, "flag POSIX_BIND")];
const BUCKET_KEY: u16 = 1 << 4;
const WIDE: u16 = 1 << 6;

impl Identity {
    /// A new object of `bucket`, without its commitment. With [`SseMode::DualKms`] the geometry must be wide.
    pub fn fresh(
        geometry: Geometry,
        mode: SseMode,
        bucket: Id,
        created: u64,
    ) -> Result<Self, crypto::CryptoError> {
        Ok(Self {
            geometry,
            mode,
            sealed: false,
            accumulated: true,
            bucket_key: true,
            object: Id::random()?,
            bucket,
            salt: crypto::random()?,
            commitment: [0; 32],
            outer_commitment: [0; 32],
            created,
        })
    }

    /// Whether blocks are sealed twice, under two data keys.
    pub fn is_dual(&self) -> bool {
        self.mode == SseMode::DualKms
    }

    fn outer_suite(&self) -> u8 {
        if self.is_dual() { SUITE_AES_256_GCM } else { 0 }
    }

    fn flags(&self) -> u16 {
        [
            (self.sealed, SEALED),
            (self.accumulated, ACCUMULATED),
            (self.bucket_key, BUCKET_KEY),
            (self.geometry.wide(), WIDE),
        ]
        .into_iter()
        .fold(0, |flags, (set, bit)| if set { flags | bit } else { flags })
    }

    /// `01 ‖ suite ‖ suite2 ‖ block_log2 ‖ layer ‖ object id ‖ bucket id`: part of the info of every derived key.
    pub(super) fn key_context(&self, layer: u8) -> [u8; 37] {
        let mut context = [0; 37];
        let block = self.geometry.block().log2();
        context[..5].copy_from_slice(&[VERSION, SUITE_AES_256_GCM, self.outer_suite(), block, layer]);
        context[5..21].copy_from_slice(self.object.as_bytes());
        context[21..].copy_from_slice(self.bucket.as_bytes());
        context
    }

    pub(super) fn encode(&self, sector: &mut [u8; 512]) {
        sector.fill(0);
        sector[..8].copy_from_slice(&MAGIC);
        sector[8] = VERSION;
        sector[9] = SUITE_AES_256_GCM;
        sector[10] = self.outer_suite();
        sector[11] = self.geometry.block().log2();
        sector[12] = self.geometry.header_pages();
        sector[13] = self.mode as u8;
        sector[14..16].copy_from_slice(&self.flags().to_be_bytes());
        sector[16..32].copy_from_slice(self.object.as_bytes());
        sector[32..48].copy_from_slice(self.bucket.as_bytes());
        sector[48..80].copy_from_slice(&self.salt);
        sector[80..112].copy_from_slice(&self.commitment);
        sector[112..144].copy_from_slice(&self.outer_commitment);
        sector[144..152].copy_from_slice(&self.created.to_be_bytes());
    }

    pub(super) fn decode(sector: &[u8; 512]) -> Result<Self, FormatError> {
        if sector[..8] != MAGIC {
            return Err(FormatError::NotAnObject);
        }
        let unknown = |what, value: u8| Err(FormatError::Unknown { what, value: value.into() });
        if sector[8] != VERSION {
            return unknown("format version", sector[8]);
        }
        if sector[9] != SUITE_AES_256_GCM {
            return unknown("cipher suite", sector[9]);
        }
        if ![0, SUITE_AES_256_GCM].contains(&sector[10]) {
            return unknown("second cipher suite", sector[10]);
        }
        let block = BlockSize::from_log2(sector[11]).ok_or(FormatError::Malformed("block size"))?;
        if !(1..=16).contains(&sector[12]) {
            return Err(FormatError::Malformed("number of header pages"));
        }
        let flags = u16::from_be_bytes([sector[14], sector[15]]);
        if let Some((_, what)) = RESERVED.iter().find(|(bit, _)| flags & bit != 0) {
            return Err(FormatError::Unknown { what, value: 1 });
        }
        let known = SEALED | ACCUMULATED | BUCKET_KEY | WIDE;
        if flags & !known != 0 {
            return Err(FormatError::Unknown { what: "flags", value: flags.into() });
        }
        if sector[152..].iter().any(|b| *b != 0) {
            return Err(FormatError::Malformed("reserved bytes of sector 0"));
        }
        let identity = Self {
            geometry: Geometry::new(block, flags & WIDE != 0).with_header_pages(sector[12]),
            mode: SseMode::from_byte(sector[13])?,
            sealed: flags & SEALED != 0,
            accumulated: flags & ACCUMULATED != 0,
            bucket_key: flags & BUCKET_KEY != 0,
            object: Id::from_bytes(sector[16..32].try_into().expect("16 bytes")),
            bucket: Id::from_bytes(sector[32..48].try_into().expect("16 bytes")),
            salt: sector[48..80].try_into().expect("32 bytes"),
            commitment: sector[80..112].try_into().expect("32 bytes"),
            outer_commitment: sector[112..144].try_into().expect("32 bytes"),
            created: u64::from_be_bytes(sector[144..152].try_into().expect("8 bytes")),
        };
        if identity.object.is_zero() {
            return Err(FormatError::Malformed("object id"));
        }
        identity.check_layers(sector[10])?;
        Ok(identity)
    }

    /// A second layer is there exactly in the mode that has one, and needs room for its tags.
    fn check_layers(&self, outer_suite: u8) -> Result<(), FormatError> {
        let dual = self.is_dual();
        if outer_suite != self.outer_suite() || (dual && !self.geometry.wide()) {
            return Err(FormatError::Malformed("second layer"));
        }
        if !dual && self.outer_commitment != [0; 32] {
            return Err(FormatError::Malformed("reserved bytes of sector 0"));
        }
        Ok(())
    }
}
