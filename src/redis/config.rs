//! Where Redis is, and how to talk to it.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::host_pattern::HostPattern;
use super::server_name::ServerName;

/// Where Redis is, and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Which servers there are.
    pub topology: Topology,
    /// Who we are for the servers with the data; `None` where they ask nobody.
    pub credentials: Option<Credentials>,
    /// The number of the database; a Cluster has only 0.
    pub database: u32,
    /// What `CLIENT LIST` shows for our connections. It must have no spaces.
    pub client_name: String,
    /// How long it may take from asking for a stream to the end of the handshake.
    pub connect_timeout: Duration,
    /// How long a command may take, waiting for a connection included. It must not be zero.
    ///
    /// An outage is ridden out for as long: until then commands wait for a reconnect.
    pub command_timeout: Duration,
    /// A connection that has nothing to do for this long is closed; zero is never. It should be less
    /// than the server's `timeout`, which would close it just when a command is on its way.
    pub idle_timeout: Duration,
    /// Which hosts Sentinels and nodes of a Cluster may name, besides those of the topology; none of them is any.
    pub allowed_hosts: Vec<HostPattern>,
    /// What their certificates have to be for, with [`Tls::Verified`]. The host checks it.
    pub server_name: ServerName,
}

impl ClientConfig {
    /// Whether another server may take over.
    pub const fn has_replicas(&self) -> bool {
        !matches!(self.topology, Topology::Single(_))
    }
}

/// Which servers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One, always the same.
    Single(Endpoint),
    /// The master that Sentinels name. It is reached with the TLS of the Sentinel that named it.
    Sentinel {
        /// Its name in the Sentinels' configuration.
        master_name: String,
        /// The Sentinels, in the order in which they are asked. There must be one.
        sentinels: Vec<Endpoint>,
        /// Who we are for the Sentinels.
        credentials: Option<Credentials>,
    },
    /// The masters that the nodes of a Cluster name, each for some of the keys.
    Cluster {
        /// Nodes that are asked for the others. There must be one.
        seeds: Vec<Endpoint>,
    },
}

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

/// How a stream is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tls {
    /// Not at all.
    Off,
    /// With TLS, to a server whose certificate is for its [`ServerName`].
    Verified,
    /// With TLS, to whoever it is.
    Insecure,
}

/// The longest host name of DNS.
const MAX_HOST: usize = 253;

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Whether this is a host: a name, or an address as it stands without brackets. It becomes part of a header.
pub fn is_host(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_short = (1..=MAX_HOST).contains(&text.len());
    is_short && (text.bytes().all(is_name) || text.parse::<Ipv6Addr>().is_ok())
}

/// What `AUTH` sends. The password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` for the user `default`, and for servers older than Redis 6.
    pub username: Option<String>,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}
