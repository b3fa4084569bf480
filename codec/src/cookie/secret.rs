//! `cookie_secret`: one string, two keys.
//!
//! The HMAC key is the bytes of the string. The AES key is the string decoded from base64, if the result has the length
//! of an AES key; otherwise it is the bytes of the string (oauth2-proxy's `SecretBytes`). So 32 letters and digits are an
//! AES-192 key: base64 of 24 bytes.

use std::fmt;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::base64url::UNPADDED;

/// The secret that signs and encrypts cookies. Never printed.
#[derive(Clone)]
pub struct CookieSecret {
    mac: Hmac<Sha256>,
    aes_key: Vec<u8>,
}

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
        Ok(Self { mac, aes_key })
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
    }
}
