//! The answer of the userinfo endpoint.

use oauth2_session_filter::oidc::{ClaimNames, Identity, Userinfo, parse_userinfo, verify_userinfo};

use super::id_token::{accepts_only_what_was_signed, audience, expected, keys};

/// The bytes are the body.
pub(super) fn run(bytes: &[u8]) {
    let more = match parse_userinfo(bytes) {
        Ok(Userinfo::Plain(claims)) => claims,
        Ok(Userinfo::Jwt(token)) => {
            let audience = audience();
            accepts_only_what_was_signed(verify_userinfo(token, keys(), &expected(&audience)));
            return;
        }
        Err(_) => return,
    };
    let names = ClaimNames { user: "sub", email: "email", groups: "groups", additional: &[] };
    let claims = serde_json::from_str(r#"{ "sub": "alice", "email": "alice@example.com" }"#).unwrap();
    let mut identity = Identity::from_claims(&claims, &names);
    identity.complete(&more, &names);
    // What the ID token says stays: it is signed.
    assert_eq!((identity.user.as_str(), identity.email.as_str()), ("alice", "alice@example.com"));
    let mut nobody = Identity::default();
    nobody.complete(&more, &names);
}
