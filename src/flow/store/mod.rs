//! Where sessions are kept (`session_store_type`), and what keeps them alive. The rest of the filter uses only [`Store`].
//!
//! ```text
//! Store ─┬─ CookieStore ─┬─ sessions                reads and seals cookies
//!        │               ├─ last_use                the cookie with the last use, for session_idle_timeout
//!        │               └─ refresh ──── slots      one refresh for all workers of an Envoy
//!        └─ RedisStore ──┬─ tickets                 reads and signs the cookie that names a session
//!                        ├─ index                   the sessions of a user
//!                        ├─ sessions                GET, SETEX, DEL
//!                        ├─ refresh ──── lock       one refresh for all proxies
//!                        ├─ last_use                PEXPIRE, for session_idle_timeout
//!                        ├─ journal                 repeats the last writes after a failover
//!                        └─ readiness               /ready
//! both use: session_cookie (Set-Cookie), refresh (the policy)
//! ```

mod cookie;
pub(super) mod redis;
mod refresh;
pub(super) mod session_cookie;

use std::rc::Rc;

use self::cookie::CookieStore;
use self::redis::index::Whose;
use self::redis::{RedisStore, UserSession};
use self::refresh::RefreshPolicy;
use self::session_cookie::SessionCookie;
use super::RequestHead;
use super::io::Io;
use super::load::Usage;
use super::outcome::{Loaded, Unavailable};
use super::principal::WholeSession;
use super::provider::Provider;
use super::user::User;
use super::util::lru::Budget;
use super::util::ready::Ready;
use crate::config::Config;
use crate::session::Session;
use crate::session::ticket::TicketId;

/// The session store of a worker.
pub(super) enum Store<I> {
    /// `session_store_type` is `cookie`.
    Cookie(CookieStore<I>),
    /// `session_store_type` is `redis`.
    Redis(Rc<RedisStore<I>>),
}

impl<I: Io> Store<I> {
    pub(super) fn new(
        config: &Rc<Config>,
        cookie: &Rc<SessionCookie>,
        provider: Option<Rc<Provider<I>>>,
        remembered: &Budget,
        io: &I,
    ) -> Self {
        let policy = Rc::new(RefreshPolicy::new(config, provider, io));
        match &config.redis {
            Some(redis) => {
                Self::Redis(Rc::new(RedisStore::new(config, redis, cookie, policy, remembered, io)))
            }
            None => Self::Cookie(CookieStore::new(config, cookie, policy, remembered, io)),
        }
    }

    /// Loads the session of a request, and refreshes it if it is due. The result is there at once if neither Redis nor
    /// the provider has to be asked. The cookie store does not refresh if the response may not carry the new cookie:
    /// the refresh would use up the refresh token, and its result would be lost.
    pub(super) fn load(&self, head: &RequestHead, usage: Usage) -> Ready<Loaded> {
        match self {
            Self::Cookie(store) => store.load(head, usage),
            Self::Redis(store) => store.load(head, usage),
        }
    }

    /// Saves the session of a sign-in and returns the value of its session cookie. The value is always new, so an
    /// attacker cannot have planted it. The sessions that the browser had before are discarded.
    pub(super) async fn create(
        &self,
        session: &Rc<WholeSession>,
        head: &RequestHead,
    ) -> Result<Vec<u8>, Unavailable> {
        match self {
            Self::Cookie(store) => store.create(session, head),
            Self::Redis(store) => store.create(session, head).await,
        }
    }

    /// Ends the session of a user who signs out, and returns it. No proxy can bring it back. If the browser sent
    /// several sessions, all of them end: otherwise the next one would sign the user in again. The caller clears the
    /// cookies.
    pub(super) async fn end(&self, head: &RequestHead) -> Result<Option<Session>, Unavailable> {
        match self {
            Self::Cookie(store) => Ok(store.end(head)),
            Self::Redis(store) => store.end(head).await,
        }
    }

    /// The sessions of a user, the newest first. Like the verbs below, it needs `redis_session_index`.
    pub(super) async fn sessions_of(&self, user: &User) -> Result<Vec<UserSession>, Unavailable> {
        self.redis()?.sessions_of(user).await
    }

    /// Ends one session of a user, as [`end`](Self::end). Whether there was one.
    pub(super) async fn end_one(&self, user: &User, id: &TicketId) -> Result<bool, Unavailable> {
        self.redis()?.end_one(user, id).await
    }

    /// Ends all sessions of a user, as [`end`](Self::end). How many there were.
    pub(super) async fn end_all(&self, user: &User) -> Result<usize, Unavailable> {
        self.redis()?.end_all(&Whose::User(user)).await
    }

    /// Ends the sessions that one session at the provider has given, as [`end`](Self::end). How many there were.
    pub(super) async fn end_by_sid(&self, issuer: &str, sid: &str) -> Result<usize, Unavailable> {
        self.redis()?.end_all(&Whose::Sid { issuer, sid }).await
    }

    /// The ID token of the browser's session; empty if it has none, or if Redis does not answer.
    pub(super) async fn id_token(&self, head: &RequestHead) -> String {
        match self {
            Self::Cookie(_) => String::new(),
            Self::Redis(store) => store.id_token(head).await.unwrap_or_default(),
        }
    }

    /// The ticket of the browser's session, if it has one.
    pub(super) fn ticket(&self, head: &RequestHead) -> Option<TicketId> {
        self.redis().ok()?.ticket(head)
    }

    fn redis(&self) -> Result<&Rc<RedisStore<I>>, Unavailable> {
        match self {
            Self::Cookie(_) => Err(Unavailable::NoIndex),
            Self::Redis(store) => Ok(store),
        }
    }

    /// Whether the session of a renewed cookie was ended or refreshed meanwhile. Always false for Redis: a ticket without
    /// a session is worthless, and a refresh does not change it.
    pub(super) fn is_outdated(&self, cookie: &[u8]) -> bool {
        match self {
            Self::Cookie(store) => store.is_outdated(cookie),
            Self::Redis(_) => false,
        }
    }

    /// Whether sessions can be loaded.
    pub(super) async fn check(&self) -> Result<(), Unavailable> {
        match self {
            Self::Cookie(_) => Ok(()),
            Self::Redis(store) => store.check().await,
        }
    }

    /// Whether sessions can be loaded and saved. The answer may be a second old.
    pub(super) async fn ready(&self) -> Result<(), Unavailable> {
        match self {
            Self::Cookie(_) => Ok(()),
            Self::Redis(store) => store.ready().await,
        }
    }
}
