//! Logout tokens: the forms that providers send, and every rule of section 2.6 of the standard.

use serde_json::{Map, Value, json};

use super::vectors::{CLIENT, ISSUED, ISSUER, audience_claims, encode, expected, jwks, parse, sign_claims};
use super::vectors::{sign_with_header, token};
use crate::oidc::{Expected, IdTokenError, Jwks, LogoutScope, LogoutToken, verify, verify_logout};
use crate::time::Timestamp;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Claims that hold for [`check`].
pub(crate) fn logout_claims() -> Value {
    json!({
        "iss": ISSUER, "aud": CLIENT, "iat": ISSUED, "exp": ISSUED + 120, "jti": "bWJq", "sub": "248289761001",
        "sid": "08a5019c", "events": { EVENT: {} },
    })
}

fn check_at(token: &str, keys: &Jwks, secs: i64) -> Result<Map<String, Value>, IdTokenError> {
    let audience = audience_claims();
    let now = Timestamp::from_secs(ISSUED + secs);
    verify_logout(token, keys, &Expected { now, nonce_hash: None, ..expected(&audience) })
}

fn check(claims: &Value) -> Result<LogoutToken, IdTokenError> {
    let claims = check_at(&sign_claims(claims), &jwks(), 60)?;
    LogoutToken::of(&claims)
}

fn with(name: &str, value: Value) -> Result<LogoutToken, IdTokenError> {
    let mut claims = logout_claims();
    claims[name] = value;
    check(&claims)
}

fn without(name: &str) -> Result<LogoutToken, IdTokenError> {
    let mut claims = logout_claims();
    claims.as_object_mut().unwrap().remove(name);
    check(&claims)
}

/// `tests/vectors/logout.json`, which `make_logout.py` made.
fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/logout.json")).unwrap()
}

#[test]
fn tokens_of_providers_are_accepted() {
    let vectors = vectors();
    let keys = parse(&json!({ "keys": vectors["keys"] }));
    let session = LogoutScope::Session("08a5019c-17e1-4977-8f42-65a12843ea02".to_owned());
    for (form, scope) in [
        ("standard", session.clone()),
        ("keycloak", session.clone()),
        ("keycloak_24", session),
        ("oidc_provider", LogoutScope::User("alice".to_owned())),
    ] {
        let token = vectors["tokens"][form].as_str().unwrap();
        let claims = check_at(token, &keys, 60).unwrap();
        let logout = LogoutToken::of(&claims).unwrap();
        assert_eq!((logout.issuer.as_str(), &logout.scope), (ISSUER, &scope), "{form}");
        // The other provider's keys, and a changed signature.
        assert!(check_at(token, &jwks(), 60).is_err(), "{form}");
        let (signed, _) = token.rsplit_once('.').unwrap();
        assert_eq!(
            check_at(&format!("{signed}.{}", "A".repeat(342)), &keys, 60),
            Err(IdTokenError::BadSignature),
            "{form}"
        );
    }
}

#[test]
fn logout_token_without_signature_is_refused() {
    let claims = encode(&logout_claims());
    for algorithm in ["none", "None", "HS256"] {
        let header = encode(&json!({ "alg": algorithm, "typ": "logout+jwt" }));
        for signature in ["", "c2ln"] {
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(check_at(&token, &jwks(), 60), Err(IdTokenError::Algorithm), "{algorithm}");
        }
    }
}

#[test]
fn type_is_that_of_a_logout_token_or_of_any_jwt() {
    let typed = |kind: Value| {
        let header = json!({ "alg": "ES256", "kid": "p256", "typ": kind });
        check_at(&sign_with_header(&header, &logout_claims()), &jwks(), 60).map(drop)
    };
    for kind in ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "JWT", "jwt"] {
        assert_eq!(typed(json!(kind)), Ok(()), "{kind}");
    }
    for kind in [json!("at+jwt"), json!("secevent+jwt"), json!("Logout"), json!(""), json!(null)] {
        assert_eq!(typed(kind.clone()), Err(IdTokenError::Kind), "{kind}");
    }
}

#[test]
fn id_token_is_no_logout_token_and_the_reverse() {
    for algorithm in ["RS256", "ES256"] {
        assert_eq!(check_at(&token(algorithm), &jwks(), 60), Err(IdTokenError::NoLogout), "{algorithm}");
    }
    let audience = audience_claims();
    let id_token = verify(&sign_claims(&logout_claims()), &jwks(), &expected(&audience));
    assert_eq!(id_token, Err(IdTokenError::Kind));
}

#[test]
fn events_must_have_the_event_of_a_logout() {
    for events in [json!({ EVENT: {} }), json!({ EVENT: { "more": 1 }, "revoke_offline_access": true })] {
        assert!(with("events", events.clone()).is_ok(), "{events}");
    }
    for events in [
        json!(null),
        json!({}),
        json!(EVENT),
        json!([EVENT]),
        json!({ EVENT: null }),
        json!({ EVENT: [] }),
        json!({ EVENT: true }),
        json!({ EVENT: "{}" }),
        json!({ "https://schemas.openid.net/event/backchannel-logout": {} }),
        json!({ format!("{EVENT}/"): {} }),
    ] {
        assert_eq!(with("events", events.clone()), Err(IdTokenError::NoLogout), "{events}");
    }
    assert_eq!(without("events"), Err(IdTokenError::NoLogout));
}

#[test]
fn any_nonce_is_refused() {
    for nonce in [json!("n"), json!(""), json!(null), json!(1)] {
        assert_eq!(with("nonce", nonce.clone()), Err(IdTokenError::HasNonce), "{nonce}");
    }
}

#[test]
fn issuer_and_audience_are_checked_as_in_an_id_token() {
    assert_eq!(with("iss", json!("https://evil.example")), Err(IdTokenError::Issuer));
    assert_eq!(without("iss"), Err(IdTokenError::Issuer));
    assert!(with("aud", json!(["other", CLIENT])).is_ok());
    for audience in [json!("other"), json!([]), json!(null)] {
        assert_eq!(with("aud", audience.clone()), Err(IdTokenError::Audience), "{audience}");
    }
    assert_eq!(without("aud"), Err(IdTokenError::Audience));
}

#[test]
fn token_is_valid_until_five_minutes_after_its_issue() {
    let mut claims = logout_claims();
    claims.as_object_mut().unwrap().remove("exp");
    let at = |secs| check_at(&sign_claims(&claims), &jwks(), secs).map(drop);
    assert_eq!(at(299), Ok(()));
    assert_eq!(at(300), Err(IdTokenError::TooOld));
    // A provider whose clock is fast.
    assert_eq!(at(-299), Ok(()));
    assert_eq!(at(-301), Err(IdTokenError::NotYetValid));
    assert_eq!(without("iat"), Err(IdTokenError::TooOld));
    assert_eq!(with("iat", json!(null)), Err(IdTokenError::TooOld));
    assert_eq!(with("iat", json!([])), Err(IdTokenError::Malformed));
}

#[test]
fn expiry_counts_if_the_token_has_one() {
    let at = |secs| check_at(&sign_claims(&logout_claims()), &jwks(), secs).map(drop);
    assert_eq!(at(129), Ok(()));
    assert_eq!(at(130), Err(IdTokenError::Expired));
    assert_eq!(with("exp", json!(ISSUED)), Err(IdTokenError::Expired));
    assert_eq!(with("exp", json!("soon")), Err(IdTokenError::Malformed));
}

#[test]
fn token_needs_an_identifier() {
    for (id, error) in [
        (json!(""), IdTokenError::NoTokenId),
        (json!(null), IdTokenError::NoTokenId),
        (json!(7), IdTokenError::Malformed),
        (json!(["a"]), IdTokenError::Malformed),
    ] {
        assert_eq!(with("jti", id.clone()), Err(error), "{id}");
    }
    assert_eq!(without("jti"), Err(IdTokenError::NoTokenId));
}

#[test]
fn session_goes_before_user_and_one_of_them_is_needed() {
    let scope = |claims: Result<LogoutToken, IdTokenError>| claims.map(|logout| logout.scope);
    assert_eq!(scope(check(&logout_claims())), Ok(LogoutScope::Session("08a5019c".to_owned())));
    assert_eq!(scope(without("sub")), Ok(LogoutScope::Session("08a5019c".to_owned())));
    let user = LogoutScope::User("248289761001".to_owned());
    assert_eq!(scope(without("sid")), Ok(user.clone()));
    let mut claims = logout_claims();
    claims.as_object_mut().unwrap().remove("sid");
    // Some servers write the number (see `subject`).
    claims["sub"] = json!(248_289_761_001_i64);
    assert_eq!(scope(check(&claims)), Ok(user));
    for nobody in [json!(""), json!(null), json!([])] {
        claims["sub"] = nobody.clone();
        assert_eq!(scope(check(&claims)), Err(IdTokenError::NoSubject), "{nobody}");
    }
    claims.as_object_mut().unwrap().remove("sub");
    assert_eq!(scope(check(&claims)), Err(IdTokenError::NoSubject));
    // A session that cannot be read must not end all sessions of the user.
    assert_eq!(scope(with("sid", json!(7))), Err(IdTokenError::Malformed));
}

#[test]
fn token_that_is_too_long_is_refused() {
    let token = sign_claims(&json!({ "sid": "a".repeat(128 * 1024) }));
    assert_eq!(check_at(&token, &jwks(), 60), Err(IdTokenError::TooLarge));
}
