//! The first exchange: what the kernel offers, and what is taken of it.

use super::{
    Malformed, TooSmall,
    fields::{Fields, Writer},
    numbers::{MAJOR, MINOR, features},
};

/// What the kernel offers (`struct fuse_init_in`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Version of its protocol: major and minor.
    pub version: (u32, u32),
    /// Its [`features`].
    pub features: u64,
}

impl Offer {
    /// Reads the body of an `INIT` request.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(body);
        let version = (fields.u32()?, fields.u32()?);
        let (_read_ahead, low) = (fields.u32()?, u64::from(fields.u32()?));
        let high = if low & features::INIT_EXT == 0 { 0 } else { u64::from(fields.u32()?) };
        Ok(Self { version, features: low | high << 32 })
    }

    /// Whether both sides can talk. Versions before 7.31 lay some requests out differently.
    pub fn is_understood(&self) -> bool {
        self.version.0 == MAJOR && self.version.1 >= OLDEST
    }

    /// Whether the kernel speaks a later major version and must be told ours; it then asks once more.
    pub fn is_too_new(&self) -> bool {
        self.version.0 > MAJOR
    }
}

/// What is agreed on (`struct fuse_init_out`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// How far the kernel reads ahead, in bytes.
    pub max_readahead: u32,
    /// The [`features`] in force.
    pub features: u64,
    /// How many requests nobody waits for may be under way.
    pub max_background: u16,
    /// The most bytes of one write or read.
    pub max_write: u32,
}

impl Agreement {
    /// Writes the reply to `INIT` to the beginning of `out`; its length in bytes.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, TooSmall> {
        let mut writer = Writer::new(out);
        let [low, high] = halves(self.features | features::INIT_EXT);
        for number in [MAJOR, MINOR, self.max_readahead, low] {
            writer.u32(number)?;
        }
        writer.u16(self.max_background)?;
        writer.u16(self.max_background / 4 * 3)?;
        writer.u32(self.max_write)?;
        // Times are kept to the nanosecond.
        writer.u32(1)?;
        writer.u16(u16::try_from(self.max_write.div_ceil(PAGE)).unwrap_or(u16::MAX))?;
        writer.u16(0)?;
        writer.u32(high)?;
        writer.zeros(28)?;
        Ok(writer.used())
    }

    /// The reply to a kernel of a later major version: ours alone.
    pub fn encode_version(out: &mut [u8]) -> Result<usize, TooSmall> {
        let mut writer = Writer::new(out);
        writer.u32(MAJOR)?;
        writer.u32(MINOR)?;
        writer.zeros(56)?;
        Ok(writer.used())
    }
}

fn halves(features: u64) -> [u32; 2] {
    [features & u64::from(u32::MAX), features >> 32].map(|half| u32::try_from(half).expect("half of 64 bits"))
}

/// The kernel counts buffers in pages of this size on the machines served.
const PAGE: u32 = 4096;
/// Minor version of Linux 5.4.
const OLDEST: u32 = 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agreement_has_the_length_of_the_structure_of_the_kernel() {
        let wanted = features::OVER_IO_URING | features::MAX_PAGES;
        let agreement =
            Agreement { max_readahead: 7, features: wanted, max_background: 64, max_write: 1 << 20 };
        let mut out = [0xAA; 80];
        assert_eq!(agreement.encode(&mut out), Ok(64));
        let number = |at: usize| u32::from_ne_bytes(out[at..at + 4].try_into().unwrap());
        assert_eq!((number(0), number(8), number(20)), (MAJOR, 7, 1 << 20));
        assert_eq!(u64::from(number(12)), features::MAX_PAGES | features::INIT_EXT);
        assert_eq!(u64::from(number(32)) << 32, features::OVER_IO_URING);
        assert_eq!(out[28..30], 256_u16.to_ne_bytes());
        assert_eq!(Agreement::encode_version(&mut out), Ok(64));
    }

    #[test]
    fn the_second_word_of_features_counts_only_where_it_was_sent() {
        let offer = |low: u64| {
            let low = u32::try_from(low).unwrap();
            Offer::decode(&[MAJOR, MINOR, 9, low, 1 << 9].map(u32::to_ne_bytes).concat()).unwrap().features
        };
        assert_eq!(offer(features::INIT_EXT) & features::OVER_IO_URING, features::OVER_IO_URING);
        assert_eq!(offer(features::MAX_PAGES), features::MAX_PAGES);
    }

    #[test]
    fn old_and_later_kernels_are_told_apart() {
        let offer = |version| Offer { version, features: 0 };
        assert!(offer((7, 31)).is_understood() && !offer((7, 30)).is_understood());
        assert!(offer((8, 0)).is_too_new() && !offer((7, 99)).is_too_new());
    }
}
