//! Where sessions are kept: `session_store_type`. This is all that the rest of the filter knows of it.
//!
//! ```text
//! Store ─┬─ cookie   sessions (read, seal) ◄── refresh ──► slots           the workers of one Envoy
//!        └─ redis    tickets, sessions (GET, SETEX, DEL) ◄── refresh ──► lock      all proxies
//!                    └─ journal ◄── failover: writes again what another master has not got
//! both: session_cookie (Set-Cookie), refresh (when a session is refreshed, and what it is without that)
//! ```

mod cookie;
mod redis;
mod refresh;
pub(super) mod session_cookie;

use std::rc::Rc;

use self::cookie::CookieStore;
use self::redis::RedisStore;
use self::refresh::RefreshPolicy;
use self::session_cookie::SessionCookie;
use super::RequestHead;
use super::io::Io;
use super::outcome::{Loaded, Unavailable};
use super::person::Person;
use super::provider::Provider;
use super::util::ready::Ready;
use crate::config::Config;
use crate::session::Session;

/// The store of a worker.
pub(super) enum Store<I> {
    /// `cookie`.
    Cookie(CookieStore<I>),
    /// `redis`.
    Redis(Rc<RedisStore<I>>),
}

impl<I: Io> Store<I> {
    pub(super) fn new(
        config: &Rc<Config>,
        cookie: &Rc<SessionCookie>,
        provider: Option<Rc<Provider<I>>>,
        io: &I,
    ) -> Self {
        let policy = Rc::new(RefreshPolicy::new(config, provider, io));
        match &config.redis {
            Some(redis) => Self::Redis(Rc::new(RedisStore::new(config, redis, cookie, policy, io))),
            None => Self::Cookie(CookieStore::new(config, cookie, policy, io)),
        }
    }

    /// Loads the session of a request, at once if nothing has to be waited for, and refreshes one that is due. The cookie
    /// store refreshes none if the answer may not carry the new cookie: the refresh token would be used up, and what
    /// came of it be lost.
    pub(super) fn load(&self, head: &RequestHead, may_set_cookie: impl FnOnce() -> bool) -> Ready<Loaded> {
        match self {
            Self::Cookie(store) => store.load(head, may_set_cookie),
            Self::Redis(store) => store.load(head),
        }
    }

    /// Keeps the session of a sign-in; gives the session cookie's value. It is a new one whatever the browser had before,
    /// so nobody can have planted it, and what it had is of no use any more.
    pub(super) async fn create(
        &self,
        person: &Rc<Person>,
        head: &RequestHead,
    ) -> Result<Vec<u8>, Unavailable> {
        match self {
            Self::Cookie(store) => store.create(person, head),
            Self::Redis(store) => store.create(person, head).await,
        }
    }

    /// Ends the session of a browser whose user wants that, for good, and gives what it was; the cookie is not cleared by
    /// this. If the browser has several, all are ended: it would be signed in by the next one.
    pub(super) async fn end(&self, head: &RequestHead) -> Result<Option<Session>, Unavailable> {
        match self {
            Self::Cookie(store) => Ok(store.end(head)),
            Self::Redis(store) => store.end(head).await,
        }
    }

    /// Whether the session of a renewed cookie was ended. A ticket opens nothing then.
    pub(super) fn is_ended(&self, cookie: &[u8]) -> bool {
        match self {
            Self::Cookie(store) => store.is_ended(cookie),
            Self::Redis(_) => false,
        }
    }

    /// Whether sessions can be loaded and saved.
    pub(super) async fn check(&self) -> Result<(), Unavailable> {
        match self {
            Self::Cookie(_) => Ok(()),
            Self::Redis(store) => store.check().await,
        }
    }

    /// Whether the store takes all that is asked of it, as of a moment ago.
    pub(super) async fn ready(&self) -> Result<(), Unavailable> {
        match self {
            Self::Cookie(_) => Ok(()),
            Self::Redis(store) => store.ready().await,
        }
    }
}
