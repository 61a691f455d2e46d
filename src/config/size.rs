//! Sizes with a unit, such as `64MiB`.

use std::{fmt, str::FromStr};

use crate::object::BlockSize;

/// A number of bytes, written as a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No number, no unit, or too large.
    #[error("`{0}` is not a size: write a whole number with B, KiB, MiB, GiB or TiB, such as `64MiB`")]
    Size(String),
    /// A size, but not one that blocks can have.
    #[error("`{0}` is not a block size: use a power of two from 4KiB to 1MiB")]
    BlockSize(String),
}

impl ByteSize {
    /// A size of `bytes` bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let refused = || SizeError::Size(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or_else(refused)?;
        let unit = unit.trim_start();
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
        let number: u64 = number.parse().map_err(|_| refused())?;
        number.checked_mul(*factor).map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (name, factor) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
        write!(f, "{}{name}", self.0 / factor)
    }
}

/// Parses a block size such as `4KiB`.
pub fn parse_block_size(text: &str) -> Result<BlockSize, SizeError> {
    let size: ByteSize = text.parse()?;
    BlockSize::from_bytes(size.bytes()).ok_or_else(|| SizeError::BlockSize(text.to_owned()))
}

const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown_in_the_largest_whole_unit() {
        for (text, bytes, shown) in [
            ("0B", 0, "0B"),
            ("4KiB", 4096, "4KiB"),
            ("64 MiB", 64 << 20, "64MiB"),
            ("1536KiB", 1536 << 10, "1536KiB"),
            ("2048B", 2048, "2KiB"),
            ("3TiB", 3 << 40, "3TiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown));
        }
    }

    #[test]
    fn a_size_without_a_binary_unit_is_refused_rather_than_guessed() {
        for bad in ["", "4", "4K", "4KB", "4kib", "KiB", "-1B", "1.5MiB", "4KiB ", "20000000TiB", "ä"] {
            assert_eq!(bad.parse::<ByteSize>(), Err(SizeError::Size(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn block_sizes_are_powers_of_two_from_4_kib_to_1_mib() {
        assert_eq!(parse_block_size("4KiB").unwrap(), BlockSize::DEFAULT);
        assert_eq!(parse_block_size("1MiB").unwrap().bytes(), 1 << 20);
        for bad in ["2KiB", "12KiB", "2MiB", "0B"] {
            assert_eq!(parse_block_size(bad), Err(SizeError::BlockSize(bad.to_owned())));
        }
    }
}
