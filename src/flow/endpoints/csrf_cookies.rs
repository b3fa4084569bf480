//! The CSRF cookies of a sign-in under way: `/oauth2/start` sets them and the callback asks for them.
//!
//! oauth2-proxy has one cookie for all sign-ins (`<name>_csrf`), so that the later of two tabs wins; or one for each
//! (`cookie_csrf_per_request`: `<name>_<first 8 characters of the state's hash>_csrf`). The filter always writes the one
//! for each. Without the option it also writes the other, in case that an oauth2-proxy gets the callback.

use std::rc::Rc;

use crate::config;
use crate::cookie::{self, Allowance, CookieSecrets, MaxAge, Verified};
use crate::flow::App;
use crate::flow::http::Header;
use crate::flow::http::request::RequestHead;
use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::store::session_cookie::{MAX_CLEARED, set_cookie};
use crate::session::csrf::Csrf;
use crate::time::Timestamp;

/// How many sign-ins a browser can have under way without `cookie_csrf_per_request_limit`.
const DEFAULT_LIMIT: usize = 8;

/// How many cookies of one name are checked. A browser has several if paths or domains differ, or if another app under
/// the same domain has a cookie of the same name.
const MAX_CHECKED: usize = 8;

/// The longest value: three random numbers, encrypted and signed, are 400 bytes.
const MAX_LENGTH: usize = 1024;

/// The CSRF cookies of a request and of its answer.
pub(super) struct CsrfCookies<'a> {
    options: &'a config::Cookie,
    secrets: Rc<CookieSecrets>,
    head: &'a RequestHead,
    now: Timestamp,
}

impl<'a> CsrfCookies<'a> {
    pub(super) fn new<I: Io>(app: &'a App<I>, head: &'a RequestHead) -> Self {
        Self { options: &app.config.cookie, secrets: app.secrets.cookie(), head, now: app.io.now() }
    }

    /// The `Set-Cookie` headers of a sign-in that begins.
    pub(super) fn begin(&self, login: &Csrf, io: &impl Io) -> Result<Vec<Header>, Unavailable> {
        let options = self.options;
        let max_age = MaxAge::from(options.csrf_expire);
        let mut headers = self.clear_oldest();
        for name in self.names(&login.state_hash()) {
            if options.csrf_per_request && name == self.shared_name() {
                continue;
            }
            let secret = self.secrets.current();
            let sealed = login.seal(secret.aes_key(), io.random()?);
            let value = cookie::sign(secret, name.as_bytes(), &sealed, self.now.secs());
            let attributes = &options.csrf_attributes;
            let host = self.head.host();
            headers.push(set_cookie(attributes.set_cookie(name.as_bytes(), &value, max_age, host)));
        }
        Ok(headers)
    }

    /// The sign-in whose state's hash came back with the callback.
    pub(super) fn find(&self, state_hash: &str) -> Option<Csrf> {
        self.names(state_hash).iter().find_map(|name| self.open(name, state_hash))
    }

    /// The `Set-Cookie` headers that end a sign-in. They clear only its own cookies.
    pub(super) fn end(&self, state_hash: &str) -> Vec<Header> {
        self.names(state_hash)
            .iter()
            .filter(|name| self.open(name, state_hash).is_some())
            .map(|name| self.clear(name.as_bytes()))
            .collect()
    }

    /// The sign-in in a cookie. A browser can send several cookies of one name (other paths, other domains); the newest
    /// come first.
    fn open(&self, name: &str, state_hash: &str) -> Option<Csrf> {
        let name = name.as_bytes();
        let candidates = cookie::newest_first(self.head.jar().all(name).collect(), |raw| *raw);
        let mut allowance = Allowance::new(MAX_CHECKED, MAX_LENGTH).for_secrets(&self.secrets);
        let mut logins = candidates.into_iter().filter_map(|raw| {
            let verified = self.verify(name, raw, &mut allowance)?;
            Csrf::open(&verified).ok()
        });
        logins.find(|login| login.matches_state(state_hash.as_bytes()))
    }

    fn verify(&self, name: &[u8], raw: &[u8], allowance: &mut Allowance) -> Option<Verified> {
        cookie::verify(&self.secrets, name, raw, self.now, self.options.csrf_expire, allowance).ok()
    }

    /// Makes room for one more: otherwise a browser that begins sign-ins and ends none would send more and more bytes.
    fn clear_oldest(&self) -> Vec<Header> {
        let (jar, shared) = (self.head.jar(), self.shared_name());
        let session = self.options.name.as_bytes();
        // In one pass: a client may send thousands of names, and each must not be compared with all others.
        let logins: Vec<(&[u8], &[u8])> = jar
            .pairs()
            .filter(|(name, _)| *name != shared.as_bytes() && cookie::is_csrf_name(session, name))
            .collect();
        let keep = self.options.csrf_per_request_limit.unwrap_or(DEFAULT_LIMIT).max(1);
        let too_many = logins.len().saturating_add(1).saturating_sub(keep).min(MAX_CLEARED);
        if too_many == 0 {
            return Vec::new();
        }
        // Cookies without a valid signature go first. Only the newest can be among those that stay.
        let logins = cookie::newest_first(logins, |(_, raw)| *raw);
        let allowance = Allowance::new(keep.saturating_add(MAX_CHECKED), MAX_LENGTH);
        let mut allowance = allowance.for_secrets(&self.secrets);
        let (logins, others): (Vec<_>, Vec<_>) =
            logins.into_iter().partition(|(name, raw)| self.verify(name, raw, &mut allowance).is_some());
        let oldest = others.iter().rev().chain(logins.iter().rev());
        oldest.take(too_many).map(|(name, _)| self.clear(name)).collect()
    }

    fn clear(&self, name: &[u8]) -> Header {
        set_cookie(self.options.csrf_attributes.clear(name, self.head.host()))
    }

    /// The names of a sign-in's cookies, its own first.
    fn names(&self, state_hash: &str) -> [String; 2] {
        [cookie::csrf_cookie_name(&self.options.name, Some(state_hash)), self.shared_name()]
    }

    fn shared_name(&self) -> String {
        cookie::csrf_cookie_name(&self.options.name, None)
    }
}
