//! What a worker has verified: a cookie or a bearer token that comes again unchanged is not verified again.
//!
//! ```text
//! the whole cookie or token ── keyed fingerprint, 128 bits ── known? ── its user, and the headers of the user
//! ```
//!
//! The fingerprint is of all bytes, not only of the signature: a client can send a known signature with another beginning.
//! That value is unknown, and is verified as usual.

use std::cell::Cell;
use std::rc::Rc;

use session_codec::fingerprint::Fingerprint;

use super::principal::Principal;
use super::util::lru::{BoundedLru, Budget};
use crate::config::{Config, SessionCache};
use crate::cookie::SecretId;

/// The kinds of values that are remembered in one budget.
pub(super) const COOKIES: u8 = 0;
pub(super) const REDIS_SESSIONS: u8 = 1;
pub(super) const BEARER_TOKENS: u8 = 2;

/// A user by a cookie or a bearer token. It is one type for both, so that the module contains its code once.
pub(super) struct VerifiedPrincipal {
    /// When the cookie was signed, or the token verified, in Unix seconds.
    pub(super) signed_at: i64,
    /// The secret that signed the cookie; none for a token.
    pub(super) secret: Option<SecretId>,
    pub(super) principal: Rc<Principal>,
    /// The last cookie with the time of the session's last use that was verified, and this time.
    pub(super) last_use: Cell<Option<(Fingerprint, i64)>>,
}

impl VerifiedPrincipal {
    pub(super) fn new(principal: &Rc<Principal>, signed_at: i64, secret: Option<SecretId>) -> Rc<Self> {
        Rc::new(Self { signed_at, secret, principal: Rc::clone(principal), last_use: Cell::default() })
    }

    /// Remembers the user of a whole cookie or token.
    pub(super) fn remember(self: &Rc<Self>, value: &[u8], cache: &BoundedLru<Self>) {
        cache.insert(value, self, self.principal.bytes());
    }
}

/// The memory of a worker for all that it remembers of sessions and tokens: `session_cache_bytes`, or as many cookies,
/// sessions in Redis and bearer tokens each as `session_cache_size` says.
pub(super) fn budget(config: &Config) -> Budget {
    match config.cookie.session_cache {
        SessionCache::Bytes(bytes) => Budget::new(usize::MAX, bytes),
        SessionCache::Entries(entries) => {
            let kinds = [true, config.redis.is_some(), config.bearer.is_some()];
            let kinds = kinds.into_iter().filter(|is_used| *is_used).count();
            Budget::of_entries(entries.saturating_mul(kinds))
        }
    }
}
