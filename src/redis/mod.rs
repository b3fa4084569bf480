//! A Redis client without I/O: bytes and time in, bytes and events out.
//!
//! ```text
//!            send, cancel                            opened, received, closed
//! caller ──────────────────► Client ◄─────────────────────────────────────────── host
//!        ◄──────────────────   │    ────────────────────────────────────────────►
//!            Done, Event       │             Open, Write, Close
//!                              │ which connection? Topology: Single, Sentinel, Cluster
//!                              ▼
//!                          Connection ── Stream       ── Handshake  what comes before the first command
//!                           │     │                   └─ Decoder    bytes to replies
//!                           │     └───── Pipeline     ── Waiting, InFlight
//!                           └─────────── Reconnect       backoff, and who waits for it
//! ```
//!
//! Each topology has its state machine in one file: `single`, `sentinel`, `cluster`. What they share is
//! above; none of it knows which topology it works for.
//!
//! Nothing here opens a socket, reads a clock or draws a random number. The host calls a method when
//! something happened, then takes [`Client::next_output`] until there is none, then sleeps until
//! [`Client::next_wake`]. So every race is a few lines in a test.
//!
//! What Redis sends is not trusted: it can neither panic nor grow memory past the limits of `resp`
//! and `load`. Nothing here prints a key, a value or a password.

mod announce_policy;
mod client;
mod cluster;
mod command;
mod config;
mod connection;
mod failure;
mod handshake;
mod health;
mod host_pattern;
mod in_flight;
mod load;
mod output;
mod pending;
mod pipeline;
mod reconnect;
mod reply;
mod resp;
mod router;
mod sentinel;
mod server_name;
mod settings;
mod single;
mod stream;
#[cfg(test)]
mod tests;
mod waiting;

pub use self::client::Client;
pub use self::command::Command;
pub use self::config::{ClientConfig, Credentials, Endpoint, Tls, Topology, is_host};
pub use self::failure::Failure;
#[cfg(test)]
pub(crate) use self::health::CATCH_UP;
#[cfg(test)]
pub(crate) use self::health::HealthMonitor;
pub use self::health::{FailoverEvent, Health};
pub use self::host_pattern::HostPattern;
pub use self::output::{CommandId, Event, Output, StreamId};
pub use self::reply::Reply;
#[cfg(test)]
pub(crate) use self::reply::ServerError;
pub use self::resp::MAX_BULK;
pub use self::server_name::ServerName;
