//! When a session in cookies was last used (`session_idle_timeout`): a small cookie beside the session says so. The session
//! itself stays as oauth2-proxy wrote it.
//!
//! ```text
//! _oauth2_proxy_idle = "" "|" time "|" base64url(mac)       time of the last use, in Unix seconds
//! mac = HMAC-SHA-256(secret, "_oauth2_proxy_idle" ‖ the signed part of the session cookie ‖ time)
//! ```
//!
//! So the cookie says nothing about another session, and a new session needs none: without a valid one, the time in the
//! session's own signature is that of its last use.
//!
//! A request that uses the session renews the cookie if it is older than a twentieth of the timeout. A request that is no use
//! of it may still refresh the session. Then the new session gets a cookie with the time of the old one's last use.

use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::flow::RequestHead;
use crate::flow::load::Usage;
use crate::flow::outcome::{Loaded, Outcome};
use crate::flow::store::session_cookie::{Found, SessionCookie};
use crate::flow::verified::VerifiedPrincipal;
use crate::time::Timestamp;

/// Finds and renews the times of last uses.
pub(super) struct LastUses {
    config: Rc<Config>,
    cookie: Rc<SessionCookie>,
}

/// The last use of a session, and whether this request is one too. None if idle sessions do not end.
#[derive(Clone, Copy)]
pub(super) struct LastUse {
    idle: Duration,
    at: Timestamp,
    is_use: bool,
}

/// The session was not used for `session_idle_timeout`.
pub(super) struct Idle;

impl LastUses {
    pub(super) fn new(config: &Rc<Config>, cookie: &Rc<SessionCookie>) -> Self {
        Self { config: Rc::clone(config), cookie: Rc::clone(cookie) }
    }

    /// When the session of a request was last used.
    pub(super) fn find(
        &self,
        head: &RequestHead,
        session: &Found<'_, Rc<VerifiedPrincipal>>,
        usage: Usage,
        now: Timestamp,
    ) -> Result<Option<LastUse>, Idle> {
        let Some(idle) = self.config.lifetimes.idle else { return Ok(None) };
        let at = Timestamp::from_secs(self.cookie.last_use(head, &session.cookie, &session.value, idle, now));
        if at.after(idle) <= now {
            return Err(Idle);
        }
        Ok(Some(LastUse { idle, at, is_use: (usage.is_use)(&self.config, head) }))
    }

    /// Adds the cookie with the last use, if the browser needs a new one.
    pub(super) fn note(
        &self,
        loaded: Loaded,
        old: &[u8],
        last_use: Option<LastUse>,
        now: Timestamp,
    ) -> Loaded {
        let (Some(LastUse { idle, at, is_use }), Outcome::Authenticated(_)) = (last_use, &loaded.outcome)
        else {
            return loaded;
        };
        let is_due = is_use && !at.was_within(self.config.lifetimes.write_period(), now);
        let at = if is_use { now } else { at };
        let session = loaded.renewed.as_deref().unwrap_or(old);
        let cookie = (is_due || loaded.renewed.is_some()).then(|| self.cookie.sign_last_use(session, at));
        Loaded { last_use: cookie, idle_end: Some(at.after(idle)), ..loaded }
    }
}
