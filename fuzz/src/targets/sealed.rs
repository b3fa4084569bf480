//! Cookies that are signed and encrypted as ours are, with any bytes inside: past the signature, what a decoder
//! gets are the bytes that the fuzzer made up.

use std::time::Duration;

use aes::Aes256;
use aes_gcm::aead::Aead;
use aes_gcm::{Aes128Gcm, KeyInit};
use cfb_mode::Encryptor;
use cfb_mode::cipher::KeyIvInit;
use oauth2_session_filter::cookie::{self, Allowance, CookieSecret, Verified};
use oauth2_session_filter::session::ticket::Ticket;
use oauth2_session_filter::session::{self, Session};
use oauth2_session_filter::time::Timestamp;

/// The secret, the name and the time of the vectors in `tests/vectors/oauth2-proxy.json`.
pub(super) const SECRET: &str = "A3Xbr6fu6Al0HkgrP1ztjb-mYiwmxgNPP-XbNsz1WBk=";
pub(super) const NAME: &[u8] = b"_oauth2_proxy";
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_700_000_060);

/// A cookie lasts for a week.
pub(super) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// As many signatures as there are.
pub(super) fn unlimited() -> Allowance {
    Allowance::new(usize::MAX, usize::MAX)
}

/// Whether a cookie of this name is the session cookie, or a chunk of it: `_0`, `_1` and so on.
pub(super) fn is_part(name: &[u8]) -> bool {
    let is_number = |suffix: &[u8]| match suffix {
        [b'_', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => suffix.is_empty(),
    };
    name.strip_prefix(NAME).is_some_and(is_number)
}

pub(super) fn secret() -> CookieSecret {
    CookieSecret::new(SECRET.as_bytes()).unwrap()
}

/// What the check of a good signature gives.
pub(super) fn verified(secret: &CookieSecret, value: &[u8]) -> Verified {
    let signed = cookie::sign(secret, NAME, value, NOW.secs());
    cookie::verify(&secret.clone().into(), NAME, &signed, NOW, WEEK, &mut unlimited()).unwrap()
}

/// AES-CFB as in cookies: the initialization vector, then the ciphertext.
pub(super) fn cfb(secret: &CookieSecret, plain: &[u8]) -> Vec<u8> {
    let iv = [7; 16];
    let mut bytes = plain.to_vec();
    Encryptor::<Aes256>::new_from_slices(secret.aes_key(), &iv).unwrap().encrypt(&mut bytes);
    [iv.as_slice(), &bytes].concat()
}

/// AES-GCM as in Redis: the nonce, then the ciphertext with its tag.
pub(super) fn gcm(key: [u8; 16], plain: &[u8]) -> Vec<u8> {
    let nonce = [9; 12];
    let sealed = Aes128Gcm::new(&key.into()).encrypt(&nonce.into(), plain).unwrap();
    [nonce.as_slice(), &sealed].concat()
}

/// A session that was read can be written, and is the same then, in a cookie and in Redis.
pub(super) fn comes_back(secret: &CookieSecret, read: &Session) {
    let sealed = session::seal_cookie(read, secret.aes_key(), [1; 16], false);
    let again = session::open_cookie(&verified(secret, &sealed));
    assert!(again.as_ref() == Ok(read), "another session comes back from the cookie");
    let ticket = Ticket::new(NAME, [2; 16], [3; 16]);
    let again = ticket.open(&ticket.seal(read, [4; 12]));
    assert!(again.as_ref() == Ok(read), "another session comes back from Redis");
    let _ = (read.additional_claims.to_json(), read.size());
}
