//! Where sessions are kept: `session_store_type`. What differs between the two is decided here.

pub(super) mod cookie;
pub(super) mod redis;
pub(super) mod refresh;
pub(super) mod session_cookie;

use std::rc::Rc;
use std::time::Duration;

use log::warn;

use self::cookie::{CookieStore, refresh as in_cookies, slots as handover};
use self::redis::TicketStore;
use self::redis::lock::Lock;
use self::session_cookie::{SET_COOKIE, SessionCookie};
use super::http::reply;
use super::io::Io;
use super::outcome::{Loaded, Outcome, Unavailable};
use super::person::Person;
use super::{App, Header, Reply, RequestHead};
use crate::config::Config;
use crate::session::Session;
use crate::session::ticket::Ticket;

/// How long a sign-in waits for Redis to come back: the code is used up by then.
const SAVE_PATIENCE: Duration = Duration::from_secs(10);

/// The store of a worker.
pub(super) enum Store<I> {
    /// `cookie`.
    Cookies(Rc<CookieStore>),
    /// `redis`.
    Tickets(Rc<TicketStore<I>>),
}

impl<I: Io> Store<I> {
    pub(super) fn new(config: &Rc<Config>, cookie: &Rc<SessionCookie>, io: &I) -> Self {
        if config.redis.is_some() {
            let store = Rc::new(TicketStore::new(config, cookie, io.clone()));
            store.watch();
            return Self::Tickets(store);
        }
        handover::prepare(io);
        Self::Cookies(Rc::new(CookieStore::new(config, cookie)))
    }

    /// Whether sessions can be loaded and saved.
    pub(super) async fn check(&self) -> Result<(), Unavailable> {
        match self {
            Self::Cookies(_) => Ok(()),
            Self::Tickets(store) => store.check().await,
        }
    }

    /// Whether the store takes all that is asked of it, as of a moment ago.
    pub(super) async fn ready(&self) -> Result<(), Unavailable> {
        match self {
            Self::Cookies(_) => Ok(()),
            Self::Tickets(store) => store.ready().await,
        }
    }

    /// Keeps the session of a sign-in; gives the session cookie's value. It is a new one whatever the
    /// browser had before, so nobody can have planted it, and what it had is ended.
    pub(super) async fn create(
        &self,
        person: &Rc<Person>,
        head: &RequestHead,
        io: &I,
    ) -> Result<Vec<u8>, Unavailable> {
        match self {
            Self::Cookies(store) => {
                let cookie = store.seal(&person.session, None, io)?;
                for old in store.all(head, io.now()) {
                    in_cookies::end(store, &old.raw, io);
                }
                Ok(cookie)
            }
            Self::Tickets(store) => {
                let ticket = store.new_ticket()?;
                store.save(&ticket, person, SAVE_PATIENCE, false).await?;
                for old in store.tickets(head) {
                    if store.delete(&old.ticket).await.is_err() {
                        warn!("sign-in: the session that the browser had before is still in Redis");
                        break;
                    }
                }
                Ok(store.cookie(&ticket, &person.session))
            }
        }
    }

    /// Whether somebody signed out of the session of a renewed cookie. A ticket opens nothing then.
    fn is_ended(&self, cookie: &[u8], io: &I) -> bool {
        match self {
            Self::Cookies(store) => in_cookies::is_ended(store, cookie, io),
            Self::Tickets(_) => false,
        }
    }

    /// Ends the session of a browser and gives what it was; the cookie is not cleared by this. If the browser has several,
    /// all are ended: it would be signed in by the next one.
    pub(super) async fn delete(&self, head: &RequestHead, io: &I) -> Result<Option<Session>, Unavailable> {
        let mut ended = None;
        match self {
            Self::Cookies(store) => {
                for signed_in in store.all(head, io.now()) {
                    // A refresh under way would give the browser a new cookie after this one was cleared.
                    in_cookies::end(store, &signed_in.raw, io);
                    ended = ended.or_else(|| Some(signed_in.person.session.clone()));
                }
            }
            Self::Tickets(store) => {
                for ticket in store.tickets(head) {
                    let session = end(store, &ticket.ticket, io).await?;
                    ended = ended.or(session);
                }
            }
        }
        Ok(ended)
    }
}

/// Ends the session of a ticket and gives what it was.
async fn end<I: Io>(
    store: &Rc<TicketStore<I>>,
    ticket: &Ticket,
    io: &I,
) -> Result<Option<Session>, Unavailable> {
    // A refresh under way would save the session once more after it was deleted.
    let lock = Lock::new(io, ticket)?;
    lock.wait().await?;
    // Without it there is only nothing to tell the provider.
    let person = store.load(ticket).await.unwrap_or_default();
    store.sign_out(ticket).await?;
    store.end(&lock, person.as_deref()).await;
    Ok(person.map(|person| person.session.clone()))
}

impl<I: Io> App<I> {
    /// The cookies that go out with a response: a renewed session, or the end of one that is none.
    pub(super) fn cookies_after(&self, head: &RequestHead, loaded: &Loaded) -> Vec<Header> {
        match (&loaded.outcome, &loaded.renewed) {
            (Outcome::Unavailable(_), _) => Vec::new(),
            (Outcome::Anonymous(reason), _) if reason.keeps_cookie() => Vec::new(),
            (Outcome::Anonymous(_), _) => self.clear(head),
            (Outcome::Authenticated(_), Some(renewed)) => self.cookie.save(renewed, head),
            (Outcome::Authenticated(_), None) => Vec::new(),
        }
    }

    /// The headers that a response gets added now, of those that its request was decided to add. The upstream may have
    /// taken its time, and the person have signed out meanwhile: then the session does not come back by its cookie.
    pub fn response_headers(&self, mut headers: Vec<Header>, renewed: Option<&[u8]>) -> Vec<Header> {
        if renewed.is_some_and(|cookie| self.store.is_ended(cookie, &self.io)) {
            headers.retain(|(name, _)| *name != SET_COOKIE);
        }
        headers
    }

    /// Takes the session out of the browser, where it is ours to end: a filter beside an oauth2-proxy with
    /// another secret, say, must not sign everybody out.
    pub(super) fn clear(&self, head: &RequestHead) -> Vec<Header> {
        if self.config.mode.owns_sessions() { self.cookie.clear(head) } else { Vec::new() }
    }

    /// Adds [`Self::cookies_after`] to an answer.
    pub(super) fn add_cookies(&self, answer: &mut Reply, head: &RequestHead, loaded: &Loaded) {
        reply::add_headers(answer, self.cookies_after(head, loaded).iter());
    }
}
