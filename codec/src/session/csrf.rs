//! The content of the CSRF cookie: the secrets of a sign-in that has begun (RFC 6749 section 10.12, RFC 7636).
//!
//! ```text
//! MessagePack map: s = state[32]  n = nonce[32]  cv = PKCE code verifier (left out without PKCE)
//! ```
//!
//! The provider sees only SHA-256 hashes of `s` and `n`, so a callback with these hashes belongs to this browser.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::msgpack::{Reader, Writer};
use super::{DecodeError, cipher};
use crate::cookie::Verified;

/// The secrets of a sign-in that has begun. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Csrf {
    /// Random bytes whose hash is the `state` parameter.
    pub state: Vec<u8>,
    /// Random bytes whose hash is the `nonce` parameter.
    pub nonce: Vec<u8>,
    /// The PKCE code verifier; empty if PKCE is off.
    pub code_verifier: String,
}

impl Csrf {
    /// The bytes for the cookie, to be signed under its name.
    pub fn seal(&self, aes_key: &[u8], iv: [u8; 16]) -> Vec<u8> {
        let mut map = Writer::default();
        map.binary(b"s", &self.state);
        map.binary(b"n", &self.nonce);
        map.text(b"cv", self.code_verifier.as_bytes());
        cipher::encrypt_cfb(aes_key, iv, &map.finish())
    }

    /// The secrets in a cookie.
    ///
    /// # Errors
    /// [`DecodeError`] if the signed bytes are not a valid payload.
    pub fn open(cookie: &Verified) -> Result<Self, DecodeError> {
        let packed = cipher::decrypt_cfb(cookie.secret().aes_key(), cookie.value())?;
        let mut csrf = Self { state: Vec::new(), nonce: Vec::new(), code_verifier: String::new() };
        let mut code_verifier = Vec::new();
        Reader::new(&packed)
            .fields(&[b"s", b"n", b"cv"], |reader, name| {
                match name {
                    b"s" => csrf.state = reader.bytes()?.to_vec(),
                    b"n" => csrf.nonce = reader.bytes()?.to_vec(),
                    b"cv" => code_verifier = reader.bytes()?.to_vec(),
                    _ => reader.skip()?,
                }
                Ok(())
            })
            .map_err(|_| DecodeError::MessagePack)?;
        csrf.code_verifier = String::from_utf8(code_verifier).map_err(|_| DecodeError::MessagePack)?;
        // The hash of an empty state is empty, and would match an empty `state` parameter.
        if csrf.state.is_empty() { Err(DecodeError::MessagePack) } else { Ok(csrf) }
    }

    /// The `state` parameter's first part.
    pub fn state_hash(&self) -> String {
        hash(&self.state)
    }

    /// The `nonce` parameter.
    pub fn nonce_hash(&self) -> String {
        hash(&self.nonce)
    }

    /// Whether the hash of a callback belongs to this sign-in, compared in constant time.
    pub fn matches_state(&self, state_hash: &[u8]) -> bool {
        self.state_hash().as_bytes().ct_eq(state_hash).into()
    }
}

/// oauth2-proxy's `HashNonce`.
fn hash(secret: &[u8]) -> String {
    if secret.is_empty() { String::new() } else { URL_SAFE_NO_PAD.encode(Sha256::digest(secret)) }
}

impl fmt::Debug for Csrf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Csrf(…)")
    }
}
