//! The Redis store: the browser holds a ticket, Redis the session, encrypted with the ticket's secret.
//!
//! ```text
//! cookie ── signature ── ticket ─┬─ id      the session's key in Redis: GET, SETEX, DEL
//!                                └─ secret  the AES-GCM key of what stands there
//! ```
//!
//! Every load asks Redis, so a session that was deleted there is gone at once. What a worker keeps are
//! results: of the signature's check, and of the decryption of bytes that it has seen before. Only
//! `redis_session_cache` lets requests go on for a moment with what Redis had the last time.

mod journal;
pub(super) mod lock;
mod readiness;
pub(in crate::flow) mod refresh;

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join;
use log::warn;

use self::journal::Journal;
use self::readiness::Readiness;
use super::refresh::{Hindrance, Refreshed};
use super::session_cookie::{Found, SessionCookie};
use crate::config::Config;
use crate::cookie::Allowance;
use crate::flow::RequestHead;
use crate::flow::io::Io;
use crate::flow::outcome::{Reason, TooLarge, Unavailable};
use crate::flow::person::Person;
use crate::flow::util::lru::Recent;
use crate::flow::util::single_flight::Together;
use crate::flow::verified_cache::{Raw, VerifiedCache};
use crate::redis::{Command, Failure, MAX_BULK, Reply};
use crate::session::Session;
use crate::session::ticket::{Form, Ticket};
use crate::time::Timestamp;

/// The pause between two attempts to save a session.
const SAVE_PAUSE: Duration = Duration::from_millis(100);

/// So many refreshes that failed a worker remembers.
const FAILURES: usize = 1000;

/// So often at most, a session's value that does not open is blamed on the way to Redis, and not on the value.
const BLAME: Duration = Duration::from_secs(60);

/// So many of them a worker remembers.
const BLAMED: usize = 1000;

/// A ticket by a cookie that was verified.
pub(in crate::flow) struct TicketCookie {
    pub(in crate::flow) raw: Vec<u8>,
    /// The time in its signature, in Unix seconds.
    signed_at: i64,
    pub(in crate::flow) ticket: Ticket,
}

impl Raw for TicketCookie {
    fn raw(&self) -> &[u8] {
        &self.raw
    }
}

/// A session that was decrypted.
struct Decrypted {
    ticket: Ticket,
    mark: Mark,
    person: Rc<Person>,
    /// When Redis had it.
    seen_at: Cell<Timestamp>,
}

/// What stands for a ciphertext: its nonce and its tag. Whoever could forge these two for other bytes
/// would get the session that they belong to, and nothing else.
#[derive(PartialEq, Eq)]
struct Mark([u8; 12], [u8; 16]);

/// The bytes under a key; none where there is no such key, or something that is no session.
type Value = Result<Option<Rc<Vec<u8>>>, Unavailable>;

/// Sessions in Redis.
pub(in crate::flow) struct TicketStore<I> {
    io: I,
    config: Rc<Config>,
    cookie: Rc<SessionCookie>,
    form: Form,
    session_cache: Duration,
    cookies: VerifiedCache<TicketCookie>,
    decrypted: Recent<Decrypted>,
    journal: Journal,
    readiness: Readiness,
    /// Whether a server may take over that has not got the last writes.
    pub(in crate::flow) has_replicas: bool,
    loads: Together<Value>,
    pub(in crate::flow) refreshes: Together<Refreshed>,
    failures: Recent<(Timestamp, Hindrance)>,
    /// When a value did not open, by its key.
    blamed: Recent<Timestamp>,
}

impl<I: Io> TicketStore<I> {
    pub(in crate::flow) fn new(config: &Rc<Config>, cookie: &Rc<SessionCookie>, io: I) -> Self {
        let entries = config.cookie.session_cache_size;
        let redis = config.redis.as_ref();
        let form = redis.and_then(|redis| redis.ticket_form);
        Self {
            io,
            form: form.unwrap_or_else(|| Form::for_cookie(cookie.name())),
            session_cache: redis.map(|redis| redis.session_cache).unwrap_or_default(),
            cookies: VerifiedCache::new(entries),
            decrypted: Recent::new(entries),
            journal: Journal::new(),
            readiness: Readiness::default(),
            has_replicas: redis.is_some_and(|redis| redis.client.has_replicas()),
            loads: Together::default(),
            refreshes: Together::default(),
            failures: Recent::new(FAILURES),
            blamed: Recent::new(BLAMED),
            config: Rc::clone(config),
            cookie: Rc::clone(cookie),
        }
    }

    /// The ticket that the request's cookies hold.
    pub(in crate::flow) fn ticket(&self, head: &RequestHead) -> Result<Found<Rc<TicketCookie>>, Reason> {
        let found = self.cookie.find(head, |value, allowance| self.recall_ticket(value, allowance));
        found.map_err(|reason| reason.unwrap_or(Reason::NoCookie))
    }

    /// All tickets that they hold, the newest first: a browser has several if their scopes differ.
    pub(in crate::flow) fn tickets(&self, head: &RequestHead) -> Vec<Rc<TicketCookie>> {
        let mut tickets: Vec<Rc<TicketCookie>> = Vec::new();
        for found in self.cookie.all(head, |value, allowance| self.recall_ticket(value, allowance)) {
            if !tickets.iter().any(|known| known.ticket.redis_key() == found.ticket.redis_key()) {
                tickets.push(found);
            }
        }
        tickets
    }

    fn recall_ticket(
        &self,
        value: Cow<'_, [u8]>,
        allowance: &mut Allowance,
    ) -> Result<Rc<TicketCookie>, Reason> {
        let now = self.io.now();
        match self.cookies.get(&value) {
            Some(ticket) if self.cookie.is_current(ticket.signed_at, now) => Ok(ticket),
            Some(_) => Err(Reason::BadCookie),
            None => self.open(value, now, allowance),
        }
    }

    fn open(
        &self,
        cookie: Cow<'_, [u8]>,
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Rc<TicketCookie>, Reason> {
        let verified = self.cookie.verify(&cookie, now, allowance).map_err(|_| Reason::BadCookie)?;
        let ticket = Ticket::decode(&verified).map_err(|_| Reason::NoSession)?;
        let (raw, signed_at) = (cookie.into_owned(), verified.timestamp());
        let ticket = Rc::new(TicketCookie { raw, signed_at, ticket });
        self.cookies.insert(&ticket);
        Ok(ticket)
    }

    /// A ticket that nobody has yet.
    pub(in crate::flow) fn new_ticket(&self) -> Result<Ticket, Unavailable> {
        Ok(Ticket::new(self.cookie.name(), self.io.random()?, self.io.random()?))
    }

    /// The value of the cookie that holds a ticket: signed with the time of the session, as oauth2-proxy does.
    pub(in crate::flow) fn cookie(&self, ticket: &Ticket, session: &Session) -> Vec<u8> {
        self.cookie.sign(&ticket.encode(self.form), session.created_at.unwrap_or_else(|| self.io.now()))
    }

    /// The cookie that the browser should have in the place of this one; none where it is as it should be.
    pub(in crate::flow) fn cookie_of(&self, ticket: &TicketCookie, session: &Session) -> Option<Vec<u8>> {
        let created = session.created_at?;
        (created.secs() > ticket.signed_at).then(|| self.cookie(&ticket.ticket, session))
    }

    /// The person whose session Redis had for a ticket a moment ago, where that is enough by `redis_session_cache`.
    pub(in crate::flow) fn recall(&self, ticket: &Ticket) -> Option<Rc<Person>> {
        if self.session_cache.is_zero() {
            return None;
        }
        let known = self.decrypted.get(ticket.redis_key()).filter(|known| known.ticket == *ticket)?;
        let is_recent = known.seen_at.get().was_within(self.session_cache, self.io.now());
        is_recent.then(|| Rc::clone(&known.person))
    }

    /// The person whose session a ticket stands for; nobody where Redis has none for it.
    pub(in crate::flow) async fn load(
        self: &Rc<Self>,
        ticket: &Ticket,
    ) -> Result<Option<Rc<Person>>, Unavailable> {
        let key = ticket.redis_key();
        let value = self.loads.get(key, || {
            let call = self.io.redis(self.get(ticket));
            let (store, ticket) = (Rc::clone(self), ticket.clone());
            Box::pin(async move {
                match call.await {
                    Ok(Reply::Nil) => store.look_once_more(&ticket).await,
                    reply => value_of(reply),
                }
            })
        });
        let Some(value) = value.await? else {
            self.decrypted.remove(key);
            return if self.health().may_lack_data() { Err(Unavailable::Redis) } else { Ok(None) };
        };
        // A failover brought it back for a moment.
        if self.journal.is_deleted(ticket, self.io.now()) {
            return Ok(None);
        }
        Ok(self.decrypt(ticket, &value).map(|person| self.newest(ticket, person)))
    }

    /// Redis has no such session, it seems. That may be the reply to another command, and it says not to which. So it is
    /// asked once more, behind a command that only the right reply fits to.
    async fn look_once_more(self: &Rc<Self>, ticket: &Ticket) -> Value {
        let echo = self.io.redis(Command::echo(ticket.redis_key()));
        let (_, reply) = join(echo, self.io.redis(self.get(ticket))).await;
        value_of(reply)
    }

    /// Asks for a session. A value that does not open with its ticket may be another one's, where bytes got lost on the
    /// way. So it is asked for again over another connection, before it counts as no session. But where it did not open
    /// then either, the value is what is wrong, and others should not lose their connection for it every time.
    fn get(self: &Rc<Self>, ticket: &Ticket) -> Command {
        let (store, ticket) = (Rc::downgrade(self), ticket.clone());
        Command::get(ticket.redis_key()).checked(move |value| {
            let Some(store) = store.upgrade() else { return true };
            if store.decrypt(&ticket, value).is_some() {
                store.blamed.remove(ticket.redis_key());
                return true;
            }
            !store.blames_the_way(&ticket)
        })
    }

    /// Whether this is the first value of this ticket that does not open, since one did or for a while.
    fn blames_the_way(&self, ticket: &Ticket) -> bool {
        let (key, now) = (ticket.redis_key(), self.io.now());
        if self.blamed.get(key).is_some_and(|at| at.was_within(BLAME, now)) {
            return false;
        }
        self.blamed.insert(key, &Rc::new(now), 0);
        true
    }

    fn decrypt(&self, ticket: &Ticket, value: &[u8]) -> Option<Rc<Person>> {
        let mark = Mark::of(value)?;
        if let Some(known) = self.decrypted.get(ticket.redis_key())
            && known.mark == mark
            && known.ticket == *ticket
        {
            known.seen_at.set(self.io.now());
            return Some(Rc::clone(&known.person));
        }
        let session = ticket.open(value).ok()?;
        let person = Person::new(&self.config, session);
        self.remember(ticket, value, &person);
        Some(person)
    }

    fn remember(&self, ticket: &Ticket, value: &[u8], person: &Rc<Person>) {
        if let Some(mark) = Mark::of(value) {
            let (person, seen_at) = (Rc::clone(person), Cell::new(self.io.now()));
            let decrypted = Decrypted { ticket: ticket.clone(), mark, person, seen_at };
            self.decrypted.insert(ticket.redis_key(), &Rc::new(decrypted), value.len());
        }
    }

    /// What this worker saved a moment ago, where Redis gave something older: then a replica took over
    /// that had not got it yet. The refresh token of the older session is used up; so it is saved again.
    fn newest(self: &Rc<Self>, ticket: &Ticket, loaded: Rc<Person>) -> Rc<Person> {
        let Some(saved) = self.journal.session(ticket, self.io.now()) else {
            return loaded;
        };
        if saved.session.created_at <= loaded.session.created_at {
            return loaded;
        }
        let (store, ticket, newest) = (Rc::clone(self), ticket.clone(), Rc::clone(&saved));
        self.io.spawn(async move {
            // Whoever loads it next tries again.
            let _ = store.replace_older(&ticket, &newest, &loaded).await;
        });
        saved
    }

    /// Writes a session. Where Redis is away, it is tried again and again, until `patience` is over; where
    /// Redis refuses it for good, only if `even_refused`.
    pub(in crate::flow) async fn save(
        &self,
        ticket: &Ticket,
        person: &Rc<Person>,
        patience: Duration,
        even_refused: bool,
    ) -> Result<(), Unavailable> {
        let began = self.io.now();
        loop {
            let now = self.io.now();
            if self.journal.is_deleted(ticket, now) {
                return Ok(());
            }
            let value = self.seal(ticket, person)?;
            self.journal.saved(ticket, person, now);
            let reply = self.write(Command::setex(ticket.redis_key(), self.cookie.expire(), &value)).await;
            let gives_up = is_refusal(&reply) && !even_refused;
            let result = done(reply);
            if result.is_ok() || gives_up || self.io.now().since(began) >= patience {
                return result;
            }
            self.io.sleep(SAVE_PAUSE).await;
        }
    }

    /// Sends a command that may run twice; once more where there was a failover meanwhile: the answer may be of the
    /// server that is the master no more.
    async fn write(&self, command: Command) -> Result<Reply, Failure> {
        let failovers = self.io.redis_health().failovers();
        let reply = self.io.redis(command.clone()).await;
        if reply.is_ok() && self.io.redis_health().failovers() != failovers {
            return self.io.redis(command).await;
        }
        reply
    }

    /// What goes to Redis; an error where it would not be read again.
    fn seal(&self, ticket: &Ticket, person: &Rc<Person>) -> Result<Vec<u8>, Unavailable> {
        let value = ticket.seal(&person.session, self.io.random()?);
        if value.len() > MAX_BULK {
            warn!(
                "Redis: a session of {} bytes with {} groups is not written, for no more than {MAX_BULK} are read; \
                 let the provider give fewer groups or claims",
                value.len(),
                person.session.groups.len()
            );
            let remedy = "The provider has to give fewer groups or claims";
            return Err(Unavailable::TooLarge(TooLarge { bytes: value.len(), most: MAX_BULK, remedy }));
        }
        self.remember(ticket, &value, person);
        Ok(value)
    }

    /// Deletes a session that is of no use any more.
    pub(in crate::flow) async fn delete(&self, ticket: &Ticket) -> Result<(), Unavailable> {
        let key = ticket.redis_key();
        self.decrypted.remove(key);
        self.journal.forget(ticket);
        done(self.write(Command::del(key)).await)
    }

    /// Deletes the session of somebody who wants that, so that it stays deleted.
    pub(in crate::flow) async fn sign_out(&self, ticket: &Ticket) -> Result<(), Unavailable> {
        self.delete(ticket).await?;
        self.journal.deleted(ticket, self.io.now());
        // A `GET` that was under way may have brought it back; from now on the journal keeps it away.
        self.decrypted.remove(ticket.redis_key());
        Ok(())
    }

    /// Remembers why this session could not be refreshed.
    pub(in crate::flow) fn failed(&self, ticket: &TicketCookie, reason: Hindrance) {
        self.failures.insert(ticket.ticket.redis_key(), &Rc::new((self.io.now(), reason)), 0);
    }

    /// Why, if that was less than `period` ago.
    pub(in crate::flow) fn failed_within(
        &self,
        ticket: &TicketCookie,
        period: Duration,
    ) -> Option<Hindrance> {
        let failed = self.failures.get(ticket.ticket.redis_key())?;
        let (at, reason) = *failed;
        at.was_within(period, self.io.now()).then_some(reason)
    }

    /// Whether Redis answers.
    pub(in crate::flow) async fn check(&self) -> Result<(), Unavailable> {
        done(self.io.redis(Command::ping()).await)
    }
}

impl Mark {
    fn of(value: &[u8]) -> Option<Self> {
        Some(Self(*value.first_chunk()?, *value.last_chunk()?))
    }
}

fn value_of(reply: Result<Reply, Failure>) -> Value {
    match reply {
        Ok(Reply::Bulk(value)) => Ok(Some(Rc::new(value))),
        Ok(Reply::Nil | Reply::TooLarge) => Ok(None),
        // Not a string: somebody else's key under the name of a session.
        Ok(Reply::Error(error)) if error.code() == "WRONGTYPE" => Ok(None),
        _ => Err(Unavailable::Redis),
    }
}

/// Whether Redis will say the same a moment later: it is full, or we may not write.
fn is_refusal(reply: &Result<Reply, Failure>) -> bool {
    matches!(reply, Ok(Reply::Error(error)) if matches!(error.code(), "OOM" | "NOPERM" | "NOAUTH" | "MISCONF"))
}

/// A command whose reply says no more than that it was done.
fn done(reply: Result<Reply, Failure>) -> Result<(), Unavailable> {
    match reply {
        Ok(Reply::Status(_) | Reply::Integer(_)) => Ok(()),
        _ => Err(Unavailable::Redis),
    }
}
