//! Which keys of a JWK Set are used, and for which tokens.

use std::slice::from_ref;

use serde_json::{Value, json};

use jsonwebtoken::Algorithm;

use super::vectors::{
    check_with, claims, encode, jwks_document, parse, private_key, sign, sign_with_header, token,
};
use crate::oidc::{IdTokenError, Jwks, JwksError};

/// The provider's key of that name.
fn key(id: &str) -> Value {
    let document = jwks_document();
    let keys = document["keys"].as_array().unwrap();
    keys.iter().find(|key| key["kid"] == id).unwrap().clone()
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

fn without(mut key: Value, name: &str) -> Value {
    key.as_object_mut().unwrap().remove(name);
    key
}

fn parse_keys(keys: &[Value]) -> Result<Jwks, JwksError> {
    Jwks::parse(json!({ "keys": keys }).to_string().as_bytes())
}

fn check(token: &str, keys: &[Value]) -> Result<(), IdTokenError> {
    check_with(token, &parse_keys(keys).unwrap())
}

/// Keys that say nothing to us, or that are not for signatures.
fn useless_keys() -> Vec<Value> {
    let (rsa, p256, ed25519) = (key("rsa"), key("p256"), key("ed25519"));
    vec![
        json!(null),
        json!("key"),
        json!([]),
        json!({}),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }),
        json!({ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256" }),
        json!({ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "p256" }),
        with(rsa.clone(), "use", json!("enc")),
        with(rsa.clone(), "use", json!("other")),
        with(rsa.clone(), "use", json!(["sig"])),
        with(rsa.clone(), "alg", json!("RSA-OAEP")),
        with(rsa.clone(), "alg", json!("HS256")),
        with(rsa.clone(), "alg", json!("ES256")),
        with(rsa.clone(), "alg", json!("none")),
        with(rsa.clone(), "alg", json!(7)),
        with(rsa.clone(), "kid", json!(7)),
        with(rsa.clone(), "n", json!("")),
        with(rsa.clone(), "n", json!("AQAB")),
        with(rsa.clone(), "n", json!("A".repeat(8 * 1024))),
        with(rsa.clone(), "n", json!("not base64!")),
        without(rsa.clone(), "n"),
        without(rsa, "e"),
        with(p256.clone(), "crv", json!("P-384")),
        with(p256.clone(), "crv", json!("P-521")),
        with(p256.clone(), "crv", json!("secp256k1")),
        with(p256.clone(), "x", json!("AAAA")),
        without(p256, "y"),
        with(ed25519.clone(), "crv", json!("X25519")),
        with(ed25519.clone(), "crv", json!("Ed448")),
        with(ed25519.clone(), "x", json!("")),
        with(ed25519, "x", json!("AAAA")),
    ]
}

#[test]
fn a_key_that_is_of_no_use_is_passed_over_and_the_others_stay() {
    for useless in useless_keys() {
        assert_eq!(parse_keys(from_ref(&useless)).err(), Some(JwksError::NoKey), "{useless}");
    }
    let mut keys = useless_keys();
    keys.push(key("p256"));
    keys.extend(useless_keys());
    assert_eq!(check(&token("ES256"), &keys), Ok(()));
    assert_eq!(check(&token("RS256"), &keys), Err(IdTokenError::UnknownKey));
    assert_eq!(check(&token("EdDSA"), &keys), Err(IdTokenError::UnknownKey));
}

#[test]
fn a_key_may_say_more_than_we_need() {
    let mut key = key("rsa");
    for (name, value) in [
        ("alg", json!("RS256")),
        ("key_ops", json!(["verify"])),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("issuer", json!("https://login.example.com")),
    ] {
        key[name] = value;
    }
    assert_eq!(check(&token("RS256"), &[key]), Ok(()));
}

#[test]
fn what_is_no_key_set_is_refused() {
    for body in ["", "null", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[]"#, "<html>"] {
        assert_eq!(Jwks::parse(body.as_bytes()).err(), Some(JwksError::Malformed), "{body}");
    }
    assert_eq!(Jwks::parse(br#"{"keys":[]}"#).err(), Some(JwksError::NoKey));
    let large = format!("{}{}", jwks_document(), " ".repeat(super::super::MAX_BODY));
    assert_eq!(Jwks::parse(large.as_bytes()).err(), Some(JwksError::Malformed));
}

#[test]
fn only_the_first_hundred_keys_are_kept() {
    let mut keys: Vec<_> =
        (0..99).map(|number| with(key("ed25519"), "kid", json!(number.to_string()))).collect();
    keys.push(key("p256"));
    keys.push(key("p384"));
    assert_eq!(check(&token("ES256"), &keys), Ok(()));
    assert_eq!(check(&token("ES384"), &keys), Err(IdTokenError::UnknownKey));
}

#[test]
fn a_token_is_checked_with_the_key_that_it_names_alone() {
    let renamed = with(key("p256"), "kid", json!("another"));
    assert_eq!(check(&token("ES256"), &[renamed]), Err(IdTokenError::UnknownKey));
    assert_eq!(check(&token("ES256"), &[without(key("p256"), "kid")]), Err(IdTokenError::UnknownKey));
    let impostor = with(key("other-rsa"), "kid", json!("rsa"));
    assert_eq!(check(&token("RS256"), from_ref(&impostor)), Err(IdTokenError::BadSignature));
    // Two keys may have one name while the provider changes them.
    assert_eq!(check(&token("RS256"), &[impostor, key("rsa")]), Ok(()));
}

#[test]
fn a_token_that_names_no_key_is_tried_with_those_that_fit() {
    for header in [json!({ "alg": "ES256" }), json!({ "alg": "ES256", "kid": "" })] {
        let token = sign_with_header(&header, &claims());
        assert_eq!(check_with(&token, &parse(&jwks_document())), Ok(()));
        assert_eq!(check(&token, &[without(key("p256"), "kid")]), Ok(()));
        assert_eq!(check(&token, &[key("rsa"), key("p384")]), Err(IdTokenError::UnknownKey));
    }
    let token = sign_with_header(&json!({ "alg": "RS256" }), &claims());
    assert_eq!(check(&token, &[key("rsa"), key("other-rsa")]), Err(IdTokenError::BadSignature));
}

#[test]
fn a_token_is_tried_with_three_keys_at_most() {
    let other = |id: &str| with(key("other-rsa"), "kid", json!(id));
    let its_own = key("rsa");
    let header = json!({ "alg": "RS256" });
    let message = format!("{}.{}", encode(&header), encode(&claims()));
    let unnamed = sign(&message, &private_key("rsa"), Algorithm::RS256);
    // Keys of other types, and for other algorithms, are no attempts.
    let unfit = [key("p256"), key("p384"), key("ed25519"), with(other("a"), "alg", json!("PS256"))];
    let third = [&unfit[..], &[other("b"), other("c"), its_own.clone()]].concat();
    assert_eq!(check(&unnamed, &third), Ok(()));
    let fourth = [&unfit[..], &[other("b"), other("c"), other("d"), its_own.clone()]].concat();
    assert_eq!(check(&unnamed, &fourth), Err(IdTokenError::TooManyKeys));
    // By its name a key is found wherever it stands.
    assert_eq!(check(&token("RS256"), &fourth), Ok(()));
    let of_one_name = [other("rsa"), other("rsa"), other("rsa"), its_own];
    assert_eq!(check(&token("RS256"), &of_one_name), Err(IdTokenError::TooManyKeys));
}

#[test]
fn a_key_is_for_the_algorithms_of_its_type_and_for_its_own_alone_if_it_has_one() {
    let key_of = |id: &str, algorithm: &str| with(key(id), "alg", json!(algorithm));
    for algorithm in ["RS256", "PS256", "RS512"] {
        assert_eq!(check(&token(algorithm), &[key_of("rsa", algorithm)]), Ok(()));
    }
    for algorithm in ["PS256", "RS384", "RS512"] {
        let checked = check(&token(algorithm), &[key_of("rsa", "RS256")]);
        assert_eq!(checked, Err(IdTokenError::WrongKey), "{algorithm}");
    }
    let other_type = with(key("ed25519"), "kid", json!("rsa"));
    assert_eq!(check(&token("RS256"), &[other_type]), Err(IdTokenError::WrongKey));
}
