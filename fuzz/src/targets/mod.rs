//! What is fuzzed. A target takes any bytes, and panics if something does not hold that has to.
//!
//! `fuzz/src/main.rs` gives them what libFuzzer makes up; `tests/fuzz.rs` gives them the corpus.

#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target is a test"
)]

mod bridge;
mod claims;
mod commands;
mod config;
mod cookies;
mod flow;
mod head;
mod id_token;
mod jwks;
mod lz4;
mod metadata;
mod msgpack;
mod pattern;
mod redirect;
mod redis;
mod sealed;
mod site;
mod split;
mod ticket;
mod token_response;
mod userinfo;
mod vectors;

/// A target, and the name of its corpus.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target.
pub(crate) const ALL: &[Target] = &[
    ("bridge", bridge::run),
    ("claims", claims::run),
    ("config", config::run),
    ("cookies", cookies::run),
    ("flow", flow::run),
    ("head", head::run),
    ("id_token", id_token::run),
    ("jwks", jwks::run),
    ("lz4", lz4::run),
    ("metadata", metadata::run),
    ("msgpack", msgpack::run),
    ("pattern", pattern::run),
    ("redirect", redirect::run),
    ("redis", redis::run),
    ("split", split::run),
    ("ticket", ticket::run),
    ("token_response", token_response::run),
    ("userinfo", userinfo::run),
];
