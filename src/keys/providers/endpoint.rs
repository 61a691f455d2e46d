//! The address of a key service: HTTPS, or plain HTTP to this very machine where that was asked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ProviderError;

/// The base address of a service, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
    is_plain: bool,
}

impl Endpoint {
    /// Checks `https://HOST[:PORT][/PATH]`.
    ///
    /// `http://` is accepted only with `insecure_loopback` and an address (not a name) of the loopback interface: keys
    /// and tokens would cross a network in clear.
    pub fn parse(address: &str, insecure_loopback: bool) -> Result<Self, ProviderError> {
        let refused = |why| ProviderError::Address { address: address.escape_debug().to_string(), why };
        let plain = address.strip_prefix("http://");
        let rest = plain.or_else(|| address.strip_prefix("https://"));
        let rest = rest.ok_or_else(|| refused("write https://HOST or https://HOST:PORT"))?;
        let authority = rest.split('/').next().unwrap_or("");
        if !is_authority(authority) || !rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\\".contains(&b)) {
            return Err(refused("write https://HOST or https://HOST:PORT, without user, query or blanks"));
        }
        let is_plain = plain.is_some();
        if is_plain && !(insecure_loopback && is_loopback(authority)) {
            return Err(refused(
                "keys would travel in clear; use https, or for tests `insecure_loopback = true` and 127.0.0.1",
            ));
        }
        Ok(Self { base: address.trim_end_matches('/').to_owned(), is_plain })
    }

    /// The address, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether it is `http://`.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }
}

fn is_authority(authority: &str) -> bool {
    let host = host(authority);
    !host.is_empty() && !authority.contains('@')
}

fn is_loopback(authority: &str) -> bool {
    let host = host(authority);
    let v4 = host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback());
    v4 || host.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback())
}

/// The host without port and without the brackets of an IPv6 address.
fn host(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b8_keys_travel_in_clear_to_this_machine_only_and_only_when_asked() {
        for plain in ["http://127.0.0.1:4566", "http://[::1]:80/kms", "http://127.1.2.3"] {
            assert!(Endpoint::parse(plain, false).is_err(), "{plain}");
            assert!(Endpoint::parse(plain, true).unwrap().is_plain(), "{plain}");
        }
        for far in [
            "http://10.0.0.1",
            "http://localhost:4566",
            "http://127.0.0.1.example.org",
            "http://127.0.0.1@example.org",
            "http://example.org/127.0.0.1",
            "http://[::2]",
        ] {
            assert!(Endpoint::parse(far, true).is_err(), "{far}");
        }
    }

    #[test]
    fn an_address_is_https_with_a_host() {
        for good in ["https://kms.eu-central-1.amazonaws.com", "https://h:8200/v/", "https://[::1]:8200"] {
            let endpoint = Endpoint::parse(good, false).unwrap();
            assert!(!endpoint.is_plain() && !endpoint.base().ends_with('/'), "{good}");
        }
        for bad in
            ["", "h", "https://", "https://:80", "ftp://h", "https://u@h", "https://h?x", "https://h h"]
        {
            assert!(Endpoint::parse(bad, true).is_err(), "{bad}");
        }
    }
}
