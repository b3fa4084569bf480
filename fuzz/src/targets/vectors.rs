//! The vectors of the tests: what other implementations wrote.

use serde_json::Value;

/// Cookies, tickets and sessions of oauth2-proxy's own code.
pub(super) fn oauth2_proxy() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/oauth2-proxy.json")).unwrap()
}

/// Keys, and the tokens that Python's `cryptography` signed.
pub(super) fn oidc() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/oidc.json")).unwrap()
}
