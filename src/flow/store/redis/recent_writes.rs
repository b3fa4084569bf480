//! What this worker wrote to Redis in the last minute: it knows better than a server that a failover made a master.

use std::rc::Rc;
use std::time::Duration;

use crate::flow::person::Person;
use crate::flow::util::lru::Recent;
use crate::session::ticket::Ticket;
use crate::time::Timestamp;

/// How long a worker knows better than Redis what it wrote there.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// So many of its writes a worker remembers for that.
const ENTRIES: usize = 1000;

/// The last writes, one for each session.
pub(super) struct RecentWrites(Recent<Write>);

/// The last write of one session.
pub(super) struct Write {
    at: Timestamp,
    pub(super) ticket: Ticket,
    pub(super) what: What,
}

/// What was written.
pub(super) enum What {
    Saved(Rc<Person>),
    /// Deleted because its user signed out.
    Ended,
}

impl RecentWrites {
    pub(super) fn new() -> Self {
        Self(Recent::new(ENTRIES))
    }

    /// A session is about to be saved.
    pub(super) fn saved(&self, ticket: &Ticket, person: &Rc<Person>, at: Timestamp) {
        let what = What::Saved(Rc::clone(person));
        self.insert(Write { at, ticket: ticket.clone(), what }, person.session.size());
    }

    /// A session was ended.
    pub(super) fn ended(&self, ticket: &Ticket, at: Timestamp) {
        self.insert(Write { at, ticket: ticket.clone(), what: What::Ended }, 0);
    }

    /// A session is to be deleted that is of no use: nothing of it is written again.
    pub(super) fn discarded(&self, ticket: &Ticket) {
        self.0.remove(ticket.redis_key());
    }

    fn insert(&self, write: Write, size: usize) {
        let write = Rc::new(write);
        self.0.insert(write.ticket.redis_key(), &write, size);
    }

    /// What was saved, where that was the last write and not long ago.
    pub(super) fn session(&self, ticket: &Ticket, now: Timestamp) -> Option<Rc<Person>> {
        match &self.of(ticket, now)?.what {
            What::Saved(person) => Some(Rc::clone(person)),
            What::Ended => None,
        }
    }

    /// Whether the last write ended it. No ticket is given twice, so that is for good.
    pub(super) fn is_ended(&self, ticket: &Ticket, now: Timestamp) -> bool {
        self.of(ticket, now).is_some_and(|write| matches!(write.what, What::Ended))
    }

    fn of(&self, ticket: &Ticket, now: Timestamp) -> Option<Rc<Write>> {
        self.0.get(ticket.redis_key()).filter(|write| write.is_recent(now))
    }

    /// All that are recent.
    pub(super) fn all(&self, now: Timestamp) -> Vec<Rc<Write>> {
        let mut writes = self.0.all();
        writes.retain(|write| write.is_recent(now));
        writes
    }

    /// Whether nothing newer was written of the same session.
    pub(super) fn is_last(&self, write: &Rc<Write>) -> bool {
        self.0.get(write.ticket.redis_key()).is_some_and(|last| Rc::ptr_eq(&last, write))
    }
}

impl Write {
    pub(super) fn is_recent(&self, now: Timestamp) -> bool {
        now.since(self.at) < PERIOD
    }
}
