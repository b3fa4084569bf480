//! Forged and malformed tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::vectors::{
    audience_claims, check, claims, decode, encode, expected, private_key, sign, sign_with_header, token,
    vectors,
};
use crate::oidc::{IdTokenError, MAX_TOKEN, unverified_subject, verify};

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "kid": "p256" })
}

#[test]
fn unsigned_token_is_refused() {
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let message = format!("{}.{}", encode(&header(algorithm)), encode(&claims()));
        assert_eq!(check(&format!("{message}.")), Err(IdTokenError::Algorithm));
        assert_eq!(check(&format!("{message}.AAAA")), Err(IdTokenError::Algorithm));
        assert_eq!(check(&message), Err(IdTokenError::Malformed));
    }
}

#[test]
fn public_key_is_not_used_as_hmac_secret() {
    let document = vectors();
    let key = &document["keys"][0];
    assert_eq!(key["kty"], "RSA");
    let secrets =
        [key.to_string().into_bytes(), key["n"].as_str().unwrap().into(), decode(key["n"].as_str().unwrap())];
    for secret in secrets {
        for (name, algorithm) in
            [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            let header = json!({ "alg": name, "kid": "rsa" });
            let message = format!("{}.{}", encode(&header), encode(&claims()));
            let token = sign(&message, &EncodingKey::from_secret(&secret), algorithm);
            assert_eq!(check(&token), Err(IdTokenError::Algorithm), "{name}");
        }
    }
}

#[test]
fn unknown_algorithms_are_refused() {
    for algorithm in ["ES521", "ES256K", "RS1", "rs256", "EDDSA", "Ed448", "RSA-OAEP", "dir"] {
        let token = sign_with_header(&header(algorithm), &claims());
        assert_eq!(check(&token), Err(IdTokenError::Algorithm), "{algorithm}");
    }
    for algorithm in [json!(null), json!(7), json!(["ES256"])] {
        let header = json!({ "alg": algorithm, "kid": "p256" });
        assert_eq!(check(&sign_with_header(&header, &claims())), Err(IdTokenError::Malformed));
    }
    let header = json!({ "kid": "p256" });
    assert_eq!(check(&sign_with_header(&header, &claims())), Err(IdTokenError::Malformed));
}

#[test]
fn signature_of_another_algorithm_is_refused() {
    for (header_says, key, signed_with) in [
        ("PS256", "rsa", Algorithm::RS256),
        ("RS256", "rsa", Algorithm::PS256),
        ("RS512", "rsa", Algorithm::RS256),
    ] {
        let header = json!({ "alg": header_says, "kid": key });
        let message = format!("{}.{}", encode(&header), encode(&claims()));
        let token = sign(&message, &private_key(key), signed_with);
        assert_eq!(check(&token), Err(IdTokenError::BadSignature), "{header_says}");
    }
    let token = sign_with_header(&json!({ "alg": "EdDSA", "kid": "p256" }), &claims());
    assert_eq!(check(&token), Err(IdTokenError::WrongKey));
}

#[test]
fn signature_is_checked_last() {
    let forged = |claims: &Value| {
        let message = format!("{}.{}", encode(&header("ES256")), encode(claims));
        format!("{message}.{}", "A".repeat(86))
    };
    assert_eq!(check(&forged(&claims())), Err(IdTokenError::BadSignature));
    let mut expired = claims();
    expired["exp"] = json!(1);
    assert_eq!(check(&forged(&expired)), Err(IdTokenError::Expired));
    let mut for_others = claims();
    for_others["aud"] = json!("another");
    assert_eq!(check(&forged(&for_others)), Err(IdTokenError::Audience));
}

#[test]
fn key_inside_the_token_is_not_used() {
    let document = vectors();
    let own = &document["keys"][4];
    for (name, value) in [
        ("jwk", own.clone()),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
    ] {
        let mut header = json!({ "alg": "EdDSA" });
        header[name] = value;
        let message = format!("{}.{}", encode(&header), encode(&claims()));
        let token = sign(&message, &private_key("ed25519"), Algorithm::EdDSA);
        let audience = audience_claims();
        let keys = super::vectors::parse(&json!({ "keys": [document["keys"][0]] }));
        let verified = verify(&token, &keys, &expected(&audience));
        assert_eq!(verified, Err(IdTokenError::UnknownKey), "{name}");
    }
}

#[test]
fn hostile_key_id_is_only_a_name() {
    for id in ["../../dev/null", "p256\0", "P256", "p256 ", "' or 1=1", "unknown"] {
        let header = json!({ "alg": "ES256", "kid": id });
        assert_eq!(check(&sign_with_header(&header, &claims())), Err(IdTokenError::UnknownKey), "{id}");
    }
    for id in [json!(null), json!(7), json!(["p256"]), json!({ "kid": "p256" })] {
        let header = json!({ "alg": "ES256", "kid": id });
        assert_eq!(check(&sign_with_header(&header, &claims())), Err(IdTokenError::Malformed));
    }
}

#[test]
fn critical_extension_is_refused() {
    for value in [json!(["b64"]), json!(["exp"]), json!([]), json!(null)] {
        let header = json!({ "alg": "ES256", "kid": "p256", "crit": value, "b64": true });
        assert_eq!(check(&sign_with_header(&header, &claims())), Err(IdTokenError::Critical));
    }
}

#[test]
fn encrypted_token_is_refused() {
    // The example of RFC 7516 section 3.3 has five parts as well.
    let header = encode(&json!({ "alg": "RSA-OAEP", "enc": "A256GCM" }));
    assert_eq!(check(&format!("{header}.AAAA.AAAA.AAAA.AAAA")), Err(IdTokenError::Encrypted));
    for parts in ["", ".", "a.b", "a.b.c.d", "a.b.c.d.e.f"] {
        assert_eq!(check(parts), Err(IdTokenError::Malformed), "{parts}");
    }
}

#[test]
fn changed_payload_is_refused() {
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let token = token(algorithm);
        let parts: Vec<_> = token.split('.').collect();
        let mut admin = claims();
        admin["sub"] = json!("admin");
        let forged = format!("{}.{}.{}", parts[0], encode(&admin), parts[2]);
        assert_eq!(check(&forged), Err(IdTokenError::BadSignature), "{algorithm}");
        // The same claims in other bytes were not signed either.
        let spaced = URL_SAFE_NO_PAD.encode(format!("{} ", claims()));
        let forged = format!("{}.{spaced}.{}", parts[0], parts[2]);
        assert_eq!(check(&forged), Err(IdTokenError::BadSignature), "{algorithm}");
    }
}

#[test]
fn signed_payload_other_than_an_object_is_refused() {
    for payload in ["null", "[]", "\"x\"", "", "{", "{}x", "\u{0}"] {
        let header = encode(&header("ES256"));
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let token = sign(&message, &private_key("p256"), Algorithm::ES256);
        assert_eq!(check(&token), Err(IdTokenError::Malformed), "{payload}");
    }
}

#[test]
fn truncated_token_is_refused() {
    let token = token("ES256");
    for end in 0..token.len() {
        let (head, tail) = token.split_at(end);
        assert!(check(head).is_err(), "{end}");
        assert_eq!(check(tail).is_err(), end > 0, "{end}");
    }
}

#[test]
fn token_with_any_changed_byte_is_refused() {
    let token = token("EdDSA");
    for (position, byte) in token.char_indices() {
        for other in ['A', '_', '.', '=', ' ', '\n', '\0', '\u{e9}'] {
            let mut changed = token.clone();
            changed.remove(position);
            changed.insert(position, other);
            assert_eq!(check(&changed).is_err(), other != byte, "{position} {other:?}");
        }
    }
}

#[test]
fn padding_and_white_space_in_token_are_refused() {
    let token = token("ES256");
    for changed in [format!("{token}="), format!("{token}\n"), format!(" {token}"), format!("{token}.")] {
        assert!(check(&changed).is_err(), "{changed:?}");
    }
}

#[test]
fn too_long_token_is_refused_unread() {
    let mut large = claims();
    large["groups"] = json!("g".repeat(1024 * 1024));
    let token = sign_with_header(&header("ES256"), &large);
    assert_eq!(check(&token), Err(IdTokenError::TooLarge));
    assert_eq!(check(&".".repeat(MAX_TOKEN + 1)), Err(IdTokenError::TooLarge));
    assert_eq!(unverified_subject(token.as_bytes()), None);
}

#[test]
fn deep_json_does_not_overflow_the_stack() {
    let deep = URL_SAFE_NO_PAD.encode(format!("{{\"a\":{}", "[".repeat(90_000)));
    assert_eq!(check(&format!("{deep}.AAAA.AAAA")), Err(IdTokenError::Malformed));
    assert_eq!(unverified_subject(format!("AAAA.{deep}.AAAA").as_bytes()), None);
}

#[test]
fn unverified_subject_is_read_from_any_token() {
    let token = token("RS256");
    assert_eq!(unverified_subject(token.as_bytes()).as_deref(), Some("248289761001"));
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    assert_eq!(unverified_subject(format!("{unsigned}.").as_bytes()).as_deref(), Some("248289761001"));
    let of = |subject: Value| format!("e30.{}.", encode(&json!({ "sub": subject })));
    assert_eq!(unverified_subject(of(json!(7)).as_bytes()).as_deref(), Some("7"));
    let list = of(json!(["7"]));
    for bad in [b"".as_slice(), b"a", b"a.b", b"..", b"\xff.\xff.\xff", b"e30.e30.", list.as_bytes()] {
        assert_eq!(unverified_subject(bad), None);
    }
}
