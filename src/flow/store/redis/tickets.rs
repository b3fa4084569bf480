//! Tickets: the value of a session cookie if the session is in Redis.

use std::rc::Rc;

use crate::config::RedisConfig;
use crate::cookie::{Allowance, SecretId};
use crate::flow::RequestHead;
use crate::flow::io::Io;
use crate::flow::outcome::{AnonymousReason, Unavailable};
use crate::flow::store::session_cookie::{Found, SessionCookie};
use crate::flow::util::lru::{BoundedLru, Budget};
use crate::flow::verified::COOKIES;
use crate::session::SessionInfo;
use crate::session::ticket::{Ticket, TicketForm};
use crate::time::Timestamp;

/// The ticket of a verified cookie.
pub(super) struct TicketCookie {
    /// When the cookie was signed, in Unix seconds.
    signed_at: i64,
    /// The secret that signed it.
    secret: SecretId,
    pub(super) ticket: Ticket,
}

/// About how many bytes of memory a ticket needs besides those of its type: a name, 32 digits and a secret.
pub(super) const TICKET_BYTES: usize = 96;

/// Reads tickets from cookies and signs cookies for them.
pub(super) struct Tickets {
    cookie: Rc<SessionCookie>,
    form: TicketForm,
    verified: BoundedLru<TicketCookie>,
}

impl Tickets {
    pub(super) fn new(redis: &RedisConfig, cookie: &Rc<SessionCookie>, remembered: &Budget) -> Self {
        Self {
            form: redis.ticket_form.unwrap_or_else(|| TicketForm::for_cookie(cookie.name())),
            verified: BoundedLru::within(remembered, COOKIES),
            cookie: Rc::clone(cookie),
        }
    }

    /// The ticket in the request's cookies.
    pub(super) fn find<'a>(
        &'a self,
        head: &'a RequestHead,
        now: Timestamp,
    ) -> Result<Found<'a, Rc<TicketCookie>>, AnonymousReason> {
        self.cookie.find(head, |value, allowance| self.recall(value, now, allowance))
    }

    /// All tickets in them, the newest first: a browser has several if their scopes differ.
    pub(super) fn find_all(&self, head: &RequestHead, now: Timestamp) -> Vec<Rc<TicketCookie>> {
        let mut tickets: Vec<Rc<TicketCookie>> = Vec::new();
        for found in self.cookie.all(head, |value, allowance| self.recall(value, now, allowance)) {
            if !tickets.iter().any(|known| known.ticket.redis_key() == found.ticket.redis_key()) {
                tickets.push(found);
            }
        }
        tickets
    }

    fn recall(
        &self,
        value: &[u8],
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Rc<TicketCookie>, AnonymousReason> {
        match self.verified.get(value) {
            Some(ticket) if self.cookie.is_still_valid(ticket.signed_at, ticket.secret, now) => Ok(ticket),
            Some(_) => Err(AnonymousReason::BadCookie),
            None => self.read(value, now, allowance),
        }
    }

    fn read(
        &self,
        value: &[u8],
        now: Timestamp,
        allowance: &mut Allowance,
    ) -> Result<Rc<TicketCookie>, AnonymousReason> {
        let verified = self.cookie.verify(value, now, allowance).map_err(|_| AnonymousReason::BadCookie)?;
        let ticket = Ticket::decode(&verified).map_err(|_| AnonymousReason::NoSession)?;
        let (signed_at, secret) = (verified.timestamp(), verified.secret().id());
        let ticket = Rc::new(TicketCookie { signed_at, secret, ticket });
        self.verified.insert(value, &ticket, TICKET_BYTES);
        Ok(ticket)
    }

    /// A new ticket.
    pub(super) fn create<I: Io>(&self, io: &I) -> Result<Ticket, Unavailable> {
        Ok(Ticket::new(self.cookie.name(), io.random()?, io.random()?))
    }

    /// The value of a ticket's cookie, signed with the time of the session, as in oauth2-proxy.
    pub(super) fn cookie(&self, ticket: &Ticket, created_at: Timestamp) -> Vec<u8> {
        self.cookie.sign(&ticket.encode(self.form), created_at)
    }

    /// The cookie that the browser needs instead of this one; `None` if it is up to date. A cookie that only gets
    /// another secret keeps its time.
    pub(super) fn renewed_cookie(&self, found: &TicketCookie, session: &SessionInfo) -> Option<Vec<u8>> {
        let signed_at = Timestamp::from_secs(found.signed_at);
        let created = session.created_at.filter(|created| created.secs() > found.signed_at);
        let is_due = created.is_some() || self.cookie.is_reissued(found.secret);
        is_due.then(|| self.cookie(&found.ticket, created.unwrap_or(signed_at)))
    }

    /// Whether an older secret signed a cookie.
    pub(super) fn is_of_older_secret(&self, found: &TicketCookie) -> bool {
        self.cookie.is_older(found.secret)
    }
}
