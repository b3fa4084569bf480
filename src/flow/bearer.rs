//! Bearer tokens instead of sessions (`skip_jwt_bearer_tokens`).
//!
//! ```text
//! Authorization ── token ─┬─ verified before ────────── its user      no signature is checked again
//!                         ├─ refused a moment ago ───── invalid       nor here
//!                         └─ issuer ── keys ── verify ─ its user      for a while, then again
//! ```
//!
//! As in oauth2-proxy, a token is looked for before the cookie, and no cookie is made of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log::info;

use super::http::request::RequestHead;
use super::io::Io;
use super::outcome::Unavailable;
use super::principal::Principal;
use super::provider::Provider;
use super::provider::sign_in_error::SignInError;
use super::util::lru::{BoundedLru, Budget};
use super::util::ready::Ready;
use super::verified::{BEARER_TOKENS, VerifiedPrincipal};
use crate::config::Config;
use crate::oidc::{self, IdTokenError};
use crate::runtime::rate::{LogLimit, Rate};
use crate::time::Timestamp;

/// The longest token that is checked. Cookie sessions hold less.
const MAX_TOKEN: usize = 16 << 10;

/// How long a verified token is not verified again. Its key may be withdrawn.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// How long an invalid token is refused without another check. Then it may have become valid, because keys change.
const REFUSED: Duration = Duration::from_secs(10);

/// The most invalid tokens that are remembered, 24 bytes each.
const REFUSED_TOKENS: usize = 1024;

/// How many invalid signatures are checked at once; after that, one in every period. With a 2048-bit RSA key that takes
/// a tenth of a worker's time, with P-384 two thirds. Past that, a token that this worker has not verified before is
/// not checked for now. To cause that, an attacker has to send several hundred forged tokens a second.
const FORGED_AT_ONCE: u32 = 20;
const FORGED_PERIOD: Duration = Duration::from_micros(2500);

/// The check of bearer tokens.
pub(super) struct Bearer<I> {
    config: Rc<Config>,
    io: I,
    /// All providers that may have issued a token.
    issuers: Vec<Rc<Provider<I>>>,
    verified: BoundedLru<VerifiedPrincipal>,
    refused: Refused,
    forged: Rate,
    /// The limit of log lines about invalid tokens.
    lines: LogLimit,
}

/// Invalid tokens, by their hashes. The hash has a key of this worker, so that a client cannot choose the hash of a
/// token.
#[derive(Default)]
struct Refused {
    fingerprints: RandomState,
    /// With the time of the check, the latest at the end.
    tokens: RefCell<VecDeque<(u64, Timestamp)>>,
}

impl Refused {
    fn has(&self, token: &str, now: Timestamp) -> bool {
        let fingerprint = self.fingerprints.hash_one(token);
        let tokens = self.tokens.borrow();
        tokens.iter().any(|(other, checked)| *other == fingerprint && checked.was_within(REFUSED, now))
    }

    fn insert(&self, token: &str, now: Timestamp) {
        let mut tokens = self.tokens.borrow_mut();
        tokens.push_back((self.fingerprints.hash_one(token), now));
        if tokens.len() > REFUSED_TOKENS {
            tokens.pop_front();
        }
    }
}

/// The result of a check: whose token it is; none if it is invalid.
pub(super) type Checked = Result<Option<Rc<Principal>>, Unavailable>;

impl<I: Io> Bearer<I> {
    /// None without `skip_jwt_bearer_tokens`. `provider` is the one that signs users in.
    pub(super) fn new(
        config: &Rc<Config>,
        provider: Option<&Rc<Provider<I>>>,
        remembered: &Budget,
        io: &I,
    ) -> Option<Rc<Self>> {
        let options = config.bearer.as_ref()?;
        let provider = provider?;
        let others = options.issuers.iter().map(|issuer| Rc::new(provider.of_issuer(issuer.clone())));
        Some(Rc::new(Self {
            config: Rc::clone(config),
            io: io.clone(),
            issuers: std::iter::once(Rc::clone(provider)).chain(others).collect(),
            verified: BoundedLru::within(remembered, BEARER_TOKENS),
            refused: Refused::default(),
            forged: Rate::new(FORGED_AT_ONCE, FORGED_PERIOD),
            lines: LogLimit::default(),
        }))
    }

    /// Checks the token in the request's `Authorization`; none without such a header. A token that was checked a moment
    /// ago is not checked again.
    pub(super) fn check(self: &Rc<Self>, head: &RequestHead) -> Option<Ready<Checked>> {
        let authorization = head.header("authorization");
        if authorization.is_empty() {
            return None;
        }
        let Some(token) = token_of(authorization) else { return Some(Ready::Now(Ok(None))) };
        let now = self.io.now();
        Some(match self.verified.get(token.as_bytes()) {
            Some(verified) if is_current(&verified, now) => {
                Ready::Now(Ok(Some(Rc::clone(&verified.principal))))
            }
            _ if self.refused.has(&token, now) => Ready::Now(Ok(None)),
            _ => {
                let bearer = Rc::clone(self);
                Ready::later(async move { bearer.verify(&token).await })
            }
        })
    }

    async fn verify(&self, token: &str) -> Checked {
        let Some(issuer) = oidc::unverified_issuer(token.as_bytes()) else { return Ok(None) };
        let held_before = self.verified.get(token.as_bytes()).is_some();
        let mut unavailable = None;
        let mut is_refused = false;
        for provider in self.issuers.iter().filter(|provider| provider.may_have_issued(&issuer)) {
            // Thousands of requests may have waited for the keys together.
            if let Err(reason) = provider.has_keys().await {
                unavailable = Some(reason);
                continue;
            }
            if !held_before && !self.forged.allows(self.io.now()) {
                return Err(Unavailable::Busy);
            }
            match provider.bearer(token).await {
                Ok(session) => {
                    let principal = Principal::new(&self.config, session);
                    VerifiedPrincipal::new(&principal, self.io.now().secs(), None)
                        .remember(token.as_bytes(), &self.verified);
                    return Ok(Some(principal));
                }
                Err(SignInError::Unavailable(reason)) => unavailable = Some(reason),
                Err(error) => {
                    // An unknown key may become known, and looking for it costs little.
                    is_refused |= error != SignInError::IdToken(IdTokenError::UnknownKey);
                    self.forged.take(error.forged_signatures(), self.io.now());
                    if let Some(left_out) = self.lines.next(self.io.now()) {
                        info!("bearer token: {error}{left_out}");
                    }
                }
            }
        }
        if is_refused && unavailable.is_none() {
            self.refused.insert(token, self.io.now());
        }
        unavailable.map_or(Ok(None), Err)
    }
}

/// Whether the token has not expired, and was verified not too long ago.
fn is_current(verified: &VerifiedPrincipal, now: Timestamp) -> bool {
    let checked = Timestamp::from_secs(verified.signed_at);
    now < checked.after(REMEMBERED)
        && verified.principal.session.expires_on.is_some_and(|expires| now < expires)
}

/// The token of `Bearer` or of `Basic`. In `Basic`, it is the user if the password is empty or `x-oauth-basic`, or else
/// the password.
fn token_of(authorization: &[u8]) -> Option<String> {
    let authorization = std::str::from_utf8(authorization).ok().filter(|text| text.len() <= MAX_TOKEN)?;
    let (scheme, value) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.to_owned()).filter(|token| is_jwt(token));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (user, password) = credentials.split_once(':')?;
    let token = match password {
        "" | "x-oauth-basic" if is_jwt(user) => user,
        _ if is_jwt(user) => return None,
        password => password,
    };
    is_jwt(token).then(|| token.to_owned())
}

/// A JWT: three parts in base64url; the first two begin as JSON objects do.
fn is_jwt(text: &str) -> bool {
    let is_base64url =
        |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let mut parts = text.split('.');
    let (header, payload, signature) = (parts.next(), parts.next(), parts.next());
    let is_object =
        |part: Option<&str>| part.is_some_and(|part| part.starts_with("ey") && is_base64url(part));
    let is_signature = signature.is_some_and(|part| !part.is_empty() && is_base64url(part));
    is_object(header) && is_object(payload) && is_signature && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn bearer_token_is_found_where_oauth2_proxy_finds_it() {
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.c2ln";
        for authorization in [
            format!("Bearer {token}"),
            format!("bearer {token}"),
            basic(&format!("{token}:")),
            basic(&format!("{token}:x-oauth-basic")),
            basic(&format!("alice:{token}")),
            basic(&format!(":{token}")),
        ] {
            assert_eq!(token_of(authorization.as_bytes()).as_deref(), Some(token), "{authorization}");
        }
        for authorization in [
            token.to_owned(),
            format!("Bearer  {token}"),
            format!("Bearer {token} x"),
            format!("Token {token}"),
            "Bearer".to_owned(),
            "Bearer opaque".to_owned(),
            format!("Bearer {token}.x"),
            "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.".to_owned(),
            format!("Bearer {token}{}", "a".repeat(MAX_TOKEN)),
            basic(&format!("{token}:password")),
            basic(token),
            "Basic ?".to_owned(),
        ] {
            assert_eq!(token_of(authorization.as_bytes()), None, "{authorization:.80}");
        }
        assert_eq!(token_of(b"Bearer \xff"), None);
    }
}
