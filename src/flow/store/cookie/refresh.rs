//! Refresh in the cookie store: one grant for an old cookie in the whole Envoy. All requests with this cookie get its result.
//!
//! ```text
//! request with the old cookie ─┬─ slot is free ── claim it ── refresh in a task ─┐
//!                              ├─ slot is claimed ── wait ───────────────────────┤
//!                              └─ slot has a result ── the new session ◄─────────┘
//! ```
//!
//! A sign-out ends the browser's cookie and every cookie that a refresh made of it. No response brings one of them back:
//! neither that of a refresh under way, nor that of a request for which the upstream still works.

use std::borrow::Cow;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use log::warn;

use super::sessions::{CookieSessions, OpenedCookie};
use super::slots::{self, RefreshSlot, SlotState};
use crate::config::Config;
use crate::cookie::SecretId;
use crate::flow::Io;
use crate::flow::outcome::{AnonymousReason, Loaded, Outcome, TooLarge, Unavailable};
use crate::flow::store::refresh::{BACKOFF, Hindrance, LEASE, NotRenewed, RefreshPolicy};
use crate::session::Session;

/// How long requests with the old cookie find the new session. This is longer than a page takes: the browser may not
/// have received the response with the new cookie.
const RESULT_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The pause between two looks at a slot that another worker has claimed.
const POLL: Duration = Duration::from_millis(10);

/// How many refreshes an old cookie is followed through.
const MAX_HOPS: u32 = 16;

/// Refreshes sessions in cookies, once for all workers of an Envoy.
pub(super) struct CookieRefresher<I> {
    io: I,
    policy: Rc<RefreshPolicy<I>>,
    sessions: Rc<CookieSessions>,
    /// Workers share refreshes only if they are the same client, and keep sessions under the same name.
    client: [u8; 32],
}

/// Why there is no newer session.
enum Stop {
    Ended(AnonymousReason),
    Hindered(Hindrance),
}

impl<I: Io> CookieRefresher<I> {
    pub(super) fn new(
        config: &Config,
        sessions: &Rc<CookieSessions>,
        policy: &Rc<RefreshPolicy<I>>,
        io: &I,
    ) -> Self {
        slots::create_keys(io);
        Self {
            client: slots::client(config),
            sessions: Rc::clone(sessions),
            policy: Rc::clone(policy),
            io: io.clone(),
        }
    }

    /// The session that that of a cookie has become by a refresh in this worker or in another one.
    pub(super) async fn refresh(self: &Rc<Self>, cookie: Vec<u8>, on_demand: bool) -> Loaded {
        let old = match self.sessions.open(cookie, self.io.now()) {
            Ok(old) => Rc::new(old),
            Err(reason) => return Outcome::Anonymous(reason).into(),
        };
        let mut signed_in = Rc::clone(&old);
        let mut hindrance = Unavailable::Provider.into();
        for _ in 0..MAX_HOPS {
            if !self.policy.is_due(&signed_in.whole.principal, self.io.now(), on_demand) {
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
        let refreshed = (!Rc::ptr_eq(&signed_in, &old)).then(|| signed_in.cookie.clone());
        Loaded {
            // The secrets may have changed since another worker sealed the result.
            renewed: self.reissue(&signed_in.cookie, Some(signed_in.secret), || true).or(refreshed),
            outcome: self.policy.outcome_without_refresh(
                Rc::clone(&signed_in.whole.principal),
                self.io.now(),
                hindrance,
            ),
            last_use: None,
            idle_end: None,
        }
    }

    /// Waits for the result of one refresh. Starts the refresh if no worker has.
    async fn follow(self: &Rc<Self>, old: &Rc<OpenedCookie>) -> Result<Rc<OpenedCookie>, Stop> {
        let no_answer = || Stop::Hindered(Unavailable::Provider.into());
        let slot = self.slot_of(&old.cookie).ok_or_else(no_answer)?;
        let began = self.io.now();
        loop {
            match slot.state(&self.io) {
                Some(SlotState::Done(cookie)) if self.is_ended(&cookie) => {
                    return Err(Stop::Ended(AnonymousReason::SignedOut));
                }
                Some(SlotState::Done(cookie)) => {
                    return self.sessions.open(cookie, self.io.now()).map(Rc::new).map_err(|_| no_answer());
                }
                Some(SlotState::Refused) => return Err(Stop::Ended(AnonymousReason::Refused)),
                Some(SlotState::TooLarge) => return Err(Stop::Ended(AnonymousReason::TooLarge)),
                Some(SlotState::Ended) => return Err(Stop::Ended(AnonymousReason::SignedOut)),
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
            if !began.was_within(self.policy.patience(&old.whole.session, now), now) {
                return Err(no_answer());
            }
            self.io.sleep(POLL).await;
        }
    }

    /// The refresh itself. It renews its claim on the slot until it is done.
    async fn run(&self, old: &OpenedCookie, slot: &RefreshSlot) {
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

    async fn grant(&self, old: &OpenedCookie) -> SlotState {
        let session = match self.policy.renew(&old.whole.session).await {
            Ok(session) => session,
            Err(NotRenewed::Ended(error)) => {
                self.policy.log_ended(error);
                return SlotState::Refused;
            }
            Err(NotRenewed::Hindered(reason)) => return SlotState::Failed(reason),
        };
        match self.sessions.seal(&session, Some(&old.cookie), &self.io) {
            Ok(cookie) => SlotState::Done(cookie),
            Err(Unavailable::TooLarge(size)) => self.too_large(&session, old, size),
            Err(error) => {
                warn!("refresh: {error}");
                SlotState::Failed(error.into())
            }
        }
    }

    fn too_large(&self, renewed: &Session, old: &OpenedCookie, size: TooLarge) -> SlotState {
        let Some(session) = self.policy.fallback_if_too_large(renewed, &old.whole.session, size) else {
            return SlotState::TooLarge;
        };
        match self.sessions.seal_with_new_token(&session, &old.cookie, &self.io) {
            Ok(cookie) => SlotState::Done(cookie),
            Err(error) => SlotState::Failed(error.into()),
        }
    }

    /// Ends the session of a cookie, for every request that waits for its refresh or would find the result.
    pub(super) fn end(&self, cookie: &[u8]) {
        let mut cookie = Cow::Borrowed(cookie);
        for _ in 0..MAX_HOPS {
            let Some(slot) = self.slot_of(&cookie) else { return };
            match slot.publish(&self.io, &SlotState::Ended, RESULT_LIFETIME) {
                Some(SlotState::Done(next)) => cookie = Cow::Owned(next),
                _ => return,
            }
        }
    }

    /// A cookie of the current secret instead of this one, if an older secret signed it and the response may carry it.
    /// Not if the session was ended or refreshed: then this request is late, and the browser has another cookie.
    pub(super) fn reissue(
        &self,
        cookie: &[u8],
        secret: Option<SecretId>,
        may_set_cookie: impl FnOnce() -> bool,
    ) -> Option<Vec<u8>> {
        let is_due = self.sessions.is_of_older_secret(secret) && may_set_cookie();
        is_due
            .then(|| self.sessions.reissue(cookie, secret, self.io.now()))
            .flatten()
            .filter(|cookie| !self.is_outdated(cookie))
    }

    /// Whether the session of this cookie was ended, or a refresh made another cookie of it.
    pub(super) fn is_outdated(&self, cookie: &[u8]) -> bool {
        match self.slot_of(cookie).map(|slot| slot.state(&self.io)) {
            Some(None | Some(SlotState::Running | SlotState::Failed(_))) => false,
            // Without a slot: its secret was removed.
            Some(Some(_)) | None => true,
        }
    }

    /// Whether a sign-out ended this cookie, or a cookie that a refresh made of it.
    fn is_ended(&self, cookie: &[u8]) -> bool {
        let mut cookie = Cow::Borrowed(cookie);
        for _ in 0..MAX_HOPS {
            match self.slot_of(&cookie).and_then(|slot| slot.state(&self.io)) {
                Some(SlotState::Done(next)) => cookie = Cow::Owned(next),
                found => return found == Some(SlotState::Ended),
            }
        }
        false
    }

    /// The slot of the refresh of this cookie; `None` if the cookie is not valid.
    fn slot_of(&self, cookie: &[u8]) -> Option<RefreshSlot> {
        let session = self.sessions.identity(cookie, self.io.now())?;
        Some(RefreshSlot::new(&self.client, &session))
    }
}
