//! A bearer token in the place of a session (`skip_jwt_bearer_tokens`).
//!
//! ```text
//! Authorization ── token ─┬─ verified before ── person          no signature is checked again
//!                         ├─ refused a moment ago ── nobody     nor here
//!                         └─ whose is it? ── keys ── person      for a while, then again
//! ```
//!
//! It is oauth2-proxy's loader of JWT sessions: it comes before the cookie's, and no cookie is made of it.

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
use super::person::Person;
use super::provider::Provider;
use super::provider::sign_in_error::SignInError;
use super::util::ready::Ready;
use super::verified_cache::{VerifiedCache, VerifiedPerson};
use crate::config::Config;
use crate::oidc::{self, IdTokenError};
use crate::runtime::rate::{LogLimit, Rate};
use crate::time::Timestamp;

/// The longest token that is looked at. A cookie session has less in it.
const MAX_TOKEN: usize = 16 << 10;

/// How long a verified token is believed; then its key may have been withdrawn.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// How long a token that did not hold is refused without another look at it. Keys may change, and a token may begin to
/// hold.
const REFUSED: Duration = Duration::from_secs(10);

/// So many of those are remembered, of 24 bytes each.
const REFUSED_TOKENS: usize = 1024;

/// So many signatures that do not hold are checked at once, and then one in every period. With an RSA key of 2048 bits
/// that is a tenth of a worker's time, with P-384 two thirds. Past it, a token that the worker has not seen hold before
/// is not checked for now: a stranger who wants that has to send several hundred forged ones a second.
const FORGED_AT_ONCE: u32 = 20;
const FORGED_PERIOD: Duration = Duration::from_micros(2500);

/// Tokens and who may have made them.
pub(super) struct Bearer<I> {
    config: Rc<Config>,
    io: I,
    /// All who may have made a token.
    issuers: Vec<Rc<Provider<I>>>,
    verified: VerifiedCache<VerifiedPerson>,
    refused: Refused,
    forged: Rate,
    /// Of tokens that do not hold.
    lines: LogLimit,
}

/// Tokens that did not hold, by fingerprints that nobody can choose: the hash has a key of this worker's own.
#[derive(Default)]
struct Refused {
    fingerprints: RandomState,
    /// With the time of the check, the last at the end.
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

/// Whose token it is; nobody's if it does not hold.
pub(super) type Checked = Result<Option<Rc<Person>>, Unavailable>;

impl<I: Io> Bearer<I> {
    /// None without `skip_jwt_bearer_tokens`. `provider` is the one of the sign-in.
    pub(super) fn new(config: &Rc<Config>, provider: Option<&Rc<Provider<I>>>, io: &I) -> Option<Rc<Self>> {
        let options = config.bearer.as_ref()?;
        let others = options.issuers.iter().map(|issuer| Rc::new(Provider::new(issuer.clone(), io.clone())));
        Some(Rc::new(Self {
            config: Rc::clone(config),
            io: io.clone(),
            issuers: provider.map(Rc::clone).into_iter().chain(others).collect(),
            verified: VerifiedCache::new(config.cookie.session_cache_size),
            refused: Refused::default(),
            forged: Rate::new(FORGED_AT_ONCE, FORGED_PERIOD),
            lines: LogLimit::default(),
        }))
    }

    /// Checks the token in the request's `Authorization`; none if it has no such header. That it was checked a moment ago
    /// is enough.
    pub(super) fn check(self: &Rc<Self>, head: &RequestHead) -> Option<Ready<Checked>> {
        let authorization = head.header("authorization");
        if authorization.is_empty() {
            return None;
        }
        let Some(token) = token_of(authorization) else { return Some(Ready::Now(Ok(None))) };
        let now = self.io.now();
        Some(match self.verified.get(token.as_bytes()) {
            Some(verified) if is_current(&verified, now) => Ready::Now(Ok(Some(Rc::clone(&verified.person)))),
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
            // Thousands may have waited for the keys together.
            if let Err(reason) = provider.has_keys().await {
                unavailable = Some(reason);
                continue;
            }
            if !held_before && !self.forged.allows(self.io.now()) {
                return Err(Unavailable::Busy);
            }
            match provider.bearer(token).await {
                Ok(session) => {
                    let person = Person::new(&self.config, session);
                    self.verified.insert(&Rc::new(VerifiedPerson {
                        raw: token.as_bytes().to_vec(),
                        signed_at: self.io.now().secs(),
                        person: Rc::clone(&person),
                    }));
                    return Ok(Some(person));
                }
                Err(SignInError::Unavailable(reason)) => unavailable = Some(reason),
                Err(error) => {
                    // A key that is not known may come, and to look for it costs little.
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

/// Whether the token has neither expired nor been believed for too long.
fn is_current(verified: &VerifiedPerson, now: Timestamp) -> bool {
    let checked = Timestamp::from_secs(verified.signed_at);
    now < checked.after(REMEMBERED) && verified.person.session.expires_on.is_some_and(|expires| now < expires)
}

/// The token of `Bearer`, or of `Basic`: there it is the user, with no password or `x-oauth-basic`, or the
/// password of any user.
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

/// Three parts in base64url, the first two of which begin as JSON objects do.
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
    fn a_token_is_found_where_oauth2_proxy_finds_it() {
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
