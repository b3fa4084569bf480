//! Sessions in cookies: read from them once, and sealed if the result is not too large for a browser.

use std::rc::Rc;

use log::warn;

use crate::config::Config;
use crate::cookie::{Allowance, SecretId, Verified};
use crate::flow::RequestHead;
use crate::flow::io::Io;
use crate::flow::outcome::{AnonymousReason, TooLarge, Unavailable};
use crate::flow::principal::{Principal, WholeSession};
use crate::flow::store::session_cookie::{Found, SessionCookie};
use crate::flow::util::log_once::LogOnce;
use crate::flow::util::lru::{BoundedLru, Budget};
use crate::flow::verified::{COOKIES, VerifiedPrincipal};
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
    cache: BoundedLru<VerifiedPrincipal>,
}

/// A session cookie, and the session in it with its tokens.
pub(super) struct OpenedCookie {
    /// The value, with its chunks joined.
    pub(super) cookie: Vec<u8>,
    /// The secret that signed it.
    pub(super) secret: SecretId,
    pub(super) whole: Rc<WholeSession>,
}

/// What is in a cookie.
struct Content {
    session: Session,
    /// When the cookie was signed, in Unix seconds.
    signed_at: i64,
    secret: SecretId,
}

/// How much longer a new refresh token may be than the old one if the rest of the session stays the same. Tokens of one
/// kind differ by less than this. The default of `cookie_max_bytes` leaves more than this to Envoy's limit.
const TOKEN_GROWTH: usize = 1 << 10;

impl CookieSessions {
    pub(super) fn new(config: &Rc<Config>, cookie: &Rc<SessionCookie>, remembered: &Budget) -> Self {
        Self {
            cache: BoundedLru::within(remembered, COOKIES),
            log_once: LogOnce::default(),
            config: Rc::clone(config),
            cookie: Rc::clone(cookie),
        }
    }

    /// The session in the request's cookies.
    pub(super) fn find<'a>(
        &'a self,
        head: &'a RequestHead,
        now: Timestamp,
    ) -> Result<Found<'a, Rc<VerifiedPrincipal>>, AnonymousReason> {
        self.cookie.find(head, |cookie, allowance| match self.known(cookie, now) {
            Some(known) => known,
            None => self.read(cookie, now, allowance).map(|content| self.remember(cookie, content)),
        })
    }

    /// All sessions in them, the newest first: a browser has several if their scopes differ.
    pub(super) fn open_all(&self, head: &RequestHead, now: Timestamp) -> Vec<OpenedCookie> {
        self.cookie.all(head, |cookie, allowance| match self.known(cookie, now) {
            Some(known) => known.and_then(|_| self.open(cookie.to_vec(), now)),
            None => self.read(cookie, now, allowance).map(|content| self.opened(cookie.to_vec(), content)),
        })
    }

    /// The session of a cookie that was verified before, if the cookie is still valid; `None` if it was not verified.
    fn known(&self, cookie: &[u8], now: Timestamp) -> Option<Result<Rc<VerifiedPrincipal>, AnonymousReason>> {
        let known = self.cache.get(cookie)?;
        let is_valid =
            known.secret.is_some_and(|secret| self.cookie.is_still_valid(known.signed_at, secret, now));
        Some(if is_valid { Ok(known) } else { Err(AnonymousReason::BadCookie) })
    }

    fn remember(&self, cookie: &[u8], content: Content) -> Rc<VerifiedPrincipal> {
        let principal = Principal::new(&self.config, content.session);
        let verified = VerifiedPrincipal::new(&principal, content.signed_at, Some(content.secret));
        verified.remember(cookie, &self.cache);
        verified
    }

    /// The session in one cookie: another worker made it, or this one remembers it, but not its tokens.
    pub(super) fn open(&self, cookie: Vec<u8>, now: Timestamp) -> Result<OpenedCookie, AnonymousReason> {
        let content = self.read(&cookie, now, &mut self.cookie.allowance())?;
        Ok(self.opened(cookie, content))
    }

    fn opened(&self, cookie: Vec<u8>, content: Content) -> OpenedCookie {
        let whole = WholeSession::new(&self.config, content.session);
        OpenedCookie { cookie, secret: content.secret, whole }
    }

    fn read(
        &self,
        cookie: &[u8],
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Content, AnonymousReason> {
        let verified = self.cookie.verify(cookie, now, allowance).map_err(|_| AnonymousReason::BadCookie)?;
        let session = session::open_cookie(&verified).map_err(|_| AnonymousReason::NoSession)?;
        Ok(Content { session, signed_at: verified.timestamp(), secret: verified.secret().id() })
    }

    /// Whether an older secret signed a cookie.
    pub(super) fn is_of_older_secret(&self, secret: Option<SecretId>) -> bool {
        secret.is_some_and(|secret| self.cookie.is_older(secret))
    }

    /// The same session in a cookie of the current secret, with the same time, if the browser needs one. All workers
    /// and all proxies make the same bytes, so it does not matter which of several responses arrives last.
    pub(super) fn reissue(&self, cookie: &[u8], secret: Option<SecretId>, now: Timestamp) -> Option<Vec<u8>> {
        secret.filter(|secret| self.cookie.is_reissued(*secret))?;
        let verified = self.verify(cookie, now)?;
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
        replaced: Option<&[u8]>,
        io: &I,
    ) -> Result<Vec<u8>, Unavailable> {
        let most = self.config.cookie.max_bytes;
        self.seal_within(replaced.map_or(most, |old| self.cookie.size(old).max(most)), session, io)
    }

    /// The same for the session of the cookie `old` with another refresh token. It may be a little larger than the old one, whose
    /// token is used up.
    pub(super) fn seal_with_new_token<I: Io>(
        &self,
        session: &Session,
        old: &[u8],
        io: &I,
    ) -> Result<Vec<u8>, Unavailable> {
        let most = self.cookie.size(old).max(self.config.cookie.max_bytes);
        self.seal_within(most.saturating_add(TOKEN_GROWTH), session, io)
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
