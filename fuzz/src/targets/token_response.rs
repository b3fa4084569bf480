//! The answer of the token endpoint.

use http::{HeaderValue, StatusCode};
use oauth2_session_filter::oidc::{GrantError, TokenResponse};

/// The status in the first two bytes, then the body.
pub(super) fn run(bytes: &[u8]) {
    let Some((status, body)) = bytes.split_first_chunk::<2>() else { return };
    let Ok(status) = StatusCode::from_u16(u16::from_be_bytes(*status)) else { return };
    match TokenResponse::parse(status, body) {
        Ok(tokens) => {
            assert!(status.is_success() && !tokens.access_token.is_empty());
            let all = [Some(&tokens.access_token), tokens.id_token.as_ref(), tokens.refresh_token.as_ref()];
            for token in all.into_iter().flatten() {
                assert!(HeaderValue::from_str(token).is_ok(), "a token that no header can carry");
            }
            assert!(tokens.expires_in.is_none_or(|lifetime| lifetime.as_secs() <= 1 << 31));
        }
        Err(error) => {
            // Only this one ends a session.
            assert!(error != GrantError::InvalidGrant || !status.is_server_error());
            let _ = error.to_string();
        }
    }
}
