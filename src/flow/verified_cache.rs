//! Values that this worker has verified: a cookie or a bearer token that comes again unchanged is not verified again.

use std::cell::RefCell;
use std::rc::Rc;

use session_codec::words::is_same;

use super::principal::Principal;
use super::util::lru::BoundedLru;
use crate::cookie::SecretId;

/// How many bytes at the end of a value are its key: an HMAC-SHA-256 in base64 has 44 characters.
const KEY: usize = 44;

/// What was read from a verified value.
pub(super) trait Raw {
    /// The value, byte for byte.
    fn raw(&self) -> &[u8];
}

/// A user by a cookie or a bearer token. It is one type for both, so that the module contains the code of the cache
/// once.
pub(super) struct VerifiedPrincipal {
    /// The value of the cookie, with its chunks joined, or the token.
    pub(super) raw: Vec<u8>,
    /// When the cookie was signed, or the token verified, in Unix seconds.
    pub(super) signed_at: i64,
    /// The secret that signed the cookie; none for a token.
    pub(super) secret: Option<SecretId>,
    pub(super) principal: Rc<Principal>,
    /// The last cookie with the time of the session's last use that was verified, and this time.
    pub(super) last_use: RefCell<(Vec<u8>, i64)>,
}

impl Raw for VerifiedPrincipal {
    fn raw(&self) -> &[u8] {
        &self.raw
    }
}

/// Values that were verified. One that comes again costs a look-up and a comparison.
///
/// The key is the end of the value. This is its signature, so verified values differ in it. A client can send it with
/// another beginning. Then the comparison of all bytes fails, and the signature is verified as usual.
pub(super) struct VerifiedCache<V>(BoundedLru<V>);

impl<V: Raw> VerifiedCache<V> {
    /// Keeps at most this many values; 0 turns the cache off.
    pub(super) fn new(entries: usize) -> Self {
        Self(BoundedLru::new(entries))
    }

    /// The value that was verified before, if it is the same byte for byte.
    pub(super) fn get(&self, raw: &[u8]) -> Option<Rc<V>> {
        self.0.get(key(raw)?).filter(|value| is_same(value.raw(), raw))
    }

    /// Remembers a verified value.
    pub(super) fn insert(&self, value: &Rc<V>) {
        if let Some(key) = key(value.raw()) {
            self.0.insert(key, value, value.raw().len());
        }
    }
}

fn key(raw: &[u8]) -> Option<&[u8]> {
    raw.get(raw.len().checked_sub(KEY)?..)
}
