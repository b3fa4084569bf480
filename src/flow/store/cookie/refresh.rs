//! Refresh in the cookie store: one grant for an old cookie in the whole Envoy, and its new session for
//! all who ask.
//!
//! ```text
//! request with the old cookie ─┬─ nobody at it ── claim, refresh in a task of its own ─┐
//!                              ├─ somebody at it ── wait ──────────────────────────────┤
//!                              └─ it is done ── the new session, and its Set-Cookie ◄──┘
//! ```
//!
//! A sign-out ends the cookie of the browser, and all that it has become. Then no answer brings one of them back:
//! neither of a refresh under way, nor of a request that the upstream has not answered yet.

use std::borrow::Cow;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use log::warn;

use super::sessions::CookieSessions;
use super::slots::{self, RefreshSlot, SlotState};
use crate::config::Config;
use crate::cookie;
use crate::flow::Io;
use crate::flow::outcome::{Loaded, Outcome, Reason, TooLarge, Unavailable};
use crate::flow::store::refresh::{BACKOFF, Hindrance, LEASE, NotRenewed, RefreshPolicy};
use crate::flow::store::session_cookie::SessionCookie;
use crate::flow::verified_cache::VerifiedPerson;
use crate::session::Session;

/// How long the new session is there for requests with the old cookie. Longer than a page needs: the
/// answer that carried the new cookie may have been lost on the way to the browser.
const RESULT_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How often those who wait look whether it is done.
const POLL: Duration = Duration::from_millis(10);

/// An old cookie can stand for a session that was refreshed several times since, so many at most.
const MAX_HOPS: u32 = 16;

/// Refreshes sessions in cookies, once in the whole Envoy.
pub(super) struct CookieRefresher<I> {
    io: I,
    policy: Rc<RefreshPolicy<I>>,
    sessions: Rc<CookieSessions>,
    /// What stands for those whose refreshes are one: they read the same cookies, and are the same client.
    fingerprint: [u8; 32],
}

/// Why there is no newer session.
enum Stop {
    Ended(Reason),
    Hindered(Hindrance),
}

impl<I: Io> CookieRefresher<I> {
    pub(super) fn new(
        config: &Config,
        cookie: &SessionCookie,
        sessions: &Rc<CookieSessions>,
        policy: &Rc<RefreshPolicy<I>>,
        io: &I,
    ) -> Self {
        slots::create_keys(io);
        let provider = config.provider.as_ref();
        let client = provider.map_or(["", ""], |provider| [&provider.issuer_url, &provider.client_id]);
        Self {
            fingerprint: cookie.fingerprint(&client),
            sessions: Rc::clone(sessions),
            policy: Rc::clone(policy),
            io: io.clone(),
        }
    }

    /// The session that `old` has become, refreshed here or by another request.
    pub(super) async fn refresh(self: &Rc<Self>, old: Rc<VerifiedPerson>) -> Loaded {
        let mut signed_in = Rc::clone(&old);
        let mut hindrance = Unavailable::Provider.into();
        for _ in 0..MAX_HOPS {
            if !self.policy.is_due(&signed_in.person.session, self.io.now()) {
                break;
            }
            signed_in = match self.follow(&signed_in).await {
                Ok(next) => next,
                Err(Stop::Ended(reason)) => return Outcome::Anonymous(reason).into(),
                Err(Stop::Hindered(reason)) => {
                    hindrance = reason;
                    break;
                }
            };
        }
        Loaded {
            outcome: self.policy.outcome_without_refresh(
                Rc::clone(&signed_in.person),
                self.io.now(),
                hindrance,
            ),
            renewed: (!Rc::ptr_eq(&signed_in, &old)).then(|| signed_in.raw.clone()),
        }
    }

    /// Waits for what becomes of one refresh, and does it where nobody else is at it.
    async fn follow(self: &Rc<Self>, old: &Rc<VerifiedPerson>) -> Result<Rc<VerifiedPerson>, Stop> {
        let no_answer = || Stop::Hindered(Unavailable::Provider.into());
        let slot = self.slot_of(&old.raw);
        let began = self.io.now();
        loop {
            match slot.state(&self.io) {
                Some(SlotState::Done(cookie)) if self.is_ended(&cookie) => {
                    return Err(Stop::Ended(Reason::SignedOut));
                }
                Some(SlotState::Done(cookie)) => {
                    return self.sessions.open(cookie, self.io.now()).map_err(|_| no_answer());
                }
                Some(SlotState::Refused) => return Err(Stop::Ended(Reason::Refused)),
                Some(SlotState::TooLarge) => return Err(Stop::Ended(Reason::TooLarge)),
                Some(SlotState::Ended) => return Err(Stop::Ended(Reason::SignedOut)),
                Some(SlotState::Failed(reason)) => return Err(Stop::Hindered(reason)),
                Some(SlotState::Running) => {}
                None => {
                    if slot.claim(&self.io, LEASE) {
                        let (refresher, old, slot) = (Rc::clone(self), Rc::clone(old), slot.clone());
                        self.io.spawn(async move { refresher.run(&old, &slot).await });
                    }
                }
            }
            let now = self.io.now();
            if !began.was_within(self.policy.patience(&old.person.session, now), now) {
                return Err(no_answer());
            }
            self.io.sleep(POLL).await;
        }
    }

    /// The refresh itself, under a lease that is renewed.
    async fn run(&self, old: &VerifiedPerson, slot: &RefreshSlot) {
        let mut grant = pin!(self.grant(old));
        let state = loop {
            let renewal = pin!(self.io.sleep(LEASE / 3));
            match select(grant, renewal).await {
                Either::Left((state, _)) => break state,
                Either::Right(((), unfinished)) => grant = unfinished,
            }
            slot.publish(&self.io, &SlotState::Running, LEASE);
        };
        let period = match state {
            SlotState::Failed(_) => BACKOFF,
            _ => RESULT_LIFETIME,
        };
        slot.publish(&self.io, &state, period);
    }

    async fn grant(&self, old: &VerifiedPerson) -> SlotState {
        let session = match self.policy.renew(&old.person.session).await {
            Ok(session) => session,
            Err(NotRenewed::Ended(error)) => {
                self.policy.log_ended(error);
                return SlotState::Refused;
            }
            Err(NotRenewed::Hindered(reason)) => return SlotState::Failed(reason),
        };
        match self.sessions.seal(&session, Some(old), &self.io) {
            Ok(cookie) => SlotState::Done(cookie),
            Err(Unavailable::TooLarge(size)) => self.too_large(&session, old, size),
            Err(error) => {
                warn!("refresh: {error}");
                SlotState::Failed(error.into())
            }
        }
    }

    fn too_large(&self, renewed: &Session, old: &VerifiedPerson, size: TooLarge) -> SlotState {
        let Some(session) = self.policy.fallback_if_too_large(renewed, &old.person.session, size) else {
            return SlotState::TooLarge;
        };
        match self.sessions.seal_with_new_token(&session, old, &self.io) {
            Ok(cookie) => SlotState::Done(cookie),
            Err(error) => SlotState::Failed(error.into()),
        }
    }

    /// Ends the session of a cookie, for everybody who waits for what becomes of it, or will be given it.
    pub(super) fn end(&self, cookie: &[u8]) {
        let mut cookie = Cow::Borrowed(cookie);
        for _ in 0..MAX_HOPS {
            match self.slot_of(&cookie).publish(&self.io, &SlotState::Ended, RESULT_LIFETIME) {
                Some(SlotState::Done(next)) => cookie = Cow::Owned(next),
                _ => return,
            }
        }
    }

    /// Whether that was done to a cookie, or to what it has become.
    pub(super) fn is_ended(&self, cookie: &[u8]) -> bool {
        let mut cookie = Cow::Borrowed(cookie);
        for _ in 0..MAX_HOPS {
            match self.slot_of(&cookie).state(&self.io) {
                Some(SlotState::Done(next)) => cookie = Cow::Owned(next),
                found => return found == Some(SlotState::Ended),
            }
        }
        false
    }

    /// Where all meet who have this cookie and would use its refresh token.
    fn slot_of(&self, cookie: &[u8]) -> RefreshSlot {
        RefreshSlot::new(&self.fingerprint, cookie::signed_part(cookie))
    }
}
