//! One server of Redis: its address, and how its stream is encrypted.

use std::fmt;
use std::net::Ipv6Addr;

/// The longest host name of DNS.
const MAX_HOST: usize = 253;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether the stream is encrypted. The host does it.
    pub tls: Tls,
}

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// How a stream is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tls {
    /// Not at all.
    Off,
    /// With TLS, and the certificate must have the server's [`ServerName`](super::ServerName).
    Verified,
    /// With TLS, and the certificate is not checked.
    Insecure,
}

/// Whether this is a host: a name, or an address without brackets. It becomes part of a header.
pub fn is_host(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_short = (1..=MAX_HOST).contains(&text.len());
    is_short && (text.bytes().all(is_name) || text.parse::<Ipv6Addr>().is_ok())
}
