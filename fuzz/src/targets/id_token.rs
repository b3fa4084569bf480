//! Any ID token, or bearer token.

use std::sync::LazyLock;

use oauth2_session_filter::oidc::{
    Expected, IdTokenError, Jwks, keycloak_roles, unverified_issuer, unverified_subject, verify,
};
use oauth2_session_filter::time::Timestamp;
use serde_json::{Map, Value, json};

use super::vectors;

/// The provider's keys.
static KEYS: LazyLock<Jwks> = LazyLock::new(|| {
    let document = json!({ "keys": vectors::oidc()["keys"] });
    Jwks::parse(document.to_string().as_bytes()).unwrap()
});

/// The bytes are the token.
pub(super) fn run(bytes: &[u8]) {
    let Ok(token) = std::str::from_utf8(bytes) else {
        assert_eq!(unverified_subject(bytes), None);
        return;
    };
    let audience = audience();
    accepts_only_what_was_signed(verify(token, &KEYS, &expected(&audience)));
    let _ = (unverified_issuer(bytes), keycloak_roles(bytes));
}

pub(super) fn keys() -> &'static Jwks {
    &KEYS
}

pub(super) fn audience() -> [String; 1] {
    ["aud".to_owned()]
}

/// What the tokens of the vectors say, a minute after they were made.
pub(super) fn expected(audience_claims: &[String]) -> Expected<'_> {
    Expected {
        issuer: "https://login.example.com",
        skip_issuer_verification: false,
        checks_party: true,
        client_id: "s6BhdRkqt3",
        extra_audiences: &[],
        audience_claims,
        nonce_hash: Some("n-0S6_WzA2Mj"),
        now: Timestamp::from_secs(1_700_000_060),
    }
}

/// The only signed claims are those of the vectors.
pub(super) fn accepts_only_what_was_signed(verified: Result<Map<String, Value>, IdTokenError>) {
    if let Ok(claims) = verified {
        assert_eq!(claims["sub"], "248289761001", "a signature that nobody made holds");
        assert_eq!(claims.len(), 6);
    }
}
