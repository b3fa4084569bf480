//! Where Redis is, and how to talk to it.

use std::fmt;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::host_pattern::HostPattern;
use super::server_name::ServerName;
use super::tracking::TrackingConfig;

/// Where Redis is, and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The servers.
    pub topology: Topology,
    /// The credentials for the servers with the data; `None` if they need none.
    pub credentials: Option<Credentials>,
    /// The number of the database. A Cluster has only 0.
    pub database: u32,
    /// The name of our connections in `CLIENT LIST`. It must have no spaces.
    pub client_name: String,
    /// The longest time from the request for a stream to the end of the handshake.
    pub connect_timeout: Duration,
    /// The longest time that a command may take, with its wait for a connection. It must not be zero.
    ///
    /// For the same time from the start of an outage, commands wait for a reconnect.
    pub command_timeout: Duration,
    /// A connection without commands for this long is closed; zero means never. It should be less than the server's
    /// `timeout`. Otherwise the server may close the connection just when a command is on its way.
    pub idle_timeout: Duration,
    /// The hosts that Sentinels and nodes of a Cluster may announce, besides those of the topology. An empty list
    /// allows all.
    pub allowed_hosts: Vec<HostPattern>,
    /// Whether the servers are asked to tell of changed keys, and how long they are trusted to do so.
    pub tracking: Option<TrackingConfig>,
    /// The name that their certificates must have, with [`Tls::Verified`](super::Tls::Verified). The host checks it.
    pub server_name: ServerName,
}

impl ClientConfig {
    /// Whether another server may take over.
    pub const fn has_replicas(&self) -> bool {
        !matches!(self.topology, Topology::Single(_))
    }
}

/// The servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server, always the same.
    Single(Endpoint),
    /// The master that Sentinels name. The connection to it has the same TLS as that to the Sentinel.
    Sentinel {
        /// Its name in the Sentinels' configuration.
        master_name: String,
        /// The Sentinels, in the order in which they are asked. There must be one.
        sentinels: Vec<Endpoint>,
        /// The credentials for the Sentinels.
        credentials: Option<Credentials>,
    },
    /// The masters of a Cluster, each with some of the keys.
    Cluster {
        /// The nodes that are asked for the others. There must be one.
        seeds: Vec<Endpoint>,
    },
}

/// The servers that credentials are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// Those with the data.
    Data,
    /// The Sentinels.
    Sentinels,
}

/// The arguments of `AUTH`. The password is never printed.
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
