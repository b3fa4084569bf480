//! HTTP cookies as bytes: jar, split and join, signatures, `Set-Cookie`. Knows no session.
