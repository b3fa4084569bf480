//! Repeats this worker's writes of the last minute if a failover may have lost them.
//!
//! Redis confirms a write before a replica has it. So a failover can lose the last writes to the old master. A planned
//! failover of Sentinel can lose all writes of the second or two until every worker knows the new master.
//!
//! ```text
//! new master ─┬─ saved ─── GET ─┬─ the same or a newer session ──► nothing
//!             │                 ├─ an older one ─────────────────► SET XX, because its refresh token is used up
//!             │                 └─ missing ── lock ──────────────► SET NX, because its user has just signed in
//!             └─ ended ─── SETEX of the lock, for a minute ──────► DEL,    because its user has just signed out
//! ```
//!
//! The sessions are looked at after a lost connection too: the next command tells the worker which server is the master.
//!
//! The lock serialises a proxy that restores a session with one that ends it. In any order, the session is gone in the end:
//! the proxy that ends it takes the lock by force, and the proxy that restores it checks at the end that it still holds the
//! lock.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};

use super::lock::Lock;
use super::recent_writes::{What, Write};
use super::sessions::{RedisSessions, done};
use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::principal::{Principal, WholeSession};
use crate::redis::{Command, FailoverEvent, Failure, Reply};
use crate::session::ticket::{Ticket, TicketId};
use crate::time::Timestamp;

/// The pause between two attempts while Redis does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Events that may have lost writes.
#[derive(Default)]
struct Events {
    /// The worst one that was not handled yet.
    pending: Cell<Option<FailoverEvent>>,
    /// Whether a task handles them.
    is_handled: Cell<bool>,
}

/// From now on, repeats what a failover may have lost.
pub(super) fn watch<I: Io>(sessions: &Rc<RedisSessions<I>>, io: &I) {
    let sessions = Rc::downgrade(sessions);
    let events = Rc::new(Events::default());
    io.watch_redis(move |event| {
        let Some(sessions) = sessions.upgrade().filter(|sessions| sessions.health.has_replicas) else {
            return;
        };
        if event == FailoverEvent::NewMaster {
            sessions.health.tell_failover();
        }
        events.add(event);
        if !events.is_handled.replace(true) {
            let io = sessions.io.clone();
            let journal = Journal { io: io.clone(), sessions, events: Rc::clone(&events) };
            io.spawn(async move {
                journal.handle_events().await;
                journal.events.is_handled.set(false);
            });
        }
    });
}

impl Events {
    /// Several events at the same time are handled as the worst of them.
    fn add(&self, event: FailoverEvent) {
        self.pending.set(self.pending.get().max(Some(event)));
    }
}

/// Repeats the last writes.
struct Journal<I> {
    io: I,
    sessions: Rc<RedisSessions<I>>,
    events: Rc<Events>,
}

impl<I: Io> Journal<I> {
    /// Checks all writes; starts again at the next event.
    async fn handle_events(&self) {
        while let Some(event) = self.events.pending.take() {
            if event == FailoverEvent::NewMaster {
                self.sessions.last_uses.repeat().await;
            }
            let now = self.io.now();
            let mut lost = 0_usize;
            for write in self.sessions.writes.all(now) {
                if self.events.pending.get().is_some() {
                    self.events.add(event);
                    break;
                }
                lost = lost.saturating_add(usize::from(self.was_lost(&write, event).await));
            }
            if lost > 0 {
                info!("failover: Redis had lost {lost} writes of the last minute; they were repeated");
            }
        }
    }

    /// Repeats a write if it was lost, as soon as Redis answers. Whether it was lost.
    async fn was_lost(&self, write: &Rc<Write>, event: FailoverEvent) -> bool {
        loop {
            match self.write_again(write, event).await {
                Ok(was_lost) => return was_lost,
                Err(_) if write.is_recent(self.io.now()) => self.io.sleep(PAUSE).await,
                Err(reason) => {
                    warn!(
                        "failover: could not check whether a session of the last minute is lost: {}",
                        reason.explain()
                    );
                    return false;
                }
            }
        }
    }

    /// The same, once.
    async fn write_again(&self, write: &Rc<Write>, event: FailoverEvent) -> Result<bool, Unavailable> {
        if !self.sessions.writes.is_last(write) {
            return Ok(false); // A newer write of the session is checked instead.
        }
        match (&write.what, event) {
            (What::Ended, FailoverEvent::NewMaster) => self.end_again(&write.id).await,
            (What::Ended, FailoverEvent::Disconnected) => self.sessions.check().await.map(|()| false),
            (What::Saved(ticket, session), _) => self.save_again(ticket, session, write.at, event).await,
        }
    }

    async fn end_again(&self, ticket: &TicketId) -> Result<bool, Unavailable> {
        Lock::new(&self.io, ticket)?.seize().await?;
        let deleted = self.io.redis(Command::del(ticket.redis_key())).await;
        done(deleted.clone()).map(|()| deleted == Ok(Reply::Integer(1)))
    }

    async fn save_again(
        &self,
        ticket: &Ticket,
        session: &Rc<WholeSession>,
        saved_at: Timestamp,
        event: FailoverEvent,
    ) -> Result<bool, Unavailable> {
        match self.io.redis(self.sessions.get(ticket)).await {
            Ok(Reply::Bulk(value)) => match self.sessions.decrypt(ticket, &value) {
                Some(there) => {
                    self.index_again(ticket, &session.principal, event);
                    self.sessions.replace_older(ticket, session, &there.session).await
                }
                None => Ok(false),
            },
            Ok(Reply::Nil) | Err(Failure::PossiblyStale) if event == FailoverEvent::NewMaster => {
                self.bring_back(ticket, session, saved_at).await
            }
            Ok(_) | Err(Failure::PossiblyStale) => Ok(false),
            Err(_) => Err(Unavailable::Redis),
        }
    }

    /// Saves a session that is missing, unless another proxy ends it, or Redis has ended it because no request used it.
    async fn bring_back(
        &self,
        ticket: &Ticket,
        session: &Rc<WholeSession>,
        saved_at: Timestamp,
    ) -> Result<bool, Unavailable> {
        let left = self.sessions.last_uses.left(ticket.id(), saved_at);
        if left.is_zero() {
            return Ok(false);
        }
        let lock = Lock::new(&self.io, ticket.id())?;
        if !lock.try_acquire().await? {
            return Ok(false);
        }
        let value = self.sessions.seal(ticket, session)?;
        let restored = self.sessions.restore(ticket, &session.session, left, &value).await;
        // If the reply to the first release got lost, a second one finds no lock. This is no reason to delete the
        // session.
        if !lock.release().await? && lock.is_held().await? {
            // A sign-out took the lock by force, and may have deleted the session before we restored it.
            done(self.io.redis(Command::del(ticket.redis_key())).await)?;
            return Ok(false);
        }
        self.index_again(ticket, &session.principal, FailoverEvent::NewMaster);
        restored
    }

    /// The failover may have lost the session's entry too.
    fn index_again(&self, ticket: &Ticket, principal: &Principal, event: FailoverEvent) {
        if let (Some(index), FailoverEvent::NewMaster) = (&self.sessions.index, event) {
            index.note(ticket.id(), principal);
        }
    }
}
