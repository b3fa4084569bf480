//! The Redis store: the browser's cookie holds a ticket. Redis holds the session, encrypted with the secret in the ticket.
//!
//! ```text
//! cookie ── signature ── ticket ─┬─ id      the key of the session in Redis: GET, SETEX, DEL
//!                                └─ secret  the AES-GCM key of its value
//! ```
//!
//! A session that was deleted in Redis is gone at once: Redis tells of each change (`redis_tracking`), and until then
//! requests use what was read last. If a server cannot do that, each request asks it, or uses for a moment what Redis
//! answered last (`redis_session_cache`). Besides, a worker remembers only results: that a cookie's signature is valid, and
//! what the bytes of a session decrypt to.

mod health;
pub(in crate::flow) mod index;
mod journal;
mod last_use;
mod lock;
mod readiness;
mod reads;
mod recent_writes;
mod refresh;
mod sessions;
mod tickets;

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use log::warn;

use self::index::{SessionIndex, Whose};
use self::readiness::Readiness;
use self::refresh::RedisRefresher;
use self::sessions::{RedisSessions, Save};
use self::tickets::{TicketCookie, Tickets};
use super::refresh::{LONG_PATIENCE, RefreshPolicy};
use super::session_cookie::{SessionCookie, in_one_scope};
use crate::config::{Config, RedisConfig};
use crate::flow::RequestHead;
use crate::flow::io::{Count, Io};
use crate::flow::load::Usage;
use crate::flow::outcome::{AnonymousReason, Loaded, Outcome, Unavailable};
use crate::flow::principal::WholeSession;
use crate::flow::user::User;
use crate::flow::util::lru::Budget;
use crate::flow::util::ready::Ready;
use crate::redis::{Command, Reply};
use crate::session::Session;
use crate::session::ticket::TicketId;
use crate::time::Timestamp;

/// How long a sign-in waits if Redis is away. The code is used up by then, so waiting is better than a new sign-in.
const SAVE_PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two attempts to end a user's sessions, if a failover may have lost entries of the index.
const INDEX_PAUSE: Duration = Duration::from_millis(500);

/// A session of a user that Redis has now.
pub(in crate::flow) struct UserSession {
    pub(in crate::flow) id: TicketId,
    /// When the user signed in, in Unix seconds.
    pub(in crate::flow) began: i64,
    /// How long Redis keeps it from now; `None` if it has no expiry.
    pub(in crate::flow) time_to_live: Option<Duration>,
}

/// The store for `session_store_type = "redis"`.
pub(in crate::flow) struct RedisStore<I> {
    io: I,
    policy: Rc<RefreshPolicy<I>>,
    tickets: Tickets,
    sessions: Rc<RedisSessions<I>>,
    refresher: Rc<RedisRefresher<I>>,
    readiness: Rc<Readiness<I>>,
    config: Rc<Config>,
}

impl<I: Io> RedisStore<I> {
    pub(super) fn new(
        config: &Rc<Config>,
        redis: &RedisConfig,
        cookie: &Rc<SessionCookie>,
        policy: Rc<RefreshPolicy<I>>,
        remembered: &Budget,
        io: &I,
    ) -> Self {
        let most = config.cookie.session_cache.most_sessions();
        let index = redis.session_index.then(|| SessionIndex::new(cookie, most, io));
        let sessions = Rc::new(RedisSessions::new(config, redis, index, remembered, io));
        journal::watch(&sessions, io);
        sessions.watch();
        Self {
            tickets: Tickets::new(redis, cookie, remembered),
            refresher: Rc::new(RedisRefresher::new(config, &sessions, &policy, io)),
            readiness: Rc::new(Readiness::new(cookie, io)),
            sessions,
            config: Rc::clone(config),
            policy,
            io: io.clone(),
        }
    }

    pub(super) fn load(self: &Rc<Self>, head: &RequestHead, usage: Usage) -> Ready<Loaded> {
        let now = self.io.now();
        let found = match self.tickets.find(head, now) {
            Ok(found) => found,
            Err(reason) => return Ready::Now(Outcome::Anonymous(reason).into()),
        };
        let (again, found) = (found.for_one_scope(), found.value);
        if self.tickets.is_of_older_secret(&found) {
            self.io.count(Count::OlderSecret);
        }
        let is_use = self.sessions.last_uses.is_on() && (usage.is_use)(&self.config, head);
        let tells_idle_end = self.sessions.last_uses.is_on() && usage.tells_ends;
        match self.sessions.cached(&found.ticket, now) {
            Some(principal) if !self.policy.is_due(&principal, now, usage.renews) && !tells_idle_end => {
                let outcome = self.policy.outcome_without_refresh(principal, now, Unavailable::Provider);
                self.note(&found, &outcome, is_use);
                Ready::Now(self.with_cookie(&found, outcome, again))
            }
            _ => {
                let store = Rc::clone(self);
                Ready::later(async move {
                    let outcome = store.by_ticket(&found, usage.renews).await;
                    store.note(&found, &outcome, is_use);
                    let idle_end = if tells_idle_end { store.idle_end(&found, is_use).await } else { None };
                    Loaded { idle_end, ..store.with_cookie(&found, outcome, again) }
                })
            }
        }
    }

    /// The request uses the session, if it may. If the index lacks the session, it gets an entry: also if the session comes
    /// from memory, since Redis may have refused the entry, or it has the name by a secret that is no longer the current one.
    fn note(&self, found: &TicketCookie, outcome: &Outcome, is_use: bool) {
        let Outcome::Authenticated(principal) = outcome else { return };
        if is_use {
            self.sessions.last_uses.note(found.ticket.id(), &principal.session);
        }
        if let Some(index) = &self.sessions.index {
            index.note(found.ticket.id(), principal);
        }
    }

    /// When the session ends if no request uses it. Redis knows it best, unless this request is about to change it.
    async fn idle_end(&self, found: &TicketCookie, is_use: bool) -> Option<Timestamp> {
        let id = found.ticket.id();
        if is_use {
            return self.sessions.last_uses.end(id);
        }
        match self.io.redis(Command::time_to_live(id.redis_key())).await {
            Ok(Reply::Integer(millis)) => {
                Some(self.io.now().after(Duration::from_millis(u64::try_from(millis).ok()?)))
            }
            _ => self.sessions.last_uses.end(id),
        }
    }

    async fn by_ticket(&self, found: &TicketCookie, on_demand: bool) -> Outcome {
        let (now, ticket) = (self.io.now(), &found.ticket);
        match self.sessions.load(ticket).await {
            Err(reason) => Outcome::Unavailable(reason),
            Ok(None) => Outcome::Anonymous(AnonymousReason::Gone),
            Ok(Some(principal)) if self.policy.is_due(&principal, now, on_demand) => {
                self.refresher.refresh(ticket, principal, on_demand).await
            }
            Ok(Some(principal)) => self.policy.outcome_without_refresh(principal, now, Unavailable::Provider),
        }
    }

    /// Adds the cookie that keeps the ticket as long as the session, or that the current secret signs. The session may
    /// have been refreshed by this request, by another one, or by another proxy.
    fn with_cookie(&self, found: &TicketCookie, outcome: Outcome, again: Option<Vec<u8>>) -> Loaded {
        let renewed = match &outcome {
            Outcome::Authenticated(principal) => self.tickets.renewed_cookie(found, &principal.session),
            _ => None,
        };
        in_one_scope(Loaded { renewed, ..outcome.into() }, again)
    }

    pub(super) async fn create(
        &self,
        session: &Rc<WholeSession>,
        head: &RequestHead,
    ) -> Result<Vec<u8>, Unavailable> {
        let ticket = self.tickets.create(&self.io)?;
        self.sessions.save(&ticket, session, SAVE_PATIENCE, Save::SignIn).await?;
        if let Some(index) = &self.sessions.index {
            index.add(ticket.id(), &session.principal).await;
        }
        for old in self.tickets.find_all(head, self.io.now()) {
            if self.sessions.discard(old.ticket.id()).await.is_err() {
                warn!(
                    "sign-in: could not delete the browser's previous session from Redis; it stays there until it expires"
                );
                break;
            }
            self.drop_entry(old.ticket.id(), &session.session);
        }
        Ok(self.tickets.cookie(&ticket, session.session.created_at.unwrap_or_else(|| self.io.now())))
    }

    pub(super) async fn end(&self, head: &RequestHead) -> Result<Option<Session>, Unavailable> {
        let mut ended = None;
        for found in self.tickets.find_all(head, self.io.now()) {
            let session = self.sessions.end(&found.ticket).await?;
            if let Some(session) = &session {
                self.drop_entry(found.ticket.id(), session);
            }
            ended = ended.or(session);
        }
        Ok(ended)
    }

    /// Drops a session that has ended from the entries of its user. The browser does not wait for it.
    fn drop_entry(&self, id: &TicketId, session: &Session) {
        let Some(index) = self.sessions.index.clone() else { return };
        let (id, (user, _)) = (id.clone(), User::of(session));
        self.io.spawn(async move { index.drop_ended(&Whose::User(&user), &[id]).await });
    }

    /// The ID token of the browser's session.
    pub(super) async fn id_token(&self, head: &RequestHead) -> Option<String> {
        let found = self.tickets.find(head, self.io.now()).ok()?.value;
        let whole = self.sessions.load_whole(&found.ticket).await.ok()??;
        Some(String::from_utf8_lossy(&whole.session.id_token).into_owned())
    }

    /// The ticket of the browser's session.
    pub(super) fn ticket(&self, head: &RequestHead) -> Option<TicketId> {
        Some(self.tickets.find(head, self.io.now()).ok()?.value.ticket.id().clone())
    }

    fn index(&self) -> Result<&Rc<SessionIndex<I>>, Unavailable> {
        self.sessions.index.as_ref().ok_or(Unavailable::NoIndex)
    }

    /// The sessions of a user that Redis has now, the newest first.
    pub(super) async fn sessions_of(&self, user: &User) -> Result<Vec<UserSession>, Unavailable> {
        let (index, whose) = (self.index()?, Whose::User(user));
        let entries = index.read(&whose).await?;
        let ask = |id: &TicketId| self.io.redis(Command::time_to_live(id.redis_key()));
        let lives = join_all(entries.iter().map(|entry| ask(&entry.id))).await;
        let (mut sessions, mut ended) = (Vec::new(), Vec::new());
        for (entry, life) in entries.into_iter().zip(lives) {
            match index.accepted(life)? {
                Reply::Integer(-2) => ended.push(entry.id),
                Reply::Integer(millis) => sessions.push(UserSession {
                    id: entry.id,
                    began: entry.began,
                    time_to_live: u64::try_from(millis).ok().map(Duration::from_millis),
                }),
                _ => return Err(Unavailable::Redis),
            }
        }
        if !self.sessions.health.get().may_lack_data() {
            index.drop_ended(&whose, &ended).await;
        }
        // Sessions of the same second in the same order each time.
        sessions.sort_by(|a, b| b.began.cmp(&a.began).then_with(|| a.id.redis_key().cmp(b.id.redis_key())));
        Ok(sessions)
    }

    /// Ends one session of a user. Whether there was one.
    pub(super) async fn end_one(&self, user: &User, id: &TicketId) -> Result<bool, Unavailable> {
        let index = self.index()?;
        let was_there = self.sessions.end_by_id(id).await?;
        self.count_ended(usize::from(was_there));
        index.drop_ended(&Whose::User(user), std::slice::from_ref(id)).await;
        Ok(was_there)
    }

    /// Ends all sessions of a user, or of a session at the provider. How many there were. After a failover, the new
    /// master may lack the last entries until the workers that wrote them have added them again. So this goes on until
    /// then.
    pub(super) async fn end_all(&self, whose: &Whose<'_>) -> Result<usize, Unavailable> {
        let (index, began) = (self.index()?, self.io.now());
        let mut ended = 0_usize;
        loop {
            let entries = index.read(whose).await?;
            let results = join_all(entries.iter().map(|entry| self.sessions.end_by_id(&entry.id))).await;
            let was_there = results.iter().filter(|result| **result == Ok(true)).count();
            self.count_ended(was_there);
            ended = ended.saturating_add(was_there);
            // An entry whose session could not be ended stays, for the next attempt.
            let gone: Vec<TicketId> = entries
                .into_iter()
                .zip(&results)
                .filter(|(_, result)| result.is_ok())
                .map(|(entry, _)| entry.id)
                .collect();
            index.drop_ended(whose, &gone).await;
            results.into_iter().collect::<Result<Vec<_>, _>>()?;
            if !self.sessions.health.get().may_lack_data() {
                return Ok(ended);
            }
            if !began.was_within(LONG_PATIENCE, self.io.now()) {
                return Err(Unavailable::Redis);
            }
            self.io.sleep(INDEX_PAUSE).await;
        }
    }

    fn count_ended(&self, sessions: usize) {
        (0..sessions).for_each(|_| self.io.count(Count::SessionEnded));
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
