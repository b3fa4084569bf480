//! HTTP as the flows see it: heads of requests, replies, headers and URLs.

pub(super) mod client_kind;
pub(super) mod csrf;
pub(super) mod fetch_metadata;
pub(super) mod forged;
pub(super) mod headers;
pub(super) mod reply;
pub(super) mod request;
pub(super) mod stripped;
pub(super) mod url;

/// A header to set or add.
pub type Header = (&'static str, Vec<u8>);
