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
        let bytes = session.session.size().saturating_add(session.principal.bytes());
        self.insert(Write { at, id: ticket.id().clone(), what }, bytes);
    }

    /// A session has ended.
    pub(super) fn ended(&self, id: &TicketId, at: Timestamp) {
        self.insert(Write { at, id: id.clone(), what: What::Ended }, 0);
    }

    /// A session is discarded: nothing of it is written again. If its user signed out, that stays known.
    pub(super) fn discarded(&self, id: &TicketId) {
        let key = id.redis_key();
        if self.0.get(key).is_some_and(|write| matches!(write.what, What::Saved(..))) {
            self.0.remove(key);
        }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;
    use crate::session::{Claims, Session, SessionInfo};

    #[test]
    fn session_that_ended_stays_ended_if_it_is_discarded() {
        let (writes, now) = (RecentWrites::new(), Timestamp::from_secs(0));
        let ticket = Ticket::new(b"_oauth2_proxy", [1; 16], [0; 16]);
        writes.ended(ticket.id(), now);
        writes.discarded(ticket.id());
        assert!(writes.is_ended(&ticket, now));
    }

    /// The sessions with these fields that are remembered of many.
    fn remembered(info: &SessionInfo) -> usize {
        let (writes, now) = (RecentWrites::new(), Timestamp::from_secs(0));
        let config = Config::for_tests(json!({}));
        let whole = WholeSession::new(&config, Session { info: info.clone(), ..Session::default() });
        for number in 0..ENTRIES {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_le_bytes());
            writes.saved(&Ticket::new(b"_oauth2_proxy", id, [0; 16]), &whole, now);
        }
        writes.all(now).len()
    }

    #[test]
    fn large_sessions_need_room_with_headers_and_claims() {
        let text = || vec![b'a'; 8 << 10];
        assert_eq!(remembered(&SessionInfo::default()), ENTRIES);
        // Once in the session, and once in its header.
        assert!(remembered(&SessionInfo { groups: vec![text()], ..SessionInfo::default() }) <= ENTRIES / 2);
        let claims = json!({ "claim": "a".repeat(32 << 10) });
        let additional_claims = Claims::from_json(claims.as_object().unwrap());
        let info = SessionInfo { additional_claims, ..SessionInfo::default() };
        assert!(remembered(&info) <= ENTRIES / 4);
    }
}
