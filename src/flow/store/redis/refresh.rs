//! Refresh in the Redis store: one grant for a session, for any number of workers and proxies.
//!
//! ```text
//! session is due ─┬─ this worker refreshes it already ── wait ───────────────────────┐
//!                 └─ lock ─┬─ held by another ── read the session, try again ────────┤
//!                          └─ acquired ── read it again ── grant ── SET XX ── release ┴─► the new session
//! ```

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use log::warn;

use super::lock::Lock;
use super::sessions::{RedisSessions, Save, Saved};
use crate::config::Config;
use crate::flow::Io;
use crate::flow::io::Count;
use crate::flow::outcome::{AnonymousReason, Outcome, TooLarge, Unavailable};
use crate::flow::principal::{Principal, WholeSession};
use crate::flow::provider::sign_in_error::SignInError;
use crate::flow::store::refresh::{BACKOFF, Hindrance, LONG_PATIENCE, NotRenewed, POLL, RefreshPolicy};
use crate::flow::util::lru::BoundedLru;
use crate::flow::util::single_flight::SingleFlight;
use crate::session::Session;
use crate::session::ticket::Ticket;
use crate::time::Timestamp;

/// How long a refreshed session is kept in memory if Redis is away. If it is lost, the refresh token is lost too,
/// because the old one is used up.
const SAVE_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// If the provider refuses a refresh token, another proxy may just have used it, and may be about to save its result.
/// This is how many times the session is read again, and with which pause. With replicas it takes longer, because
/// another proxy may have saved the result at a new master that this worker does not know yet. Both are shorter than a
/// request waits.
const REFUSED_POLLS: u32 = 10;
const REFUSED_POLLS_REPLICATED: u32 = 18;
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// How many failed refreshes a worker remembers.
const FAILURES: usize = 1000;

/// The result of a refresh.
#[derive(Clone)]
enum Refreshed {
    /// The session as it is now.
    Now(Rc<Principal>),
    /// The session has ended.
    Ended(AnonymousReason),
    /// The session was not refreshed.
    Hindered(Hindrance),
}

/// Refreshes sessions in Redis, once for all proxies.
pub(super) struct RedisRefresher<I> {
    io: I,
    config: Rc<Config>,
    policy: Rc<RefreshPolicy<I>>,
    sessions: Rc<RedisSessions<I>>,
    under_way: SingleFlight<Refreshed>,
    /// When and why a refresh failed, by the key of the session.
    failures: BoundedLru<(Timestamp, Hindrance)>,
}

impl<I: Io> RedisRefresher<I> {
    pub(super) fn new(
        config: &Rc<Config>,
        sessions: &Rc<RedisSessions<I>>,
        policy: &Rc<RefreshPolicy<I>>,
        io: &I,
    ) -> Self {
        Self {
            under_way: SingleFlight::default(),
            failures: BoundedLru::new(FAILURES),
            sessions: Rc::clone(sessions),
            policy: Rc::clone(policy),
            config: Rc::clone(config),
            io: io.clone(),
        }
    }

    /// The outcome of a session that is due: refreshed by this worker, by another one, or not at all.
    pub(super) async fn refresh(
        self: &Rc<Self>,
        ticket: &Ticket,
        old: Rc<Principal>,
        on_demand: bool,
    ) -> Outcome {
        let now = self.io.now();
        let is_early =
            !self.sessions.health.get().settles_in().is_zero() && !self.policy.is_expired(&old.session, now);
        let failed = self.recent_failure(ticket, now);
        if is_early || failed.is_some() {
            return self.policy.outcome_without_refresh(
                old,
                now,
                failed.unwrap_or(Unavailable::Provider.into()),
            );
        }
        let refreshed = self.under_way.get(ticket.redis_key(), || {
            let (sender, receiver) = oneshot::channel();
            let (refresher, ticket) = (Rc::clone(self), ticket.clone());
            self.io.spawn(async move {
                let _ = sender.send(refresher.run(&ticket, on_demand).await);
            });
            Box::pin(async { receiver.await.unwrap_or(no_answer(Unavailable::Provider)) })
        });
        let give_up = self.io.sleep(self.policy.patience(&old.session, now));
        match select(pin!(refreshed), pin!(give_up)).await {
            Either::Left((Refreshed::Now(principal), _)) => {
                self.policy.outcome_without_refresh(principal, self.io.now(), Unavailable::Provider)
            }
            Either::Left((Refreshed::Ended(reason), _)) => Outcome::Anonymous(reason),
            Either::Left((Refreshed::Hindered(reason), _)) => {
                self.policy.outcome_without_refresh(old, self.io.now(), reason)
            }
            Either::Right(_) => {
                self.policy.outcome_without_refresh(old, self.io.now(), Unavailable::Provider)
            }
        }
    }

    /// Why the last refresh failed, if that was a moment ago.
    fn recent_failure(&self, ticket: &Ticket, now: Timestamp) -> Option<Hindrance> {
        let failed = self.failures.get(ticket.redis_key())?;
        let (at, reason) = *failed;
        at.was_within(BACKOFF, now).then_some(reason)
    }

    /// The refresh itself, under the lock.
    async fn run(&self, ticket: &Ticket, on_demand: bool) -> Refreshed {
        let lock = match self.lock(ticket, on_demand).await {
            Ok(lock) => lock,
            Err(refreshed) => return refreshed,
        };
        let refreshed = lock.hold_while(self.replace(ticket, on_demand)).await;
        if lock.release().await == Ok(false) && lock.is_seized().await {
            // A sign-out took the lock by force. Our session may have been saved after it deleted the old one.
            return match self.sessions.end_locked(ticket.id()).await {
                Ok(_) => Refreshed::Ended(AnonymousReason::Gone),
                Err(reason) => no_answer(reason),
            };
        }
        refreshed
    }

    /// Acquires the lock. If another worker refreshes the session meanwhile, returns its result.
    async fn lock(&self, ticket: &Ticket, on_demand: bool) -> Result<Lock<I>, Refreshed> {
        let lock = Lock::new(&self.io, ticket.id()).map_err(no_answer)?;
        let began = self.io.now();
        self.io.sleep(self.sessions.health.get().settles_in()).await;
        while !lock.try_acquire().await.map_err(no_answer)? {
            if !began.was_within(LONG_PATIENCE, self.io.now()) {
                return Err(no_answer(Unavailable::Provider));
            }
            self.io.count(Count::LockWait);
            self.io.sleep(POLL).await;
            self.look(ticket, on_demand).await?;
        }
        Ok(lock)
    }

    /// The session in Redis if it is still due, otherwise the result.
    async fn look(&self, ticket: &Ticket, on_demand: bool) -> Result<Rc<WholeSession>, Refreshed> {
        match self.sessions.load_whole(ticket).await {
            Ok(Some(whole)) if self.policy.is_due(&whole.principal, self.io.now(), on_demand) => Ok(whole),
            Ok(Some(whole)) => Err(Refreshed::Now(Rc::clone(&whole.principal))),
            Ok(None) => Err(Refreshed::Ended(AnonymousReason::Gone)),
            Err(reason) => Err(no_answer(reason)),
        }
    }

    /// Replaces the session by a refreshed one.
    async fn replace(&self, ticket: &Ticket, on_demand: bool) -> Refreshed {
        let old = match self.look(ticket, on_demand).await {
            Ok(old) => old,
            Err(refreshed) => return refreshed,
        };
        match self.policy.renew(&old.session).await {
            Ok(session) => self.save(ticket, &old.session, session).await,
            Err(NotRenewed::Ended(error)) => self.refused(ticket, &old.session, error).await,
            Err(NotRenewed::Hindered(reason)) => {
                self.failures.insert(ticket.redis_key(), &Rc::new((self.io.now(), reason)), 0);
                Refreshed::Hindered(reason)
            }
        }
    }

    async fn save(&self, ticket: &Ticket, old: &Session, session: Session) -> Refreshed {
        let whole = WholeSession::new(&self.config, session);
        match self.sessions.save(ticket, &whole, SAVE_PATIENCE, Save::Refresh).await {
            Ok(Saved::Kept) => {}
            Ok(Saved::Ended) => return Refreshed::Ended(AnonymousReason::Gone),
            Err(Unavailable::TooLarge(size)) => {
                return self.too_large(ticket, old, &whole.session, size).await;
            }
            Err(_) => warn!(
                "refresh: could not save a refreshed session within 10 minutes; its user has to sign in again"
            ),
        }
        Refreshed::Now(Rc::clone(&whole.principal))
    }

    async fn too_large(
        &self,
        ticket: &Ticket,
        old: &Session,
        renewed: &Session,
        size: TooLarge,
    ) -> Refreshed {
        let Some(session) = self.policy.fallback_if_too_large(renewed, old, size) else {
            return self.ended(ticket, AnonymousReason::TooLarge).await;
        };
        let whole = WholeSession::new(&self.config, session);
        match self.sessions.save(ticket, &whole, SAVE_PATIENCE, Save::Refresh).await {
            Ok(Saved::Kept) => Refreshed::Now(Rc::clone(&whole.principal)),
            Ok(Saved::Ended) => Refreshed::Ended(AnonymousReason::Gone),
            Err(_) => no_answer(Unavailable::TooLarge(size)),
        }
    }

    /// The provider refused the refresh token. This ends the session, unless another proxy saves a new token.
    async fn refused(&self, ticket: &Ticket, old: &Session, error: SignInError) -> Refreshed {
        let has_replicas = self.sessions.health.has_replicas;
        for _ in 0..if has_replicas { REFUSED_POLLS_REPLICATED } else { REFUSED_POLLS } {
            match self.sessions.load_whole(ticket).await {
                Ok(Some(whole)) if whole.session.refresh_token != old.refresh_token => {
                    return Refreshed::Now(Rc::clone(&whole.principal));
                }
                Ok(Some(_)) => self.io.sleep(REFUSED_PAUSE).await,
                Ok(None) => return Refreshed::Ended(AnonymousReason::Gone),
                Err(reason) => return no_answer(reason),
            }
        }
        self.policy.log_ended(error);
        self.ended(ticket, AnonymousReason::Refused).await
    }

    /// Discards a session that the refresh ended.
    async fn ended(&self, ticket: &Ticket, reason: AnonymousReason) -> Refreshed {
        match self.sessions.discard(ticket.id()).await {
            Ok(_) => Refreshed::Ended(reason),
            Err(reason) => no_answer(reason),
        }
    }
}

fn no_answer(reason: Unavailable) -> Refreshed {
    Refreshed::Hindered(reason.into())
}
