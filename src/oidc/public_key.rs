//! A public key and the signatures that it checks (RFC 7518 sections 3 and 6, RFC 8037).
//!
//! There are no private keys and no shared secrets here. `none` and HMAC are not supported: a verifier that lets the token
//! choose HMAC would use a public key as the secret (RFC 8725 section 2.1).

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Verifier;
use rsa::BoxedUint;
use serde_json::{Map, Value};
use sha2::{Sha256, Sha384, Sha512};

use super::json::text;

/// RSA moduli: at least 2048 bits (RFC 7518 section 3.3), and not more than is in use, since the worker that checks a
/// signature serves other requests too.
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
    Es512,
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
            "ES512" => Self::Es512,
            // RFC 9864 gave it the second name, which includes the curve.
            "EdDSA" | "Ed25519" => Self::EdDsa,
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
    P521(Box<p521::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl PublicKey {
    /// The key of a JWK, or why it cannot be used.
    pub(super) fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, &'static str> {
        const NO_POINT: &str = "its x and y are not a point of its curve";
        // Padding is ignored, as by oauth2-proxy's library.
        let member =
            |name| URL_SAFE_NO_PAD.decode(text(jwk, name).unwrap_or_default().trim_end_matches('=')).ok();
        let point = |size| uncompressed(&member("x")?, &member("y")?, size);
        match (text(jwk, "kty").unwrap_or_default(), text(jwk, "crv").unwrap_or_default()) {
            ("RSA", _) => {
                let number = |name| {
                    let bytes = member(name).filter(|bytes| !bytes.is_empty());
                    bytes.map(|bytes| BoxedUint::from_be_slice_vartime(&bytes)).ok_or("it has no n and e")
                };
                let (n, e) = (number("n")?, number("e")?);
                if !MODULUS_BITS.contains(&usize::try_from(n.bit_width_vartime()).unwrap_or_default()) {
                    return Err("RSA is taken with 2048 to 4096 bits");
                }
                let key = rsa::PublicKey::new_with_size_limits(n, e, MODULUS_BITS);
                key.map(|key| Self::Rsa(Box::new(key))).map_err(|_| "its n and e are no key of RSA")
            }
            ("EC", "P-256") => {
                let key = point(32).and_then(|point| p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok());
                key.map(|key| Self::P256(Box::new(key))).ok_or(NO_POINT)
            }
            ("EC", "P-384") => {
                let key = point(48).and_then(|point| p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok());
                key.map(|key| Self::P384(Box::new(key))).ok_or(NO_POINT)
            }
            ("EC", "P-521") => {
                let key = point(66).and_then(|point| p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok());
                key.map(|key| Self::P521(Box::new(key))).ok_or(NO_POINT)
            }
            ("OKP", "Ed25519") => {
                let point = member("x").and_then(|x| x.try_into().ok());
                let key = point.and_then(|point| ed25519_dalek::VerifyingKey::from_bytes(&point).ok());
                key.map(|key| Self::Ed25519(Box::new(key))).ok_or("its x is not a point of its curve")
            }
            ("EC", _) => Err("of EC, only the curves P-256, P-384 and P-521 are supported (crv)"),
            ("OKP", _) => Err("of OKP, only the curve Ed25519 is supported (crv)"),
            // Published among public keys, a shared secret would let any client sign.
            ("oct", _) => Err("it is a shared secret (kty is oct)"),
            _ => Err("its type is not RSA, EC or OKP (kty)"),
        }
    }

    /// Whether the key is of the type that the algorithm needs.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        matches!(
            (self, algorithm),
            (Self::Rsa(_), Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
                | (Self::P256(_), Es256)
                | (Self::P384(_), Es384)
                | (Self::P521(_), Es512)
                | (Self::Ed25519(_), EdDsa)
        )
    }

    /// Whether this key signed the message by this algorithm.
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
            (Self::P521(key), Algorithm::Es512) => p521::ecdsa::Signature::from_slice(signature)
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
