//! The users who signed in, and the cookies that prove it.

use oauth2_session_filter::cookie::{self, CookieSecret};
use oauth2_session_filter::session::Session;
use oauth2_session_filter::session::ticket::Ticket;
use oauth2_session_filter::time::Timestamp;

use crate::targets::sealed::unlimited;

use super::{COOKIE_SECRET, NAME, Request, WEEK, contains};

/// A session of a user who signed in.
pub(super) struct Known {
    /// The cookie's value, as it was signed.
    pub(super) value: Vec<u8>,
    /// The same value, in the chunks that the browser has.
    parts: Vec<Vec<u8>>,
    /// `None` if Redis lost the session.
    pub(super) user: Option<KnownUser>,
    /// The ticket, if the session is in Redis.
    pub(super) key: Option<Vec<u8>>,
    signed_at: Timestamp,
    /// How many requests had been sent when this user had signed out.
    ended_at: Option<usize>,
}

/// What the upstream is told about a user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KnownUser {
    pub(super) user: Vec<u8>,
    pub(super) email: Vec<u8>,
}

impl KnownUser {
    pub(super) fn named(user: &str) -> Self {
        Self { user: user.as_bytes().to_vec(), email: format!("{user}@example.com").into_bytes() }
    }

    /// Whether this is what the upstream was told: a value without the blanks around it, or none that no header has.
    pub(super) fn is_said_by(&self, said: &Self) -> bool {
        self.user.trim_ascii() == said.user
            && (said.email.is_empty() || self.email.trim_ascii() == said.email)
    }
}

impl From<Session> for KnownUser {
    fn from(session: Session) -> Self {
        Self { user: session.info.user, email: session.info.email }
    }
}

pub(super) fn secret() -> CookieSecret {
    CookieSecret::new(COOKIE_SECRET.as_bytes()).unwrap()
}

impl Known {
    pub(super) fn new(parts: Vec<Vec<u8>>, user: Option<KnownUser>) -> Self {
        let value = parts.concat();
        let signed_at = value.split(|byte| *byte == b'|').nth(1).unwrap();
        let signed_at = Timestamp::from_secs(std::str::from_utf8(signed_at).unwrap().parse().unwrap());
        let verified = cookie::verify(&secret().into(), NAME, &value, signed_at, WEEK, &mut unlimited())
            .expect("it was signed");
        let key = Ticket::decode(&verified).ok().map(|ticket| ticket.redis_key().to_vec());
        Self { value, parts, user, key, signed_at, ended_at: None }
    }

    /// Whether a request has this cookie, among others.
    pub(super) fn is_presented(&self, asked: &Request) -> bool {
        let cookies = asked.all(b"cookie").collect::<Vec<_>>().join(b"; ".as_slice());
        self.parts.iter().all(|part| contains(&cookies, part))
    }

    /// Whether it may let this request through.
    pub(super) fn holds_for(&self, asked: &Request) -> bool {
        let is_over = self.ended_at.is_some_and(|ended_at| ended_at < asked.number);
        self.signed_at.after(WEEK) > asked.began && !is_over
    }

    /// The user signed out, after this many requests.
    pub(super) fn end(&mut self, requests: usize) {
        self.ended_at.get_or_insert(requests);
    }

    /// Another cookie of a session that was signed out is invalid too.
    pub(super) fn is_of(&mut self, others: &[Self]) {
        let of_the_same = others.iter().filter(|other| other.key.is_some() && other.key == self.key);
        self.ended_at = of_the_same.filter_map(|other| other.ended_at).next();
    }

    /// The user is signed in again.
    pub(super) fn revive(&mut self) {
        self.ended_at = None;
    }
}
