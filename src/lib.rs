//! oauth2-proxy's session storage inside Envoy.
//!
//! # Map
//!
//! | module | what it is about |
//! |---|---|
//! | [`config`] | filter JSON and environment to a checked [`config::Config`] |
//! | [`cookie`], [`session`], [`time`] | the crate `codec/`: what oauth2-proxy writes to cookies and to Redis, byte for byte |
//! | [`redis`] | Redis without I/O: protocol, connection, commands |
//! | [`oidc`] | OpenID Connect without I/O: discovery, grants, ID tokens, claims |
//! | [`flow`] | uses the others: load, save, refresh, sign-in, sign-out, headers, pages |
//! | `path_match` | which paths need no session, however an upstream reads them |
//! | [`pattern`] | regular expressions for untrusted bytes, in one pass |
//! | [`bridge`] | gRPC messages to bytes and back, for the connection to Redis |
//! | `runtime` | what runs the flows: tasks, timers, calls, streams to Redis, the host's tick |
//! | `host` | the only user of the proxy-wasm SDK; moves bytes, decides nothing |
//!
//! # Invariants
//!
//! - `host` uses `flow`; `flow` uses `cookie`, `session`, `redis` and `oidc`; these do not use each other. One
//!   exception: `session` decrypts only a [`cookie::Verified`] value, which nothing but the check
//!   of a signature can make. So no unsigned byte reaches a cipher.
//! - Time, random numbers and the network are parameters ([`flow::Io`]); the core has no clock of its own.
//! - No byte from outside can panic: the lints in `Cargo.toml` deny what could.
//! - No failure ever lets a request through: every error path denies it or answers 503.

#![cfg_attr(
    target_family = "wasm",
    allow(unreachable_pub, reason = "what is public natively is not in the wasm module")
)]

pub mod config;
mod path_match;
#[cfg_attr(not(any(test, target_family = "wasm")), allow(dead_code, reason = "only a host runs flows"))]
mod runtime;

// Public for the fuzz targets, the tests and the examples of this repository. In the wasm module they are private, so that
// the compiler says there what is not used.
#[cfg(not(target_family = "wasm"))]
pub mod bridge;
#[cfg(target_family = "wasm")]
mod bridge;
#[cfg(not(target_family = "wasm"))]
pub mod flow;
#[cfg(target_family = "wasm")]
mod flow;
#[cfg(not(target_family = "wasm"))]
pub mod oidc;
#[cfg(target_family = "wasm")]
mod oidc;
#[cfg(not(target_family = "wasm"))]
pub mod pattern;
#[cfg(target_family = "wasm")]
mod pattern;
#[cfg(not(target_family = "wasm"))]
pub mod redis;
#[cfg(target_family = "wasm")]
mod redis;

#[cfg(not(target_family = "wasm"))]
pub use session_codec::{cookie, session, time};
#[cfg(target_family = "wasm")]
use session_codec::{cookie, session, time};

#[cfg(test)]
#[path = "../tests/vectors/mod.rs"]
#[allow(dead_code, reason = "the tests of the codec use the rest")]
mod vectors;

#[cfg(target_family = "wasm")]
mod host;
