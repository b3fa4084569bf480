//! A public key and the signatures that it checks (RFC 7518 sections 3 and 6, RFC 8037).
//!
//! There is no private key here and no shared secret: `none` and HMAC are no algorithms of this module,
//! for a verifier that lets the token choose takes a public key for a secret (RFC 8725 section 2.1).

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier;
use rsa::BoxedUint;
use serde_json::{Map, Value};
use sha2::{Sha256, Sha384, Sha512};

use super::json::text;

/// Moduli of 2048 bits at least (RFC 7518 section 3.3), and of no more than anybody uses: a signature is
/// checked on the worker that serves everybody.
const MODULUS_BITS: RangeInclusive<usize> = 2048..=4096;

/// `alg` (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }
}

/// A key of one of the types that sign ID tokens.
#[derive(Clone)]
pub(super) enum PublicKey {
    Rsa(Box<rsa::PublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl PublicKey {
    /// The key in a JWK; nothing where it is of another type, or its numbers are none of a key.
    pub(super) fn from_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let member = |name| URL_SAFE_NO_PAD.decode(text(jwk, name)?).ok();
        match (text(jwk, "kty")?, text(jwk, "crv")) {
            ("RSA", _) => {
                let [n, e] =
                    [member("n")?, member("e")?].map(|bytes| BoxedUint::from_be_slice_vartime(&bytes));
                let key = rsa::PublicKey::new_with_size_limits(n, e, MODULUS_BITS).ok()?;
                Some(Self::Rsa(Box::new(key)))
            }
            ("EC", Some("P-256")) => {
                let point = uncompressed(&member("x")?, &member("y")?, 32)?;
                Some(Self::P256(Box::new(p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?)))
            }
            ("EC", Some("P-384")) => {
                let point = uncompressed(&member("x")?, &member("y")?, 48)?;
                Some(Self::P384(Box::new(p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?)))
            }
            ("OKP", Some("Ed25519")) => {
                let point = member("x")?.try_into().ok()?;
                Some(Self::Ed25519(Box::new(ed25519_dalek::VerifyingKey::from_bytes(&point).ok()?)))
            }
            // A shared secret (`oct`) among public keys would let everybody sign.
            _ => None,
        }
    }

    /// Whether the key is of the type that the algorithm needs.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        matches!(
            (self, algorithm),
            (Self::Rsa(_), Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
                | (Self::P256(_), Es256)
                | (Self::P384(_), Es384)
                | (Self::Ed25519(_), EdDsa)
        )
    }

    /// Whether the owner of this key signed the message by this algorithm.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa(key), Algorithm::Rs256) => key.pkcs1v15_verify::<Sha256>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Rs384) => key.pkcs1v15_verify::<Sha384>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Rs512) => key.pkcs1v15_verify::<Sha512>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Ps256) => key.pss_verify::<Sha256>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Ps384) => key.pss_verify::<Sha384>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Ps512) => key.pss_verify::<Sha512>(message, signature).is_ok(),
            (Self::P256(key), Algorithm::Es256) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::P384(key), Algorithm::Es384) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::Ed25519(key), Algorithm::EdDsa) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            _ => false,
        }
    }
}

/// A point of a curve (SEC 1 section 2.3.3): a byte for its form and two coordinates of `size` bytes.
fn uncompressed(x: &[u8], y: &[u8], size: usize) -> Option<Vec<u8>> {
    (x.len() == size && y.len() == size).then(|| [&[4], x, y].concat())
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}
