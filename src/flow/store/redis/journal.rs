//! What this worker wrote to Redis in the last minute, and writes once more where a failover may have lost it.
//!
//! Redis says that a write is done before a replica has it. So a failover can lose what the old master was told last;
//! a planned one of Sentinels all that it was told in the second or two until everybody knows the new master.
//!
//! ```text
//! another master ─┬─ saved ──── GET ─┬─ the same, or a newer one ──► nothing
//!                 │                  ├─ an older one ──────────────► SET XX: the refresh token in it is used up
//!                 │                  └─ none ── lock ──────────────► SET NX: somebody has just signed in
//!                 └─ deleted ── SETEX of the lock, for a minute ───► DEL:    somebody has signed out
//! ```
//!
//! A connection that ends has the sessions looked at too: with that the worker finds out who is the master.
//!
//! The lock keeps those apart who saved a session and who deleted it, at whatever proxy. Where both do it again, the
//! session is gone, in any order: who deletes takes the lock first, whoever has it, and who saved looks at the end
//! whether it is still his.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};

use super::lock::Lock;
use super::{TicketStore, done};
use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::person::Person;
use crate::flow::util::lru::Recent;
use crate::redis::{Command, FailoverEvent, Failure, Health, Reply};
use crate::session::ticket::Ticket;
use crate::time::Timestamp;

/// How long a worker knows better than Redis what it wrote there.
const PERIOD: Duration = Duration::from_secs(60);

/// So many of its writes a worker remembers for that.
const ENTRIES: usize = 1000;

/// The pause between two attempts, where Redis does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the workers of an Envoy tell each other of a failover, which not all of them hear of at the same time: the
/// time, in Unix seconds, as an i64 in little endian.
const FAILOVER: &str = "oauth2-session/failover";

/// The last writes, one for each session.
pub(super) struct Journal {
    last: Recent<Entry>,
    /// What was heard, and nobody looked after yet.
    news: Cell<Option<FailoverEvent>>,
    /// Whether somebody is at it.
    is_looked_after: Cell<bool>,
}

struct Entry {
    at: Timestamp,
    ticket: Ticket,
    what: What,
}

enum What {
    Saved(Rc<Person>),
    Deleted,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { last: Recent::new(ENTRIES), news: Cell::default(), is_looked_after: Cell::default() }
    }

    /// A session is about to be saved.
    pub(super) fn saved(&self, ticket: &Ticket, person: &Rc<Person>, at: Timestamp) {
        self.note(Entry { at, ticket: ticket.clone(), what: What::Saved(Rc::clone(person)) });
    }

    /// A session was deleted.
    pub(super) fn deleted(&self, ticket: &Ticket, at: Timestamp) {
        self.note(Entry { at, ticket: ticket.clone(), what: What::Deleted });
    }

    /// A session is to be deleted that is of no use.
    pub(super) fn forget(&self, ticket: &Ticket) {
        self.last.remove(ticket.redis_key());
    }

    fn note(&self, entry: Entry) {
        let size = match &entry.what {
            What::Saved(person) => person.session.size(),
            What::Deleted => 0,
        };
        let entry = Rc::new(entry);
        self.last.insert(entry.ticket.redis_key(), &entry, size);
    }

    /// What was saved, where that was the last write and not long ago.
    pub(super) fn session(&self, ticket: &Ticket, now: Timestamp) -> Option<Rc<Person>> {
        match &self.of(ticket, now)?.what {
            What::Saved(person) => Some(Rc::clone(person)),
            What::Deleted => None,
        }
    }

    /// Whether the last write deleted it. No ticket is given twice, so that is for good.
    pub(super) fn is_deleted(&self, ticket: &Ticket, now: Timestamp) -> bool {
        self.of(ticket, now).is_some_and(|entry| matches!(entry.what, What::Deleted))
    }

    fn of(&self, ticket: &Ticket, now: Timestamp) -> Option<Rc<Entry>> {
        self.last.get(ticket.redis_key()).filter(|entry| entry.is_recent(now))
    }

    /// What is heard of several things at the same time is the worst.
    fn hear(&self, news: FailoverEvent) {
        self.news.set(self.news.get().max(Some(news)));
    }

    fn is_last(&self, entry: &Rc<Entry>) -> bool {
        self.last.get(entry.ticket.redis_key()).is_some_and(|last| Rc::ptr_eq(&last, entry))
    }
}

impl Entry {
    fn is_recent(&self, now: Timestamp) -> bool {
        now.since(self.at) < PERIOD
    }
}

impl<I: Io> TicketStore<I> {
    /// From now on, what a failover may have lost is written again.
    pub(in crate::flow) fn watch(self: &Rc<Self>) {
        let store = Rc::downgrade(self);
        self.io.watch_redis(move |news| {
            if let Some(store) = store.upgrade().filter(|store| store.has_replicas) {
                if news == FailoverEvent::NewMaster {
                    let now = store.io.now().secs().to_le_bytes();
                    // Where another worker was faster, it says the same.
                    let _ = store.io.set_shared(FAILOVER, &now, None);
                }
                store.journal.hear(news);
                if !store.journal.is_looked_after.replace(true) {
                    let io = store.io.clone();
                    io.spawn(async move {
                        store.look_after().await;
                        store.journal.is_looked_after.set(false);
                    });
                }
            }
        });
    }

    /// How well Redis is, as the workers of this Envoy know it together.
    pub(super) fn health(&self) -> Health {
        let now = self.io.now();
        let failed_over_at = self.failed_over_at().filter(|at| *at <= now);
        self.io.redis_health().with_failover(failed_over_at.map(|at| now.since(at)))
    }

    /// When a worker of this Envoy last heard of another master.
    fn failed_over_at(&self) -> Option<Timestamp> {
        let shared = self.has_replicas.then(|| self.io.shared(FAILOVER))?;
        Some(Timestamp::from_secs(i64::from_le_bytes(shared.value.try_into().ok()?)))
    }

    /// Ends the lock under which somebody signed out: where another proxy wrote the session a moment ago, and may
    /// bring it back, only when that one knows nothing of it any more.
    pub(in crate::flow) async fn end(&self, lock: &Lock<I>, person: Option<&Person>) {
        let written_at = person.and_then(|person| person.session.created_at);
        let is_old = written_at.is_some_and(|at| self.io.now().since(at) >= PERIOD);
        let _ = if self.has_replicas && !is_old { lock.keep(PERIOD).await } else { lock.release().await };
    }

    /// Looks after all entries, and from the beginning when there is more news.
    async fn look_after(self: &Rc<Self>) {
        while let Some(news) = self.journal.news.take() {
            let now = self.io.now();
            let mut lost = 0_usize;
            for entry in self.journal.last.all().iter().filter(|entry| entry.is_recent(now)) {
                if self.journal.news.get().is_some() {
                    self.journal.hear(news);
                    break;
                }
                lost = lost.saturating_add(usize::from(self.was_lost(entry, news).await));
            }
            if lost > 0 {
                info!("failover: {lost} writes of the last minute were lost, and made again");
            }
        }
    }

    /// Writes once more what was lost, as soon as Redis answers.
    async fn was_lost(self: &Rc<Self>, entry: &Rc<Entry>, news: FailoverEvent) -> bool {
        loop {
            match self.write_again(entry, news).await {
                Ok(was_lost) => return was_lost,
                Err(_) if entry.is_recent(self.io.now()) => self.io.sleep(PAUSE).await,
                Err(reason) => {
                    warn!("failover: a session could not be looked after, {}", reason.explain());
                    return false;
                }
            }
        }
    }

    /// Whether it was lost.
    async fn write_again(
        self: &Rc<Self>,
        entry: &Rc<Entry>,
        news: FailoverEvent,
    ) -> Result<bool, Unavailable> {
        let ticket = &entry.ticket;
        if !self.journal.is_last(entry) {
            return Ok(false); // something newer is looked after
        }
        match (&entry.what, news) {
            (What::Deleted, FailoverEvent::NewMaster) => self.delete_again(ticket).await,
            (What::Deleted, FailoverEvent::Disconnected) => self.check().await.map(|()| false),
            (What::Saved(person), _) => self.save_again(ticket, person, news).await,
        }
    }

    async fn delete_again(&self, ticket: &Ticket) -> Result<bool, Unavailable> {
        Lock::new(&self.io, ticket)?.sign_out().await?;
        let deleted = self.io.redis(Command::del(ticket.redis_key())).await;
        done(deleted.clone()).map(|()| deleted == Ok(Reply::Integer(1)))
    }

    async fn save_again(
        self: &Rc<Self>,
        ticket: &Ticket,
        person: &Rc<Person>,
        news: FailoverEvent,
    ) -> Result<bool, Unavailable> {
        match self.io.redis(self.get(ticket)).await {
            Ok(Reply::Bulk(value)) => match self.decrypt(ticket, &value) {
                Some(there) => self.replace_older(ticket, person, &there).await,
                None => Ok(false),
            },
            Ok(Reply::Nil) | Err(Failure::PossiblyStale) if news == FailoverEvent::NewMaster => {
                self.bring_back(ticket, person).await
            }
            Ok(_) | Err(Failure::PossiblyStale) => Ok(false),
            Err(_) => Err(Unavailable::Redis),
        }
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
        answered(self.io.redis(Command::replace(ticket.redis_key(), self.cookie.expire(), &value)).await)
    }

    /// Saves a session that is not there any more, unless somebody deletes it.
    async fn bring_back(&self, ticket: &Ticket, person: &Rc<Person>) -> Result<bool, Unavailable> {
        let lock = Lock::new(&self.io, ticket)?;
        if !lock.take().await? {
            return Ok(false);
        }
        let value = self.seal(ticket, person)?;
        let restore = Command::restore(ticket.redis_key(), self.cookie.expire(), &value);
        let restored = answered(self.io.redis(restore).await);
        // If the reply to the first release got lost, the second one finds no lock, and all is well.
        if !lock.release().await? && lock.is_held().await? {
            // Somebody took it away from us who deletes the session, and may have done so before we brought it back.
            done(self.io.redis(Command::del(ticket.redis_key())).await)?;
            return Ok(false);
        }
        restored
    }
}

/// Whether a conditional command was carried out.
fn answered(reply: Result<Reply, Failure>) -> Result<bool, Unavailable> {
    match reply {
        Ok(Reply::Status(_)) => Ok(true),
        Ok(_) => Ok(false),
        Err(_) => Err(Unavailable::Redis),
    }
}
