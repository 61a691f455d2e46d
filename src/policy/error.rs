//! Why a policy text was refused, and where.

use std::fmt;

/// A place in a policy text: where to look, and the element that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Element path such as `Statement[1].Condition.StringEquals`; array indices count from 0. Empty at the top.
    pub path: String,
}

impl Place {
    /// The place of byte `offset` of `text`.
    pub(super) fn of(text: &str, offset: usize, path: &str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.chars().count() - before.get(..line_start).unwrap_or("").chars().count() + 1;
        Self { line, column, path: path.to_owned() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, ", {}", self.path.escape_debug()) }
    }
}

/// A policy text that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than S3 allows (`E2BIG`).
    #[error("the policy has {bytes} bytes: at most {most} are allowed, so merge or drop statements")]
    TooLarge {
        /// Length of the refused text.
        bytes: usize,
        /// What it may have.
        most: usize,
    },
    /// Not JSON.
    #[error("{place}: {problem}")]
    Json {
        /// Where the text stops being JSON.
        place: Place,
        /// What stands there and what should.
        problem: String,
    },
    /// JSON, but not a policy for this bucket.
    #[error("{place}: {problem}")]
    Element {
        /// Where the refused element stands.
        place: Place,
        /// What is wrong with it and what to write.
        problem: String,
    },
}

impl PolicyError {
    /// Where the text was refused; `None` when it is refused as a whole.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::TooLarge { .. } => None,
            Self::Json { place, .. } | Self::Element { place, .. } => Some(place),
        }
    }
}
