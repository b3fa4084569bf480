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

use sha2::{Digest, Sha256};

pub use self::claims::Claims;
pub use self::state::{Session, SessionInfo};
use crate::cookie::{CookieSecret, Verified};

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

/// The session of a cookie, decrypted with the secret that verified it.
///
/// # Errors
/// [`DecodeError`] if the signed bytes are not a session.
pub fn open_cookie(cookie: &Verified) -> Result<Session, DecodeError> {
    Session::unpack(&lz4::decompress(&decrypt(cookie)?)?)
}

/// The bytes of the same session, encrypted with another secret. The session keeps its bytes and its IV, so all proxies
/// make the same bytes of one cookie. An IV may come twice, because the keys differ.
///
/// # Errors
/// [`DecodeError`] if the value is too short.
pub fn reseal_cookie(cookie: &Verified, secret: &CookieSecret) -> Result<Vec<u8>, DecodeError> {
    let (iv, _) = cookie.value().split_first_chunk().ok_or(DecodeError::Cipher)?;
    Ok(cipher::encrypt_cfb(secret.aes_key(), *iv, &decrypt(cookie)?))
}

/// Identifies the session of a cookie, by whichever secret it is signed: a hash of its IV, its bytes and its time.
///
/// # Errors
/// [`DecodeError`] if the value is too short.
pub fn cookie_identity(cookie: &Verified) -> Result<[u8; 32], DecodeError> {
    let (iv, _) = cookie.value().split_first_chunk::<16>().ok_or(DecodeError::Cipher)?;
    let time = cookie.timestamp().to_le_bytes();
    Ok(Sha256::new().chain_update(iv).chain_update(time).chain_update(decrypt(cookie)?).finalize().into())
}

fn decrypt(cookie: &Verified) -> Result<Vec<u8>, DecodeError> {
    cipher::decrypt_cfb(cookie.secret().aes_key(), cookie.value())
}

/// The bytes of a short text that only this filter reads, to be signed under a name of its own.
pub fn seal_text(text: &[u8], aes_key: &[u8], iv: [u8; 16]) -> Vec<u8> {
    cipher::encrypt_cfb(aes_key, iv, text)
}

/// The text.
///
/// # Errors
/// [`DecodeError::Cipher`] if it is too short.
pub fn open_text(signed: &Verified) -> Result<Vec<u8>, DecodeError> {
    decrypt(signed)
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
