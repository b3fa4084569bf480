//! Validation of a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6).
//!
//! ```text
//! { "typ": "logout+jwt", "alg": …, "kid": … }
//! { "iss", "aud", "iat", "exp", "jti", "sid" or "sub" or both, no "nonce",
//!   "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }
//! ```

use std::time::Duration;

use serde_json::{Map, Value};

use super::MAX_TOKEN;
use super::id_token::{Expected, date, subject, verified};
use super::id_token_error::IdTokenError;
use super::jwks::Jwks;

/// Section 2.4 recommends the first. Older servers have `JWT`, as an ID token has; then `events` and the missing nonce
/// tell the two apart.
const KINDS: &[&str] = &["logout+jwt", "jwt"];

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long ago a token may have been issued. Section 2.4 recommends an expiry of two minutes at most. A provider that
/// sends the same token again has a little longer.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// For how long a token has to be remembered that was accepted: until it is too old, even if it was issued by a clock
/// that is 5 minutes fast, and checked by one that is 5 minutes slow.
pub const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// Whom a valid logout token signs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// The provider's issuer.
    pub issuer: String,
    /// The identifier of the token itself.
    pub id: String,
    /// The sessions that end.
    pub scope: LogoutScope,
}

/// The sessions that end (section 2.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogoutScope {
    /// Those of one session at the provider (`sid`). The token may also name its user.
    Session(String),
    /// All of one user (`sub`).
    User(String),
}

/// The claims of a valid logout token. [`LogoutToken::of`] reads them.
pub fn verify_logout(
    token: &str,
    keys: &Jwks,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, IdTokenError> {
    verified(token, MAX_TOKEN, KINDS, keys, |claims| expected.check_logout(claims))
}

impl LogoutToken {
    /// Reads claims that were verified.
    pub fn of(claims: &Map<String, Value>) -> Result<Self, IdTokenError> {
        let scope = match (text(claims, "sid")?, claims.get("sub")) {
            (Some(session), _) => LogoutScope::Session(session.to_owned()),
            (None, None) => return Err(IdTokenError::NoSubject),
            (None, Some(_)) => LogoutScope::User(subject(claims).ok_or(IdTokenError::NoSubject)?),
        };
        let id = text(claims, "jti")?.ok_or(IdTokenError::NoTokenId)?.to_owned();
        let issuer = text(claims, "iss")?.unwrap_or_default().to_owned();
        Ok(Self { issuer, id, scope })
    }
}

impl Expected<'_> {
    fn check_logout(&self, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
        let event = claims.get("events").and_then(|events| events.as_object()?.get(EVENT)?.as_object());
        event.ok_or(IdTokenError::NoLogout)?;
        if claims.contains_key("nonce") {
            return Err(IdTokenError::HasNonce);
        }
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        self.check_times(claims)?;
        if date(claims, "iat")?.is_none_or(|issued| self.now.since(issued) >= MAX_AGE) {
            return Err(IdTokenError::TooOld);
        }
        LogoutToken::of(claims).map(|_| ())
    }
}

/// A claim that is a text, or missing. `null` and an empty text are as good as none.
fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, IdTokenError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(IdTokenError::Malformed),
    }
}
