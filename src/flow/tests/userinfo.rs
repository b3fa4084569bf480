//! Userinfo as a signed JWT (OpenID Connect Core 5.3.2), and whom an answer is about.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::log::lines_of;
use super::{MINUTE, Site};
use crate::oidc::tests::vectors::{
    CLIENT, ISSUED, ISSUER, encode, jwks_document, private_key, sign, sign_claims, sign_with_header,
};

const SUBJECT: &str = "248289761001";

/// A site whose ID tokens have no email address, so that userinfo is asked.
fn site(options: Value) -> Site {
    let site = Site::new(options);
    site.provider.set_claim("email", Value::Null);
    site
}

/// What a provider says about Bob.
fn claims(more: Value) -> Value {
    let mut claims = json!({ "sub": SUBJECT, "email": "bob@example.com" });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn status(site: &Site, userinfo: String) -> u16 {
    site.provider.set_userinfo(userinfo.into());
    site.browser().sign_in(&site.provider, "/").status().as_u16()
}

#[test]
fn valid_signed_userinfo_is_accepted() {
    let site = site(json!({ "oidc_extra_audiences": ["mobile"] }));
    for more in [
        json!({}),
        json!({ "iss": ISSUER, "aud": CLIENT }),
        json!({ "iss": null, "aud": ["other", CLIENT], "exp": ISSUED + 60, "iat": ISSUED }),
        json!({ "aud": "mobile", "azp": "other", "nonce": "another" }),
    ] {
        site.provider.set_userinfo(sign_claims(&claims(more.clone())).into());
        assert_eq!(site.signed_in().who().as_deref(), Some("bob@example.com"), "{more}");
    }
    // A server that ends the body with a line, and says what kind of token it is.
    let typed = sign_with_header(&json!({ "alg": "ES256", "kid": "p256", "typ": "JWT" }), &claims(json!({})));
    site.provider.set_userinfo(format!("{typed}\n").into());
    assert_eq!(site.signed_in().who().as_deref(), Some("bob@example.com"));
}

#[test]
fn invalid_signed_userinfo_fails_sign_in() {
    let site = site(json!({}));
    assert_eq!(status(&site, sign_claims(&claims(json!({})))), 302);
    for more in [
        json!({ "sub": "mallory" }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "iss": "https://evil.example" }),
        json!({ "aud": "other" }),
        json!({ "aud": ["other"] }),
        json!({ "aud": [] }),
        json!({ "exp": ISSUED - 3600 }),
        json!({ "exp": "soon" }),
        json!({ "iat": ISSUED + 3600 }),
        json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
    ] {
        assert_eq!(status(&site, sign_claims(&claims(more.clone()))), 502, "{more}");
    }
}

#[test]
fn forged_userinfo_signature_fails_sign_in() {
    let site = site(json!({}));
    let claims = claims(json!({ "iss": ISSUER, "aud": CLIENT }));
    let good = sign_claims(&claims);
    let (_, signature) = good.rsplit_once('.').unwrap();
    let headed = |header: Value| format!("{}.{}", encode(&header), encode(&claims));
    let key = &jwks_document()["keys"][0];
    let secret = jsonwebtoken::EncodingKey::from_secret(key.to_string().as_bytes());
    for forged in [
        format!("{}.", headed(json!({ "alg": "none" }))),
        format!("{}.{signature}", headed(json!({ "alg": "none" }))),
        sign(&headed(json!({ "alg": "HS256" })), &secret, Algorithm::HS256),
        format!("{}.{}", headed(json!({ "alg": "ES256", "kid": "p256" })), "A".repeat(86)),
        sign(&headed(json!({ "alg": "ES256", "kid": "ed25519" })), &private_key("p256"), Algorithm::ES256),
        sign_with_header(&json!({ "alg": "ES256", "kid": "p256", "typ": "logout+jwt" }), &claims),
        sign_with_header(&json!({ "alg": "ES256", "kid": "p256", "crit": ["exp"] }), &claims),
    ] {
        assert_eq!(status(&site, forged.clone()), 502, "{forged}");
    }
}

#[test]
fn encrypted_userinfo_is_refused_with_its_own_reason() {
    let site = site(json!({}));
    let header = encode(&json!({ "alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT" }));
    let lines = lines_of(|| assert_eq!(status(&site, format!("{header}.AAAA.AAAA.AAAA.AAAA")), 502));
    let named = lines.iter().any(|line| line.contains("userinfo: it is encrypted"));
    assert!(named, "{lines:?}");
}

#[test]
fn checks_switched_off_for_id_tokens_are_off_for_userinfo() {
    let options =
        json!({ "insecure_oidc_skip_issuer_verification": true, "oidc_audience_claims": ["client_id"] });
    let site = site(options);
    site.provider.set_claim("client_id", json!(CLIENT));
    assert_eq!(
        status(&site, sign_claims(&claims(json!({ "iss": "https://other.example", "aud": "x" })))),
        302
    );
    assert_eq!(status(&site, sign_claims(&claims(json!({ "client_id": "x" })))), 502);
}

#[test]
fn unknown_key_of_userinfo_is_fetched() {
    let site = site(json!({}));
    // Signs the ID token by the key of its name, and userinfo by one that comes later.
    let header = json!({ "alg": "EdDSA", "kid": "new" });
    let message = format!("{}.{}", encode(&header), encode(&claims(json!({}))));
    let userinfo = sign(&message, &private_key("ed25519"), Algorithm::EdDSA);
    assert_eq!(status(&site, userinfo.clone()), 502);
    let mut keys = jwks_document();
    let mut new = keys["keys"][4].clone();
    new["kid"] = json!("new");
    keys["keys"].as_array_mut().unwrap().push(new);
    site.provider.set_keys(keys);
    site.world.pass(MINUTE);
    let before = site.provider.calls("/jwks");
    assert_eq!(status(&site, userinfo), 302);
    assert_eq!(site.provider.calls("/jwks"), before + 1);
}

#[test]
fn refresh_with_invalid_userinfo_keeps_user_and_new_tokens() {
    let site = site(json!({ "cookie_refresh": "30m" }));
    let bob = || sign_claims(&claims(json!({})));
    site.provider.set_userinfo(bob().into());
    let mut browser = site.signed_in();
    let mallory = claims(json!({ "email": "mallory@example.com", "aud": "other" }));
    for userinfo in [sign_claims(&mallory), bob()] {
        site.provider.set_userinfo(userinfo.into());
        site.world.pass(31 * MINUTE);
        assert_eq!(browser.who().as_deref(), Some("bob@example.com"));
    }
    let grants = site.provider.grants("refresh_token");
    assert!(grants[1].contains("refresh_token=refresh-token-2"), "{grants:?}");
}

/// Servers that write a number in one place and a string in the other.
#[test]
fn userinfo_subject_may_be_number_or_string() {
    for (in_the_token, in_userinfo, expected) in [
        (json!(42), json!("42"), 302),
        (json!("42"), json!(42), 302),
        (json!(42), json!(42), 302),
        // More digits than a double has.
        (json!(9_007_199_254_740_993_u64), json!("9007199254740993"), 302),
        (json!(9_007_199_254_740_993_u64), json!("9007199254740992"), 502),
        (json!(42), json!("042"), 502),
        (json!(42), json!("43"), 502),
        (json!("true"), json!(true), 502),
        (json!("[42]"), json!([42]), 502),
    ] {
        let site = site(json!({}));
        site.provider.set_claim("sub", in_the_token.clone());
        for userinfo in [json!({ "sub": in_userinfo, "email": "bob@example.com" }).to_string(), {
            sign_claims(&json!({ "sub": in_userinfo, "email": "bob@example.com" }))
        }] {
            assert_eq!(status(&site, userinfo), expected, "{in_the_token} {in_userinfo}");
        }
    }
}

#[test]
fn refresh_compares_numeric_subjects() {
    for (renewed, is_same) in
        [(json!(42), true), (json!("42"), true), (json!(43), false), (json!("43"), false)]
    {
        let site = Site::new(json!({ "cookie_refresh": "30m" }));
        site.provider.set_claim("sub", json!(42));
        let mut browser = site.signed_in();
        site.provider.set_claim("sub", renewed.clone());
        site.provider.set_claim("email", json!("new@example.com"));
        site.world.pass(31 * MINUTE);
        assert_eq!(browser.who().as_deref() == Some("new@example.com"), is_same, "{renewed}");
    }
}
