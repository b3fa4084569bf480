//! Sessions in Redis: `GET`, `SETEX`, `DEL` by a ticket, and what this worker knows of their values.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join;
use log::warn;

use super::health::SharedHealth;
use super::lock::Lock;
use super::recent_writes::{PERIOD, RecentWrites};
use crate::config::{self, Config};
use crate::flow::io::Io;
use crate::flow::outcome::{TooLarge, Unavailable};
use crate::flow::person::Person;
use crate::flow::util::lru::Recent;
use crate::flow::util::single_flight::Together;
use crate::redis::{Command, Failure, MAX_BULK, Reply};
use crate::session::Session;
use crate::session::ticket::Ticket;
use crate::time::Timestamp;

/// The pause between two attempts to save a session.
const SAVE_PAUSE: Duration = Duration::from_millis(100);

/// So often at most, a session's value that does not open is blamed on the way to Redis, and not on the value.
const MISMATCH_PERIOD: Duration = Duration::from_secs(60);

/// So many of them a worker remembers.
const MISMATCHES: usize = 1000;

/// What becomes of a session that Redis refuses to save: it is full, or this client may not write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IfRefused {
    GiveUp,
    /// As if Redis had not answered.
    TryAgain,
}

/// A session that was decrypted.
struct Decrypted {
    ticket: Ticket,
    fingerprint: Fingerprint,
    person: Rc<Person>,
    /// When Redis had it.
    seen_at: Cell<Timestamp>,
}

/// What stands for a ciphertext: its nonce and its tag. Whoever could forge these two for other bytes
/// would get the session that they belong to, and nothing else.
#[derive(PartialEq, Eq)]
struct Fingerprint([u8; 12], [u8; 16]);

/// The bytes under a key; none where there is no such key, or something that is no session.
type Value = Result<Option<Rc<Vec<u8>>>, Unavailable>;

/// Sessions in Redis.
pub(super) struct RedisSessions<I> {
    pub(super) io: I,
    config: Rc<Config>,
    session_cache: Duration,
    decrypted: Recent<Decrypted>,
    pub(super) writes: RecentWrites,
    pub(super) health: SharedHealth<I>,
    loads: Together<Value>,
    /// When a value did not open, by its key.
    mismatches: Recent<Timestamp>,
}

impl<I: Io> RedisSessions<I> {
    pub(super) fn new(config: &Rc<Config>, redis: &config::Redis, io: &I) -> Self {
        Self {
            session_cache: redis.session_cache,
            decrypted: Recent::new(config.cookie.session_cache_size),
            writes: RecentWrites::new(),
            health: SharedHealth::new(redis.client.has_replicas(), io),
            loads: Together::default(),
            mismatches: Recent::new(MISMATCHES),
            config: Rc::clone(config),
            io: io.clone(),
        }
    }

    /// The person whose session Redis had for a ticket a moment ago, where that is enough by `redis_session_cache`.
    pub(super) fn cached(&self, ticket: &Ticket) -> Option<Rc<Person>> {
        if self.session_cache.is_zero() {
            return None;
        }
        let known = self.decrypted.get(ticket.redis_key()).filter(|known| known.ticket == *ticket)?;
        let is_recent = known.seen_at.get().was_within(self.session_cache, self.io.now());
        is_recent.then(|| Rc::clone(&known.person))
    }

    /// The person whose session a ticket stands for; nobody where Redis has none for it.
    pub(super) async fn load(self: &Rc<Self>, ticket: &Ticket) -> Result<Option<Rc<Person>>, Unavailable> {
        let key = ticket.redis_key();
        let value = self.loads.get(key, || {
            let call = self.io.redis(self.get(ticket));
            let (store, ticket) = (Rc::clone(self), ticket.clone());
            Box::pin(async move {
                match call.await {
                    Ok(Reply::Nil) => store.confirm_missing(&ticket).await,
                    reply => value_of(reply),
                }
            })
        });
        let Some(value) = value.await? else {
            self.decrypted.remove(key);
            return if self.health.health().may_lack_data() { Err(Unavailable::Redis) } else { Ok(None) };
        };
        // A failover brought it back for a moment.
        if self.writes.is_ended(ticket, self.io.now()) {
            return Ok(None);
        }
        Ok(self.decrypt(ticket, &value).map(|person| self.newer_of(ticket, person)))
    }

    /// Redis has no such session, it seems. That may be the reply to another command, and it says not to which. So it is
    /// asked once more, behind a command that only the right reply fits to.
    async fn confirm_missing(self: &Rc<Self>, ticket: &Ticket) -> Value {
        let echo = self.io.redis(Command::echo(ticket.redis_key()));
        let (_, reply) = join(echo, self.io.redis(self.get(ticket))).await;
        value_of(reply)
    }

    /// Asks for a session. A value that does not open with its ticket may be another one's, where bytes got lost on the
    /// way. So it is asked for again over another connection, before it counts as no session. But where it did not open
    /// then either, the value is what is wrong, and others should not lose their connection for it every time.
    pub(super) fn get(self: &Rc<Self>, ticket: &Ticket) -> Command {
        let (store, ticket) = (Rc::downgrade(self), ticket.clone());
        Command::get(ticket.redis_key()).checked(move |value| {
            let Some(store) = store.upgrade() else { return true };
            if store.decrypt(&ticket, value).is_some() {
                store.mismatches.remove(ticket.redis_key());
                return true;
            }
            !store.is_first_mismatch(&ticket)
        })
    }

    /// Whether this is the first value of this ticket that does not open, since one did or for a while.
    fn is_first_mismatch(&self, ticket: &Ticket) -> bool {
        let (key, now) = (ticket.redis_key(), self.io.now());
        if self.mismatches.get(key).is_some_and(|at| at.was_within(MISMATCH_PERIOD, now)) {
            return false;
        }
        self.mismatches.insert(key, &Rc::new(now), 0);
        true
    }

    pub(super) fn decrypt(&self, ticket: &Ticket, value: &[u8]) -> Option<Rc<Person>> {
        let fingerprint = Fingerprint::of(value)?;
        if let Some(known) = self.decrypted.get(ticket.redis_key())
            && known.fingerprint == fingerprint
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
        if let Some(fingerprint) = Fingerprint::of(value) {
            let (person, seen_at) = (Rc::clone(person), Cell::new(self.io.now()));
            let decrypted = Decrypted { ticket: ticket.clone(), fingerprint, person, seen_at };
            self.decrypted.insert(ticket.redis_key(), &Rc::new(decrypted), value.len());
        }
    }

    /// What this worker saved a moment ago, where Redis gave something older: then a replica took over
    /// that had not got it yet. The refresh token of the older session is used up; so it is saved again.
    fn newer_of(self: &Rc<Self>, ticket: &Ticket, loaded: Rc<Person>) -> Rc<Person> {
        let Some(saved) = self.writes.session(ticket, self.io.now()) else {
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

    /// Writes a session. Where Redis is away, it is tried again and again, until `patience` is over.
    pub(super) async fn save(
        &self,
        ticket: &Ticket,
        person: &Rc<Person>,
        patience: Duration,
        if_refused: IfRefused,
    ) -> Result<(), Unavailable> {
        let began = self.io.now();
        loop {
            let now = self.io.now();
            if self.writes.is_ended(ticket, now) {
                return Ok(());
            }
            let value = self.seal(ticket, person)?;
            self.writes.saved(ticket, person, now);
            let reply = self.write(Command::setex(ticket.redis_key(), self.expire(), &value)).await;
            let gives_up = is_refusal(&reply) && if_refused == IfRefused::GiveUp;
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
    pub(super) fn seal(&self, ticket: &Ticket, person: &Rc<Person>) -> Result<Vec<u8>, Unavailable> {
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

    /// Puts a session in the place of an older one; whether it was older.
    pub(super) async fn replace_older(
        &self,
        ticket: &Ticket,
        person: &Rc<Person>,
        there: &Rc<Person>,
    ) -> Result<bool, Unavailable> {
        if person.session.created_at <= there.session.created_at {
            return Ok(false);
        }
        let value = self.seal(ticket, person)?;
        answered(self.io.redis(Command::replace(ticket.redis_key(), self.expire(), &value)).await)
    }

    /// Writes a sealed session where there is none; whether there was none.
    pub(super) async fn restore(&self, ticket: &Ticket, value: &[u8]) -> Result<bool, Unavailable> {
        answered(self.io.redis(Command::restore(ticket.redis_key(), self.expire(), value)).await)
    }

    /// Deletes a session that is of no use any more. One of a user who signs out is to be [ended](Self::end).
    pub(super) async fn discard(&self, ticket: &Ticket) -> Result<(), Unavailable> {
        let key = ticket.redis_key();
        self.decrypted.remove(key);
        self.writes.discarded(ticket);
        done(self.write(Command::del(key)).await)
    }

    /// Ends the session of a user who wants that, so that no proxy brings it back, and gives what it was.
    pub(super) async fn end(self: &Rc<Self>, ticket: &Ticket) -> Result<Option<Session>, Unavailable> {
        // A refresh under way would save the session once more after it was deleted.
        let lock = Lock::new(&self.io, ticket)?;
        lock.acquire().await?;
        // Without it there is only nothing to tell the provider.
        let person = self.load(ticket).await.unwrap_or_default();
        self.end_locked(ticket).await?;
        // Where another proxy wrote the session a moment ago, and may bring it back, the lock ends only when that one
        // knows nothing of it any more.
        let written_at = person.as_ref().and_then(|person| person.session.created_at);
        let is_old = written_at.is_some_and(|at| self.io.now().since(at) >= PERIOD);
        let _ = if self.health.has_replicas && !is_old {
            lock.extend(PERIOD).await
        } else {
            lock.release().await
        };
        Ok(person.map(|person| person.session.clone()))
    }

    /// The same, for who holds the lock, or has seen that a user signed out holds it.
    pub(super) async fn end_locked(&self, ticket: &Ticket) -> Result<(), Unavailable> {
        self.discard(ticket).await?;
        self.writes.ended(ticket, self.io.now());
        // A `GET` that was under way may have brought it back; from now on the writes keep it away.
        self.decrypted.remove(ticket.redis_key());
        Ok(())
    }

    /// `cookie_expire`.
    fn expire(&self) -> Duration {
        self.config.cookie.expire
    }

    /// Whether Redis answers.
    pub(super) async fn check(&self) -> Result<(), Unavailable> {
        done(self.io.redis(Command::ping()).await)
    }
}

impl Fingerprint {
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

/// Whether a conditional command was carried out.
fn answered(reply: Result<Reply, Failure>) -> Result<bool, Unavailable> {
    match reply {
        Ok(Reply::Status(_)) => Ok(true),
        Ok(_) => Ok(false),
        Err(_) => Err(Unavailable::Redis),
    }
}

/// A command whose reply says no more than that it was done.
pub(super) fn done(reply: Result<Reply, Failure>) -> Result<(), Unavailable> {
    match reply {
        Ok(Reply::Status(_) | Reply::Integer(_)) => Ok(()),
        _ => Err(Unavailable::Redis),
    }
}
