//! `cookie_secret`: one string, two keys; and several of them, so that a secret can change while sessions last.
//!
//! The HMAC key is the bytes of the string. The AES key is the string decoded from base64, if the result has the length
//! of an AES key; otherwise it is the bytes of the string (oauth2-proxy's `SecretBytes`). So 32 letters and digits are an
//! AES-192 key: base64 of 24 bytes.

use std::fmt;
use std::rc::Rc;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::base64url::UNPADDED;

/// The secret that signs and encrypts cookies. Never printed.
#[derive(Clone)]
pub struct CookieSecret {
    mac: Hmac<Sha256>,
    aes_key: Vec<u8>,
    id: SecretId,
}

/// Tells secrets apart without revealing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretId([u8; 16]);

/// The secrets that are valid at the same time, at least one: the first signs and encrypts, all verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieSecrets {
    current: Rc<CookieSecret>,
    older: Vec<Rc<CookieSecret>>,
}

/// How many secrets may be valid at the same time. Every cookie that a stranger made up is checked with each of them.
pub const MAX_SECRETS: usize = 8;

/// The secret does not give an AES key of 16, 24 or 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSecret {
    /// The number of bytes that it gives.
    pub length: usize,
}

impl CookieSecret {
    /// Both keys of a configured secret.
    ///
    /// # Errors
    /// [`InvalidSecret`] if AES has no keys of that length.
    pub fn new(secret: &[u8]) -> Result<Self, InvalidSecret> {
        let aes_key = secret_bytes(secret);
        let invalid = InvalidSecret { length: aes_key.len() };
        if !is_key_length(aes_key.len()) {
            return Err(invalid);
        }
        let mac = Hmac::new_from_slice(secret).map_err(|_| invalid)?;
        let mut made = Self { mac, aes_key, id: SecretId([0; 16]) };
        let digest = made.fingerprint(std::iter::once(b"id".as_slice()));
        made.id.0.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Ok(made)
    }

    /// Tells this secret apart from others.
    pub const fn id(&self) -> SecretId {
        self.id
    }

    /// The AES key, 16, 24 or 32 bytes.
    pub fn aes_key(&self) -> &[u8] {
        &self.aes_key
    }

    /// Identifies the secret together with these parts, without revealing either.
    pub fn fingerprint<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut mac = self.mac();
        // No cookie name begins with NUL, so the result can never be the signature of a cookie.
        mac.update(b"\0fingerprint");
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// HMAC-SHA-256 with the secret as its key, nothing hashed yet.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        self.mac.clone()
    }
}

impl PartialEq for CookieSecret {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for CookieSecret {}

impl CookieSecrets {
    /// The secrets in their order, without duplicates; `None` if there are none, or more than [`MAX_SECRETS`].
    pub fn new(secrets: impl IntoIterator<Item = CookieSecret>) -> Option<Self> {
        let mut secrets = secrets.into_iter();
        let mut made = Self::from(secrets.next()?);
        for secret in secrets {
            if made.find(secret.id).is_none() {
                made.older.push(Rc::new(secret));
            }
        }
        (made.count() <= MAX_SECRETS).then_some(made)
    }

    /// The secret that signs and encrypts.
    pub const fn current(&self) -> &Rc<CookieSecret> {
        &self.current
    }

    /// All secrets, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &Rc<CookieSecret>> {
        std::iter::once(&self.current).chain(&self.older)
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.older.len().saturating_add(1)
    }

    /// The secret with this id, if it is still valid.
    pub fn find(&self, id: SecretId) -> Option<&Rc<CookieSecret>> {
        self.all().find(|secret| secret.id == id)
    }
}

impl From<CookieSecret> for CookieSecrets {
    fn from(secret: CookieSecret) -> Self {
        Self { current: Rc::new(secret), older: Vec::new() }
    }
}

/// oauth2-proxy's `SecretBytes`.
fn secret_bytes(secret: &[u8]) -> Vec<u8> {
    let padding = secret.iter().rev().take_while(|byte| **byte == b'=').count();
    let unpadded = secret.get(..secret.len().saturating_sub(padding)).unwrap_or_default();
    // Go's decoder skips all line breaks.
    let text: Vec<u8> = unpadded.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    match UNPADDED.decode(text) {
        Ok(key) if is_key_length(key.len()) => key,
        _ => secret.to_vec(),
    }
}

fn is_key_length(length: usize) -> bool {
    matches!(length, 16 | 24 | 32)
}

impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret(…)")
    }
}

impl fmt::Display for InvalidSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be 16, 24 or 32 bytes (or base64 of that many), but is {}", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, bytes};

    #[test]
    fn secret_bytes_are_those_of_oauth2_proxy() {
        for case in vectors::load()["secret_bytes"].as_array().unwrap() {
            let secret = case["secret"].as_str().unwrap().as_bytes();
            let expected = bytes(&case["bytes_hex"]);
            assert_eq!(secret_bytes(secret), expected, "{case}");
            assert_eq!(CookieSecret::new(secret).is_ok(), [16, 24, 32].contains(&expected.len()));
        }
    }

    #[test]
    fn cookie_secret_is_not_printed() {
        let secret = CookieSecret::new(b"0123456789abcdef").unwrap();
        assert!(!format!("{secret:?}").contains("0123"));
        assert!(!format!("{:?}", CookieSecrets::from(secret)).contains("0123"));
    }

    #[test]
    fn first_secret_is_current_and_all_are_found() {
        let secret = |byte: u8| CookieSecret::new(&[byte; 16]).unwrap();
        let secrets = CookieSecrets::new([secret(b'a'), secret(b'b'), secret(b'a')]).unwrap();
        assert_eq!((secrets.count(), secrets.current().id()), (2, secret(b'a').id()));
        for byte in [b'a', b'b'] {
            assert_eq!(**secrets.find(secret(byte).id()).unwrap(), secret(byte));
        }
        assert!(secrets.find(secret(b'c').id()).is_none());
    }

    #[test]
    fn no_secrets_and_too_many_are_refused() {
        let secrets =
            |count: u8| CookieSecrets::new((0..count).map(|byte| CookieSecret::new(&[byte; 16]).unwrap()));
        assert!(secrets(0).is_none() && secrets(8).is_some() && secrets(9).is_none());
    }
}
