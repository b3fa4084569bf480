//! Bytes to values and back, for what every request has: oauth2-proxy's formats, and Envoy's header block.
//!
//! | module | what it is about |
//! |---|---|
//! | [`cookie`] | HTTP cookies as bytes: jar, split and join, signatures, `Set-Cookie` |
//! | [`session`] | a session and its bytes: MessagePack, LZ4, AES, tickets, the CSRF cookie's content |
//! | [`header_block`] | the header fields of a request or a response, as Envoy hands them over |
//! | [`fingerprint`] | a long value, known again by 128 bits |
//! | `base64url` | base64 as oauth2-proxy writes and reads it |
//! | [`time`] | a point in time, as sessions store it |
//!
//! This is a crate of its own because it is compiled for speed, while the filter, which is far larger, is compiled for
//! size: see `Cargo.toml` of the repository.

mod base64url;
pub mod cookie;
pub mod fingerprint;
pub mod header_block;
pub mod session;
pub mod time;

#[cfg(test)]
#[path = "../../tests/vectors/mod.rs"]
mod vectors;
