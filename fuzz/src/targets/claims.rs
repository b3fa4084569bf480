//! The claims of a token that the provider signed, and what a session makes of them.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use oauth2_session_filter::oidc::{
    ClaimNames, Identity, LogoutToken, claim_text, entra_tenant, expiry, has_entra_overage, keycloak_roles,
    subject, unverified_subject, verify, verify_logout,
};
use oauth2_session_filter::session::{Claims, Session, SessionInfo};
use serde_json::Value;

use super::id_token::{audience, expected, keys};
use super::sealed::{comes_back, secret};
use super::vectors;

static KEY: LazyLock<EncodingKey> = LazyLock::new(|| {
    let der = vectors::oidc()["private"]["ed25519"].as_str().map(|der| URL_SAFE_NO_PAD.decode(der).unwrap());
    EncodingKey::from_ed_der(&der.unwrap())
});

/// The bytes are the payload.
pub(super) fn run(bytes: &[u8]) {
    // A signature takes long, so only claims are signed.
    let Ok(Value::Object(claims)) = serde_json::from_slice(bytes) else { return };
    let payload = URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"ed25519"}"#));
    let signature = crypto::sign(message.as_bytes(), &KEY, Algorithm::EdDSA).unwrap();
    let token = format!("{message}.{signature}");
    let audience = audience();
    if let Ok(verified) = verify(&token, keys(), &expected(&audience)) {
        assert_eq!(verified["iss"], "https://login.example.com");
        assert_eq!(verified["nonce"], "n-0S6_WzA2Mj");
        assert!(expiry(&verified).is_some_and(|expiry| expiry.secs() > 1_700_000_000), "it has expired");
    }
    if let Ok(verified) = verify_logout(&token, keys(), &expected(&audience)) {
        assert!(LogoutToken::of(&verified).is_ok_and(|logout| !logout.id.is_empty()), "it may be used again");
        let event = &verified["events"]["http://schemas.openid.net/event/backchannel-logout"];
        assert!(event.is_object() && !verified.contains_key("nonce"), "it is another token");
        assert_eq!(verified["iss"], "https://login.example.com");
    }
    let _ = keycloak_roles(token.as_bytes());
    assert_eq!(unverified_subject(token.as_bytes()), subject(&claims));
    let additional = ["address.locality".to_owned(), "groups".to_owned(), "a".to_owned()];
    let names =
        ClaimNames { user: "sub", email: "email", groups: "realm_access.roles", additional: &additional };
    let mut identity = Identity::from_claims(&claims, &names);
    identity.complete(&claims, &names);
    let _ = (
        identity.is_incomplete(),
        claim_text(&claims, "upn"),
        entra_tenant(&claims),
        has_entra_overage(&claims),
    );
    comes_back(
        &secret(),
        &Session {
            info: SessionInfo {
                user: identity.user.into_bytes(),
                email: identity.email.into_bytes(),
                groups: identity.groups.into_iter().map(String::into_bytes).collect(),
                additional_claims: Claims::from_json(&claims),
                ..Default::default()
            },
            ..Session::default()
        },
    );
}
