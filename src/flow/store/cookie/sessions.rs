//! Sessions in cookies: read from them once, and sealed if the result is not too large for a browser.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use log::warn;

use crate::config::Config;
use crate::cookie::{Allowance, Verified};
use crate::flow::RequestHead;
use crate::flow::io::Io;
use crate::flow::outcome::{AnonymousReason, TooLarge, Unavailable};
use crate::flow::principal::Principal;
use crate::flow::store::session_cookie::{Found, SessionCookie};
use crate::flow::util::log_once::LogOnce;
use crate::flow::verified_cache::{VerifiedCache, VerifiedPrincipal};
use crate::session::{self, Session};
use crate::time::Timestamp;

/// What the operator can do about a session that is too large for cookies.
const REMEDY: &str = "The operator can keep sessions in Redis (session_store_type), or leave the tokens out of them \
                      (session_cookie_minimal)";

/// Reads and seals sessions in cookies.
pub(super) struct CookieSessions {
    log_once: LogOnce,
    config: Rc<Config>,
    cookie: Rc<SessionCookie>,
    cache: VerifiedCache<VerifiedPrincipal>,
}

/// How much longer a new refresh token may be than the old one if the rest of the session stays the same. Tokens of one
/// kind differ by less than this. The default of `cookie_max_bytes` leaves more than this to Envoy's limit.
const TOKEN_GROWTH: usize = 1 << 10;

impl CookieSessions {
    pub(super) fn new(config: &Rc<Config>, cookie: &Rc<SessionCookie>) -> Self {
        Self {
            cache: VerifiedCache::new(config.cookie.session_cache_size),
            log_once: LogOnce::default(),
            config: Rc::clone(config),
            cookie: Rc::clone(cookie),
        }
    }

    /// The session in the request's cookies.
    pub(super) fn find(
        &self,
        head: &RequestHead,
        now: Timestamp,
    ) -> Result<Found<Rc<VerifiedPrincipal>>, AnonymousReason> {
        self.cookie.find(head, |value, allowance| self.recall(value, now, allowance))
    }

    /// All sessions in them, the newest first: a browser has several if their scopes differ.
    pub(super) fn find_all(&self, head: &RequestHead, now: Timestamp) -> Vec<Rc<VerifiedPrincipal>> {
        self.cookie.all(head, |value, allowance| self.recall(value, now, allowance))
    }

    fn recall(
        &self,
        value: Cow<'_, [u8]>,
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Rc<VerifiedPrincipal>, AnonymousReason> {
        match self.cache.get(&value) {
            Some(signed_in)
                if signed_in
                    .secret
                    .is_some_and(|secret| self.cookie.is_still_valid(signed_in.signed_at, secret, now)) =>
            {
                Ok(signed_in)
            }
            Some(_) => Err(AnonymousReason::BadCookie),
            None => self.read(value, now, allowance),
        }
    }

    /// The session in a cookie that another worker made.
    pub(super) fn open(
        &self,
        cookie: Vec<u8>,
        now: Timestamp,
    ) -> Result<Rc<VerifiedPrincipal>, AnonymousReason> {
        self.read(cookie.into(), now, &mut self.cookie.allowance())
    }

    fn read(
        &self,
        cookie: Cow<'_, [u8]>,
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Rc<VerifiedPrincipal>, AnonymousReason> {
        let verified = self.cookie.verify(&cookie, now, allowance).map_err(|_| AnonymousReason::BadCookie)?;
        let session = session::open_cookie(&verified).map_err(|_| AnonymousReason::NoSession)?;
        let signed_in = Rc::new(VerifiedPrincipal {
            raw: cookie.into_owned(),
            signed_at: verified.timestamp(),
            secret: Some(verified.secret().id()),
            principal: Principal::new(&self.config, session),
            last_use: RefCell::default(),
        });
        self.cache.insert(&signed_in);
        Ok(signed_in)
    }

    /// Whether an older secret signed a cookie.
    pub(super) fn is_of_older_secret(&self, signed_in: &VerifiedPrincipal) -> bool {
        signed_in.secret.is_some_and(|secret| self.cookie.is_older(secret))
    }

    /// The same session in a cookie of the current secret, with the same time, if the browser needs one. All workers
    /// and all proxies make the same bytes, so it does not matter which of several responses arrives last.
    pub(super) fn reissue(&self, signed_in: &VerifiedPrincipal, now: Timestamp) -> Option<Vec<u8>> {
        signed_in.secret.filter(|secret| self.cookie.is_reissued(*secret))?;
        let verified = self.verify(&signed_in.raw, now)?;
        let value = session::reseal_cookie(&verified, self.cookie.secrets().current()).ok()?;
        Some(self.cookie.sign(&value, Timestamp::from_secs(verified.timestamp())))
    }

    /// Identifies the session of a cookie, by whichever secret it is signed; `None` if the cookie is not valid.
    pub(super) fn identity(&self, cookie: &[u8], now: Timestamp) -> Option<[u8; 32]> {
        session::cookie_identity(&self.verify(cookie, now)?).ok()
    }

    fn verify(&self, cookie: &[u8], now: Timestamp) -> Option<Verified> {
        self.cookie.verify(cookie, now, &mut self.cookie.allowance()).ok()
    }

    /// The signed cookie value of a session, with its `created_at` in the signature. Its size is at most
    /// `cookie_max_bytes`, or that of the cookie which it replaces. Of a larger cookie Envoy would refuse every
    /// request, also the one to sign out.
    pub(super) fn seal<I: Io>(
        &self,
        session: &Session,
        replaced: Option<&VerifiedPrincipal>,
        io: &I,
    ) -> Result<Vec<u8>, Unavailable> {
        let most = self.config.cookie.max_bytes;
        self.seal_within(replaced.map_or(most, |old| self.size(old).max(most)), session, io)
    }

    /// The same for the session of `old` with another refresh token. It may be a little larger than the old one, whose
    /// token is used up.
    pub(super) fn seal_with_new_token<I: Io>(
        &self,
        session: &Session,
        old: &VerifiedPrincipal,
        io: &I,
    ) -> Result<Vec<u8>, Unavailable> {
        let most = self.size(old).max(self.config.cookie.max_bytes);
        self.seal_within(most.saturating_add(TOKEN_GROWTH), session, io)
    }

    /// The bytes that a session takes in the `cookie` header.
    fn size(&self, signed_in: &VerifiedPrincipal) -> usize {
        self.cookie.size(&signed_in.raw)
    }

    fn seal_within<I: Io>(&self, limit: usize, session: &Session, io: &I) -> Result<Vec<u8>, Unavailable> {
        let options = &self.config.cookie;
        let secrets = self.cookie.secrets();
        let aes_key = secrets.current().aes_key();
        let sealed = session::seal_cookie(session, aes_key, io.random()?, options.minimal);
        let cookie = self.cookie.sign(&sealed, session.created_at.unwrap_or_else(|| io.now()));
        let (bytes, most) = (self.cookie.size(&cookie), options.max_bytes);
        if bytes > limit {
            return Err(Unavailable::TooLarge(TooLarge { bytes, most, remedy: REMEDY }));
        }
        if bytes > most / 2 && self.log_once.is_first((&session.user, &session.email), io.now()) {
            warn!(
                "cookies: a session has {bytes} bytes in cookies, more than half of the {most} that cookie_max_bytes allows. \
                 {REMEDY}"
            );
        }
        Ok(cookie)
    }
}
