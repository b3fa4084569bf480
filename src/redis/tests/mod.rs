//! The client against scripts: every byte and every moment is the test's.

mod announce_policy;
mod breaks;
mod cluster;
mod command;
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
mod world;
