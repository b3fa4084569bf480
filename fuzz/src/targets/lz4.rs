//! The session cookie past its signature: an LZ4 frame.

use oauth2_session_filter::session;

use super::sealed::{cfb, comes_back, secret, verified};

/// The bytes are what the cookie decrypts to.
pub(super) fn run(bytes: &[u8]) {
    let secret = secret();
    let cookie = verified(&secret, &cfb(&secret, bytes));
    if let Ok(session) = session::open_cookie(&cookie) {
        comes_back(&secret, &session);
    }
    // The bytes themselves, which decrypt to other bytes.
    let _ = session::open_cookie(&verified(&secret, bytes));
}
