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
use super::recent_writes::{What, Write};
use super::sessions::{RedisSessions, done};
use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::person::Person;
use crate::redis::FailoverEvent;
use crate::redis::{Command, Failure, Reply};
use crate::session::ticket::Ticket;

/// The pause between two attempts, where Redis does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// What was heard of failovers.
#[derive(Default)]
struct News {
    /// And nobody looked after yet.
    latest: Cell<Option<FailoverEvent>>,
    /// Whether somebody is at it.
    is_looked_after: Cell<bool>,
}

/// From now on, what a failover may have lost is written again.
pub(super) fn watch<I: Io>(sessions: &Rc<RedisSessions<I>>, io: &I) {
    let sessions = Rc::downgrade(sessions);
    let heard = Rc::new(News::default());
    io.watch_redis(move |news| {
        let Some(sessions) = sessions.upgrade().filter(|sessions| sessions.health.has_replicas) else {
            return;
        };
        if news == FailoverEvent::NewMaster {
            sessions.health.tell_failover();
        }
        heard.hear(news);
        if !heard.is_looked_after.replace(true) {
            let io = sessions.io.clone();
            let journal = Journal { io: io.clone(), sessions, news: Rc::clone(&heard) };
            io.spawn(async move {
                journal.look_after().await;
                journal.news.is_looked_after.set(false);
            });
        }
    });
}

impl News {
    /// What is heard of several things at the same time is the worst.
    fn hear(&self, news: FailoverEvent) {
        self.latest.set(self.latest.get().max(Some(news)));
    }
}

/// Makes the last writes once more.
struct Journal<I> {
    io: I,
    sessions: Rc<RedisSessions<I>>,
    news: Rc<News>,
}

impl<I: Io> Journal<I> {
    /// Looks after all entries, and from the beginning when there is more news.
    async fn look_after(&self) {
        while let Some(news) = self.news.latest.take() {
            let now = self.io.now();
            let mut lost = 0_usize;
            for write in self.sessions.writes.all(now) {
                if self.news.latest.get().is_some() {
                    self.news.hear(news);
                    break;
                }
                lost = lost.saturating_add(usize::from(self.was_lost(&write, news).await));
            }
            if lost > 0 {
                info!("failover: {lost} writes of the last minute were lost, and made again");
            }
        }
    }

    /// Writes once more what was lost, as soon as Redis answers.
    async fn was_lost(&self, write: &Rc<Write>, news: FailoverEvent) -> bool {
        loop {
            match self.write_again(write, news).await {
                Ok(was_lost) => return was_lost,
                Err(_) if write.is_recent(self.io.now()) => self.io.sleep(PAUSE).await,
                Err(reason) => {
                    warn!("failover: a session could not be looked after, {}", reason.explain());
                    return false;
                }
            }
        }
    }

    /// Whether it was lost.
    async fn write_again(&self, write: &Rc<Write>, news: FailoverEvent) -> Result<bool, Unavailable> {
        let ticket = &write.ticket;
        if !self.sessions.writes.is_last(write) {
            return Ok(false); // something newer is looked after
        }
        match (&write.what, news) {
            (What::Ended, FailoverEvent::NewMaster) => self.end_again(ticket).await,
            (What::Ended, FailoverEvent::Disconnected) => self.sessions.check().await.map(|()| false),
            (What::Saved(person), _) => self.save_again(ticket, person, news).await,
        }
    }

    async fn end_again(&self, ticket: &Ticket) -> Result<bool, Unavailable> {
        Lock::new(&self.io, ticket)?.seize().await?;
        let deleted = self.io.redis(Command::del(ticket.redis_key())).await;
        done(deleted.clone()).map(|()| deleted == Ok(Reply::Integer(1)))
    }

    async fn save_again(
        &self,
        ticket: &Ticket,
        person: &Rc<Person>,
        news: FailoverEvent,
    ) -> Result<bool, Unavailable> {
        match self.io.redis(self.sessions.get(ticket)).await {
            Ok(Reply::Bulk(value)) => match self.sessions.decrypt(ticket, &value) {
                Some(there) => self.sessions.replace_older(ticket, person, &there).await,
                None => Ok(false),
            },
            Ok(Reply::Nil) | Err(Failure::PossiblyStale) if news == FailoverEvent::NewMaster => {
                self.bring_back(ticket, person).await
            }
            Ok(_) | Err(Failure::PossiblyStale) => Ok(false),
            Err(_) => Err(Unavailable::Redis),
        }
    }

    /// Saves a session that is not there any more, unless somebody deletes it.
    async fn bring_back(&self, ticket: &Ticket, person: &Rc<Person>) -> Result<bool, Unavailable> {
        let lock = Lock::new(&self.io, ticket)?;
        if !lock.try_acquire().await? {
            return Ok(false);
        }
        let value = self.sessions.seal(ticket, person)?;
        let restored = self.sessions.restore(ticket, &value).await;
        // If the reply to the first release got lost, the second one finds no lock, and all is well.
        if !lock.release().await? && lock.is_held().await? {
            // Somebody took it away from us who deletes the session, and may have done so before we brought it back.
            done(self.io.redis(Command::del(ticket.redis_key())).await)?;
            return Ok(false);
        }
        restored
    }
}
