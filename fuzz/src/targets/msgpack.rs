//! MessagePack: of a session, and of a login under way.

use oauth2_session_filter::session::csrf::Csrf;
use oauth2_session_filter::session::ticket::Ticket;

use super::sealed::{NAME, cfb, comes_back, gcm, secret, verified};

/// The bytes are what a session in Redis, and a CSRF cookie, decrypt to.
pub(super) fn run(bytes: &[u8]) {
    let secret = secret();
    let key = [3; 16];
    let ticket = Ticket::new(NAME, [2; 16], key);
    if let Ok(session) = ticket.open(&gcm(key, bytes)) {
        comes_back(&secret, &session);
    }
    if let Ok(login) = Csrf::open(&verified(&secret, &cfb(&secret, bytes))) {
        assert!(login.matches_state(login.state_hash().as_bytes()) && !login.matches_state(b""));
        let again = Csrf::open(&verified(&secret, &login.seal(secret.aes_key(), [1; 16])));
        assert!(again.as_ref() == Ok(&login), "another login comes back");
    }
}
