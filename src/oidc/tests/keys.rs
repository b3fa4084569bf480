//! Which keys of a JWK Set are used, and for which tokens.

use std::slice::from_ref;

use serde_json::{Value, json};

use jsonwebtoken::Algorithm;

use super::vectors::{
    check_with, claims, encode, jwks_document, parse, private_key, sign, sign_with_header, token, vectors,
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
        with(key("p521"), "crv", json!("P-384")),
        with(key("p521"), "x", key("p521")["y"].clone()),
        // One byte less: RFC 7518 section 6.2.1.2.
        with(key("p521"), "x", json!("A".repeat(87))),
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
fn unusable_key_is_skipped_and_others_stay() {
    for useless in useless_keys() {
        assert!(matches!(parse_keys(from_ref(&useless)), Err(JwksError::NoKey(_))), "{useless}");
    }
    let mut keys = useless_keys();
    keys.push(key("p256"));
    keys.extend(useless_keys());
    assert_eq!(check(&token("ES256"), &keys), Ok(()));
    assert_eq!(check(&token("RS256"), &keys), Err(IdTokenError::UnknownKey));
    assert_eq!(check(&token("EdDSA"), &keys), Err(IdTokenError::UnknownKey));
}

/// The lines of the log for the keys that are not used.
fn reasons(keys: &[Value]) -> Vec<String> {
    let parsed = parse_keys(keys);
    let skipped = match &parsed {
        Ok(keys) => keys.skipped(),
        Err(JwksError::NoKey(skipped)) => skipped,
        Err(JwksError::Malformed) => panic!("it is a set of keys"),
    };
    skipped.iter().map(ToString::to_string).collect()
}

#[test]
fn skipped_keys_have_reasons_for_the_log() {
    let small = vectors()["small_rsa"]["key"].clone();
    for (useless, reason) in [
        (small, r#"key 1 (kid "small") is not used: RSA is taken with 2048 to 4096 bits"#),
        (
            with(key("rsa"), "use", json!("enc")),
            r#"key 1 (kid "rsa") is not used: it is not for signatures (use)"#,
        ),
        (
            with(key("p256"), "crv", json!("secp256k1")),
            r#"key 1 (kid "p256") is not used: of EC, only the curves P-256, P-384 and P-521 are supported (crv)"#,
        ),
        (
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            r#"key 1 (kid "") is not used: it is a shared secret (kty is oct)"#,
        ),
        (
            with(key("rsa"), "alg", json!("RSA-OAEP")),
            r#"key 1 (kid "rsa") is not used: its algorithm is not supported for a key of its type (alg)"#,
        ),
    ] {
        assert_eq!(reasons(from_ref(&useless)), [reason]);
        // Beside a key that is used too.
        let second = reason.replacen("key 1", "key 2", 1);
        assert_eq!(reasons(&[key("p256"), useless]), [second]);
    }
    for useless in useless_keys() {
        assert_eq!(reasons(from_ref(&useless)).len(), 1, "{useless}");
    }
    assert!(reasons(&[key("p256"), key("rsa")]).is_empty());
}

#[test]
fn many_skipped_keys_do_not_fill_the_log() {
    let evil = with(key("rsa"), "kid", json!(format!("x\n[error] forged {}", "y".repeat(10_000))));
    let lines = reasons(&vec![with(evil, "use", json!("enc")); 30]);
    assert_eq!(lines.len(), 16);
    assert!(lines.iter().all(|line| line.len() < 200 && !line.contains('\n')), "{}", lines[0]);
}

#[test]
fn empty_member_of_a_key_counts_as_missing() {
    for name in ["use", "alg", "kid"] {
        let key = with(without(key("p256"), "use"), name, json!(""));
        let unnamed = sign_with_header(&json!({ "alg": "ES256" }), &claims());
        assert_eq!(check(&unnamed, from_ref(&key)), Ok(()), "{name}");
    }
    // Some servers pad what RFC 7517 wants without padding.
    let padded = |name: &str| json!(format!("{}=", key("p256")[name].as_str().unwrap()));
    let key = with(with(key("p256"), "x", padded("x")), "y", padded("y"));
    assert_eq!(check(&token("ES256"), &[key]), Ok(()));
}

#[test]
fn unknown_members_of_a_key_are_ignored() {
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
fn malformed_key_set_is_refused() {
    for body in ["", "null", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[]"#, "<html>"] {
        assert_eq!(Jwks::parse(body.as_bytes()).err(), Some(JwksError::Malformed), "{body}");
    }
    assert_eq!(Jwks::parse(br#"{"keys":[]}"#).err(), Some(JwksError::NoKey(Vec::new())));
    let large = format!("{}{}", jwks_document(), " ".repeat(super::super::MAX_BODY));
    assert_eq!(Jwks::parse(large.as_bytes()).err(), Some(JwksError::Malformed));
}

#[test]
fn first_hundred_keys_are_kept() {
    let mut keys: Vec<_> =
        (0..99).map(|number| with(key("ed25519"), "kid", json!(number.to_string()))).collect();
    keys.push(key("p256"));
    keys.push(key("p384"));
    assert_eq!(check(&token("ES256"), &keys), Ok(()));
    assert_eq!(check(&token("ES384"), &keys), Err(IdTokenError::UnknownKey));
}

#[test]
fn token_is_checked_only_with_its_named_key() {
    let renamed = with(key("p256"), "kid", json!("another"));
    assert_eq!(check(&token("ES256"), &[renamed]), Err(IdTokenError::UnknownKey));
    assert_eq!(check(&token("ES256"), &[without(key("p256"), "kid")]), Err(IdTokenError::UnknownKey));
    let impostor = with(key("other-rsa"), "kid", json!("rsa"));
    assert_eq!(check(&token("RS256"), from_ref(&impostor)), Err(IdTokenError::BadSignature));
    // Two keys may have one name while the provider changes them.
    assert_eq!(check(&token("RS256"), &[impostor, key("rsa")]), Ok(()));
}

#[test]
fn token_without_key_id_is_tried_with_suitable_keys() {
    for header in [json!({ "alg": "ES256" }), json!({ "alg": "ES256", "kid": "" })] {
        let token = sign_with_header(&header, &claims());
        assert_eq!(check_with(&token, &parse(&jwks_document())), Ok(()));
        assert_eq!(check(&token, &[without(key("p256"), "kid")]), Ok(()));
        assert_eq!(check(&token, &[key("rsa"), key("p384")]), Err(IdTokenError::UnknownKey));
    }
    let token = sign_with_header(&json!({ "alg": "RS256" }), &claims());
    assert_eq!(check(&token, &[key("rsa"), key("other-rsa")]), Err(IdTokenError::BadSignature));
}

/// RFC 9864 section 2.2: the name says the curve, and is of the same signatures.
#[test]
fn ed25519_has_two_names() {
    let header = json!({ "alg": "Ed25519", "kid": "ed25519" });
    let message = format!("{}.{}", encode(&header), encode(&claims()));
    let renamed = sign(&message, &private_key("ed25519"), Algorithm::EdDSA);
    for name in ["EdDSA", "Ed25519"] {
        let key = with(key("ed25519"), "alg", json!(name));
        assert_eq!(check(&renamed, from_ref(&key)), Ok(()), "{name}");
        assert_eq!(check(&token("EdDSA"), &[key]), Ok(()), "{name}");
    }
}

#[test]
fn token_is_tried_with_at_most_three_keys() {
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
    // A key is found by its identifier at any position.
    assert_eq!(check(&token("RS256"), &fourth), Ok(()));
    let of_one_name = [other("rsa"), other("rsa"), other("rsa"), its_own];
    assert_eq!(check(&token("RS256"), &of_one_name), Err(IdTokenError::TooManyKeys));
}

#[test]
fn key_type_and_alg_limit_the_algorithms() {
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
