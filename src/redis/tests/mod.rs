//! The client against scripts: the test decides each byte and each moment.

mod announce_policy;
mod breaks;
mod cluster;
mod command;
mod credentials;
mod handshake;
mod health;
mod hostile;
mod idle;
mod lost_bytes;
mod outage;
mod pipeline;
mod resp;
mod script;
mod sentinel;
mod single;
mod slow;
mod topologies;
mod tracking;
mod world;
