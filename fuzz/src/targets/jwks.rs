//! The provider's keys.

use oauth2_session_filter::oidc::{Jwks, verify};

use super::id_token::{accepts_only_what_was_signed, audience, expected};
use super::vectors;

/// The bytes are the answer of `jwks_uri`.
pub(super) fn run(bytes: &[u8]) {
    let Ok(keys) = Jwks::parse(bytes) else { return };
    let (audience, vectors) = (audience(), vectors::oidc());
    // Every algorithm, so that every key is used. It may be that no key is the provider's, or that each is.
    for token in vectors["tokens"].as_object().unwrap().values() {
        accepts_only_what_was_signed(verify(token.as_str().unwrap(), &keys, &expected(&audience)));
    }
}
