//! The session cookie, whichever store has the session: finding it, verifying it, and its `Set-Cookie` headers.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use session_codec::fingerprint::FingerprintKey;

use crate::config::{Config, Lifetimes, MAX_SESSION};
use crate::cookie::{
    self, Allowance, CookieSecret, CookieSecrets, InvalidSignature, MaxAge, SecretId, SessionCookies,
    SetCookie, Verified,
};
use crate::flow::outcome::{AnonymousReason, Loaded, Outcome};
use crate::flow::secrets::{Rank, Secrets};
use crate::flow::verified::VerifiedPrincipal;
use crate::flow::{Forward, Header, Io, RequestHead, Stripped};
use crate::session::SessionInfo;
use crate::time::Timestamp;

/// How many cookies of one kind a response clears; the next response clears more. Envoy drops all headers of a response
/// that has more than 1024. An honest session has far fewer cookies: 64 chunks would be 256 kB.
pub(in crate::flow) const MAX_CLEARED: usize = 64;

/// How many bytes of headers a response uses to clear a session. A proxy in front of Envoy may accept only few.
const MAX_CLEARED_BYTES: usize = 8 << 10;

/// How many session cookies of a request are checked, the newest first. A browser has several if paths or domains
/// differ, or if another application below the same domain uses the same name.
const MAX_CHECKED: usize = 16;

/// How many cookies with a last use of a request are checked: a browser has several if their scopes differ.
const MAX_LAST_USES: usize = 4;

/// The longest value of a cookie with a ticket: about 160 bytes, and 600 with the longest cookie name.
const MAX_TICKET: usize = 1 << 10;

/// The session cookie as the options describe it.
pub(in crate::flow) struct SessionCookie {
    options: crate::config::Cookie,
    secrets: Rc<Secrets>,
    lifetimes: Lifetimes,
    is_stripped: bool,
    /// Whether this filter may clear it.
    is_owned: bool,
    allowance: Allowance,
    /// The key of the fingerprints of cookies with a last use.
    last_uses: FingerprintKey,
}

/// A session cookie that was found and read.
pub(in crate::flow) struct Found<'a, T> {
    pub(in crate::flow) value: T,
    /// Its value, with its chunks joined.
    pub(in crate::flow) cookie: Cow<'a, [u8]>,
    /// Whether the browser sent several session cookies that all belong to this filter. Then only one may stay: a later
    /// request could otherwise use the session of another user, who was signed in before. A browser has several after a
    /// change of `cookie_domains` or `cookie_path`.
    is_in_several_scopes: bool,
}

impl<T> Found<'_, T> {
    /// The cookie, to be sent once more, if the browser has session cookies in several scopes. It does not say in which
    /// scope the used one was, so it is set in the configured scope and cleared in the others ([`SessionCookie::save`]).
    pub(in crate::flow) fn for_one_scope(&self) -> Option<Vec<u8>> {
        self.is_in_several_scopes.then(|| self.cookie.to_vec())
    }
}

/// The result of loading a session, with [`Found::for_one_scope`] if the user is signed in and gets no other cookie.
pub(in crate::flow) fn in_one_scope(mut loaded: Loaded, cookie: Option<Vec<u8>>) -> Loaded {
    if matches!(loaded.outcome, Outcome::Authenticated(_)) {
        loaded.renewed = loaded.renewed.or(cookie);
    }
    loaded
}

impl SessionCookie {
    pub(in crate::flow) fn new(config: &Config, secrets: &Rc<Secrets>) -> Self {
        let longest = if config.redis.is_some() { MAX_TICKET } else { MAX_SESSION };
        Self {
            options: config.cookie.clone(),
            secrets: Rc::clone(secrets),
            lifetimes: config.lifetimes.clone(),
            is_stripped: config.headers.strip_session_cookie,
            is_owned: config.mode.owns_sessions(),
            allowance: Allowance::new(MAX_CHECKED, longest),
            last_uses: FingerprintKey::random(),
        }
    }

    /// The first of the browser's session cookies that `read` accepts. Otherwise the first of its refusals, or
    /// `NoCookie`. `read` accepts what it has verified before without using its allowance, so such a cookie
    /// is found among any number of others.
    pub(in crate::flow) fn find<'a, T>(
        &'a self,
        head: &'a RequestHead,
        mut read: impl FnMut(&[u8], &mut Allowance) -> Result<T, AnonymousReason>,
    ) -> Result<Found<'a, T>, AnonymousReason> {
        let jar = head.jar();
        let sent = SessionCookies::find(&jar, self.name());
        let is_alone = sent.is_alone();
        let mut allowance = self.allowance();
        let mut reason = None;
        for cookie in sent.into_values() {
            match read(&cookie, &mut allowance) {
                Ok(value) => {
                    let is_in_several_scopes =
                        !is_alone && self.is_ours_everywhere(&SessionCookies::find(&jar, self.name()));
                    return Ok(Found { value, cookie, is_in_several_scopes });
                }
                Err(refusal) => reason = reason.or(Some(refusal)),
            }
        }
        Err(reason.unwrap_or(AnonymousReason::NoCookie))
    }

    /// All of the browser's session cookies that `read` accepts, the newest first.
    pub(in crate::flow) fn all<T, E>(
        &self,
        head: &RequestHead,
        mut read: impl FnMut(&[u8], &mut Allowance) -> Result<T, E>,
    ) -> Vec<T> {
        let jar = head.jar();
        let sent = SessionCookies::find(&jar, self.name());
        let mut allowance = self.allowance();
        let found = sent.into_values().into_iter().filter_map(|value| read(&value, &mut allowance).ok());
        found.take(MAX_CHECKED).collect()
    }

    /// The signed content, if the signature is valid and not too old.
    pub(in crate::flow) fn verify(
        &self,
        value: &[u8],
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Verified, InvalidSignature> {
        cookie::verify(&self.secrets(), self.name(), value, now, self.options.expire, allowance)
    }

    /// What the check of the values of one request, or of one value from another worker, may cost.
    pub(in crate::flow) fn allowance(&self) -> Allowance {
        self.allowance.for_secrets(&self.secrets())
    }

    /// Whether a signature that was valid when it was checked is valid now: it may have become too old, and its secret
    /// may have been removed.
    pub(in crate::flow) fn is_still_valid(&self, signed_at: i64, secret: SecretId, now: Timestamp) -> bool {
        cookie::is_current(signed_at, now, self.options.expire) && self.secrets.rank(secret) != Rank::Removed
    }

    /// Whether a secret is one that only verifies.
    pub(in crate::flow) fn is_older(&self, secret: SecretId) -> bool {
        self.secrets.rank(secret) == Rank::Older
    }

    /// Whether a cookie of this secret goes out anew, signed by the current one. Beside an oauth2-proxy it does not: the
    /// cookie is oauth2-proxy's, which may not know the current secret yet.
    pub(in crate::flow) fn is_reissued(&self, secret: SecretId) -> bool {
        self.is_owned && self.is_older(secret)
    }

    /// The secrets that are valid now.
    pub(in crate::flow) fn secrets(&self) -> Rc<CookieSecrets> {
        self.secrets.cookie()
    }

    /// The signed value of a cookie.
    pub(in crate::flow) fn sign(&self, value: &[u8], signed_at: Timestamp) -> Vec<u8> {
        cookie::sign(self.secrets().current(), self.name(), value, signed_at.secs())
    }

    /// The bytes that a value takes in the browser's `cookie` header.
    pub(in crate::flow) fn size(&self, value: &[u8]) -> usize {
        let max_age = MaxAge::from(self.options.expire);
        cookie::sent_bytes(self.name(), value, &self.options.attributes, max_age)
    }

    /// The `Set-Cookie` headers that replace the browser's session cookie by this signed value of `session`. They expire chunks that are no
    /// longer needed. If the browser sent several session cookies, they expire those in other scopes too. What expires
    /// comes first: for a browser that follows RFC 6265 section 5.3 to the letter, a host-only cookie and one whose
    /// domain is that host are the same.
    pub(in crate::flow) fn save(
        &self,
        value: &[u8],
        session: &SessionInfo,
        head: &RequestHead,
        now: Timestamp,
    ) -> Vec<Header> {
        let max_age = self.max_age(value, session, now);
        let cookies = cookie::split(self.name(), value, &self.options.attributes, max_age, head.host());
        let jar = head.jar();
        let sent = SessionCookies::find(&jar, self.name());
        let mut headers = self.clear_but(&cookies, &sent, !sent.is_alone(), head);
        headers.extend(cookies.into_iter().map(|cookie| set_cookie(cookie.header)));
        headers
    }

    /// How long the browser keeps this signed value: as long as its signature is valid, but not beyond the absolute end of
    /// its session. A cookie that is sent once more does not live longer for that.
    fn max_age(&self, value: &[u8], session: &SessionInfo, now: Timestamp) -> MaxAge {
        let expire = self.options.expire;
        let age = cookie::signed_at(value).map_or(0, |at| now.secs().saturating_sub(at));
        let left = expire.saturating_sub(Duration::from_secs(u64::try_from(age).unwrap_or(0)));
        let absolute = self.lifetimes.absolute_end(session).map(|end| end.since(now));
        let left = absolute.map_or(left, |absolute| absolute.min(left));
        // Zero would be a cookie without an end.
        MaxAge::from(left.max(Duration::from_secs(1).min(expire)))
    }

    /// The `Set-Cookie` headers of a response: a refreshed session, or the end of an invalid one. A cookie that this
    /// filter may not clear stays: beside an oauth2-proxy with another secret, for example, clearing it would sign
    /// every user out.
    pub(in crate::flow) fn for_response(
        &self,
        head: &RequestHead,
        loaded: &Loaded,
        now: Timestamp,
    ) -> Vec<Header> {
        match (&loaded.outcome, &loaded.renewed) {
            (Outcome::Unavailable(_), _) => Vec::new(),
            (Outcome::Anonymous(reason), _) if reason.keeps_cookie() || !self.is_owned => Vec::new(),
            (Outcome::Anonymous(_), _) => self.clear(head),
            (Outcome::Authenticated(principal), renewed) => {
                let saved = renewed.as_ref().map(|cookie| self.save(cookie, &principal.session, head, now));
                let mut headers = saved.unwrap_or_default();
                headers.extend(loaded.last_use.as_ref().map(|cookie| {
                    let max_age = MaxAge::from(self.lifetimes.time_to_live(&principal.session, now));
                    let attributes = &self.options.attributes;
                    set_cookie(attributes.set_cookie(&self.last_use_name(), cookie, max_age, head.host()))
                }));
                headers
            }
        }
    }

    /// The `Set-Cookie` headers that remove the session from the browser, in every scope.
    pub(in crate::flow) fn clear(&self, head: &RequestHead) -> Vec<Header> {
        let jar = head.jar();
        let mut headers = self.clear_but(&[], &SessionCookies::find(&jar, self.name()), true, head);
        let (name, attributes) = (self.last_use_name(), &self.options.attributes);
        if self.lifetimes.idle.is_some() && jar.all(&name).next().is_some() {
            headers.push(set_cookie(attributes.clear(&name, head.host())));
            headers.extend(attributes.clear_others(&name, head.host()).map(set_cookie));
        }
        headers
    }

    /// The name of the cookie with the time of the session's last use.
    fn last_use_name(&self) -> Vec<u8> {
        [self.name(), b"_idle"].concat()
    }

    /// What the signature of this cookie covers besides the time: its name, and the session that it is about. A session
    /// cookie's value has no `|`, so neither cookie can pass for the other.
    fn last_use_of(&self, session: &[u8]) -> Vec<u8> {
        [&self.last_use_name(), cookie::signed_part(session)].concat()
    }

    /// The value of the cookie with the time of a session's last use.
    pub(in crate::flow) fn sign_last_use(&self, session: &[u8], at: Timestamp) -> Vec<u8> {
        cookie::sign(self.secrets().current(), &self.last_use_of(session), b"", at.secs())
    }

    /// When a session was last used, in Unix seconds: by a valid cookie of the request, or else by the session's own
    /// signature. A cookie that was seen before is not verified again.
    pub(in crate::flow) fn last_use(
        &self,
        head: &RequestHead,
        cookie: &[u8],
        session: &VerifiedPrincipal,
        idle: Duration,
        now: Timestamp,
    ) -> i64 {
        let (jar, name) = (head.jar(), self.last_use_name());
        let secrets = self.secrets();
        let mut allowance = Allowance::new(MAX_LAST_USES, MAX_TICKET).for_secrets(&secrets);
        let mut latest = None;
        for value in jar.all(&name) {
            let fingerprint = self.last_uses.of(0, value);
            let known = session.last_use.get().filter(|known| known.0 == fingerprint).map(|known| known.1);
            let verified = || {
                let signed = self.last_use_of(cookie);
                let at =
                    cookie::verify(&secrets, &signed, value, now, idle, &mut allowance).ok()?.timestamp();
                session.last_use.set(Some((fingerprint, at)));
                Some(at)
            };
            latest = latest.max(known.or_else(verified));
        }
        latest.unwrap_or(session.signed_at)
    }

    /// Removes the session cookie from the configured scope, except what is kept. Removes it from the other scopes too
    /// if it belongs to this filter there.
    fn clear_but(
        &self,
        kept: &[SetCookie],
        sent: &SessionCookies<'_>,
        everywhere: bool,
        head: &RequestHead,
    ) -> Vec<Header> {
        let (attributes, host) = (&self.options.attributes, head.host());
        let is_kept = |name: &[u8]| kept.iter().any(|cookie| cookie.name == name);
        let everywhere = everywhere && self.is_ours_everywhere(sent);
        let names = sent.names(self.signature());
        // Name by name: if they do not all fit into this response, the next one has fewer names to clear.
        let headers = names.iter().flat_map(|name| {
            let stale = (!is_kept(name)).then(|| attributes.clear(name, host));
            let elsewhere = everywhere.then(|| attributes.clear_others(name, host));
            stale.into_iter().chain(elsewhere.into_iter().flatten())
        });
        let mut bytes = 0_usize;
        let headers = headers.take(MAX_CLEARED).take_while(|header| {
            bytes = bytes.saturating_add(SET_COOKIE.len()).saturating_add(header.len());
            bytes <= MAX_CLEARED_BYTES
        });
        headers.map(set_cookie).collect()
    }

    /// Whether all session cookies of the browser belong to this filter. A cookie that our secrets did not sign may belong
    /// to another application, and the browser does not say in which scope it is.
    fn is_ours_everywhere(&self, sent: &SessionCookies<'_>) -> bool {
        self.is_owned && sent.are_all(self.signature())
    }

    /// Whether one of our secrets signed a value. Each check uses up a part of the request's allowance.
    fn signature(&self) -> impl FnMut(&[u8]) -> bool {
        let secrets = self.secrets();
        let mut allowance = Allowance::new(MAX_CHECKED, MAX_SESSION).for_secrets(&secrets);
        move |value| cookie::is_signed(&secrets, self.name(), value, &mut allowance)
    }

    /// The name of the filter state that marks requests whose cookies are stripped; `None` without
    /// `strip_session_cookie`.
    pub(in crate::flow) fn stripped_state(&self) -> Option<String> {
        let [a, b, c, d, ..] = self.fingerprint(self.secrets().current(), &["stripped"]);
        self.is_stripped.then(|| format!("stripped.{:08x}", u32::from_be_bytes([a, b, c, d])))
    }

    /// Removes our cookies from the request to the upstream if `strip_session_cookie` is set.
    pub(in crate::flow) fn strip(&self, head: &RequestHead, forward: &mut Forward, io: &impl Io) {
        if self.is_stripped {
            let jar = head.jar();
            let is_session = SessionCookies::find(&jar, self.name()).is_part();
            let last_use = self.lifetimes.idle.map(|_| self.last_use_name());
            let is_ours = |name: &[u8]| {
                is_session(name)
                    || last_use.as_deref() == Some(name)
                    || cookie::is_csrf_name(self.name(), name)
            };
            forward.cookie = Some(jar.without(is_ours));
            let stripped = jar.only(is_ours);
            forward.stripped = (!stripped.is_empty()).then(|| Stripped::new(stripped, io)).flatten();
        }
    }

    /// A fingerprint of the cookie's name, a secret, and these words, for each secret; that of the current one is the
    /// first. It does not reveal the secret.
    pub(in crate::flow) fn fingerprints(&self, words: &[&str]) -> Vec<[u8; 32]> {
        self.secrets().all().map(|secret| self.fingerprint(secret, words)).collect()
    }

    fn fingerprint(&self, secret: &CookieSecret, words: &[&str]) -> [u8; 32] {
        let name = std::iter::once(self.name());
        secret.fingerprint(name.chain(words.iter().map(|word| word.as_bytes())))
    }

    /// `cookie_name`.
    pub(in crate::flow) fn name(&self) -> &[u8] {
        self.options.name.as_bytes()
    }

    /// `cookie_expire`.
    pub(in crate::flow) fn expire(&self) -> Duration {
        self.options.expire
    }
}

/// The name of the response header that sets or clears a cookie.
pub(in crate::flow) const SET_COOKIE: &str = "set-cookie";

/// A `set-cookie` header.
pub(in crate::flow) fn set_cookie(value: Vec<u8>) -> Header {
    (SET_COOKIE, value)
}
