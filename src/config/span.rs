//! Spans of time, such as `30m`.

use std::{fmt, str::FromStr, time::Duration};

/// A span of time, written as `500ms`, `5s`, `30m`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// A span of time after which something happens, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// It never happens.
    Never,
    /// It happens after this long; not zero.
    After(Span),
}

/// How long something may be used before it is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// As long as is safe.
    Auto,
    /// This long.
    For(Span),
}

/// A text that is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// No number, no unit, or too long.
    #[error("`{0}` is not a time: write a number with a unit, such as `500ms`, `5s`, `30m`, `1h 30m`")]
    Span(String),
    /// A timeout that would fire at once.
    #[error("`{0}` is no useful timeout: write `never`, or at least `1s`")]
    TooShort(String),
}

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The span as the standard library has it.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Timeout {
    /// The time to wait, unless it is for ever.
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(span) => Some(span.duration()),
        }
    }
}

impl Life {
    /// The span, or else `safe`.
    pub fn or(self, safe: Duration) -> Duration {
        match self {
            Self::Auto => safe,
            Self::For(span) => span.duration(),
        }
    }
}

impl FromStr for Life {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        if text == AUTO { Ok(Self::Auto) } else { text.parse().map(Self::For) }
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(AUTO),
            Self::For(span) => span.fmt(f),
        }
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        humantime::parse_duration(text).map(Self).map_err(|_| SpanError::Span(text.to_owned()))
    }
}

impl FromStr for Timeout {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        if text == NEVER {
            return Ok(Self::Never);
        }
        let span: Span = text.parse()?;
        if span < Span::seconds(1) {
            Err(SpanError::TooShort(text.to_owned()))
        } else {
            Ok(Self::After(span))
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str(NEVER),
            Self::After(span) => span.fmt(f),
        }
    }
}

const NEVER: &str = "never";
const AUTO: &str = "auto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_need_a_unit() {
        assert_eq!("5s".parse::<Span>().unwrap(), Span::seconds(5));
        assert_eq!("1h 30m".parse::<Span>().unwrap().to_string(), "1h 30m");
        for bad in ["", "5", "soon", "-5s", "5 parsecs"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_life_is_a_span_or_as_long_as_is_safe() {
        let (safe, zero) = (Duration::from_mins(1), Duration::ZERO);
        assert_eq!("auto".parse::<Life>().unwrap().or(safe), safe);
        assert_eq!("0s".parse::<Life>().unwrap().or(safe), zero);
        assert_eq!("5s".parse::<Life>().unwrap().to_string(), "5s");
        assert!("ever".parse::<Life>().is_err());
    }

    #[test]
    fn a_timeout_is_never_or_at_least_a_second() {
        assert_eq!("never".parse::<Timeout>().unwrap(), Timeout::Never);
        assert_eq!("30m".parse::<Timeout>().unwrap().duration(), Some(Duration::from_mins(30)));
        for bad in ["0s", "10ms"] {
            assert_eq!(bad.parse::<Timeout>(), Err(SpanError::TooShort(bad.to_owned())));
        }
        assert!("forever".parse::<Timeout>().is_err());
    }
}
