//! The session cookie: what the browser holds, whichever store has the session.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use crate::config::{Config, MAX_SESSION};
use crate::cookie::{self, Allowance, Invalid, MaxAge, Sent, SetCookie, Verified};
use crate::flow::outcome::{Loaded, Outcome};
use crate::flow::verified_cache::Raw;
use crate::flow::{Forward, Header, Io, RequestHead, Stripped};
use crate::time::Timestamp;

/// So many cookies of a kind an answer clears at most; the next one clears more. Envoy drops all headers of an answer
/// that has more than 1024, and an honest session is in far fewer: 64 chunks would be 256 kB.
pub(in crate::flow) const MAX_CLEARED: usize = 64;

/// The bytes of the headers that clear a session at most. A proxy in front may take few.
const MAX_CLEARED_BYTES: usize = 8 << 10;

/// So many session cookies of a request are checked, the newest first. A browser has more than one if paths or domains
/// differ, or if another app below the same domain has one of the same name.
const MAX_CHECKED: usize = 16;

/// The longest value with a ticket in it: about 160 bytes, and 600 with the longest name of a cookie.
const MAX_TICKET: usize = 1 << 10;

/// The session cookie by its options.
pub(in crate::flow) struct SessionCookie {
    options: crate::config::Cookie,
    is_stripped: bool,
    /// Whether it is ours to end.
    is_owned: bool,
    allowance: Allowance,
}

/// What was read from a session cookie.
pub(in crate::flow) struct Found<T> {
    pub(in crate::flow) value: T,
    /// Whether the browser sent several session cookies, all of which are ours.
    is_in_several_scopes: bool,
}

impl<T: Raw> Found<Rc<T>> {
    /// If the browser has session cookies in several scopes, the one that counts goes out once more, to the scope that is
    /// in use: in which scope it was, the browser does not say. With it the others are cleared ([`SessionCookie::save`]).
    pub(in crate::flow) fn in_one_scope(&self, loaded: Loaded) -> Loaded {
        let is_authenticated = matches!(loaded.outcome, Outcome::Authenticated(_));
        if !self.is_in_several_scopes || !is_authenticated || loaded.renewed.is_some() {
            return loaded;
        }
        Loaded { renewed: Some(self.value.raw().to_vec()), ..loaded }
    }
}

impl SessionCookie {
    pub(in crate::flow) fn new(config: &Config) -> Self {
        let longest = if config.redis.is_some() { MAX_TICKET } else { MAX_SESSION };
        Self {
            options: config.cookie.clone(),
            is_stripped: config.headers.strip_session_cookie,
            is_owned: config.mode.owns_sessions(),
            allowance: Allowance::new(MAX_CHECKED, longest),
        }
    }

    /// The AES key of what stands in a cookie.
    pub(in crate::flow) fn aes_key(&self) -> &[u8] {
        self.options.secret.aes_key()
    }

    /// The first of the browser's session cookies that `read` takes, or why it took none: of several
    /// refusals the first. Without a cookie there is no reason. What was checked before, `read` takes without a
    /// check, so that such a cookie is found among however many others.
    pub(in crate::flow) fn find<T, E>(
        &self,
        head: &RequestHead,
        mut read: impl FnMut(Cow<'_, [u8]>, &mut Allowance) -> Result<T, E>,
    ) -> Result<Found<T>, Option<E>> {
        let jar = head.jar();
        let sent = Sent::find(&jar, self.name());
        let mut allowance = self.allowance;
        let mut reason = None;
        for value in sent.values() {
            match read(value, &mut allowance) {
                Ok(value) => {
                    return Ok(Found { value, is_in_several_scopes: self.is_in_several_scopes(&sent) });
                }
                Err(refusal) => reason = reason.or(Some(refusal)),
            }
        }
        Err(reason)
    }

    /// What `read` takes of all the browser's session cookies, the newest first.
    pub(in crate::flow) fn all<T, E>(
        &self,
        head: &RequestHead,
        mut read: impl FnMut(Cow<'_, [u8]>, &mut Allowance) -> Result<T, E>,
    ) -> Vec<T> {
        let jar = head.jar();
        let sent = Sent::find(&jar, self.name());
        let mut allowance = self.allowance;
        let found = sent.values().into_iter().filter_map(|value| read(value, &mut allowance).ok());
        found.take(MAX_CHECKED).collect()
    }

    /// What was signed, where the signature holds and is not too old.
    pub(in crate::flow) fn verify(
        &self,
        value: &[u8],
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Verified, Invalid> {
        cookie::verify(&self.options.secret, self.name(), value, now, self.options.expire, allowance)
    }

    /// What the check of one value may cost that comes from another worker.
    pub(in crate::flow) fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Whether what was signed then is valid now.
    pub(in crate::flow) fn is_current(&self, signed_at: i64, now: Timestamp) -> bool {
        cookie::is_current(signed_at, now, self.options.expire)
    }

    /// The value of a cookie.
    pub(in crate::flow) fn sign(&self, value: &[u8], signed_at: Timestamp) -> Vec<u8> {
        cookie::sign(&self.options.secret, self.name(), value, signed_at.secs())
    }

    /// The bytes of a value in the `cookie` header that the browser sends.
    pub(in crate::flow) fn size(&self, value: &[u8]) -> usize {
        let max_age = MaxAge::from(self.options.expire);
        cookie::sent_bytes(self.name(), value, &self.options.attributes, max_age)
    }

    /// The `Set-Cookie` headers that put a signed value into the browser, in the place of what it
    /// sent: chunks that the new value does not need are expired, and if it sent several, those in other scopes too.
    /// What is expired comes first: to a browser by the letter of RFC 6265 section 5.3, a cookie of the host alone and one
    /// with the host as its domain are the same.
    pub(in crate::flow) fn save(&self, value: &[u8], head: &RequestHead) -> Vec<Header> {
        let max_age = MaxAge::from(self.options.expire);
        let cookies = cookie::split(self.name(), value, &self.options.attributes, max_age, head.host());
        let jar = head.jar();
        let sent = Sent::find(&jar, self.name());
        let mut headers = self.clear_but(&cookies, &sent, !sent.is_alone(), head);
        headers.extend(cookies.into_iter().map(|cookie| set_cookie(cookie.header)));
        headers
    }

    /// The cookies that go out with a response: a renewed session, or the end of one that is none. A cookie that is not
    /// ours to end stays: a filter beside an oauth2-proxy with another secret, say, must not sign everybody out.
    pub(in crate::flow) fn for_response(&self, head: &RequestHead, loaded: &Loaded) -> Vec<Header> {
        match (&loaded.outcome, &loaded.renewed) {
            (Outcome::Unavailable(_), _) => Vec::new(),
            (Outcome::Anonymous(reason), _) if reason.keeps_cookie() || !self.is_owned => Vec::new(),
            (Outcome::Anonymous(_), _) => self.clear(head),
            (Outcome::Authenticated(_), Some(renewed)) => self.save(renewed, head),
            (Outcome::Authenticated(_), None) => Vec::new(),
        }
    }

    /// The `Set-Cookie` headers that take the session out of the browser, in whatever scope.
    pub(in crate::flow) fn clear(&self, head: &RequestHead) -> Vec<Header> {
        let jar = head.jar();
        self.clear_but(&[], &Sent::find(&jar, self.name()), true, head)
    }

    /// Takes the session cookie out of the scope that is in use, but for what is kept, and of the others, if it is ours
    /// there.
    fn clear_but(
        &self,
        kept: &[SetCookie],
        sent: &Sent<'_>,
        everywhere: bool,
        head: &RequestHead,
    ) -> Vec<Header> {
        let (attributes, host) = (&self.options.attributes, head.host());
        let is_kept = |name: &[u8]| kept.iter().any(|cookie| cookie.name == name);
        let everywhere = everywhere && self.is_ours_everywhere(sent);
        let names = sent.names(self.signature());
        // Name by name, so that an answer that cannot have them all leaves fewer names for the next one.
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

    /// Whether the browser sent several session cookies, all of which are ours. Then all but one are to go: else a later
    /// request could be somebody else's, who was signed in before. Browsers have several after `cookie_domains` or
    /// `cookie_path` was changed.
    fn is_in_several_scopes(&self, sent: &Sent<'_>) -> bool {
        !sent.is_alone() && self.is_ours_everywhere(sent)
    }

    /// One that our secret did not sign may be another application's, and nothing says in which scope that one is.
    fn is_ours_everywhere(&self, sent: &Sent<'_>) -> bool {
        self.is_owned && sent.are_all(self.signature())
    }

    /// Whether our secret signed a value, as long as the allowance of a request lasts.
    fn signature(&self) -> impl FnMut(&[u8]) -> bool {
        let mut allowance = Allowance::new(MAX_CHECKED, MAX_SESSION);
        move |value| cookie::is_signed(&self.options.secret, self.name(), value, &mut allowance)
    }

    /// The name of the filter state of requests whose cookies are stripped, where `strip_session_cookie` asks for that.
    pub(in crate::flow) fn stripped_state(&self) -> Option<String> {
        let [a, b, c, d, ..] = self.fingerprint(&["stripped"]);
        self.is_stripped.then(|| format!("stripped.{:08x}", u32::from_be_bytes([a, b, c, d])))
    }

    /// Keeps our cookies from the upstream, where `strip_session_cookie` asks for that.
    pub(in crate::flow) fn strip(&self, head: &RequestHead, forward: &mut Forward, io: &impl Io) {
        if self.is_stripped {
            let jar = head.jar();
            let is_session = Sent::find(&jar, self.name()).is_part();
            let is_ours = |name: &[u8]| is_session(name) || cookie::is_csrf_name(self.name(), name);
            forward.cookie = Some(jar.without(is_ours));
            let stripped = jar.only(is_ours);
            forward.stripped = (!stripped.is_empty()).then(|| Stripped::new(stripped, io)).flatten();
        }
    }

    /// What stands for the name and the secret of the cookie, and for these words; nobody gets from it to the secret.
    pub(in crate::flow) fn fingerprint(&self, words: &[&str]) -> [u8; 32] {
        let name = std::iter::once(self.name());
        self.options.secret.fingerprint(name.chain(words.iter().map(|word| word.as_bytes())))
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

/// The name of a header that puts a cookie into the browser, or takes it out.
pub(in crate::flow) const SET_COOKIE: &str = "set-cookie";

/// A `set-cookie` header.
pub(in crate::flow) fn set_cookie(value: Vec<u8>) -> Header {
    (SET_COOKIE, value)
}
