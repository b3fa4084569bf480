//! The provider's keys (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).

use std::fmt;

use serde_json::{Map, Value};

use super::json::object;
use super::public_key::{Algorithm, PublicKey};

/// How many keys are kept.
const MAX_KEYS: usize = 100;

/// For how many skipped keys the log gives the reason.
const MAX_SKIPPED: usize = 16;

/// How many characters of a key's identifier are logged.
const MAX_NAME: usize = 64;

/// The public keys that the provider signs ID tokens with.
#[derive(Clone, Debug)]
pub struct Jwks {
    keys: Vec<Key>,
    skipped: Vec<SkippedKey>,
}

/// A key of the document that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its position in the document, from 1.
    position: usize,
    /// Its identifier, truncated for the log.
    id: String,
    /// The reason.
    reason: &'static str,
}

/// A public key for signatures, never a shared secret.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// `kid`, the key's identifier.
    pub(super) id: Option<String>,
    /// The key itself.
    pub(super) key: PublicKey,
    /// The only algorithm of this key, if the document names it (`alg`).
    only: Option<Algorithm>,
}

/// Why there are no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksError {
    /// Not a JSON object with `keys`, or too large.
    Malformed,
    /// No key can be used for signatures.
    NoKey(Vec<SkippedKey>),
}

impl Jwks {
    /// Reads a JWK Set. A key that is unknown, or not for signatures, is skipped (RFC 7517 section 5). It is an error if no
    /// key is left.
    pub fn parse(body: &[u8]) -> Result<Self, JwksError> {
        let document = object(body).ok_or(JwksError::Malformed)?;
        let all = document.get("keys").and_then(Value::as_array).ok_or(JwksError::Malformed)?;
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (position, jwk) in (1_usize..).zip(all) {
            if keys.len() == MAX_KEYS {
                skipped.push(SkippedKey::new(position, jwk, "100 keys are kept, and no more"));
                break;
            }
            match Key::parse(jwk) {
                Ok(key) => keys.push(key),
                Err(reason) if skipped.len() < MAX_SKIPPED => {
                    skipped.push(SkippedKey::new(position, jwk, reason));
                }
                Err(_) => {}
            }
        }
        if keys.is_empty() { Err(JwksError::NoKey(skipped)) } else { Ok(Self { keys, skipped }) }
    }

    /// The first skipped keys of the document.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The keys with that identifier; all keys if the token has none.
    pub(super) fn named(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| id.is_none() || key.id.as_deref() == id)
    }
}

impl Key {
    /// The key, or the reason to skip it.
    fn parse(jwk: &Value) -> Result<Self, &'static str> {
        let jwk = jwk.as_object().ok_or("it is not a JSON object")?;
        let usage = optional(jwk, "use")?;
        if usage.is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures (use)");
        }
        let key = PublicKey::from_jwk(jwk)?;
        let only = match optional(jwk, "alg")? {
            Some(name) => {
                let only = Algorithm::parse(name).filter(|only| key.fits(*only));
                Some(only.ok_or("its algorithm is not supported for a key of its type (alg)")?)
            }
            None => None,
        };
        let id = optional(jwk, "kid")?.map(str::to_owned);
        Ok(Self { id, key, only })
    }

    /// Whether the key is for this algorithm. A key with `alg` is only for that one (RFC 8725 section 3.1).
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.key.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }
}

impl SkippedKey {
    fn new(position: usize, jwk: &Value, reason: &'static str) -> Self {
        let id = jwk.get("kid").and_then(Value::as_str).unwrap_or_default();
        Self { position, id: id.chars().take(MAX_NAME).collect(), reason }
    }
}

/// An optional member: a string, or missing. Some servers write an empty string instead.
fn optional<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match jwk.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err("its use, alg or kid is not a string"),
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted: it is the provider's text.
        write!(f, "key {} (kid {:?}) is not used: {}", self.position, self.id, self.reason)
    }
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the document is not a JWK Set, or too large",
            Self::NoKey(_) => "none of the keys can be used for the signature of an ID token",
        })
    }
}
