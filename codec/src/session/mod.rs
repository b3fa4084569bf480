//! What a session is, and its bytes in oauth2-proxy's formats. Knows no HTTP and no Redis.
//!
//! ```text
//! cookie:  Session ─ MessagePack ─ LZ4 frame ─ AES-CFB(cookie secret) ─ signed
//! Redis:   Session ─ MessagePack ───────────── AES-GCM(ticket secret)          ticket ─ signed
//! login:   Csrf ──── MessagePack ───────────── AES-CFB(cookie secret) ─ signed
//! ```
//!
//! AES-CFB hides but does not authenticate, so only signed bytes are decrypted: decryption takes a [`Verified`] value, or
//! a [`ticket::Ticket`], which is made from one.

mod cipher;
mod claims;
pub mod csrf;
mod lz4;
mod msgpack;
mod state;
pub mod ticket;

use std::fmt;

pub use self::claims::Claims;
pub use self::state::Session;
use crate::cookie::Verified;

/// The bytes are signed, but are not a session that can be read: of another version, or encrypted with another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Cannot be decrypted: too short, or encrypted with another key.
    Cipher,
    /// An invalid LZ4 frame, or too many bytes for a session.
    Lz4,
    /// Not the MessagePack of a session.
    MessagePack,
    /// Not a ticket.
    Ticket,
}

/// The bytes of a session for the cookie, to be signed; `minimal` leaves the tokens out.
pub fn seal_cookie(session: &Session, aes_key: &[u8], iv: [u8; 16], minimal: bool) -> Vec<u8> {
    let packed = if minimal { session.without_tokens().pack() } else { session.pack() };
    cipher::encrypt_cfb(aes_key, iv, &lz4::compress(&packed))
}

/// The session of a cookie.
///
/// # Errors
/// [`DecodeError`] if the signed bytes are not a session.
pub fn open_cookie(cookie: &Verified, aes_key: &[u8]) -> Result<Session, DecodeError> {
    let compressed = cipher::decrypt_cfb(aes_key, cookie.value())?;
    Session::unpack(&lz4::decompress(&compressed)?)
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cipher => "cannot be decrypted",
            Self::Lz4 => "cannot be decompressed",
            Self::MessagePack => "is not the MessagePack of a session",
            Self::Ticket => "is not a ticket",
        })
    }
}

#[cfg(test)]
mod tests;
