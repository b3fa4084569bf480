//! The provider's keys (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).

use std::fmt;

use serde_json::{Map, Value};

use super::json::object;
use super::public_key::{Algorithm, PublicKey};

/// So many keys are kept.
const MAX_KEYS: usize = 100;

/// The public keys that the provider signs ID tokens with.
#[derive(Clone, Debug)]
pub struct Jwks {
    keys: Vec<Key>,
}

/// One key. It is for signatures, and never a shared secret.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// `kid`, the key's name.
    pub(super) id: Option<String>,
    /// The key itself.
    pub(super) key: PublicKey,
    /// The one algorithm that the provider uses it with, where it says so (`alg`).
    only: Option<Algorithm>,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwksError {
    /// Not a JSON object with `keys`, or too large.
    Malformed,
    /// None of the keys can be used for a signature.
    NoKey,
}

impl Jwks {
    /// Reads a JWK Set. A key that is not understood, or not for signatures, is passed over (RFC 7517
    /// section 5); that none is left is an error.
    pub fn parse(body: &[u8]) -> Result<Self, JwksError> {
        let document = object(body).ok_or(JwksError::Malformed)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(JwksError::Malformed)?;
        let keys: Vec<_> = keys.iter().filter_map(Key::parse).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(JwksError::NoKey) } else { Ok(Self { keys }) }
    }

    /// The keys of that name; all of them where the token names none.
    pub(super) fn named(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| id.is_none() || key.id.as_deref() == id)
    }
}

impl Key {
    fn parse(jwk: &Value) -> Option<Self> {
        let jwk = jwk.as_object()?;
        let key = PublicKey::from_jwk(jwk)?;
        if optional(jwk, "use")?.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let only = match optional(jwk, "alg")? {
            Some(name) => Some(Algorithm::parse(name).filter(|only| key.fits(*only))?),
            None => None,
        };
        let id = optional(jwk, "kid")?.map(str::to_owned);
        Some(Self { id, key, only })
    }

    /// Whether the key is one for this algorithm. A key with `alg` is for that one alone (RFC 8725 section
    /// 3.1).
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.key.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }
}

/// A member that may be left out, and is a string where it is there. Nothing where it is something else.
fn optional<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<Option<&'a str>> {
    match jwk.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_str().map(Some),
    }
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the document is not a JWK Set, or too large",
            Self::NoKey => "none of the keys can be used for the signature of an ID token",
        })
    }
}
