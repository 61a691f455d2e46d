//! How many threads serve a mount.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

/// A number of worker threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// One per processor, 2 to 16.
    Auto,
    /// This many, 1 to 64.
    Exactly(u8),
}

impl Threads {
    /// The number, unless it is left to the machine.
    pub fn count(self) -> Option<usize> {
        match self {
            Self::Auto => None,
            Self::Exactly(count) => Some(count.into()),
        }
    }
}

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = text.parse().ok().filter(|count| (1..=64).contains(count)).map(Self::Exactly);
        let auto = (text == "auto").then_some(Self::Auto);
        auto.or(count).ok_or_else(|| format!("`{text}` is not a number of threads: write `auto`, or 1 to 64"))
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exactly(count) => count.fmt(f),
        }
    }
}

impl Serialize for Threads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number may stand without quotes.
impl<'de> Deserialize<'de> for Threads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrWord)
    }
}

struct NumberOrWord;

impl Visitor<'_> for NumberOrWord {
    type Value = Threads;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`auto`, or 1 to 64")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Threads, E> {
        word.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Threads, E> {
        number.to_string().parse().map_err(E::custom)
    }
}
