//! A signed token in the compact form of RFC 7515 section 3.1:
//!
//! ```text
//! BASE64URL(header) . BASE64URL(payload) . BASE64URL(signature)
//! └──────────── signed ────────────────┘
//! ```

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::id_token_error::IdTokenError;
use super::jwks::{Jwks, Key};
use super::public_key::Algorithm;

/// How many keys are tried for a token: the provider's last, present and next one. An attacker can send tokens, and each
/// key costs a worker up to a millisecond. A provider with several keys names one in each token (`kid`; OpenID Connect
/// Core 10.1).
pub(crate) const MAX_TRIED: u32 = 3;

/// A token with a known header and an unchecked signature.
pub(super) struct Jws<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    key_id: Option<String>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart. Its type, if it has one, must be one of these.
    pub(super) fn parse(token: &'a str, kinds: &[&str]) -> Result<Self, IdTokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(IdTokenError::Malformed);
        };
        match parts.count() {
            0 => {}
            // Five parts are an encrypted token (RFC 7516 section 3.1).
            2 => return Err(IdTokenError::Encrypted),
            _ => return Err(IdTokenError::Malformed),
        }
        let (signed, _) = token.rsplit_once('.').ok_or(IdTokenError::Malformed)?;
        let header: Map<String, Value> =
            serde_json::from_slice(&decode(header)?).map_err(|_| IdTokenError::Malformed)?;
        // Extensions that must be understood (RFC 7515 section 4.1.11): none are supported.
        if header.contains_key("crit") {
            return Err(IdTokenError::Critical);
        }
        if !header.get("typ").is_none_or(|kind| is_one_of(kind, kinds)) {
            return Err(IdTokenError::Kind);
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or(IdTokenError::Malformed)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()).filter(|id| !id.is_empty()),
            Some(_) => return Err(IdTokenError::Malformed),
        };
        Ok(Self {
            signed,
            payload,
            signature,
            algorithm: Algorithm::parse(name).ok_or(IdTokenError::Algorithm)?,
            key_id,
        })
    }

    /// The payload, not verified.
    pub(super) fn payload(&self) -> Result<Vec<u8>, IdTokenError> {
        decode(self.payload)
    }

    /// Whether one of the keys made the signature. Only the first suitable keys of the document are tried.
    pub(super) fn verify(&self, keys: &Jwks) -> Result<(), IdTokenError> {
        let named = || keys.named(self.key_id.as_deref());
        let mut fitting = named().filter(|key| key.fits(self.algorithm)).peekable();
        if fitting.peek().is_none() {
            let is_known = self.key_id.is_some() && named().next().is_some();
            return Err(if is_known { IdTokenError::WrongKey } else { IdTokenError::UnknownKey });
        }
        let signature = decode(self.signature).map_err(|_| IdTokenError::BadSignature)?;
        let made_it = |key: &Key| key.key.verifies(self.algorithm, self.signed.as_bytes(), &signature);
        if (0..MAX_TRIED).zip(fitting.by_ref()).any(|(_, key)| made_it(key)) {
            return Ok(());
        }
        Err(if fitting.next().is_some() { IdTokenError::TooManyKeys } else { IdTokenError::BadSignature })
    }
}

/// Whether a token has one of these types. The provider signs tokens of all kinds with the same keys, so the type tells
/// them apart (RFC 8725 section 3.11). A media type is case-insensitive, and `application/` can be left out (RFC 7515
/// section 4.1.9).
fn is_one_of(kind: &Value, kinds: &[&str]) -> bool {
    let kind = kind.as_str().unwrap_or_default().to_ascii_lowercase();
    kinds.contains(&kind.strip_prefix("application/").unwrap_or(&kind))
}

/// The payload of a token, not verified.
pub(super) fn unverified_payload(token: &str) -> Option<Vec<u8>> {
    let (_, rest) = token.split_once('.')?;
    let (payload, _) = rest.split_once('.')?;
    decode(payload).ok()
}

fn decode(part: &str) -> Result<Vec<u8>, IdTokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| IdTokenError::Malformed)
}
