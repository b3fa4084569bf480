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
    id: Vec<u8>,
    secret: Vec<u8>,
}

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
        Self { id: [cookie_name, b"-", digits.as_bytes()].concat(), secret: secret.to_vec() }
    }

    /// The ticket that a cookie holds, in either form.
    ///
    /// # Errors
    /// [`DecodeError::Ticket`] if the form is invalid, or the secret does not have the length of an AES key.
    pub fn decode(cookie: &Verified) -> Result<Self, DecodeError> {
        let parts: Vec<&[u8]> = cookie.value().split(|byte| *byte == b'.').collect();
        let decode = |part: &[u8]| UNPADDED.decode(part).map_err(|_| DecodeError::Ticket);
        let ticket = match parts.as_slice() {
            [b"v2", id, secret] => Self { id: decode(id)?, secret: decode(secret)? },
            [id, secret] => Self { id: id.to_vec(), secret: decode(secret)? },
            _ => return Err(DecodeError::Ticket),
        };
        let is_key = matches!(ticket.secret.len(), 16 | 24 | 32);
        if ticket.id.is_empty() || !is_key { Err(DecodeError::Ticket) } else { Ok(ticket) }
    }

    /// The ticket as a cookie holds it, to be signed.
    pub fn encode(&self, form: TicketForm) -> Vec<u8> {
        let secret = UNPADDED.encode(&self.secret).into_bytes();
        match form {
            TicketForm::Documented => [self.id.as_slice(), b".", &secret].concat(),
            TicketForm::V2 => [b"v2.", UNPADDED.encode(&self.id).as_bytes(), b".", &secret].concat(),
        }
    }

    /// The session's key in Redis.
    pub fn redis_key(&self) -> &[u8] {
        &self.id
    }

    /// The key in Redis of the lock that a refresh takes.
    pub fn lock_key(&self) -> Vec<u8> {
        [self.id.as_slice(), b".lock"].concat()
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

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}
