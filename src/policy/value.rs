//! The typed values that condition operators compare: numbers, moments, networks, bytes.
//!
//! All come from a policy or from a request, so every parser here refuses instead of guessing.

use std::net::IpAddr;

use jiff::{Timestamp, civil, tz::TimeZone};

/// A decimal number with nine fractional digits, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(i128);

const FRACTION_DIGITS: usize = 9;
const WHOLE_DIGITS: usize = 27;

impl Number {
    /// Parses `-12.5`; no exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let fraction = fraction.trim_end_matches('0');
        let is_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > WHOLE_DIGITS || fraction.len() > FRACTION_DIGITS {
            return None;
        }
        if digits.ends_with('.') || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let magnitude: i128 = format!("{whole}{fraction:0<FRACTION_DIGITS$}").parse().ok()?;
        Some(Self(if negative { -magnitude } else { magnitude }))
    }
}

/// A point in time in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i128);

impl Moment {
    /// The same point in time.
    pub(super) fn at(time: Timestamp) -> Self {
        Self(time.as_nanosecond())
    }

    /// Parses a W3C date (`2026`, `2026-03`, `2026-03-01`, `2026-03-01T10:00Z`, …) or Unix time in seconds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Some(Self(moment.as_nanosecond()));
        }
        // Four digits are a year, as in the W3C profile of ISO 8601; Unix times that short lie in January 1970.
        let is_year = |s: &str| s.len() == 4 && s.bytes().all(|b| b.is_ascii_digit());
        let date = match text.len() {
            4 if is_year(text) => format!("{text}-01-01"),
            7 if text.split_once('-').is_some_and(|(year, _)| is_year(year)) => format!("{text}-01"),
            10 if text.contains('-') => text.to_owned(),
            _ => return Number::parse(text).map(|seconds| Self(seconds.0)),
        };
        let midnight = date.parse::<civil::Date>().ok()?.to_zoned(TimeZone::UTC).ok()?;
        Some(Self(midnight.timestamp().as_nanosecond()))
    }
}

/// An IP address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Parses `203.0.113.0/24`, `2001:db8::/32`, or one address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(bits), |p| p.parse().ok())?;
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Whether `address` lies in the range. An IPv4 address written as IPv6 counts as IPv4.
    pub(super) fn contains(&self, address: &str) -> bool {
        let Ok(address) = address.parse::<IpAddr>() else { return false };
        match (self.address, address, address.to_canonical()) {
            (IpAddr::V4(net), _, IpAddr::V4(ip)) => {
                same_prefix(net.to_bits().into(), ip.to_bits().into(), 32 - self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(ip), _) => {
                same_prefix(net.to_bits(), ip.to_bits(), 128 - self.prefix)
            }
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, ignored_bits: u32) -> bool {
    (a ^ b).checked_shr(ignored_bits).unwrap_or(0) == 0
}

/// Decodes standard Base64 with padding (RFC 4648, section 4).
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let data = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - data.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(data.len());
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in data.bytes() {
        bits = (bits << 6 | sextet(byte)?) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    let leftover = bits & ((1 << count) - 1);
    (leftover == 0).then_some(out)
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_compare_by_value() {
        let number = |t: &str| Number::parse(t).unwrap();
        assert_eq!(number("10"), number("10.00"));
        assert_eq!(number("-0"), number("0"));
        assert!(number("-2.5") < number("-2.4"));
        assert!(number("9007199254740993") > number("9007199254740992"));
        for bad in
            ["", "-", ".5", "1.", "1e3", "0x1", " 1", "1 ", "1.0000000001", &"9".repeat(28), "1.2.3", "--1"]
        {
            assert_eq!(Number::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_are_w3c_dates_or_unix_seconds() {
        let moment = |t: &str| Moment::parse(t).unwrap();
        for same in [
            "2026",
            "2026-01",
            "2026-01-01",
            "2026-01-01T00:00Z",
            "2026-01-01T01:00:00.0+01:00",
            "1767225600",
        ] {
            assert_eq!(moment(same), moment("2026-01-01T00:00:00Z"), "{same}");
        }
        for bad in
            ["", "2026-13", "2026-02-30", "yesterday", "2026-01-01T00:00:00", "2026-1-1", "20-20-01", "*"]
        {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let net = |t: &str| Network::parse(t).unwrap();
        assert!(net("203.0.113.0/24").contains("203.0.113.255"));
        assert!(!net("203.0.113.0/24").contains("203.0.114.0"));
        assert!(net("203.0.113.77/24").contains("203.0.113.1"));
        assert!(net("0.0.0.0/0").contains("255.1.2.3"));
        assert!(net("::/0").contains("2001:db8::1"));
        assert!(!net("::/0").contains("10.0.0.1"));
        assert!(net("10.0.0.1").contains("::ffff:10.0.0.1"));
        assert!(!net("10.0.0.1").contains("10.0.0.2"));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0", "host"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_is_the_padded_standard_form() {
        assert_eq!(base64("QmluYXJ5VmFsdWVJbkJhc2U2NA==").unwrap(), b"BinaryValueInBase64");
        assert_eq!(base64("").unwrap(), b"");
        assert_eq!(base64("+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
        for bad in ["Q", "QQ", "QQ=", "QR==", "Q===", "=QQQ", "Q Q=", "QQ-_"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }
}
