//! Tickets, and what Redis has under their keys.

use oauth2_session_filter::session::ticket::{Ticket, TicketForm};

use super::sealed::{comes_back, secret, verified};

/// A ticket, a line feed, and what Redis has for it.
pub(super) fn run(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (text, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let secret = secret();
    let Ok(ticket) = Ticket::decode(&verified(&secret, text)) else { return };
    assert!(!ticket.redis_key().is_empty() && ticket.id().lock_key().starts_with(ticket.redis_key()));
    let again = |form| Ticket::decode(&verified(&secret, &ticket.encode(form)));
    assert!(again(TicketForm::V2).as_ref() == Ok(&ticket), "another ticket comes back");
    if !ticket.redis_key().contains(&b'.') {
        assert!(again(TicketForm::Documented).as_ref() == Ok(&ticket), "another ticket comes back");
    }
    if let Ok(session) = ticket.open(value) {
        comes_back(&secret, &session);
    }
}
