//! What this worker wrote to Redis in the last minute. A server that has just become the master may not have it.

use std::rc::Rc;
use std::time::Duration;

use crate::flow::principal::WholeSession;
use crate::flow::util::lru::BoundedLru;
use crate::session::ticket::{Ticket, TicketId};
use crate::time::Timestamp;

/// How long a worker remembers a write.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// How many writes a worker remembers.
const ENTRIES: usize = 1000;

/// The last write of each session.
pub(super) struct RecentWrites(BoundedLru<Write>);

/// The last write of one session.
pub(super) struct Write {
    pub(super) at: Timestamp,
    pub(super) id: TicketId,
    pub(super) what: What,
}

/// What was written.
pub(super) enum What {
    Saved(Ticket, Rc<WholeSession>),
    /// Deleted, because its user signed out.
    Ended,
}

impl RecentWrites {
    pub(super) fn new() -> Self {
        Self(BoundedLru::new(ENTRIES))
    }

    /// A session is about to be saved.
    pub(super) fn saved(&self, ticket: &Ticket, session: &Rc<WholeSession>, at: Timestamp) {
        let what = What::Saved(ticket.clone(), Rc::clone(session));
        self.insert(Write { at, id: ticket.id().clone(), what }, session.session.size());
    }

    /// A session has ended.
    pub(super) fn ended(&self, id: &TicketId, at: Timestamp) {
        self.insert(Write { at, id: id.clone(), what: What::Ended }, 0);
    }

    /// A session is discarded: nothing of it is written again.
    pub(super) fn discarded(&self, id: &TicketId) {
        self.0.remove(id.redis_key());
    }

    fn insert(&self, write: Write, size: usize) {
        let write = Rc::new(write);
        self.0.insert(write.id.redis_key(), &write, size);
    }

    /// The session, if it was saved last, and not long ago.
    pub(super) fn session(&self, ticket: &Ticket, now: Timestamp) -> Option<Rc<WholeSession>> {
        match &self.of(ticket, now)?.what {
            What::Saved(_, session) => Some(Rc::clone(session)),
            What::Ended => None,
        }
    }

    /// Whether the session has ended. Tickets are never reused, so this is final.
    pub(super) fn is_ended(&self, ticket: &Ticket, now: Timestamp) -> bool {
        self.of(ticket, now).is_some_and(|write| matches!(write.what, What::Ended))
    }

    fn of(&self, ticket: &Ticket, now: Timestamp) -> Option<Rc<Write>> {
        self.0.get(ticket.redis_key()).filter(|write| write.is_recent(now))
    }

    /// All writes that are recent.
    pub(super) fn all(&self, now: Timestamp) -> Vec<Rc<Write>> {
        let mut writes = self.0.all();
        writes.retain(|write| write.is_recent(now));
        writes
    }

    /// Whether this is still the last write of its session.
    pub(super) fn is_last(&self, write: &Rc<Write>) -> bool {
        self.0.get(write.id.redis_key()).is_some_and(|last| Rc::ptr_eq(&last, write))
    }
}

impl Write {
    pub(super) fn is_recent(&self, now: Timestamp) -> bool {
        now.since(self.at) < PERIOD
    }
}
