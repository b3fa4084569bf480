//! The rules for the claims of an ID token, each with tokens that keep it and tokens that break it.

use serde_json::{Value, json};

use super::vectors::{
    CLIENT, ISSUED, ISSUER, audience_claims, check, claims, expected, jwks, sign_claims, sign_with_header,
};
use crate::oidc::{Expected, IdTokenError, verify};
use crate::time::Timestamp;

/// The claims with one of them changed.
fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    sign_claims(&claims)
}

fn without(name: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    sign_claims(&claims)
}

fn check_as(token: &str, expected: &Expected<'_>) -> Result<(), IdTokenError> {
    verify(token, &jwks(), expected).map(|_| ())
}

#[test]
fn valid_claims_are_accepted() {
    assert_eq!(check(&sign_claims(&claims())), Ok(()));
}

#[test]
fn issuer_must_be_equal_to_the_byte() {
    for other in
        [json!("https://login.example.com/"), json!("https://evil.example"), json!([ISSUER]), json!(null)]
    {
        assert_eq!(check(&with("iss", other)), Err(IdTokenError::Issuer));
    }
    assert_eq!(check(&without("iss")), Err(IdTokenError::Issuer));
    let audience = audience_claims();
    let skipped = Expected { skip_issuer_verification: true, ..expected(&audience) };
    assert_eq!(check_as(&with("iss", json!("https://evil.example")), &skipped), Ok(()));
}

#[test]
fn audience_must_have_this_client() {
    for audience in [json!(CLIENT), json!([CLIENT]), json!(["other", CLIENT]), json!([7, CLIENT])] {
        assert_eq!(check(&with("aud", audience)), Ok(()));
    }
    for audience in [
        json!("other"),
        json!(["other"]),
        json!([]),
        json!([[CLIENT]]),
        json!({ "0": CLIENT }),
        json!(null),
        json!(7),
        json!(""),
        json!(CLIENT.to_lowercase()),
        json!(format!("{CLIENT} ")),
    ] {
        assert_eq!(check(&with("aud", audience.clone())), Err(IdTokenError::Audience), "{audience}");
    }
    assert_eq!(check(&without("aud")), Err(IdTokenError::Audience));
}

#[test]
fn extra_audience_is_accepted() {
    let (audience, extra) = (audience_claims(), ["mobile".to_owned()]);
    let expected = Expected { extra_audiences: &extra, ..expected(&audience) };
    assert_eq!(check_as(&with("aud", json!(["mobile"])), &expected), Ok(()));
    assert_eq!(check_as(&with("aud", json!("other")), &expected), Err(IdTokenError::Audience));
}

#[test]
fn first_present_audience_claim_decides() {
    let names = ["client_id".to_owned(), "aud".to_owned()];
    let expected = expected(&names);
    assert_eq!(check_as(&sign_claims(&claims()), &expected), Ok(()));
    assert_eq!(check_as(&with("client_id", json!("other")), &expected), Err(IdTokenError::Audience));
    assert_eq!(check_as(&with("client_id", json!(null)), &expected), Err(IdTokenError::Audience));
    let mut claims = claims();
    claims["client_id"] = json!(CLIENT);
    claims["aud"] = json!("other");
    assert_eq!(check_as(&sign_claims(&claims), &expected), Ok(()));
}

#[test]
fn token_authorized_for_another_client_is_refused() {
    assert_eq!(check(&with("azp", json!(CLIENT))), Ok(()));
    assert_eq!(check(&with("azp", json!(null))), Ok(()));
    for other in [json!("other"), json!([CLIENT]), json!("")] {
        assert_eq!(check(&with("azp", other)), Err(IdTokenError::AuthorizedParty));
    }
    let mut claims = claims();
    claims["aud"] = json!([CLIENT, "other"]);
    assert_eq!(check(&sign_claims(&claims)), Ok(()));
    claims["azp"] = json!("other");
    assert_eq!(check(&sign_claims(&claims)), Err(IdTokenError::AuthorizedParty));
}

#[test]
fn token_of_another_type_is_refused() {
    let typed = |kind: Value| {
        let header = json!({ "alg": "ES256", "kid": "p256", "typ": kind });
        check(&sign_with_header(&header, &claims()))
    };
    for kind in
        ["JWT", "jwt", "application/jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"]
    {
        assert_eq!(typed(json!(kind)), Ok(()), "{kind}");
    }
    // OpenID Connect Back-Channel Logout 2.4, RFC 8417 2.3, RFC 9449 4.2, RFC 9101 10.8, RFC 9701 5.
    for kind in [
        json!("logout+jwt"),
        json!("application/logout+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!("oauth-authz-req+jwt"),
        json!("token-introspection+jwt"),
        json!("x/jwt"),
        json!("application/application/jwt"),
        json!("JWT "),
        json!(""),
        json!(null),
        json!(["JWT"]),
    ] {
        assert_eq!(typed(kind.clone()), Err(IdTokenError::Kind), "{kind}");
    }
    let logout = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    for events in [logout, json!({}), json!([])] {
        assert_eq!(check(&with("events", events.clone())), Err(IdTokenError::Kind), "{events}");
    }
}

#[test]
fn token_without_expiry_is_refused() {
    assert_eq!(check(&without("exp")), Err(IdTokenError::Expired));
    assert_eq!(check(&with("exp", json!(null))), Err(IdTokenError::Expired));
}

#[test]
fn token_is_accepted_ten_seconds_after_expiry() {
    let audience = audience_claims();
    let at = |secs, nanos| {
        let expected = Expected { now: Timestamp::new(secs, nanos), ..expected(&audience) };
        check_as(&sign_claims(&claims()), &expected)
    };
    let expiry = ISSUED + 3600;
    assert_eq!(at(expiry, 0), Ok(()));
    assert_eq!(at(expiry + 9, 999_999_999), Ok(()));
    assert_eq!(at(expiry + 10, 0), Err(IdTokenError::Expired));
    assert_eq!(at(expiry + 3600, 0), Err(IdTokenError::Expired));
    assert_eq!(at(i64::MAX, 0), Err(IdTokenError::Expired));
}

#[test]
fn token_from_the_future_is_refused() {
    let now = ISSUED + 60;
    for name in ["nbf", "iat"] {
        assert_eq!(check(&with(name, json!(now + 300))), Ok(()));
        assert_eq!(check(&with(name, json!(now + 301))), Err(IdTokenError::NotYetValid));
        assert_eq!(check(&with(name, json!(i64::MAX))), Err(IdTokenError::NotYetValid));
        assert_eq!(check(&with(name, json!(-1))), Ok(()));
        assert_eq!(check(&without(name)), Ok(()));
    }
}

#[test]
fn date_may_be_any_number_in_range() {
    let now = 1_700_000_060_f64;
    assert_eq!(check(&with("exp", json!(now + 0.5))), Ok(()));
    assert_eq!(check(&with("exp", json!(1.700_003_6e9))), Ok(()));
    assert_eq!(check(&with("exp", json!(now - 10.5))), Err(IdTokenError::Expired));
    for past in [json!(0), json!(-1), json!(i64::MIN), json!(-1e300), json!(0.5), json!(-0.5)] {
        assert_eq!(check(&with("exp", past.clone())), Err(IdTokenError::Expired), "{past}");
    }
    let texts = ["", "soon", "0x10", "1700003600 s", " 1700003600", "1e300", "1e999", "NaN", "\u{661}"]
        .map(Value::from);
    let others = [json!(true), json!([]), json!({}), json!(u64::MAX), json!(1e300)];
    for bad in texts.into_iter().chain(others) {
        for name in ["exp", "nbf", "iat"] {
            assert_eq!(check(&with(name, bad.clone())), Err(IdTokenError::Malformed), "{name} {bad}");
        }
    }
    assert_eq!(check(&with("exp", json!(i64::MAX))), Ok(()));
}

/// As go-oidc reads them (`jsonTime`), by Go's `json.Number`.
#[test]
fn date_may_be_a_number_in_a_string() {
    let now = ISSUED + 60;
    for future in [now + 1, now + 3600] {
        for date in [future.to_string(), format!("{future}.5")] {
            assert_eq!(check(&with("exp", json!(date))), Ok(()), "{date}");
        }
    }
    for past in [(now - 11).to_string(), "0".to_owned(), "-1".to_owned(), "1e9".to_owned()] {
        assert_eq!(check(&with("exp", json!(past))), Err(IdTokenError::Expired), "{past}");
    }
    for name in ["nbf", "iat"] {
        assert_eq!(check(&with(name, json!((now + 300).to_string()))), Ok(()));
        assert_eq!(check(&with(name, json!((now + 301).to_string()))), Err(IdTokenError::NotYetValid));
    }
}

#[test]
fn nonce_must_be_that_of_the_authorization_request() {
    for other in [
        json!("n-0S6_WzA2Mk"),
        json!("n-0S6_WzA2Mj0"),
        json!("n-0S6_WzA2M"),
        json!(""),
        json!(null),
        json!(7),
    ] {
        assert_eq!(check(&with("nonce", other)), Err(IdTokenError::Nonce));
    }
    assert_eq!(check(&without("nonce")), Err(IdTokenError::Nonce));
    let audience = audience_claims();
    let unasked = Expected { nonce_hash: None, ..expected(&audience) };
    assert_eq!(check_as(&without("nonce"), &unasked), Ok(()));
    assert_eq!(check_as(&with("nonce", json!("other")), &unasked), Ok(()));
}
