//! One entry of the list of hosts that servers may announce.
//!
//! ```text
//! redis-0.example.com            this name
//! *.example.com                  every name below example.com
//! 10.0.0.7, fd00::7              this address
//! 10.0.0.0/8, fd00::/8           every address of this network
//! ...:6379, [fd00::/8]:6379      only with this port
//! ```
//!
//! A name is compared as a name, and an address as an address. A name is not resolved: the server that announces it
//! may also change what it resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::endpoint::{Endpoint, is_host};

/// One entry of the list of hosts that servers may announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    hosts: Hosts,
    /// `None` means any port.
    port: Option<u16>,
}

/// Names are in lower case and without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Name(String),
    Below(String),
    Network { first: IpAddr, prefix: u8 },
}

/// The error for other entries.
const EXPECTED: &str = "must be a name, *.example.com, an address or a network such as 10.0.0.0/8, each with :port or \
                        without; an IPv6 address with a port is in brackets";

impl HostPattern {
    /// Whether a server has such a host.
    pub(super) fn is_match(&self, server: &Endpoint) -> bool {
        self.port.is_none_or(|port| port == server.port) && self.hosts.is_match(&server.host)
    }
}

impl FromStr for HostPattern {
    type Err = &'static str;

    /// Reads an entry.
    ///
    /// # Errors
    /// What is wrong with the entry.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hosts, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (hosts, port) = rest.split_once(']').ok_or(EXPECTED)?;
                let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(EXPECTED)?) };
                (hosts, port)
            }
            // The colons of an IPv6 address without brackets belong to the address.
            None => match text.split_once(':') {
                Some((hosts, port)) if !port.contains(':') => (hosts, Some(port)),
                _ => (text, None),
            },
        };
        let is_v6 = hosts.contains(':');
        if text.starts_with('[') && !is_v6 {
            return Err(EXPECTED);
        }
        Ok(Self { hosts: hosts.parse()?, port: port.map(read_port).transpose()? })
    }
}

fn read_port(text: &str) -> Result<u16, &'static str> {
    // Not `+6379`, which `parse` accepts.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| is_number && *port != 0)
        .ok_or("has a port that is no number from 1 to 65535")
}

impl Hosts {
    fn is_match(&self, host: &str) -> bool {
        match (self, host.parse::<IpAddr>()) {
            (Self::Network { first, prefix }, Ok(address)) => {
                let address = address.to_canonical();
                address.is_ipv4() == first.is_ipv4() && cut(address, *prefix) == *first
            }
            (Self::Name(name), Err(_)) => plain(host) == *name,
            (Self::Below(name), Err(_)) => plain(host)
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            _ => false,
        }
    }
}

impl FromStr for Hosts {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        if let Ok(first) = address.parse::<IpAddr>() {
            return network(first, prefix);
        }
        if prefix.is_some() {
            return Err(EXPECTED);
        }
        let below = text.strip_prefix("*.");
        let name = plain(below.unwrap_or(text));
        // A name that ends in a number is a misspelt address, and never a DNS name.
        let last = name.rsplit('.').next().unwrap_or_default();
        if !is_host(&name) || name.starts_with('.') || last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(EXPECTED);
        }
        Ok(if below.is_some() { Self::Below(name) } else { Self::Name(name) })
    }
}

fn network(first: IpAddr, prefix: Option<&str>) -> Result<Hosts, &'static str> {
    let bits = if first.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(text) => text
            .parse()
            .ok()
            .filter(|prefix| *prefix <= bits && text.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or("has a prefix that is no number of bits of its address")?,
    };
    if first.to_canonical() != first {
        return Err("is an IPv4 address in IPv6; write it as IPv4");
    }
    if cut(first, prefix) != first {
        return Err("has bits after the prefix; write the first address of the network");
    }
    Ok(Hosts::Network { first, prefix })
}

/// An address with zeros after the prefix.
fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    let rest = |bits: u32| bits.saturating_sub(u32::from(prefix));
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(rest(u32::BITS)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(rest(u128::BITS)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// A name as DNS compares it.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::endpoint::Tls;

    fn is_match(pattern: &str, host: &str, port: u16) -> bool {
        let server = Endpoint { host: host.to_owned(), port, tls: Tls::Off };
        pattern.parse::<HostPattern>().unwrap().is_match(&server)
    }

    #[test]
    fn pattern_matches_its_hosts_only() {
        for (pattern, yes, no) in [
            (
                "redis-0.example.com",
                ["redis-0.example.com", "REDIS-0.example.COM", "redis-0.example.com."].as_slice(),
                ["redis-1.example.com", "redis-0.example.com.evil", "a.redis-0.example.com", "example.com"]
                    .as_slice(),
            ),
            ("Redis.", &["redis", "redis."], &["redis..", "redis.a", ""]),
            (
                "*.example.com",
                &["a.example.com", "a.b.Example.com", "a.example.com."],
                &["example.com", ".example.com", "aexample.com", "a.example.com.evil", "10.0.0.1"],
            ),
            (
                "10.0.0.7",
                &["10.0.0.7", "::ffff:10.0.0.7"],
                &["10.0.0.8", "10.0.0.7.example.com", "10.0.0.07", "10.7"],
            ),
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
                &["11.0.0.0", "9.255.255.255", "a00::", "redis", "10.1", "167772161"],
            ),
            ("10.0.0.6/31", &["10.0.0.6", "10.0.0.7"], &["10.0.0.5", "10.0.0.8"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "redis"]),
            ("::/0", &["::1", "fd00::7"], &["10.0.0.7", "::ffff:10.0.0.7"]),
            ("fd00::/8", &["fd00::", "fdff:ffff::1", "FD00::1"], &["fc00::", "fe00::", "10.0.0.1"]),
            ("fd00::7", &["fd00::7", "fd00:0:0::7"], &["fd00::8"]),
            ("[fd00::7]", &["fd00::7"], &["fd00::8"]),
        ] {
            for host in yes {
                assert!(is_match(pattern, host, 1), "{pattern} {host}");
            }
            for host in no {
                assert!(!is_match(pattern, host, 1), "{pattern} {host}");
            }
        }
    }

    #[test]
    fn pattern_with_port_matches_that_port_only() {
        for (pattern, host) in [
            ("redis:6379", "redis"),
            ("*.example.com:6379", "a.example.com"),
            ("10.0.0.0/8:6379", "10.0.0.1"),
            ("[fd00::/8]:6379", "fd00::1"),
            ("[fd00::1]:6379", "fd00::1"),
        ] {
            assert!(is_match(pattern, host, 6379) && !is_match(pattern, host, 22), "{pattern}");
        }
    }

    #[test]
    fn invalid_pattern_is_rejected() {
        for text in [
            "",
            "*",
            "*.",
            "*.*",
            "a*.example.com",
            "*a.example.com",
            "a.*.com",
            "*.10",
            ".example.com",
            "*..com",
            "a b",
            "ä",
            "redis://redis",
            "redis/0",
            "user@redis",
            "redis:",
            "redis:0",
            "redis:+1",
            "redis:65536",
            "redis:x",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.1.",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/x",
            "10.0.0.1/8",
            "fd00::/129",
            "fd00::1/8",
            "[fd00::1",
            "[fd00::1]6379",
            "[redis]",
            "[10.0.0.1]:1",
            "::ffff:10.0.0.1",
            "fe80::1%eth0",
            "0x7f.1",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
    }
}
