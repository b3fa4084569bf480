//! A Redis client without I/O: bytes and time in, bytes and events out.
//!
//! ```text
//!            send, cancel                            opened, received, closed
//! caller ──────────────────► Client ◄─────────────────────────────────────────── host
//!        ◄──────────────────   │    ────────────────────────────────────────────►
//!            Done, Event       │             Open, Write, Close
//!                              │ which connection? Router: Single, Sentinel, Cluster
//!                              ▼
//!                          Connection ── Stream       ── Handshake  what comes before the first command
//!                           │     │                   └─ Decoder    bytes to replies
//!                           │     └───── Pipeline     ── Waiting, InFlight
//!                           ├─────────── Reconnect       the backoff, and which commands wait for it
//!                           └─────────── Tracking        whether the server tells of changed keys
//! ```
//!
//! Each topology has its state machine in one file: `single`, `sentinel`, `cluster`. They share the parts in the
//! picture, which do not know for which topology they work.
//!
//! This module opens no socket, reads no clock and draws no random number. The host calls a method if something
//! happened. It takes [`Client::next_output`] until that is `None`, and then sleeps until [`Client::next_wake`]. So
//! every race is a few lines in a test.
//!
//! What Redis sends is not trusted: it can neither cause a panic nor grow memory past the limits of `resp` and
//! `load`. No key, value or password is ever printed.

mod announce_policy;
mod client;
mod cluster;
mod command;
mod config;
mod connection;
mod endpoint;
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
mod tracking;
mod waiting;

pub use self::client::Client;
pub use self::command::Command;
pub use self::config::{ClientConfig, Credentials, Servers, Topology};
pub use self::endpoint::{Endpoint, Tls, is_host};
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
#[cfg(any(test, feature = "higress"))]
pub(crate) use self::resp::is_one_reply;
pub use self::server_name::ServerName;
pub use self::tracking::{Changed, Served, TrackingConfig, Untracked};
