//! A provider for tests: its keys, tokens that another implementation signed, and tokens as a test needs
//! them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::oidc::{Expected, IdTokenError, Jwks, verify};
use crate::time::Timestamp;

pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const CLIENT: &str = "s6BhdRkqt3";
pub(crate) const NONCE: &str = "n-0S6_WzA2Mj";
/// When the tokens of `oidc.json` were made; they live for an hour.
pub(crate) const ISSUED: i64 = 1_700_000_000;

/// `tests/vectors/oidc.json`, which `make_oidc.py` made.
pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/oidc.json")).unwrap()
}

/// What the provider's `jwks_uri` answers.
pub(crate) fn jwks_document() -> Value {
    json!({ "keys": vectors()["keys"] })
}

pub(crate) fn jwks() -> Jwks {
    parse(&jwks_document())
}

pub(crate) fn parse(document: &Value) -> Jwks {
    Jwks::parse(document.to_string().as_bytes()).unwrap()
}

/// The token that another implementation signed with `algorithm`.
pub(crate) fn token(algorithm: &str) -> String {
    vectors()["tokens"][algorithm].as_str().unwrap().to_owned()
}

/// Claims that hold for [`check`].
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "248289761001", "aud": CLIENT, "nonce": NONCE,
        "iat": ISSUED, "exp": ISSUED + 3600,
    })
}

/// Header and claims, signed with ES256 and the provider's key, regardless of the algorithm in the header.
pub(crate) fn sign_with_header(header: &Value, claims: &Value) -> String {
    sign(&format!("{}.{}", encode(header), encode(claims)), &private_key("p256"), Algorithm::ES256)
}

pub(crate) fn sign_claims(claims: &Value) -> String {
    sign_with_header(&json!({ "alg": "ES256", "kid": "p256" }), claims)
}

pub(crate) fn sign(message: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub(crate) fn private_key(id: &str) -> EncodingKey {
    let der = decode(vectors()["private"][id].as_str().unwrap());
    match id {
        "rsa" => EncodingKey::from_rsa_der(&der),
        "p256" => EncodingKey::from_ec_der(&der),
        _ => EncodingKey::from_ed_der(&der),
    }
}

pub(crate) fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

pub(crate) fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

pub(crate) fn audience_claims() -> [String; 1] {
    ["aud".to_owned()]
}

/// What the tokens of `vectors.json` must say, a minute after they were made.
pub(crate) fn expected(audience_claims: &[String]) -> Expected<'_> {
    Expected {
        issuer: ISSUER,
        skip_issuer_verification: false,
        checks_party: true,
        client_id: CLIENT,
        extra_audiences: &[],
        audience_claims,
        nonce_hash: Some(NONCE),
        now: Timestamp::from_secs(ISSUED + 60),
    }
}

/// Whether a token holds at this provider.
pub(crate) fn check(token: &str) -> Result<(), IdTokenError> {
    check_with(token, &jwks())
}

pub(crate) fn check_with(token: &str, jwks: &Jwks) -> Result<(), IdTokenError> {
    verify(token, jwks, &expected(&audience_claims())).map(|_| ())
}
