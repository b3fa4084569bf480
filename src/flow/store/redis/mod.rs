//! The Redis store: the browser's cookie holds a ticket. Redis holds the session, encrypted with the secret in the ticket.
//!
//! ```text
//! cookie ── signature ── ticket ─┬─ id      the key of the session in Redis: GET, SETEX, DEL
//!                                └─ secret  the AES-GCM key of its value
//! ```
//!
//! Each request asks Redis, so a session that was deleted there is gone at once. A worker remembers only results: that a
//! cookie's signature is valid, and what the bytes of a session decrypt to. With `redis_session_cache`, requests use for a
//! moment what Redis answered last.

mod health;
mod journal;
mod lock;
mod readiness;
mod recent_writes;
mod refresh;
mod sessions;
mod tickets;

use std::rc::Rc;
use std::time::Duration;

use log::warn;

use self::readiness::Readiness;
use self::refresh::RedisRefresher;
use self::sessions::{IfRefused, RedisSessions};
use self::tickets::{TicketCookie, Tickets};
use super::refresh::RefreshPolicy;
use super::session_cookie::{Found, SessionCookie};
use crate::config::{Config, RedisConfig};
use crate::flow::RequestHead;
use crate::flow::io::Io;
use crate::flow::outcome::{AnonymousReason, Loaded, Outcome, Unavailable};
use crate::flow::principal::Principal;
use crate::flow::util::ready::Ready;
use crate::session::Session;

/// How long a sign-in waits if Redis is away. The code is used up by then, so waiting is better than a new sign-in.
const SAVE_PATIENCE: Duration = Duration::from_secs(10);

/// The store for `session_store_type = "redis"`.
pub(in crate::flow) struct RedisStore<I> {
    io: I,
    policy: Rc<RefreshPolicy<I>>,
    tickets: Tickets,
    sessions: Rc<RedisSessions<I>>,
    refresher: Rc<RedisRefresher<I>>,
    readiness: Rc<Readiness<I>>,
}

impl<I: Io> RedisStore<I> {
    pub(super) fn new(
        config: &Rc<Config>,
        redis: &RedisConfig,
        cookie: &Rc<SessionCookie>,
        policy: Rc<RefreshPolicy<I>>,
        io: &I,
    ) -> Self {
        let sessions = Rc::new(RedisSessions::new(config, redis, io));
        journal::watch(&sessions, io);
        Self {
            tickets: Tickets::new(config, redis, cookie),
            refresher: Rc::new(RedisRefresher::new(config, &sessions, &policy, io)),
            readiness: Rc::new(Readiness::new(cookie, io)),
            sessions,
            policy,
            io: io.clone(),
        }
    }

    pub(super) fn load(self: &Rc<Self>, head: &RequestHead) -> Ready<Loaded> {
        let now = self.io.now();
        let found = match self.tickets.find(head, now) {
            Ok(found) => found,
            Err(reason) => return Ready::Now(Outcome::Anonymous(reason).into()),
        };
        match self.sessions.cached(&found.value.ticket) {
            Some(principal) if !self.policy.is_due(&principal.session, now) => {
                let outcome = self.policy.outcome_without_refresh(principal, now, Unavailable::Provider);
                Ready::Now(self.with_cookie(&found, outcome))
            }
            _ => {
                let store = Rc::clone(self);
                Ready::later(async move {
                    let outcome = store.by_ticket(&found.value).await;
                    store.with_cookie(&found, outcome)
                })
            }
        }
    }

    async fn by_ticket(&self, found: &TicketCookie) -> Outcome {
        let (now, ticket) = (self.io.now(), &found.ticket);
        match self.sessions.load(ticket).await {
            Err(reason) => Outcome::Unavailable(reason),
            Ok(None) => Outcome::Anonymous(AnonymousReason::Gone),
            Ok(Some(principal)) if self.policy.is_due(&principal.session, now) => {
                self.refresher.refresh(ticket, principal).await
            }
            Ok(Some(principal)) => self.policy.outcome_without_refresh(principal, now, Unavailable::Provider),
        }
    }

    /// Adds the cookie that keeps the ticket as long as the session. The session may have been refreshed by this
    /// request, by another one, or by another proxy.
    fn with_cookie(&self, found: &Found<Rc<TicketCookie>>, outcome: Outcome) -> Loaded {
        let renewed = match &outcome {
            Outcome::Authenticated(principal) => {
                self.tickets.renewed_cookie(&found.value, &principal.session)
            }
            _ => None,
        };
        found.in_one_scope(Loaded { outcome, renewed })
    }

    pub(super) async fn create(
        &self,
        principal: &Rc<Principal>,
        head: &RequestHead,
    ) -> Result<Vec<u8>, Unavailable> {
        let ticket = self.tickets.create(&self.io)?;
        self.sessions.save(&ticket, principal, SAVE_PATIENCE, IfRefused::GiveUp).await?;
        for old in self.tickets.find_all(head, self.io.now()) {
            if self.sessions.discard(old.ticket.id()).await.is_err() {
                warn!(
                    "sign-in: could not delete the browser's previous session from Redis; it stays there until it expires"
                );
                break;
            }
        }
        Ok(self.tickets.cookie(&ticket, principal.session.created_at.unwrap_or_else(|| self.io.now())))
    }

    pub(super) async fn end(&self, head: &RequestHead) -> Result<Option<Session>, Unavailable> {
        let mut ended = None;
        for found in self.tickets.find_all(head, self.io.now()) {
            let session = self.sessions.end(&found.ticket).await?;
            ended = ended.or(session);
        }
        Ok(ended)
    }

    /// Whether Redis answers.
    pub(super) async fn check(&self) -> Result<(), Unavailable> {
        self.sessions.check().await
    }

    /// Whether Redis executes all commands that this filter needs. The answer may be a second old.
    pub(super) async fn ready(&self) -> Result<(), Unavailable> {
        self.check().await?;
        self.readiness.check().await
    }
}
