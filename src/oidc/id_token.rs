//! Validation of an ID token (OpenID Connect Core 3.1.3.7), and of signed userinfo (5.3.2).

use std::time::Duration;

use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use super::id_token_error::IdTokenError;
use super::jwks::Jwks;
use super::jws::{Jws, unverified_payload};
use super::{MAX_BODY, MAX_TOKEN};
use crate::time::Timestamp;

/// How long a token is accepted after its expiry, to allow for its way through the network and for clocks that differ by
/// seconds.
const EXPIRED_SKEW: Duration = Duration::from_secs(10);

/// How far in the future a token may have been issued: oauth2-proxy's library (go-oidc) allows for clocks that differ by 5
/// minutes.
const EARLY_SKEW: Duration = Duration::from_secs(5 * 60);

/// The types of ID tokens and access tokens. `JWT` means as much as no type; access tokens have `at+jwt` (RFC 9068
/// section 2.1).
const KINDS: &[&str] = &["jwt", "at+jwt"];

/// What the claims of an ID token must be.
pub struct Expected<'a> {
    /// The provider's issuer.
    pub issuer: &'a str,
    /// `insecure_oidc_skip_issuer_verification`.
    pub skip_issuer_verification: bool,
    /// The client that the token must be for.
    pub client_id: &'a str,
    /// `oidc_extra_audiences`: further accepted audiences.
    pub extra_audiences: &'a [String],
    /// `oidc_audience_claims`: the claims with the audience. The first one that the token has decides.
    pub audience_claims: &'a [String],
    /// Whether `azp`, if the token has it, must be one of these too.
    pub checks_party: bool,
    /// The expected `nonce`; `None` if there was no authorization request, or the check is off.
    pub nonce_hash: Option<&'a str>,
    /// The time of the check.
    pub now: Timestamp,
}

/// The claims of a valid ID token.
pub fn verify(
    id_token: &str,
    keys: &Jwks,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, IdTokenError> {
    verified(id_token, MAX_TOKEN, KINDS, keys, |claims| expected.check(claims))
}

/// The claims of signed userinfo, which may have no issuer, audience and expiry.
pub fn verify_userinfo(
    userinfo: &str,
    keys: &Jwks,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, IdTokenError> {
    verified(userinfo, MAX_BODY, KINDS, keys, |claims| expected.check_userinfo(claims))
}

/// The claims of a token whose type, claims and signature are right.
pub(super) fn verified(
    token: &str,
    longest: usize,
    kinds: &[&str],
    keys: &Jwks,
    check: impl FnOnce(&Map<String, Value>) -> Result<(), IdTokenError>,
) -> Result<Map<String, Value>, IdTokenError> {
    if token.len() > longest {
        return Err(IdTokenError::TooLarge);
    }
    let token = Jws::parse(token, kinds)?;
    // The claims first, since checking them is cheap. A token that has expired, or is for another client, is invalid anyway.
    let claims = serde_json::from_slice(&token.payload()?).map_err(|_| IdTokenError::Malformed)?;
    check(&claims)?;
    token.verify(keys)?;
    Ok(claims)
}

/// The `sub` claim. A number is equal to a string of the same digits: some servers write the number in their ID tokens
/// and the string in userinfo.
pub fn subject(claims: &Map<String, Value>) -> Option<String> {
    match claims.get("sub")? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The `sub` of a JWT, not verified: only to compare a session with itself.
pub fn unverified_subject(token: &[u8]) -> Option<String> {
    subject(&unverified_claims(token)?)
}

/// The `iss` of a JWT, not verified: only to choose the keys for the check.
pub fn unverified_issuer(token: &[u8]) -> Option<String> {
    unverified_claims(token)?.get("iss")?.as_str().map(str::to_owned)
}

/// Whom an ID token is about.
pub struct TokenUser {
    /// The `iss` claim.
    pub issuer: String,
    /// The `sub` claim.
    pub subject: String,
    /// The `sid` claim: the session at the provider (OpenID Connect Back-Channel Logout 2.1).
    pub sid: Option<String>,
}

/// Whom a JWT is about, not verified: only for a token in a session, which was verified at the sign-in.
pub fn unverified_user(token: &[u8]) -> Option<TokenUser> {
    let claims = unverified_claims(token)?;
    let text = |name: &str| claims.get(name)?.as_str().map(str::to_owned);
    Some(TokenUser { issuer: text("iss")?, subject: subject(&claims)?, sid: text("sid") })
}

/// The expiry in valid claims.
pub fn expiry(claims: &Map<String, Value>) -> Option<Timestamp> {
    date(claims, "exp").ok().flatten()
}

/// The claims of a JWT, not verified.
pub(super) fn unverified_claims(token: &[u8]) -> Option<Map<String, Value>> {
    let token = std::str::from_utf8(token).ok().filter(|token| token.len() <= MAX_TOKEN)?;
    serde_json::from_slice(&unverified_payload(token)?).ok()
}

impl Expected<'_> {
    fn check(&self, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
        check_kind(claims)?;
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        date(claims, "exp")?.ok_or(IdTokenError::Expired)?;
        self.check_times(claims)?;
        let Some(nonce) = self.nonce_hash else {
            return Ok(());
        };
        let found = claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
        if found.as_bytes().ct_eq(nonce.as_bytes()).into() { Ok(()) } else { Err(IdTokenError::Nonce) }
    }

    /// The claims that are present have to be valid, and none is required (Core 5.3.2; RFC 7519 section 4.1).
    fn check_userinfo(&self, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
        let says = |name: &str| claims.get(name).is_some_and(|value| !value.is_null());
        check_kind(claims)?;
        if says("iss") {
            self.check_issuer(claims)?;
        }
        if self.audience_claims.iter().any(|name| says(name)) {
            self.check_audience(claims)?;
        }
        self.check_times(claims)
    }

    pub(super) fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
        let issuer = claims.get("iss").and_then(Value::as_str);
        let is_right = self.skip_issuer_verification || issuer == Some(self.issuer);
        if is_right { Ok(()) } else { Err(IdTokenError::Issuer) }
    }

    /// As oauth2-proxy's `verifyAudience`: the first audience claim that is present must have this client, or an extra
    /// audience. This filter also checks `azp`: if the token names the client that it was issued to, that must be this
    /// client. A token for several audiences may have no `azp` (Core 3.1.3.7, point 5).
    pub(super) fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
        let is_ours =
            |name: &str| name == self.client_id || self.extra_audiences.iter().any(|extra| extra == name);
        let is_for_us = match self.audience_claims.iter().find_map(|name| claims.get(name)) {
            Some(Value::String(audience)) => is_ours(audience),
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).any(is_ours),
            _ => false,
        };
        if !is_for_us {
            return Err(IdTokenError::Audience);
        }
        match claims.get("azp").filter(|_| self.checks_party) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(party)) if is_ours(party) => Ok(()),
            Some(_) => Err(IdTokenError::AuthorizedParty),
        }
    }

    pub(super) fn check_times(&self, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
        if date(claims, "exp")?.is_some_and(|expires| self.now >= expires.after(EXPIRED_SKEW)) {
            return Err(IdTokenError::Expired);
        }
        for name in ["nbf", "iat"] {
            if date(claims, name)?.is_some_and(|begin| begin > self.now.after(EARLY_SKEW)) {
                return Err(IdTokenError::NotYetValid);
            }
        }
        Ok(())
    }
}

/// Logout tokens and other security event tokens have `events` (RFC 8417 section 2.2), and some have no `typ`.
fn check_kind(claims: &Map<String, Value>) -> Result<(), IdTokenError> {
    if claims.get("events").is_some_and(|events| !events.is_null()) {
        return Err(IdTokenError::Kind);
    }
    Ok(())
}

/// A NumericDate (RFC 7519 section 2): seconds since 1970, perhaps with a fraction. Some servers write the number as a
/// string, which oauth2-proxy's library accepts too.
pub(super) fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, IdTokenError> {
    let number = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(Value::String(text)) => &text.parse().map_err(|_| IdTokenError::Malformed)?,
        Some(_) => return Err(IdTokenError::Malformed),
    };
    if let Some(secs) = number.as_i64() {
        return Ok(Some(Timestamp::from_secs(secs)));
    }
    let secs = number.as_f64().ok_or(IdTokenError::Malformed)?;
    // Before 1970 the fraction does not matter: such an expiry has passed, and such a beginning too.
    let since_1970 = Duration::try_from_secs_f64(secs.max(0.0)).map_err(|_| IdTokenError::Malformed)?;
    let secs = i64::try_from(since_1970.as_secs()).map_err(|_| IdTokenError::Malformed)?;
    Ok(Some(Timestamp::new(secs, since_1970.subsec_nanos())))
}
