//! The session cookie: what the browser holds, whichever store has the session.

use std::borrow::Cow;
use std::time::Duration;

use super::{Forward, Header, RequestHead};
use crate::config::Config;
use crate::cookie::{self, Allowance, Invalid, MaxAge, Sent, Verified};
use crate::session::csrf;
use crate::time::Timestamp;

/// So many cookies of a kind an answer clears at most; the next one clears more. Envoy drops all headers of an answer
/// that has more than 1024, and an honest session is in far fewer: 64 chunks would be 256 kB.
pub(super) const MAX_CLEARED: usize = 64;

/// So many session cookies of a request are checked, the newest first. A browser has more than one if paths or domains
/// differ, or if another app below the same domain has one of the same name.
const MAX_CHECKED: usize = 16;

/// The longest value with a session in it, joined of as many chunks as fit into the headers that a server takes.
const MAX_SESSION: usize = 128 << 10;

/// The longest value with a ticket in it: about 160 bytes, and 600 with the longest name of a cookie.
const MAX_TICKET: usize = 1 << 10;

/// The session cookie by its options.
pub(super) struct SessionCookie {
    options: crate::config::Cookie,
    is_stripped: bool,
    allowance: Allowance,
}

impl SessionCookie {
    pub(super) fn new(config: &Config) -> Self {
        let longest = if config.redis.is_some() { MAX_TICKET } else { MAX_SESSION };
        Self {
            options: config.cookie.clone(),
            is_stripped: config.headers.strip_session_cookie,
            allowance: Allowance::new(MAX_CHECKED, longest),
        }
    }

    /// The AES key of what stands in a cookie.
    pub(super) fn aes_key(&self) -> &[u8] {
        self.options.secret.aes_key()
    }

    /// The first of the browser's session cookies that `read` takes, or why it took none: of several
    /// refusals the first. Without a cookie there is no reason. What was checked before, `read` takes without a
    /// check, so that such a cookie is found among however many others.
    pub(super) fn find<T, E>(
        &self,
        head: &RequestHead,
        mut read: impl FnMut(Cow<'_, [u8]>, &mut Allowance) -> Result<T, E>,
    ) -> Result<T, Option<E>> {
        let jar = head.jar();
        let mut allowance = self.allowance;
        let mut reason = None;
        for value in Sent::find(&jar, self.name()).values() {
            match read(value, &mut allowance) {
                Ok(found) => return Ok(found),
                Err(refusal) => reason = reason.or(Some(refusal)),
            }
        }
        Err(reason)
    }

    /// What was signed, where the signature holds and is not too old.
    pub(super) fn verify(
        &self,
        value: &[u8],
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Verified, Invalid> {
        cookie::verify(&self.options.secret, self.name(), value, now, self.options.expire, allowance)
    }

    /// What the check of one value may cost that comes from another worker.
    pub(super) fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Whether what was signed then is valid now.
    pub(super) fn is_current(&self, signed_at: i64, now: Timestamp) -> bool {
        cookie::is_current(signed_at, now, self.options.expire)
    }

    /// The value of a cookie.
    pub(super) fn sign(&self, value: &[u8], signed_at: Timestamp) -> Vec<u8> {
        cookie::sign(&self.options.secret, self.name(), value, signed_at.secs())
    }

    /// The `Set-Cookie` headers that put a signed value into the browser, in the place of what it
    /// sent: chunks that the new value does not need are expired.
    pub(super) fn save(&self, value: &[u8], head: &RequestHead) -> Vec<Header> {
        let max_age = MaxAge::from(self.options.expire);
        let attributes = &self.options.attributes;
        let cookies = cookie::split(self.name(), value, attributes, max_age, head.host());
        let jar = head.jar();
        let sent = Sent::find(&jar, self.name());
        let stale = sent
            .names()
            .filter(|name| !cookies.iter().any(|cookie| cookie.name == **name))
            .take(MAX_CLEARED)
            .map(|name| attributes.clear(name, head.host()));
        let mut headers: Vec<_> = stale.map(set_cookie).collect();
        headers.extend(cookies.into_iter().map(|cookie| set_cookie(cookie.header)));
        headers
    }

    /// The `Set-Cookie` headers that take the session out of the browser: the chunks that come first before
    /// others, as without them no other is one.
    pub(super) fn clear(&self, head: &RequestHead) -> Vec<Header> {
        let jar = head.jar();
        let sent = Sent::find(&jar, self.name());
        sent.names()
            .take(MAX_CLEARED)
            .map(|name| set_cookie(self.options.attributes.clear(name, head.host())))
            .collect()
    }

    /// Keeps our cookies from the upstream, where `strip_session_cookie` asks for that.
    pub(super) fn strip(&self, head: &RequestHead, forward: &mut Forward) {
        if self.is_stripped {
            forward.cookie = Some(head.jar().without(|name| self.is_ours(name)));
        }
    }

    /// Whether a cookie is of this filter: a session's, or a login's.
    fn is_ours(&self, name: &[u8]) -> bool {
        cookie::is_part_of(self.name(), name) || csrf::is_csrf_name(self.name(), name)
    }

    /// What stands for the name and the secret of the cookie, and for these words; nobody gets from it to the secret.
    pub(super) fn fingerprint(&self, words: &[&str]) -> [u8; 32] {
        let name = std::iter::once(self.name());
        self.options.secret.fingerprint(name.chain(words.iter().map(|word| word.as_bytes())))
    }

    /// `cookie_name`.
    pub(super) fn name(&self) -> &[u8] {
        self.options.name.as_bytes()
    }

    /// `cookie_expire`.
    pub(super) fn expire(&self) -> Duration {
        self.options.expire
    }
}

/// The name of a header that puts a cookie into the browser, or takes it out.
pub(super) const SET_COOKIE: &str = "set-cookie";

/// A `set-cookie` header.
pub(super) fn set_cookie(value: Vec<u8>) -> Header {
    (SET_COOKIE, value)
}
