//! Sessions in Redis: `GET`, `SETEX` and `DEL` by a ticket, and what this worker remembers of their values.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join;
use log::warn;

use super::health::SharedHealth;
use super::index::SessionIndex;
use super::last_use::LastUses;
use super::lock::Lock;
use super::reads::Reads;
use super::recent_writes::{PERIOD, RecentWrites};
use super::tickets::TICKET_BYTES;
use crate::config::{self, Config};
use crate::flow::io::Io;
use crate::flow::outcome::{TooLarge, Unavailable};
use crate::flow::principal::{Principal, WholeSession};
use crate::flow::util::lru::{BoundedLru, Budget};
use crate::flow::util::single_flight::SingleFlight;
use crate::flow::verified::REDIS_SESSIONS;
use crate::redis::{Changed, Command, Failure, MAX_BULK, Reply, StreamId};
use crate::session::ticket::{Ticket, TicketId};
use crate::session::{Session, SessionInfo};
use crate::time::Timestamp;

/// The pause between two attempts to save a session.
const SAVE_PAUSE: Duration = Duration::from_millis(100);

/// How often at most, for one key, a value that does not decrypt counts as a value of another key.
const MISMATCH_PERIOD: Duration = Duration::from_secs(60);

/// How many such keys a worker remembers.
const MISMATCHES: usize = 1000;

/// The time to live of a key that does not exist.
const MISSING: i64 = -2;

/// Why a session is saved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Save {
    /// A sign-in. If Redis refuses, because it is full or this client may not write, it is given up.
    SignIn,
    /// A refresh, which is no use of the session: if idle sessions end, the session keeps the time to live that it has. A
    /// refusal of Redis is treated like a missing answer.
    Refresh,
}

/// What became of a session that is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// Redis has it.
    Kept,
    /// It ended before it was saved, and is not in Redis.
    Ended,
}

/// A session that was decrypted before.
struct Decrypted {
    ticket: Ticket,
    fingerprint: Fingerprint,
    principal: Rc<Principal>,
    /// When Redis last had it, as far as a reply said so before Redis told of a change.
    seen_at: Cell<Timestamp>,
    tracked: Cell<Option<Tracked>>,
}

/// Until a connection tells of a change, a session is what it was when it was read.
#[derive(Clone, Copy)]
struct Tracked {
    stream: StreamId,
    /// How often all keys had changed.
    flushes: u64,
    read_at: Timestamp,
    /// How long the key had to live; `None` if it had no expiry. Redis tells of that end only when it removes the key.
    life: Option<Duration>,
}

/// The fingerprint of a ciphertext: its nonce and its tag. An attacker who can write other bytes with the same two
/// would only get the session that they belong to.
#[derive(PartialEq, Eq)]
struct Fingerprint([u8; 12], [u8; 16]);

/// The bytes of a key; `None` if there is no such key, or if it holds no session.
type Value = Result<Option<Rc<Vec<u8>>>, Unavailable>;

/// Loads, saves and deletes sessions in Redis.
pub(super) struct RedisSessions<I> {
    pub(super) io: I,
    config: Rc<Config>,
    session_cache: Duration,
    decrypted: BoundedLru<Decrypted>,
    pub(super) writes: RecentWrites,
    pub(super) health: SharedHealth<I>,
    pub(super) last_uses: Rc<LastUses<I>>,
    /// None without `redis_session_index`.
    pub(super) index: Option<Rc<SessionIndex<I>>>,
    loads: SingleFlight<Value>,
    reads: Reads,
    /// How often Redis told that all keys have changed.
    flushes: Cell<u64>,
    /// When it told so last.
    flushed_at: Cell<Option<Timestamp>>,
    /// When a value did not decrypt, by its key.
    mismatches: BoundedLru<Timestamp>,
}

impl<I: Io> RedisSessions<I> {
    pub(super) fn new(
        config: &Rc<Config>,
        redis: &config::RedisConfig,
        index: Option<Rc<SessionIndex<I>>>,
        remembered: &Budget,
        io: &I,
    ) -> Self {
        Self {
            session_cache: redis.session_cache,
            decrypted: BoundedLru::within(remembered, REDIS_SESSIONS),
            writes: RecentWrites::new(),
            health: SharedHealth::new(redis.client.has_replicas(), io),
            index,
            last_uses: Rc::new(LastUses::new(config, io)),
            loads: SingleFlight::default(),
            reads: Reads::default(),
            flushes: Cell::default(),
            flushed_at: Cell::default(),
            mismatches: BoundedLru::new(MISMATCHES),
            config: Rc::clone(config),
            io: io.clone(),
        }
    }

    /// From now on, notices what Redis tells.
    pub(super) fn watch(self: &Rc<Self>) {
        let sessions = Rc::downgrade(self);
        self.io.watch_redis_changes(move |changed| {
            let Some(sessions) = sessions.upgrade() else { return };
            match changed {
                Changed::Keys(keys) => keys.iter().for_each(|key| sessions.told(key)),
                Changed::All => {
                    sessions.flushes.set(sessions.flushes.get().wrapping_add(1));
                    sessions.flushed_at.set(Some(sessions.io.now()));
                    sessions.reads.changed(None);
                    sessions.loads.forget_all();
                }
            }
        });
    }

    /// Redis told that a session has changed. If the connection breaks before the session is read again, it is not used
    /// because of `redis_session_cache` either.
    fn told(&self, key: &[u8]) {
        if let Some(known) = self.decrypted.get(key) {
            known.seen_at.set(Timestamp::from_secs(0));
        }
        self.changed(key);
    }

    /// A session has changed, or is about to: Redis is asked for it before it is used again.
    pub(super) fn changed(&self, key: &[u8]) {
        if let Some(known) = self.decrypted.get(key) {
            known.tracked.set(None);
        }
        self.reads.changed(Some(key));
        // A request that comes from now on does not get what an earlier one has read.
        self.loads.forget(key);
    }

    /// The session of a ticket without a question to Redis: as it was read, if Redis would have told of a change, or if
    /// `redis_session_cache` allows its use.
    pub(super) fn cached(&self, ticket: &Ticket, now: Timestamp) -> Option<Rc<Principal>> {
        let key = ticket.redis_key();
        let known = self.decrypted.get(key).filter(|known| known.ticket == *ticket)?;
        let is_valid = match known.tracked.get() {
            Some(tracked) if self.is_alive(tracked, now) && self.io.redis_serves(key, tracked.stream) => {
                !self.writes.is_ended(ticket, now)
            }
            _ => {
                let seen_at = known.seen_at.get();
                seen_at.was_within(self.session_cache, now)
                    && self.flushed_at.get().is_none_or(|at| at < seen_at)
                    && self.last_uses.is_alive(ticket.id())
                    && self.io.redis_tracks(key).is_none()
            }
        };
        is_valid.then(|| Rc::clone(&known.principal))
    }

    /// Whether the key of a session that was read has not ended by itself.
    fn is_alive(&self, tracked: Tracked, now: Timestamp) -> bool {
        tracked.flushes == self.flushes.get()
            && tracked.read_at.was_within(tracked.life.unwrap_or(Duration::MAX), now)
    }

    /// The session of a ticket; `None` if Redis has none.
    pub(super) async fn load(self: &Rc<Self>, ticket: &Ticket) -> Result<Option<Rc<Principal>>, Unavailable> {
        let principal = self.value(ticket).await?.and_then(|value| self.decrypt(ticket, &value));
        Ok(principal.map(|principal| match self.newer_of(ticket, &principal.session) {
            Some(saved) => Rc::clone(&saved.principal),
            None => principal,
        }))
    }

    /// The same with its tokens, which the worker does not remember.
    pub(super) async fn load_whole(
        self: &Rc<Self>,
        ticket: &Ticket,
    ) -> Result<Option<Rc<WholeSession>>, Unavailable> {
        let session = self.value(ticket).await?.and_then(|value| ticket.open(&value).ok());
        Ok(session.map(|session| match self.newer_of(ticket, &session) {
            Some(saved) => saved,
            None => WholeSession::new(&self.config, session),
        }))
    }

    /// The bytes of a session that has not ended.
    async fn value(self: &Rc<Self>, ticket: &Ticket) -> Value {
        let key = ticket.redis_key();
        let value = self.loads.get(key, || {
            let (sessions, ticket) = (Rc::clone(self), ticket.clone());
            Box::pin(async move {
                match sessions.read(&ticket).await {
                    Ok(Reply::Nil) => sessions.confirm_missing(&ticket).await,
                    reply => value_of(reply),
                }
            })
        });
        let Some(value) = value.await? else {
            self.decrypted.remove(key);
            return if self.health.get().may_lack_data() { Err(Unavailable::Redis) } else { Ok(None) };
        };
        // A failover brought it back for a moment.
        Ok(Some(value).filter(|_| !self.writes.is_ended(ticket, self.io.now())))
    }

    /// Reads a session. Remembers by which connection it came, if that tells of changes.
    async fn read(self: &Rc<Self>, ticket: &Ticket) -> Result<Reply, Failure> {
        let (key, read_at) = (ticket.redis_key(), self.io.now());
        let tracked_by = self.io.redis_tracks(key);
        let is_known = self
            .decrypted
            .get(key)
            .and_then(|known| known.tracked.get())
            .is_some_and(|tracked| Some(tracked.stream) == tracked_by && self.is_alive(tracked, read_at));
        if tracked_by.is_none() || is_known {
            return self.io.redis(self.get(ticket)).await;
        }
        let read = self.reads.begin(key);
        let (get, came_by) = self.get(ticket).tracked();
        let (reply, life) = join(self.io.redis(get), self.io.redis(Command::time_to_live(key))).await;
        if let (Ok(Reply::Bulk(value)), Ok(Reply::Integer(millis)), Some(stream)) =
            (&reply, life, came_by.get())
            && !read.is_outdated()
            && self.decrypt(ticket, value).is_some()
            && let Some(known) = self.decrypted.get(key)
            && millis != MISSING
        {
            let life = u64::try_from(millis).ok().map(Duration::from_millis);
            known.tracked.set(Some(Tracked { stream, flushes: self.flushes.get(), read_at, life }));
        }
        reply
    }

    /// Redis seems to have no such session. But a nil does not say to which command it belongs, and may be the reply to
    /// another one if bytes were lost. So the session is read again, after a command to which only the right reply
    /// fits.
    async fn confirm_missing(self: &Rc<Self>, ticket: &Ticket) -> Value {
        let echo = self.io.redis(Command::echo(ticket.redis_key()));
        let (_, reply) = join(echo, self.io.redis(self.get(ticket))).await;
        value_of(reply)
    }

    /// Reads a session. A value that does not decrypt with its ticket may belong to another key, if bytes were lost on
    /// the connection. So the client closes the connection and asks again. If the second value does not decrypt either,
    /// the value itself is wrong. Then other requests should not lose their connection for it each time.
    pub(super) fn get(self: &Rc<Self>, ticket: &Ticket) -> Command {
        let (sessions, ticket) = (Rc::downgrade(self), ticket.clone());
        Command::get(ticket.redis_key()).checked(move |value| {
            let Some(sessions) = sessions.upgrade() else { return true };
            if let Some(known) = sessions.known(&ticket, value) {
                // Here, in order with what Redis tells: the task that waits for the reply goes on after both.
                known.seen_at.set(sessions.io.now());
                sessions.mismatches.remove(ticket.redis_key());
                return true;
            }
            !sessions.is_first_mismatch(&ticket)
        })
    }

    /// Whether no value of this ticket failed to decrypt for a while, or since one did decrypt.
    fn is_first_mismatch(&self, ticket: &Ticket) -> bool {
        let (key, now) = (ticket.redis_key(), self.io.now());
        if self.mismatches.get(key).is_some_and(|at| at.was_within(MISMATCH_PERIOD, now)) {
            return false;
        }
        self.mismatches.insert(key, &Rc::new(now), 0);
        true
    }

    pub(super) fn decrypt(&self, ticket: &Ticket, value: &[u8]) -> Option<Rc<Principal>> {
        self.known(ticket, value).map(|known| Rc::clone(&known.principal))
    }

    fn known(&self, ticket: &Ticket, value: &[u8]) -> Option<Rc<Decrypted>> {
        let fingerprint = Fingerprint::of(value)?;
        if let Some(known) = self.decrypted.get(ticket.redis_key())
            && known.fingerprint == fingerprint
            && known.ticket == *ticket
        {
            return Some(known);
        }
        let session = ticket.open(value).ok()?;
        self.remember(ticket, value, &Principal::new(&self.config, session))
    }

    /// Remembers a session. Whether Redis has it is not known yet.
    fn remember(&self, ticket: &Ticket, value: &[u8], principal: &Rc<Principal>) -> Option<Rc<Decrypted>> {
        let (fingerprint, principal) = (Fingerprint::of(value)?, Rc::clone(principal));
        let (seen_at, tracked) = (Cell::new(Timestamp::from_secs(0)), Cell::default());
        let bytes = principal.bytes().saturating_add(TICKET_BYTES);
        let decrypted =
            Rc::new(Decrypted { ticket: ticket.clone(), fingerprint, principal, seen_at, tracked });
        self.decrypted.insert(ticket.redis_key(), &decrypted, bytes);
        Some(decrypted)
    }

    /// What this worker saved a moment ago, if it is newer than what Redis answered. Then a replica became the master
    /// without the last write. The refresh token of the older session is used up, so the newer session is saved again.
    fn newer_of(self: &Rc<Self>, ticket: &Ticket, loaded: &SessionInfo) -> Option<Rc<WholeSession>> {
        let saved = self.writes.session(ticket, self.io.now())?;
        if saved.session.created_at <= loaded.created_at {
            return None;
        }
        let (sessions, ticket, newer) = (Rc::clone(self), ticket.clone(), Rc::clone(&saved));
        self.io.spawn(async move {
            // If this fails, the next request that loads the session tries again.
            let _ = sessions.replace(&ticket, &newer).await;
        });
        Some(saved)
    }

    /// Saves a session. Tries again until `patience` is over if Redis does not answer.
    pub(super) async fn save(
        &self,
        ticket: &Ticket,
        whole: &Rc<WholeSession>,
        patience: Duration,
        why: Save,
    ) -> Result<Saved, Unavailable> {
        let began = self.io.now();
        // Once: only the first attempt follows a reply that said that Redis has the session.
        let value = self.seal(ticket, whole)?;
        loop {
            let now = self.io.now();
            if self.writes.is_ended(ticket, now) {
                return Ok(Saved::Ended);
            }
            self.writes.saved(ticket, whole, now);
            let reply = self.write_value(ticket, &whole.session, &value, why).await;
            if reply == Ok(Reply::Nil) {
                self.decrypted.remove(ticket.redis_key());
                self.writes.discarded(ticket.id());
                return Ok(Saved::Ended);
            }
            let gives_up = is_refusal(&reply) && why == Save::SignIn;
            let result = done(reply).map(|()| Saved::Kept);
            if result.is_ok() || gives_up || self.io.now().since(began) >= patience {
                return result;
            }
            self.io.sleep(SAVE_PAUSE).await;
        }
    }

    /// Nil if a session to refresh is no longer there: `DEL` by an operator or by oauth2-proxy waits for no lock.
    async fn write_value(
        &self,
        ticket: &Ticket,
        session: &SessionInfo,
        value: &[u8],
        why: Save,
    ) -> Result<Reply, Failure> {
        let (key, mut ttl) = (ticket.redis_key(), self.time_to_live(session));
        if why == Save::Refresh {
            let keeps_life = self.last_uses.is_on();
            let command = if keeps_life {
                Command::replace_value(key, value)
            } else {
                Command::replace(key, ttl, value)
            };
            let reply = self.write(key, command).await;
            // A server that came back or has just become the master may lack the session.
            let may_exist = match &reply {
                Ok(Reply::Nil) => self.health.get().may_lack_data(),
                reply => *reply == Err(Failure::PossiblyStale),
            };
            if !may_exist {
                return reply;
            }
            if keeps_life {
                // If it ended meanwhile, this is short enough; and the use that led to the refresh is written next.
                ttl = ttl.min(self.config.lifetimes.write_period());
            }
        }
        self.write(key, Command::setex(key, ttl, value)).await
    }

    /// Sends a command that may be executed twice. Sends it again if there was a failover meanwhile: the reply may be
    /// that of the old master.
    async fn write(&self, key: &[u8], command: Command) -> Result<Reply, Failure> {
        let failovers = self.io.redis_health().failovers();
        let reply = self.write_once(key, command.clone()).await;
        if reply.is_ok() && self.io.redis_health().failovers() != failovers {
            return self.write_once(key, command).await;
        }
        reply
    }

    /// The same, once. What was read of the key before the reply is not used any more: Redis tells of the change, but maybe
    /// after the reply.
    async fn write_once(&self, key: &[u8], command: Command) -> Result<Reply, Failure> {
        self.changed(key);
        let reply = self.io.redis(command).await;
        self.changed(key);
        reply
    }

    /// The bytes to save; an error if they are too large to be read back.
    pub(super) fn seal(&self, ticket: &Ticket, whole: &WholeSession) -> Result<Vec<u8>, Unavailable> {
        let value = ticket.seal(&whole.session, self.io.random()?);
        if value.len() > MAX_BULK {
            warn!(
                "Redis: a session of {} bytes with {} groups is not written, because at most {MAX_BULK} bytes can be \
                 read back; let the provider give fewer groups or claims",
                value.len(),
                whole.session.groups.len()
            );
            let remedy = "The provider has to give fewer groups or claims";
            return Err(Unavailable::TooLarge(TooLarge { bytes: value.len(), most: MAX_BULK, remedy }));
        }
        if let Some(known) = self.remember(ticket, &value, &whole.principal) {
            known.seen_at.set(self.io.now());
        }
        Ok(value)
    }

    /// Replaces an older session. False if it is not older.
    pub(super) async fn replace_older(
        &self,
        ticket: &Ticket,
        whole: &WholeSession,
        there: &SessionInfo,
    ) -> Result<bool, Unavailable> {
        if whole.session.created_at <= there.created_at {
            return Ok(false);
        }
        self.replace(ticket, whole).await
    }

    async fn replace(&self, ticket: &Ticket, whole: &WholeSession) -> Result<bool, Unavailable> {
        let value = self.seal(ticket, whole)?;
        let (key, ttl) = (ticket.redis_key(), self.time_to_live(&whole.session));
        answered(self.write_once(key, Command::replace(key, ttl, &value)).await)
    }

    /// Saves a sealed session if the key does not exist, for at most this time. False if it does.
    pub(super) async fn restore(
        &self,
        ticket: &Ticket,
        session: &SessionInfo,
        most: Duration,
        value: &[u8],
    ) -> Result<bool, Unavailable> {
        let (key, ttl) = (ticket.redis_key(), self.time_to_live(session).min(most));
        answered(self.write_once(key, Command::restore(key, ttl, value)).await)
    }

    /// Deletes a session that is no longer of use. Whether there was one. To sign a user out, call [`Self::end`].
    pub(super) async fn discard(&self, id: &TicketId) -> Result<bool, Unavailable> {
        let key = id.redis_key();
        self.decrypted.remove(key);
        self.writes.discarded(id);
        let reply = self.write(key, Command::del(key)).await;
        done(reply.clone()).map(|()| reply == Ok(Reply::Integer(1)))
    }

    /// Ends the session of a user who signs out, so that no proxy restores it. Returns the session.
    pub(super) async fn end(self: &Rc<Self>, ticket: &Ticket) -> Result<Option<Session>, Unavailable> {
        // A refresh that is under way would otherwise save the session after it was deleted.
        let lock = Lock::new(&self.io, ticket.id())?;
        lock.acquire().await?;
        // If this fails, only the ID token for the provider's logout call is missing.
        let whole = self.load_whole(ticket).await.unwrap_or_default();
        self.end_locked(ticket.id()).await?;
        let written_at = whole.as_ref().and_then(|whole| whole.session.created_at);
        self.unlock(&lock, written_at).await;
        Ok(whole.map(|whole| whole.session.clone()))
    }

    /// The same without the secret of the ticket, which only the browser has. Whether there was a session.
    pub(super) async fn end_by_id(&self, id: &TicketId) -> Result<bool, Unavailable> {
        let lock = Lock::new(&self.io, id)?;
        lock.acquire().await?;
        let was_there = self.end_locked(id).await?;
        self.unlock(&lock, None).await;
        Ok(was_there)
    }

    /// The same for a caller that holds the lock, or knows that a sign-out holds it.
    pub(super) async fn end_locked(&self, id: &TicketId) -> Result<bool, Unavailable> {
        let was_there = self.discard(id).await?;
        self.writes.ended(id, self.io.now());
        // A `GET` that was under way may have remembered the session again. From now on `writes` hides it.
        self.decrypted.remove(id.redis_key());
        Ok(was_there)
    }

    /// Releases the lock of a session that was ended. Another proxy that wrote the session a moment ago may restore it, and
    /// one that refreshes it may have lost the lock in a failover. So the lock tells them that the session has ended, until
    /// they have forgotten their writes.
    async fn unlock(&self, lock: &Lock<I>, written_at: Option<Timestamp>) {
        let is_old = written_at.is_some_and(|at| self.io.now().since(at) >= PERIOD);
        let may_be_written = !is_old || self.health.get().may_lack_data();
        let _ = if self.health.has_replicas && may_be_written {
            lock.seize().await
        } else {
            lock.release().await.map(drop)
        };
    }

    /// How long Redis keeps a session: until the first of its ends. Zero means for ever.
    fn time_to_live(&self, session: &SessionInfo) -> Duration {
        self.config.lifetimes.time_to_live(session, self.io.now())
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
        // The key holds no string, so another application wrote it.
        Ok(Reply::Error(error)) if error.code() == "WRONGTYPE" => Ok(None),
        _ => Err(Unavailable::Redis),
    }
}

/// Whether Redis will answer the same a moment later: it is full, or this client may not write.
fn is_refusal(reply: &Result<Reply, Failure>) -> bool {
    matches!(reply, Ok(Reply::Error(error)) if matches!(error.code(), "OOM" | "NOPERM" | "NOAUTH" | "MISCONF"))
}

/// Whether a conditional command was executed.
fn answered(reply: Result<Reply, Failure>) -> Result<bool, Unavailable> {
    match reply {
        Ok(Reply::Status(_)) => Ok(true),
        Ok(_) => Ok(false),
        Err(_) => Err(Unavailable::Redis),
    }
}

/// Whether a command was executed.
pub(super) fn done(reply: Result<Reply, Failure>) -> Result<(), Unavailable> {
    match reply {
        Ok(Reply::Status(_) | Reply::Integer(_)) => Ok(()),
        _ => Err(Unavailable::Redis),
    }
}
