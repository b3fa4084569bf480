//! The token of the signed-out page's button, which signs its user out everywhere although the session has ended.
//!
//! ```text
//! signed under the name "\0everywhere" and encrypted:  issuer NUL subject
//! ```
//!
//! No cookie has such a name. So the token is accepted neither as a session nor as a sign-in, and a cookie is not accepted as
//! a token. The token is in the address of a request, which an access log may have: it can do nothing else.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cookie::{self, Allowance, CookieSecrets};
use crate::flow::user::User;
use crate::session::{open_text, seal_text};
use crate::time::Timestamp;

/// How long a token is valid.
const LIFETIME: Duration = Duration::from_secs(2 * 60);

/// The longest token, in bytes: issuer and subject have a few hundred.
const LONGEST: usize = 4 << 10;

const NAME: &[u8] = b"\0everywhere";

/// A token for this user; `None` if the issuer has a NUL, or the token would be too long.
pub(super) fn seal(secrets: &CookieSecrets, user: &User, now: Timestamp, iv: [u8; 16]) -> Option<String> {
    let text = [user.issuer.as_bytes(), b"\0", user.subject.as_bytes()].concat();
    let value = seal_text(&text, secrets.current().aes_key(), iv);
    let token = cookie::sign(secrets.current(), NAME, &value, now.secs());
    let fits = token.len() <= LONGEST && !user.issuer.contains('\0');
    fits.then(|| URL_SAFE_NO_PAD.encode(token))
}

/// The user of a valid token.
pub(super) fn open(secrets: &CookieSecrets, token: &str, now: Timestamp) -> Option<User> {
    let raw = URL_SAFE_NO_PAD.decode(token).ok()?;
    let mut allowance = Allowance::new(1, LONGEST).for_secrets(secrets);
    let verified = cookie::verify(secrets, NAME, &raw, now, LIFETIME, &mut allowance).ok()?;
    let text = String::from_utf8(open_text(&verified).ok()?).ok()?;
    let (issuer, subject) = text.split_once('\0')?;
    Some(User { issuer: issuer.to_owned(), subject: subject.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookie::CookieSecret;

    const OURS: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "another secret, another secret..";
    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn secrets(all: &[&str]) -> CookieSecrets {
        CookieSecrets::new(all.iter().map(|secret| CookieSecret::new(secret.as_bytes()).unwrap())).unwrap()
    }

    fn alice() -> User {
        User { issuer: "https://login.example.com".to_owned(), subject: "alice".to_owned() }
    }

    #[test]
    fn token_names_its_user_for_two_minutes() {
        let ours = secrets(&[OURS]);
        let token = seal(&ours, &alice(), NOW, [7; 16]).unwrap();
        let after = |secs| open(&ours, &token, Timestamp::from_secs(NOW.secs() + secs));
        assert_eq!((after(0), after(119)), (Some(alice()), Some(alice())));
        assert_eq!(after(120), None);
        assert!(!String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(&token).unwrap()).contains("alice"));
    }

    #[test]
    fn changed_token_and_token_of_another_secret_are_refused() {
        let ours = secrets(&[OURS]);
        let token = seal(&ours, &alice(), NOW, [7; 16]).unwrap();
        assert_eq!(open(&secrets(&[OTHER]), &token, NOW), None);
        for position in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[position] ^= 1;
            // The last character of base64 leaves bits open.
            let changed = String::from_utf8(changed).unwrap();
            assert!(open(&ours, &changed, NOW).is_none_or(|user| user == alice()), "{position}");
            assert_eq!(open(&ours, token.get(..position).unwrap(), NOW), None);
        }
        assert_eq!(open(&secrets(&[OTHER, OURS]), &token, NOW), Some(alice()), "an older secret");
        // A cookie of the browser is no token.
        let session = cookie::sign(ours.current(), b"_oauth2_proxy", b"value", NOW.secs());
        assert_eq!(open(&ours, &URL_SAFE_NO_PAD.encode(session), NOW), None);
    }

    #[test]
    fn user_that_is_too_long_or_ambiguous_gets_no_token() {
        let ours = secrets(&[OURS]);
        let long = User { subject: "a".repeat(5000), ..alice() };
        let ambiguous = User { issuer: "a\0b".to_owned(), ..alice() };
        assert!(seal(&ours, &long, NOW, [7; 16]).is_none());
        assert!(seal(&ours, &ambiguous, NOW, [7; 16]).is_none());
    }
}
