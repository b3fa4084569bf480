//! Tickets: the content of the session cookie if the session itself is in Redis.
//!
//! ```text
//! documented form:  <cookie name>-<32 hex digits> "." base64url(secret)
//! second form:      "v2." base64url(<cookie name>-<32 hex digits>) "." base64url(secret)
//! ```
//!
//! base64url without padding. The part with the digits is the key in Redis. The secret of 16 bytes is the AES-GCM key of
//! the session there, so Redis alone cannot read it. Every oauth2-proxy v7 reads the documented form, unless the name of
//! the cookie has a dot; 7.6 and newer read both forms.

use std::fmt;

use base64::Engine;

use super::{DecodeError, Session, cipher};
use crate::base64url::UNPADDED;
use crate::cookie::Verified;

/// A session's key in Redis and the secret it is encrypted with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    id: TicketId,
    secret: Vec<u8>,
}

/// A session's key in Redis. It is enough to end the session, but not to read it. Never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TicketId(Vec<u8>);

/// How a ticket is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketForm {
    /// `name-digits.secret`.
    Documented,
    /// `v2.….…`.
    V2,
}

impl TicketForm {
    /// The form that most versions of oauth2-proxy read for a cookie of this name.
    pub fn for_cookie(name: &[u8]) -> Self {
        if name.contains(&b'.') { Self::V2 } else { Self::Documented }
    }
}

impl Ticket {
    /// A new ticket from random bytes.
    pub fn new(cookie_name: &[u8], id: [u8; 16], secret: [u8; 16]) -> Self {
        let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = TicketId([cookie_name, b"-", digits.as_bytes()].concat());
        Self { id, secret: secret.to_vec() }
    }

    /// The ticket that a cookie holds, in either form.
    ///
    /// # Errors
    /// [`DecodeError::Ticket`] if the form is invalid, or the secret does not have the length of an AES key.
    pub fn decode(cookie: &Verified) -> Result<Self, DecodeError> {
        let parts: Vec<&[u8]> = cookie.value().split(|byte| *byte == b'.').collect();
        let decode = |part: &[u8]| UNPADDED.decode(part).map_err(|_| DecodeError::Ticket);
        let ticket = match parts.as_slice() {
            [b"v2", id, secret] => Self { id: TicketId(decode(id)?), secret: decode(secret)? },
            [id, secret] => Self { id: TicketId(id.to_vec()), secret: decode(secret)? },
            _ => return Err(DecodeError::Ticket),
        };
        let is_key = matches!(ticket.secret.len(), 16 | 24 | 32);
        if ticket.id.0.is_empty() || !is_key { Err(DecodeError::Ticket) } else { Ok(ticket) }
    }

    /// The ticket as a cookie holds it, to be signed.
    pub fn encode(&self, form: TicketForm) -> Vec<u8> {
        let secret = UNPADDED.encode(&self.secret).into_bytes();
        match form {
            TicketForm::Documented => [self.redis_key(), b".", &secret].concat(),
            TicketForm::V2 => [b"v2.", UNPADDED.encode(self.redis_key()).as_bytes(), b".", &secret].concat(),
        }
    }

    /// The part without the secret.
    pub fn id(&self) -> &TicketId {
        &self.id
    }

    /// The session's key in Redis.
    pub fn redis_key(&self) -> &[u8] {
        self.id.redis_key()
    }

    /// The session's value in Redis, with a nonce that is used once.
    pub fn seal(&self, session: &Session, nonce: [u8; 12]) -> Vec<u8> {
        cipher::encrypt_gcm(&self.secret, nonce, &session.pack())
    }

    /// The session of a value from Redis.
    ///
    /// # Errors
    /// [`DecodeError`] if it was not sealed with this ticket.
    pub fn open(&self, value: &[u8]) -> Result<Session, DecodeError> {
        Session::unpack(&cipher::decrypt_gcm(&self.secret, value)?)
    }
}

impl TicketId {
    /// An id of a ticket for the cookie of this name, in the form that this filter and oauth2-proxy give it; `None` for
    /// any other key.
    pub fn parse(cookie_name: &[u8], id: &[u8]) -> Option<Self> {
        let digits = id.strip_prefix(cookie_name)?.strip_prefix(b"-")?;
        let is_id = digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit);
        is_id.then(|| Self(id.to_vec()))
    }

    /// The session's key in Redis.
    pub fn redis_key(&self) -> &[u8] {
        &self.0
    }

    /// The key in Redis of the lock that a refresh takes.
    pub fn lock_key(&self) -> Vec<u8> {
        [self.redis_key(), b".lock"].concat()
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketId(…)")
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}
